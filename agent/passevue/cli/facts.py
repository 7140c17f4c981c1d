"""`passevue baseline facts`: what only root sees of the system, written down for the engine.

    passevue baseline facts --config F                    all of it, by hand, as root
    passevue baseline facts --config F --only devices     what one of the three units reads (`baseline.collect`)

systemd runs it every four minutes, three times: it loads nothing that it does not need, not even the library that
reads the configuration, of which it wants one folder.
"""

import os
import pwd
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from passevue.baseline import facts
from passevue.baseline.collect import ALL, HANDS, Hand, collect, joined, with_part
from passevue.baseline.facts import Facts
from passevue.baseline.machine import Machine, Unmeasurable
from passevue.baseline.places import ROOT
from passevue.cli.exits import Exit
from passevue.errors import Unreadable
from passevue.zones.part import group

USER = "passevue-facts"  # of the unit that needs not be root


def gather(config_path: Path, only: Hand | None = None, place: Path | None = None, root: Path = ROOT) -> int:
    """Leave one round of facts in `place`; the exit code. Blocks. `only`: what that unit reads."""
    names = HANDS[only] if only else ALL
    folder = _data_dir(config_path) if "room" in names else None
    machine = Machine(root, now=datetime.now(UTC), config_path=config_path, data_dir=folder)
    place = place if place is not None else root / _place(only).lstrip("/")
    try:
        found = collect(machine, _left(place, os.geteuid()), names)
        if only is Hand.REST:
            found = _with_parts(found, root, machine)
        if _is_apart(only):
            facts.write(place, found)
        else:
            facts.write(place, joined(found), group=group())
    except (OSError, Unreadable, Unmeasurable) as error:
        return _not_written(error)
    return Exit.DONE


def _data_dir(config_path: Path) -> Path | None:
    """None when the configuration is wrong: APP-03 says so, and the other facts are read all the same."""
    from passevue.cli.glance import path_in  # a third of what this program loads, and two of its three runs do without

    return path_in(config_path, "box", "data_dir")


def _with_parts(found: Facts, root: Path, machine: Machine) -> Facts:
    owners: dict[Hand, Callable[[], int]] = {Hand.DEVICES: os.geteuid, Hand.NETWORK: _facts_user}
    for hand, owner in owners.items():
        place = root / facts.PART_PLACE.format(hand=hand).lstrip("/")
        left: Facts | Exception
        try:
            left = facts.read(place, owner=owner())
        except (OSError, Unreadable, KeyError) as error:
            left = error
        found = with_part(found, hand, left, machine.uptime_s)
    return found


def _facts_user() -> int:
    """Raises: KeyError when the machine has no such user."""
    return pwd.getpwnam(USER).pw_uid


def _is_apart(only: Hand | None) -> bool:
    return only not in (None, Hand.REST)


def _place(only: Hand | None) -> str:
    return facts.PART_PLACE.format(hand=only) if _is_apart(only) else facts.PLACE


def _left(place: Path, owner: int) -> Facts | None:
    try:
        return facts.read(place, owner=owner)
    except (OSError, Unreadable):
        return None


def _not_written(error: Exception) -> int:
    from passevue.baseline.report import EXIT_ENGINE_FAILED
    from passevue.config import printable

    print(f"Le relevé n’a pas pu être écrit. {printable(str(error))}", file=sys.stderr)
    return EXIT_ENGINE_FAILED
