"""RAUC's own configuration (system.conf, RAUC 1.13): what it says of formats, truth and versions."""

import re
from typing import Final

SYSTEM_CONF: Final = "/etc/rauc/system.conf"
ALL_FORMATS: Final = frozenset({"plain", "verity", "crypt"})


def formats(value: str) -> frozenset[str]:
    """The bundle formats taken: `verity`, `verity crypt`, or all but those with a minus; empty means all (RAUC)."""
    words = value.split()
    named = {word for word in words if word[0] not in "+-"}
    taken = set(named or ALL_FORMATS)
    taken |= {word[1:] for word in words if word[0] == "+"}
    return frozenset(taken - {word[1:] for word in words if word[0] == "-"})


def is_true(value: str) -> bool:
    """GKeyFile's boolean."""
    return value in {"true", "1"}


def version(text: str) -> tuple[int, ...]:
    """`1.4.2` or `1.4.2-rc1+g12` as numbers; what follows them does not count."""
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()
