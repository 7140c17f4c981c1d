"""`rauc status --output-format=json`: which slot runs, which one would start next, which are good.

Fact: `slots` is a list of objects with one key, the slot's name; only slots with a `bootname` have a `boot_status`.
"""

from dataclasses import dataclass
from typing import Any

from passevue.errors import Unreadable


@dataclass(frozen=True, slots=True)
class Slot:
    name: str
    bootname: str
    booted: bool
    good: bool


@dataclass(frozen=True, slots=True)
class Slots:
    """`primary` is the slot's name that starts next; `bootable` those with a boot name."""

    primary: str
    bootable: tuple[Slot, ...]

    @property
    def booted(self) -> Slot:
        """Raises: Unreadable when not exactly one runs."""
        found = [each for each in self.bootable if each.booted]
        if len(found) != 1:
            raise Unreadable(f"{len(found)} slots run")
        return found[0]


def read_slots(tree: Any) -> Slots:
    """Raises: Unreadable."""
    try:
        slots = [(str(name), body) for each in tree["slots"] for name, body in each.items()]
        return Slots(
            primary=str(tree["boot_primary"] or ""),
            bootable=tuple(
                Slot(name, str(body["bootname"]), body["state"] == "booted", body["boot_status"] == "good")
                for name, body in slots
                if body.get("bootname")
            ),
        )
    except (KeyError, TypeError, AttributeError) as err:
        raise Unreadable("rauc's status is not in its form") from err
