"""The verdict: what `national` may open on, left by the engine as a small file and asked by the other zones.

    leave = Leave(folder, strict=machine.appliance)
    running.append(Running("leave", leave.run))
    leave.closed                       # ids of the rules that keep the national side shut; () when it is open
    leave.held(Function.SIGN_IN)       # ids of the rules that hold a function

Rules (security-baseline.md § 1.5):
- On the appliance no verdict is a no: a file that is missing, unreadable, of another boot, past its time or left by
  anybody but the engine's own user closes the national side. Its age is told by CLOCK_BOOTTIME, which nobody sets.
- It lies in a folder of this boot (`places.RUNTIME`), since zones that are shown nothing of the kernel know no boot id.
- Elsewhere nothing is ever closed or held.
- The file is read again every second on a thread; whoever asks gets what was read last.
"""

import asyncio
import json
import os
import pwd
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog

from passevue.baseline.heartbeat import put
from passevue.baseline.machine import Machine
from passevue.baseline.places import ROOT, baseline_folder, live_folder
from passevue.baseline.rule import Function
from passevue.config import Config
from passevue.errors import TrustError

NAME: Final = "verdict.json"
SCHEMA: Final = 1
MAX_BYTES: Final = 16 << 10
ASK_EVERY_S: Final = 1.0
WITH_NATIONAL: Final = frozenset({Function.PUBLICATION, Function.CONSULTATION, Function.SIGN_IN})
NO_VERDICT: Final = "APP-01"  # what a missing verdict is told as
ENGINE_USER: Final = "passevue-host"
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What stops now, and until when (CLOCK_BOOTTIME of `boot_id`) that may be believed."""

    boot_id: str
    good_until_s: float
    closed: tuple[str, ...]
    held: Mapping[Function, tuple[str, ...]] = field(default_factory=dict)

    def to_json(self) -> str:
        held = {function.value: list(ids) for function, ids in self.held.items()}
        return json.dumps(
            {
                "schema": SCHEMA,
                "boot_id": self.boot_id,
                "good_until_s": self.good_until_s,
                "closed": list(self.closed),
                "held": held,
            }
        )


def write_verdict(folder: Path, verdict: Verdict) -> None:
    """Blocks. Raises: OSError."""
    put(folder / NAME, verdict.to_json())


def read_verdict(path: Path, boot_id: str | None, uptime_s: float, owners: frozenset[int]) -> Verdict:
    """The verdict of this boot. Blocks. `boot_id` None: nothing in that folder is older than this boot.

    Raises:
        TrustError: there is none that may be believed now; the message says why.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            seen = os.fstat(handle)
            if not stat.S_ISREG(seen.st_mode) or seen.st_uid not in owners or seen.st_mode & 0o022:
                raise TrustError("the verdict was not left by the engine")
            verdict = _parsed(file.read(MAX_BYTES))
    except OSError as err:
        raise TrustError(f"there is no verdict: {err.strerror}") from err
    if boot_id is not None and (not boot_id or verdict.boot_id != boot_id):
        raise TrustError("the verdict is of another boot")
    if not uptime_s <= verdict.good_until_s:
        raise TrustError("the verdict is too old")
    return verdict


def _parsed(data: bytes) -> Verdict:
    try:
        tree = json.loads(data)
        if tree["schema"] != SCHEMA:
            raise TrustError("the verdict has another schema")
        return Verdict(
            boot_id=str(tree["boot_id"]),
            good_until_s=float(tree["good_until_s"]),
            closed=tuple(str(each) for each in tree["closed"]),
            held={Function(name): tuple(map(str, ids)) for name, ids in tree["held"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as err:
        raise TrustError("the verdict cannot be read") from err


def engine_users() -> frozenset[int]:
    """Who may have left the verdict: root, the engine's own user, and this process where it is the engine too."""
    users = {0, os.geteuid()}
    try:
        users.add(pwd.getpwnam(ENGINE_USER).pw_uid)
    except KeyError:
        return frozenset(users)
    return frozenset(users)


def open_leave(config: Config, clock: Callable[[], datetime], root: Path = ROOT) -> "Leave":
    """What the engine's verdict allows a process of this box. Blocks. Raises: OSError."""
    folder = live_folder(config, root)
    strict = Machine(root, now=clock()).appliance
    return Leave(folder, strict=strict, of_this_boot=folder != baseline_folder(config))


class Leave:
    """What the verdict allows, for one process. `run` returns only when cancelled.

    Args:
        folder: where the engine leaves the verdict.
        strict: whether this is the appliance.
        uptime_s, boot_id: CLOCK_BOOTTIME, and of which boot; read on a thread.
        of_this_boot: the folder is new at each boot, so that what lies in it is; `boot_id` is not asked.
    """

    name = "leave"

    def __init__(
        self,
        folder: Path,
        *,
        strict: bool,
        uptime_s: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
        boot_id: Callable[[], str] = lambda: BOOT_ID.read_text(encoding="ascii").strip(),
        of_this_boot: bool = False,
        ask_every_s: float = ASK_EVERY_S,
    ) -> None:
        self._path = folder / NAME
        self._strict = strict
        self._uptime_s = uptime_s
        self._boot_id = boot_id
        self._of_this_boot = of_this_boot
        self._ask_every_s = ask_every_s
        self._verdict: Verdict | None = None
        self._told: tuple[str, ...] | None = None

    @property
    def closed(self) -> tuple[str, ...]:
        """Ids of the rules that keep the national side shut; () when it is open."""
        if not self._strict:
            return ()
        verdict = self._verdict
        if verdict is None or not self._uptime_s() <= verdict.good_until_s:
            return (NO_VERDICT,)
        return verdict.closed

    def held(self, function: Function) -> tuple[str, ...]:
        """Ids of the rules that stop `function`. While the national side is shut, so is what leads to it, and nobody
        types a code into a box that cannot say that it is sound."""
        if function in WITH_NATIONAL and self.closed:
            return self.closed
        verdict = self._verdict
        return verdict.held.get(function, ()) if self._strict and verdict is not None else ()

    async def run(self) -> None:
        """Ask again every second, until cancelled."""
        while True:
            await self.ask()
            await asyncio.sleep(self._ask_every_s)

    async def ask(self) -> None:
        """Read the verdict once."""
        if self._strict:
            self._verdict = await asyncio.to_thread(self._read)
            self._tell(self.closed)

    def _read(self) -> Verdict | None:
        try:
            boot_id = None if self._of_this_boot else self._boot_id()
            return read_verdict(self._path, boot_id, self._uptime_s(), engine_users())
        except (TrustError, OSError):
            return None

    def _tell(self, closed: tuple[str, ...]) -> None:
        if closed == self._told:
            return
        self._told = closed
        if closed:
            log.error("national_closed", rules=" ".join(closed))
        else:
            log.info("national_open")
