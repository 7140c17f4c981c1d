"""`passevue baseline facts`: what only root sees of the system, written down for the engine.

systemd runs it every four minutes: it loads nothing that it does not need.
"""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from passevue.baseline import facts
from passevue.baseline.collect import collect
from passevue.baseline.machine import Machine, Unmeasurable
from passevue.baseline.places import ROOT
from passevue.baseline.report import EXIT_ENGINE_FAILED
from passevue.cli.exits import Exit
from passevue.config import Config, printable
from passevue.config_check import load_checked
from passevue.errors import ConfigError, Unreadable
from passevue.zones.part import group


def gather(config_path: Path, place: Path = Path(facts.PLACE), root: Path = ROOT) -> int:
    """Leave one round of facts in `place`; the exit code. Blocks."""
    machine = Machine(root, now=datetime.now(UTC), config=read_config(config_path), config_path=config_path)
    try:
        before = facts.read(place, owner=os.geteuid())
    except (OSError, Unreadable):
        before = None
    try:
        facts.write(place, collect(machine, before), group=group())
    except (OSError, Unreadable, Unmeasurable) as error:
        print(f"Le relevé n’a pas pu être écrit. {printable(str(error))}", file=sys.stderr)
        return EXIT_ENGINE_FAILED
    return Exit.DONE


def read_config(path: Path) -> Config | None:
    """None when it is wrong: APP-03 says so, and the other rules are looked at all the same."""
    try:
        return load_checked(path)
    except ConfigError:
        return None
