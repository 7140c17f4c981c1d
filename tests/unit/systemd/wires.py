"""A box and its neighbours as network namespaces joined by wires: the real firewall in the real kernel, without a box.

    with Wires.laid(tmp_path, two=True) as wires:
        wires.load()                                     # /etc/nftables.conf
        wires.configure("[ris]\\nsenders = …")            # passevue-network, as at start
        wires.reaches("192.0.2.9", 2575, source="192.0.2.10")

The box has `eth0` (192.0.2.9/24, cabinet) and, with two wires, `eth1` (198.51.100.9/24, outside). The neighbour is one
namespace with many addresses on both; it listens on every port that a test names. Nothing of this machine's own
network, files or users is touched: each namespace has its own mounts.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.unit.systemd.box_root import REPOSITORY, TREE

USERS = {
    name: 9001 + number
    for number, name in enumerate(
        ["systemd-network", "systemd-resolve", "_chrony", "passevue-intake", "passevue-national", "passevue-page",
         "passevue-host", "passevue-network"]
    )
}  # fmt: skip
BOX, BOX_OUTSIDE = "192.0.2.9", "198.51.100.9"
BOX6 = "fd00::9"
PORTS = (2575, 11112, 443)


def impossible() -> str:
    """Why this machine cannot; empty when it can."""
    for program in ("nft", "ip", "unshare", "nsenter"):
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            return f"{program} is not installed"
    if os.geteuid() != 0:
        return "network namespaces with several users need root"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "/usr/sbin/nft", "add", "table", "inet", "t"], capture_output=True, check=False
    )
    return "" if tried.returncode == 0 else "this kernel gives no namespace with nftables"


@dataclass
class Place:
    """One namespace, kept by a process that sleeps."""

    keeper: subprocess.Popen[bytes]

    def run(self, *argv: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        command = ["nsenter", "-t", str(self.keeper.pid), "--net", "--mount", *argv]
        ran = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)
        assert not check or ran.returncode == 0, f"{argv}: {ran.stderr}"
        return ran

    def start(self, *argv: str) -> subprocess.Popen[str]:
        command = ["nsenter", "-t", str(self.keeper.pid), "--net", "--mount", *argv]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def connect(self, tries: Sequence[tuple[str, str, int, str]], uid: int = 0, *, keep: bool = False) -> list[str]:
        """How each try ended: open, reset, silent, forbidden. `keep`: all at once, and none is closed."""
        found = self.run(sys.executable, "-I", "-c", CONNECT, json.dumps([tries, uid, keep])).stdout
        ended: list[str] = json.loads(found)
        return ended


LISTEN = """
import json, selectors, socket, sys
waiting, open_ = selectors.DefaultSelector(), []
for address, port in json.loads(sys.argv[1]):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address, port)); s.listen(512); waiting.register(s, selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in waiting.select():
        open_.append(key.fileobj.accept()[0])
"""
CONNECT = """
import errno, json, os, selectors, socket, struct, sys, time
tries, user, keep = json.loads(sys.argv[1])
os.setresuid(user, user, user)
names = {0: "open", errno.ECONNREFUSED: "reset", errno.EHOSTUNREACH: "forbidden", errno.EPERM: "forbidden",
         errno.EACCES: "forbidden", errno.ENETUNREACH: "no route"}
found, waiting = [], selectors.DefaultSelector()
def settle(key):
    found[key.data] = names.get(key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "?")
    waiting.unregister(key.fileobj)
    if not keep: key.fileobj.close()
for number, (source, address, port, kind) in enumerate(tries):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET,
                      socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    s.setblocking(False)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    found.append("silent")
    if source: s.bind((source, 0))
    code = s.connect_ex((address, port))
    if kind == "udp" and not code:
        try: s.send(b"?")
        except OSError as error: code = error.errno
    if code in (0, errno.EINPROGRESS) and kind == "tcp": waiting.register(s, selectors.EVENT_WRITE, number)
    else: found[number] = names.get(code, str(code))
    if not keep and kind == "tcp":  # one after the other: settled and gone before the next
        for key, _ in waiting.select(0.02): settle(key)
        time.sleep(0.004)  # the kernel forgets closed ones once a tick
until = time.monotonic() + 0.6
while waiting.get_map() and time.monotonic() < until:
    for key, _ in waiting.select(until - time.monotonic()): settle(key)
print(json.dumps(found))
"""


class Wires:
    """The box, the neighbour, and what is between them."""

    def __init__(self, box: Place, neighbour: Place, folder: Path) -> None:
        self.box = box
        self.neighbour = neighbour
        self._folder = folder

    @classmethod
    @contextlib.contextmanager
    def laid(cls, folder: Path, *, two: bool = False) -> Iterator["Wires"]:
        with contextlib.ExitStack() as stack:
            box, neighbour = (stack.enter_context(_place()) for _ in range(2))
            wires = cls(box, neighbour, folder)
            wires._furnish(two=two)
            stack.enter_context(wires.listening(box, [("::", port) for port in PORTS]))
            yield wires

    def _furnish(self, *, two: bool) -> None:
        """Users, names and writable folders of the box, in its own mounts; then the wires."""
        files = {
            "passwd": "root:x:0:0::/:/bin/false\n"
            + "".join(f"{n}:x:{i}:{i}::/:/bin/false\n" for n, i in USERS.items()),
            "hosts": "127.0.0.1 localhost\n198.51.100.80 dmp.example\n198.51.100.81 dmp.example\n",
            "nsswitch.conf": "passwd: files\nhosts: files\n",
        }
        for name, content in files.items():
            (self._folder / name).write_text(content)
        mounts = [f"mount --bind {self._folder / name} /etc/{name}" for name in files]
        mounts += ["mount -t tmpfs tmpfs /run", "mount -t tmpfs tmpfs /var/lib", "ip link set lo up"]
        mounts += ["mkdir -p /run/systemd/network /run/passevue-network /var/lib/passevue/config"]
        joins = [*_wire("eth0", "peer0", f"{BOX}/24", self.neighbour), f"ip address add {BOX6}/64 dev eth0 nodad"]
        far = _addresses("192.0.2", "peer0") + [f"address add fd00::{host}/64 dev peer0 nodad" for host in (10, 66)]
        if two:
            joins += _wire("eth1", "peer1", f"{BOX_OUTSIDE}/24", self.neighbour)
            far += _addresses("198.51.100", "peer1")
        self.box.run("sh", "-e", stdin="\n".join(mounts + joins))
        self.neighbour.run("ip", "-batch", "-", stdin="\n".join([*far, "link set lo up"]))

    @contextlib.contextmanager
    def listening(self, place: Place, where: Sequence[tuple[str, int]]) -> Iterator[None]:
        server = place.start(sys.executable, "-I", "-c", LISTEN, json.dumps(where))
        assert server.stdout is not None
        try:
            assert server.stdout.readline() == "ready\n"
            yield
        finally:
            server.terminate()
            server.wait()
            server.stdout.close()

    def load(self) -> None:
        self.box.run("/usr/sbin/nft", "-f", str(TREE / "etc/nftables.conf"))

    def configure(self, text: str | None, *arguments: str) -> int:
        """passevue-network over this configuration; its exit code."""
        if text is not None:
            self.box.run("tee", "/var/lib/passevue/config/passevue.toml", stdin=text)
        code = f"import sys; sys.path.insert(0, {str(REPOSITORY / 'agent')!r})\n"
        code += "from passevue.network.apply import main; sys.exit(main(sys.argv[1:]))"
        ran = self.box.run(sys.executable, "-c", code, *arguments, check=False)
        self.said = ran.stderr
        return ran.returncode

    def come(self, *tries: tuple[str, str, int], keep: bool = False) -> list[str]:
        """From the neighbour: (source, address, port) each."""
        return self.neighbour.connect([(*each, "tcp") for each in tries], keep=keep)

    def go(self, user: str, *tries: tuple[str, int], kind: str = "tcp") -> list[str]:
        """From the box, as one of its users: (address, port) each."""
        return self.box.connect([("", *each, kind) for each in tries], USERS.get(user, 0))


def _wire(ours: str, theirs: str, address: str, to: Place) -> list[str]:
    return [
        f"ip link add {ours} type veth peer name {theirs} netns {to.keeper.pid}",
        f"ip address add {address} dev {ours}",
        f"ip link set {ours} up",
    ]


def _addresses(network: str, device: str) -> list[str]:
    added = [f"address add {network}.{host}/24 dev {device}" for host in (10, 11, 20, 31, 66, 80, 81, 99)]
    return [*added, f"link set {device} up"]


@contextlib.contextmanager
def _place() -> Iterator[Place]:
    keeper = subprocess.Popen(
        ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", "echo; exec sleep 600"],
        stdout=subprocess.PIPE,
    )
    assert keeper.stdout is not None
    try:
        keeper.stdout.readline()
        yield Place(keeper)
    finally:
        keeper.kill()
        keeper.wait()
        keeper.stdout.close()
