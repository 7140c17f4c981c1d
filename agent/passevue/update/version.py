"""Versions of the image: numbers and dots. The same order as the programs that choose a slot (image/rauc,
slots/boot.py).
"""

import re

from passevue.errors import Unreadable

_FORM = re.compile(r"\d{1,9}(\.\d{1,9}){1,3}", re.ASCII)


def order(version: str) -> tuple[int, ...]:
    """What versions are compared by: 1.4 is 1.4.0, and 1.10 comes after 1.9.

    Raises:
        Unreadable: not a version of ours.
    """
    if not _FORM.fullmatch(version):
        raise Unreadable("expected a version of two to four numbers")
    numbers = [int(part) for part in version.split(".")]
    return tuple(numbers + [0] * (4 - len(numbers)))
