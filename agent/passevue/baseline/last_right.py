"""When the clock was last known to be right: left by the engine whenever TIME-01 passes, read by the rules of time.

The wall clock and CLOCK_BOOTTIME of one same moment: within a boot, a clock that was set since shows by how much; over
boots, it may never be before (TIME-03).
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from passevue.baseline.heartbeat import put
from passevue.baseline.machine import Machine
from passevue.baseline.places import baseline_folder

NAME: Final = "clock.json"
MAX_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class LastRight:
    boot_id: str
    uptime_s: float
    at: datetime

    def set_since(self, machine: Machine) -> timedelta | None:
        """By how much the clock was set since then; None when that was another boot."""
        if self.boot_id != machine.boot_id:
            return None
        return machine.now - (self.at + timedelta(seconds=machine.now_s - self.uptime_s))


def write_last_right(folder: Path, found: LastRight) -> None:
    """Blocks. Raises: OSError."""
    put(folder / NAME, json.dumps({"boot_id": found.boot_id, "uptime_s": found.uptime_s, "at": found.at.isoformat()}))


def note_right(folder: Path, machine: Machine) -> None:
    """The clock that was just found right, as it was then: it may have been set since. Blocks. Raises: OSError."""
    write_last_right(folder, LastRight(machine.boot_id, machine.now_s, machine.now))


def read_last_right(machine: Machine) -> LastRight | None:
    """None when it never was, or what is there makes no sense. Raises: OSError when it may not be read."""
    try:
        tree = json.loads(machine.read_bytes(baseline_folder(machine.config) / NAME, MAX_BYTES))
        at = datetime.fromisoformat(tree["at"])
        return LastRight(str(tree["boot_id"]), float(tree["uptime_s"]), at) if at.tzinfo is not None else None
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None
