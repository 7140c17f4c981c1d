"""The engine's heartbeat: a small file that says in which boot it last went round, by a clock nobody can set.

Wall clocks jump; CLOCK_BOOTTIME does not and is the same for every process of one boot, so an age is told by it.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from passevue.baseline.machine import Machine, Unmeasurable
from passevue.baseline.places import RUNTIME, baseline_folder

NAME: Final = "heartbeat.json"
MAX_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """`uptime_s` is CLOCK_BOOTTIME when the engine went round."""

    boot_id: str
    uptime_s: float


def write_heartbeat(folder: Path, beat: Heartbeat) -> None:
    """Blocks. Raises: OSError."""
    put(folder / NAME, json.dumps({"boot_id": beat.boot_id, "uptime_s": beat.uptime_s}))


def read_heartbeat(machine: Machine) -> Heartbeat:
    """Raises: Unmeasurable, OSError."""
    folder = RUNTIME if machine.exists(RUNTIME) else baseline_folder(machine.config)
    try:
        tree = json.loads(machine.read_bytes(f"{folder}/{NAME}", MAX_BYTES))
        return Heartbeat(str(tree["boot_id"]), float(tree["uptime_s"]))
    except (ValueError, KeyError, TypeError, RecursionError) as err:
        raise Unmeasurable("the heartbeat cannot be read") from err


def put(path: Path, text: str, mode: int = 0o640) -> None:
    """Write a small file whole or not at all; it need not survive a power cut. Blocks. Raises: OSError."""
    aside = path.with_suffix(".new")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    with open(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(aside, path)
