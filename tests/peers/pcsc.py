"""A pcscd of our own, with readers of vpcd, on a socket of its own: the machine's pcscd and readers are not touched.

    if reason := why_not(): pytest.skip(reason)
    with Pcscd(tmp_path, readers=2) as pcscd:
        os.environ.update(pcscd.environment)      # for this process; `program_environment` for another
        pcscd.slots[0].link.insert(VirtualCard())
        pcscd.slots[0].name                       # as PC/SC names it: "Virtual PCD 1 00 00"
        pcscd.restart()                           # or `kill()` … `start()`; cards stay in

Facts:
- pcscd has its socket's path built in, but takes a socket that systemd passes (LISTEN_FDS): one is passed here, and any
  number of them run beside each other. Clients find it by PCSCLITE_CSOCK_NAME, which libpcsclite reads once in
  the life of a process: for ours it is a link, which leads to the pcscd whose `environment` was asked last;
- one vpcd reader has two slots, on two ports that follow each other. vpcd keeps its slots in one table for all readers
  of a loaded driver, the second reader's over the first's: each reader gets its own copy of the driver;
- pcscd numbers readers by driver, hence all are `00` here, and two of the same name are alike to the last byte;
- Debian 13's asks polkit about each client, and refuses all where there is none, as in a container: ours does not ask;
- it must write to /run/pcscd as any pcscd: root, or a machine where that folder is ours.
"""

import atexit
import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.peers.ports import free_ports

from .card_vpcd import VpcdLink

PCSCD = "/usr/sbin/pcscd"
DRIVERS = (
    Path("/usr/lib/pcsc/drivers/serial/libifdvpcd.so"),
    Path("/usr/lib/x86_64-linux-gnu/pcsc/drivers/serial/libifdvpcd.so"),
)
SLOTS = 2  # of one vpcd reader
STARTING = 10.0  # seconds


def why_not() -> str:
    """Why a pcscd of our own cannot run here; empty when it can."""
    if not Path(PCSCD).exists():
        return "pcscd is not installed (Debian package pcscd)"
    if _driver() is None:
        return "vpcd is not installed (Debian package vsmartcard-vpcd)"
    if os.geteuid() != 0 and not os.access("/run/pcscd", os.W_OK):
        return "a pcscd of our own needs root, or a /run/pcscd that we may write to"
    return ""


@functools.cache
def _without_polkit() -> tuple[str, ...]:
    """The option, where this pcscd has it (Debian 13)."""
    told = subprocess.run([PCSCD, "--help"], capture_output=True, text=True, check=False)
    return ("--disable-polkit",) if "--disable-polkit" in told.stdout + told.stderr else ()


@dataclass(frozen=True, slots=True)
class Slot:
    """One place for a card. `name` is what PC/SC calls it."""

    name: str
    port: int
    link: VpcdLink


class Pcscd:
    """The daemon and its readers: `readers` of two slots each, or as many as `names` names, alike or not."""

    def __init__(self, folder: Path, readers: int = 1, names: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.socket = folder / "pcscd.comm"
        self.log = folder / "pcscd.log"
        self.names = names or tuple(f"Virtual PCD {index + 1}" for index in range(readers))
        self.process: subprocess.Popen[bytes] | None = None
        self._configuration = folder / "reader.conf"
        self.slots: tuple[Slot, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """What this process needs to find this pcscd: from now on its PC/SC contexts are of this one."""
        link = _socket_of_this_process()
        link.unlink(missing_ok=True)
        link.symlink_to(self.socket)
        return {"PCSCLITE_CSOCK_NAME": str(link)}

    @property
    def program_environment(self) -> dict[str, str]:
        """What another program needs to find this pcscd and no other."""
        return {"PCSCLITE_CSOCK_NAME": str(self.socket)}

    def __enter__(self) -> "Pcscd":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Starts it and waits until its readers are there. The slots keep their ports over restarts.

        Raises:
            RuntimeError: it did not come up; its log is in the message.
        """
        for _ in range(5):  # a port may be taken by another between its choice and its use
            if not self.slots:
                self.slots = self._choose()
            self._spawn()
            if self._up():
                atexit.register(self.kill)
                return
            self.kill()
            self._forget()
        raise RuntimeError(f"pcscd did not start:\n{self.log.read_text(errors='replace')[-2000:]}")

    def restart(self) -> None:
        """As `systemctl restart pcscd`: clients lose their contexts, cards stay in their readers."""
        self.stop()
        self.start()

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Without a farewell."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        self._forget()
        self.stop()
        self.socket.unlink(missing_ok=True)

    # Making

    def _choose(self) -> tuple[Slot, ...]:
        slots = []
        for name in self.names:
            first = free_ports(SLOTS)
            slots += [Slot(f"{name} 00 {slot:02X}", first + slot, VpcdLink(first + slot)) for slot in range(SLOTS)]
        return tuple(slots)

    def _spawn(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._configuration.write_text("".join(self._reader(index) for index in range(len(self.names))))
        self.socket.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener, self.log.open("ab") as log:
            listener.bind(str(self.socket))
            listener.listen(64)
            # systemd's way: the socket is descriptor 3, and LISTEN_PID the process's own number.
            script = 'LISTEN_PID=$$ LISTEN_FDS=1; export LISTEN_PID LISTEN_FDS; exec "$@" 3<&0 </dev/null'
            command = [PCSCD, "--foreground", "--config", str(self._configuration), *_without_polkit()]
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", script, "sh", *command],
                stdin=listener.fileno(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _reader(self, index: int) -> str:
        port = self.slots[index * SLOTS].port
        driver, copy = _driver(), self.folder / f"libifdvpcd{index}.so"
        assert driver is not None
        if not copy.exists():
            shutil.copyfile(driver, copy)
        return (
            f'FRIENDLYNAME "{self.names[index]}"\nDEVICENAME /dev/null:0x{port:04X}\n'
            f"LIBPATH {copy}\nCHANNELID 0x{port:04X}\n"
        )

    def _up(self) -> bool:
        """All of its readers' ports are listened on: it has read its configuration."""
        wanted = {slot.port for slot in self.slots}
        deadline = time.monotonic() + STARTING
        while time.monotonic() < deadline and self.process and self.process.poll() is None:
            if wanted <= _listened_on(self.process.pid):
                return True
            time.sleep(0.02)
        return False

    def _end(self, how: signal.Signals) -> None:
        atexit.unregister(self.kill)
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _forget(self) -> None:
        for slot in self.slots:
            slot.link.close()
        self.slots = ()


@functools.cache
def _socket_of_this_process() -> Path:
    """The one path that libpcsclite keeps for the life of this process; a link to the socket of the day."""
    folder = tempfile.mkdtemp(prefix="passevue-pcsc-")
    atexit.register(shutil.rmtree, folder, True)
    return Path(folder) / "pcscd.comm"


def _driver() -> Path | None:
    return next((path for path in DRIVERS if path.exists()), None)


def _listened_on(pid: int) -> set[int]:
    """TCP ports on which this process listens, from /proc."""
    inodes = set()
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                target = os.readlink(f"/proc/{pid}/fd/{fd}")
                if target.startswith("socket:["):
                    inodes.add(target[8:-1])
    ports = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and fields[9] in inodes:
                    ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports
