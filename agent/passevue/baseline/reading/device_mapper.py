"""What device-mapper says: `dmsetup table` and `dmsetup status`, and the names of its devices.

Facts: a line is `name: start length target parameters`. A verity table is `version data hash block block blocks first
algorithm digest salt [n options…]`; its status begins with `V`, or `C` once a block was wrong, and newer kernels append
fields (Documentation/admin-guide/device-mapper/verity.rst). A crypt table hides its key unless asked for it.
"""

import re
from dataclasses import dataclass

from passevue.errors import Unreadable


@dataclass(frozen=True, slots=True)
class Target:
    """One line: `words` are the target's parameters or status."""

    name: str
    kind: str
    words: tuple[str, ...]


def read_targets(text: str) -> tuple[Target, ...]:
    """Raises: Unreadable."""
    lines = [line for line in text.splitlines() if line.strip() and line.strip() != "No devices found"]
    return tuple(_target(line) for line in lines)


def _target(line: str) -> Target:
    found = re.fullmatch(r"(\S+?): (\d+) (\d+) (\S+)(?: (.*))?", line.strip())
    if found is None:
        raise Unreadable("a line of dmsetup is not in its form")
    return Target(found[1], found[4], tuple((found[5] or "").split()))


@dataclass(frozen=True, slots=True)
class Verity:
    """A verity table: its root hash, and what it does when a block is wrong."""

    name: str
    digest: str
    options: frozenset[str]


def read_verity(target: Target) -> Verity:
    """Raises: Unreadable."""
    if target.kind != "verity" or len(target.words) < 10 or not re.fullmatch(r"[0-9a-f]{32,128}", target.words[8]):
        raise Unreadable("a verity table is not in its form")
    return Verity(target.name, target.words[8], frozenset(target.words[11:]))


def read_mapped(text: str) -> dict[str, str]:
    """`major:minor name` a line, as name = major:minor. Raises: Unreadable."""
    mapped: dict[str, str] = {}
    for line in filter(None, text.splitlines()):
        device, space, name = line.partition(" ")
        if not space or not re.fullmatch(r"\d+:\d+", device):
            raise Unreadable("a mapped device is not in its form")
        mapped[name] = device
    return mapped
