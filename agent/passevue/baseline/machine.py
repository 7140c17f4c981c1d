"""The one seam between the rules and the box: files below a root, a few fixed programs, D-Bus properties.

A rule is handed a `Machine` and knows no other way to the outside. The root is a parameter, and so is what runs the
programs: a test gives a folder tree and recorded answers, and patches nothing.

    machine = Machine(Path("/"), now=utc_now(), config=config)
    machine.read_text("/proc/cmdline")
    machine.run("nft", "-j", "list", "ruleset").out

Rules of this module:
- everything is read with a bound in bytes, everything is run with a bound in time and bytes;
- only the programs of `PROGRAMS` are run, found in the system's own folders, with a fixed environment and no input;
- what cannot be had raises `Unmeasurable` or `OSError`, which the engine turns into `unknown`.
"""

import copy
import json
import os
import selectors
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from passevue.baseline import facts
from passevue.baseline.facts import Facts
from passevue.shared import open_plain

if TYPE_CHECKING:  # who collects facts has no use for it, and starts every four minutes
    from passevue.config import Config

MANIFEST: Final = "/usr/share/passevue/manifest.json"
OS_RELEASE: Final = "/usr/lib/os-release"
MAX_BYTES: Final = 4 << 20  # of one file or one program's output; the longest real one is a ruleset of 100 KiB
PIECE: Final = 64 << 10
MAX_NAMES: Final = 20_000  # names that one glob gives
TIMEOUT_S: Final = 60.0  # 4.5 s were seen for all units on an emulated machine that had nothing else to do
_FIRST_HANDED: Final = 3  # sd_listen_fds(3)
FOLDERS: Final = "/usr/sbin:/usr/bin:/sbin:/bin"

PROGRAMS: Final = frozenset(
    {
        "aa-status", "auditctl", "busctl", "chronyc", "cryptsetup", "dmsetup", "findmnt", "fwupdmgr", "getcap",
        "getent", "hdparm", "ip", "journalctl", "lsblk", "modprobe", "nft", "nvme", "rauc", "resolvectl", "smartctl",
        "ss", "sysctl", "systemctl", "tpm2_eventlog", "tpm2_nvread", "tpm2_pcrread", "unshare", "veritysetup",
    }
)  # fmt: skip


class Unmeasurable(Exception):
    """What a rule wants to know cannot be known now: its result is `unknown`. The message is technical English."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A program that ended by itself."""

    code: int
    out: str
    err: str = ""


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket that the image is meant to have."""

    proto: str
    port: int
    address: str
    unit: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The signed build manifest. `whole` is the JSON, for keys that have no field here yet."""

    version: str
    profile: str
    built_at: datetime
    units: tuple[str, ...] = ()
    listeners: tuple[Listener, ...] = ()
    setuid: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)  # path = SHA-256, hexadecimal
    rules: int = 0
    apparmor: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    sysctl: Mapping[str, str] = field(default_factory=dict)
    support_end: date | None = None
    security_floor: str = ""
    whole: Mapping[str, Any] = field(default_factory=dict)

    def get(self, key: str) -> Any:
        """A key that has no field. Raises: Unmeasurable when the manifest has none."""
        if key not in self.whole:
            raise Unmeasurable(f"the manifest has no {key}")
        return self.whole[key]


def read_manifest(data: bytes) -> Manifest:
    """Raises: Unmeasurable when it is not a manifest of schema 1."""
    try:
        tree = json.loads(data)
        if tree["schema"] != 1:
            raise Unmeasurable(f"the manifest has schema {tree['schema']}, not 1")
        support_end = tree.get("support_end")
        return Manifest(
            version=str(tree["version"]),
            profile=str(tree["profile"]),
            built_at=_aware(datetime.fromisoformat(tree["built_at"])),
            units=tuple(tree.get("units", ())),
            listeners=tuple(
                Listener(str(each["proto"]), int(each["port"]), str(each.get("address", "")), str(each.get("unit", "")))
                for each in tree.get("listeners", ())
            ),
            setuid=tuple(tree.get("setuid", ())),
            files=dict(tree.get("files", {})),
            rules=int(tree.get("rules", 0)),
            apparmor=tuple(tree.get("apparmor", ())),
            users=tuple(tree.get("users", ())),
            sysctl={name: str(value) for name, value in tree.get("sysctl", {}).items()},
            support_end=date.fromisoformat(support_end) if support_end else None,
            security_floor=str(tree.get("security_floor", "")),
            whole=tree,
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as err:
        raise Unmeasurable(f"the manifest cannot be read: {type(err).__name__}") from err


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


Runner = Callable[[tuple[str, ...], float], Ran]


@dataclass(slots=True)
class _ReadOnce:
    """What all rules of one round read, read by the first that asks."""

    facts: Facts | None = None
    manifest: Manifest | None = None


class Machine:
    """The box as a rule sees it, at one moment.

    Args:
        root: folder that stands for `/`.
        now: aware UTC.
        config: the configuration in use; None when it cannot be read.
        config_path: the file that it was read from.
        data_dir: where the box keeps its data, for who has read no more of the configuration than that.
        runner: what runs a program; the default really does.
        collected: facts of this very moment, where the caller is root; None: those that root left.

    Attributes:
        evidence_s: CLOCK_BOOTTIME of the facts that were asked for; None when none were: what was seen is of now.
        trail_refused: why the audit trail did not take the record that the engine asked it to take for this round.
    """

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        now: datetime,
        config: "Config | None" = None,
        config_path: Path | None = None,
        data_dir: Path | None = None,
        runner: Runner | None = None,
        collected: Facts | None = None,
    ) -> None:
        self.root = root
        self.now = now
        self.config_path = config_path
        self.evidence_s: float | None = None
        self.trail_refused: Exception | None = None
        self._made_s = time.monotonic()
        self._config = config
        self._data_dir = data_dir
        self._runner = runner or run_program
        self._read_once = _ReadOnce(collected)  # shared by all glances

    def glance(self) -> "Machine":
        """The same machine for one rule, which leaves its own `evidence_s`."""
        return copy.copy(self)

    # What it is

    @property
    def appliance(self) -> bool:
        """Whether this is the box itself: it has the manifest of its image, or says that it is such an image."""
        if self.exists(MANIFEST):
            return True
        try:
            return "IMAGE_ID=passevue" in self.read_text(OS_RELEASE).split()
        except FileNotFoundError:
            return False

    @property
    def manifest(self) -> Manifest:
        """Raises: Unmeasurable, OSError."""
        if self._read_once.manifest is None:
            self._read_once.manifest = read_manifest(self.read_bytes(MANIFEST))
        return self._read_once.manifest

    @property
    def config(self) -> "Config":
        """Raises: Unmeasurable when it could not be read."""
        if self._config is None:
            raise Unmeasurable("the configuration cannot be read")
        return self._config

    @property
    def data_dir(self) -> Path:
        """Raises: Unmeasurable when the configuration could not be read."""
        return self._data_dir if self._data_dir is not None else self.config.box.data_dir

    @property
    def boot_id(self) -> str:
        return self.read_text("/proc/sys/kernel/random/boot_id").strip()

    @property
    def uptime_s(self) -> float:
        """Seconds since the box started (CLOCK_BOOTTIME), which no setting of the clock changes."""
        return float(self.read_text("/proc/uptime").split()[0])

    @property
    def now_s(self) -> float:
        """CLOCK_BOOTTIME at `now`, however long ago that is."""
        return self.uptime_s - (time.monotonic() - self._made_s)

    @property
    def facts(self) -> Facts:
        """What only root sees (`facts`). Raises: Unreadable when they are not fresh; OSError."""
        found = self._read_once.facts
        if found is None:
            found = facts.read(self.path(facts.PLACE), owner=self.path("/").stat().st_uid)
            found.check_fresh(self.boot_id, self.uptime_s)
            self._read_once.facts = found
        self.evidence_s = found.uptime_s
        return found

    # Files

    def path(self, path: str | Path) -> Path:
        """Where an absolute path of the box really lies."""
        return self.root / str(path).lstrip("/")

    def read_bytes(self, path: str | Path, max_bytes: int = MAX_BYTES) -> bytes:
        """The whole of a regular or kernel file. Raises: OSError; Unmeasurable when it is longer or a device."""
        handle = os.open(self.path(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        with open(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise Unmeasurable(f"{path} is not a regular file")
            data = bytearray()
            while piece := file.read(PIECE):  # /proc/sys refuses to be read by the megabyte (ENOMEM)
                data += piece
                if len(data) > max_bytes:
                    raise Unmeasurable(f"{path} is longer than {max_bytes} bytes")
        return bytes(data)

    def read_text(self, path: str | Path, max_bytes: int = MAX_BYTES) -> str:
        return self.read_bytes(path, max_bytes).decode("utf-8", "replace")

    def read_head(self, path: str | Path, max_bytes: int) -> bytes:
        """The first bytes of a regular file. Raises: OSError."""
        with open(open_plain(self.path(path)), "rb") as file:
            return file.read(max_bytes)

    def read_tail(self, path: str | Path, max_bytes: int) -> bytes:
        """The last bytes of a regular file. Raises: OSError."""
        with open(open_plain(self.path(path)), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - max_bytes))
            return file.read(max_bytes)

    def handed(self, name: str) -> str:
        """The content of a file that systemd opened for this program (`OpenFile=`); "" when it did not."""
        try:
            number = os.environ.get("LISTEN_FDNAMES", "").split(":").index(name)
        except ValueError:
            return ""
        return os.pread(_FIRST_HANDED + number, PIECE, 0).decode("utf-8", "replace")

    def exists(self, path: str | Path) -> bool:
        return self.path(path).exists()

    def stat(self, path: str | Path, *, follow: bool = True) -> os.stat_result:
        return self.path(path).stat(follow_symlinks=follow)

    def statvfs(self, path: str | Path) -> os.statvfs_result:
        return os.statvfs(self.path(path))

    def names(self, path: str | Path) -> list[str]:
        """What lies in a folder, sorted. Raises: OSError."""
        return sorted(os.listdir(self.path(path)))

    def glob(self, pattern: str) -> list[str]:
        """Absolute paths of the box, sorted. Raises: Unmeasurable when there are too many."""
        found: list[str] = []
        for path in self.root.glob(pattern.lstrip("/")):
            if len(found) == MAX_NAMES:
                raise Unmeasurable(f"more than {MAX_NAMES} names as {pattern}")
            found.append("/" + str(path.relative_to(self.root)))
        return sorted(found)

    def walk(self, top: str | Path) -> Iterator[tuple[str, os.stat_result]]:
        """Every file and folder below, on the same filesystem, links not followed; what vanishes meanwhile is left
        out. Raises: OSError for a folder that may not be read."""
        device = self.stat(top).st_dev
        waiting = [str(top)]
        while waiting:
            folder = waiting.pop()
            try:
                names = self.names(folder)
            except FileNotFoundError:
                if folder == str(top):
                    raise
                continue
            for name in names:
                path = f"{folder.rstrip('/')}/{name}"
                try:
                    seen = self.stat(path, follow=False)
                except FileNotFoundError:
                    continue
                yield path, seen
                if stat.S_ISDIR(seen.st_mode) and seen.st_dev == device:
                    waiting.append(path)

    # Programs

    def run(self, *argv: str, timeout_s: float = TIMEOUT_S) -> Ran:
        """What a program of `PROGRAMS` answered, whatever its exit code.

        Raises:
            Unmeasurable: it is not there, did not end in time, or said too much.
        """
        if argv[0] not in PROGRAMS:
            raise Unmeasurable(f"{argv[0]} is no program that rules may run")
        return self._runner(argv, timeout_s)

    def ask(self, *argv: str, timeout_s: float = TIMEOUT_S) -> str:
        """The output of a program that must succeed. Raises: Unmeasurable."""
        ran = self.run(*argv, timeout_s=timeout_s)
        if ran.code != 0:
            raise Unmeasurable(f"{argv[0]} ended with {ran.code}: {ran.err.strip()[:120]}")
        return ran.out

    def ask_json(self, *argv: str, timeout_s: float = TIMEOUT_S) -> Any:
        """The same, where the output is JSON. Raises: Unmeasurable."""
        try:
            return json.loads(self.ask(*argv, timeout_s=timeout_s))
        except (ValueError, RecursionError) as err:
            raise Unmeasurable(f"{argv[0]} did not answer in JSON") from err

    def properties(self, name: str, path: str, interface: str) -> dict[str, Any]:
        """The properties of a D-Bus object of the system bus, as plain values. Raises: Unmeasurable."""
        answer = self.ask_json(
            "busctl", "--system", "--json=short", "--timeout=5", "call",
            name, path, "org.freedesktop.DBus.Properties", "GetAll", "s", interface,
        )  # fmt: skip
        try:
            return {key: variant["data"] for key, variant in answer["data"][0].items()}
        except (KeyError, IndexError, TypeError, AttributeError) as err:
            raise Unmeasurable(f"busctl answered in another form for {interface}") from err


def run_program(argv: tuple[str, ...], timeout_s: float) -> Ran:
    """Run one program with nothing to read, a fixed environment, in its own process group.

    Raises:
        Unmeasurable: it is not there, did not end in time, or said too much.
    """
    environ = {"PATH": FOLDERS, "LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
    found = next((each for folder in FOLDERS.split(":") if os.access(each := f"{folder}/{argv[0]}", os.X_OK)), None)
    if found is None:
        raise Unmeasurable(f"{argv[0]} is not installed")
    with (
        subprocess.Popen(  # noqa: S603 (a fixed list of programs, no shell, absolute path)
            [found, *argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environ,
            cwd="/",
            start_new_session=True,
        ) as child
    ):
        try:
            out, err = _outputs(child, time.monotonic() + timeout_s)
            code = child.wait(timeout=timeout_s)
        except (Unmeasurable, subprocess.TimeoutExpired):
            os.killpg(child.pid, signal.SIGKILL)
            raise Unmeasurable(f"{argv[0]} did not end within {timeout_s:g} s and {MAX_BYTES} bytes") from None
    return Ran(code, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))


def _outputs(child: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bytes]:
    """Both outputs to their ends. Raises: Unmeasurable past the deadline or `MAX_BYTES`."""
    streams = {child.stdout: bytearray(), child.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            left = deadline - time.monotonic()
            ready = selector.select(left) if left > 0 else []
            if not ready:
                raise Unmeasurable("too slow")
            for key, _ in ready:
                piece = os.read(key.fd, 1 << 16)
                kept = streams[key.fileobj]  # type: ignore[index]
                kept += piece
                if len(kept) > MAX_BYTES:
                    raise Unmeasurable("too long")
                if not piece:
                    selector.unregister(key.fileobj)
    return bytes(streams[child.stdout]), bytes(streams[child.stderr])
