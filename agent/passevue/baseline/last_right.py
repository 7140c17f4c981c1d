"""When the clock was last known to be right: left by the engine whenever TIME-01 passes, read by the rules of time.

The wall clock and CLOCK_BOOTTIME of one same moment: within a boot, a clock that was set since shows by how much. And a
floor, over boots: the latest of these moments, which the clock may never be before (TIME-03). One server that says
otherwise does not lower it, since nobody knows whether that one is who it seems; one that proves itself does, or two
that agree: a server may also have been wrong the other way.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from passevue.baseline.heartbeat import put
from passevue.baseline.machine import Machine
from passevue.baseline.places import baseline_folder
from passevue.baseline.reading.chrony import authenticated, read_sources

NAME: Final = "clock.json"
MAX_BYTES: Final = 4096
AGREEING: Final = 2  # sources without proof
LIFE: Final = timedelta(days=15 * 365)  # no image is used for longer


@dataclass(frozen=True, slots=True)
class LastRight:
    boot_id: str
    uptime_s: float
    at: datetime
    floor: datetime

    def set_since(self, machine: Machine) -> timedelta | None:
        """By how much the clock was set since then; None when that was another boot."""
        if self.boot_id != machine.boot_id:
            return None
        return machine.now - (self.at + timedelta(seconds=machine.now_s - self.uptime_s))


def write_last_right(folder: Path, found: LastRight) -> None:
    """Blocks. Raises: OSError."""
    tree = {
        "boot_id": found.boot_id,
        "uptime_s": found.uptime_s,
        "at": found.at.isoformat(),
        "floor": found.floor.isoformat(),
    }
    put(folder / NAME, json.dumps(tree))


def note_right(folder: Path, machine: Machine) -> None:
    """The clock that was just found right, as it was then: it may have been set since. Blocks.

    Raises:
        OSError. Unreadable, Unmeasurable: chrony's own words make no sense; nothing is noted then.
    """
    write_last_right(folder, LastRight(machine.boot_id, machine.now_s, machine.now, _floor(machine)))


def _floor(machine: Machine) -> datetime:
    known, built = read_last_right(machine), machine.manifest.built_at
    before = known.floor if known is not None else built
    if machine.now > built + LIFE:
        return before
    return machine.now if machine.now > before or _is_proven(machine) else before


def _is_proven(machine: Machine) -> bool:
    """Whether more than one server's word stands for the clock: chrony follows none that a proven one contradicts."""
    agreeing = [source for source in read_sources(machine.facts.text("chrony_sources")) if source.agrees]
    return len(agreeing) >= AGREEING or authenticated(machine.facts.text("chrony_authdata")) > 0


def read_last_right(machine: Machine) -> LastRight | None:
    """None when it never was, or what is there makes no sense. Raises: OSError when it may not be read."""
    try:
        tree = json.loads(machine.read_bytes(baseline_folder(machine.config) / NAME, MAX_BYTES))
        at = _moment(tree["at"])
        floor = _moment(tree.get("floor", tree["at"]))  # an older release left none
        return LastRight(str(tree["boot_id"]), float(tree["uptime_s"]), at, floor)
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _moment(text: str) -> datetime:
    """Raises: ValueError."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a time of no zone")
    return found
