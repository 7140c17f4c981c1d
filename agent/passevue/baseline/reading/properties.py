"""`systemctl show`: blocks of `Name=value` lines, an empty line between units (systemctl(1))."""

from collections.abc import Mapping

from passevue.errors import Unreadable

Properties = Mapping[str, str]


def read_blocks(text: str) -> tuple[Properties, ...]:
    """Raises: Unreadable when a line is no property, or there is no block at all."""
    blocks = [_block(block) for block in text.split("\n\n") if block.strip()]
    if not blocks:
        raise Unreadable("systemctl showed nothing")
    return tuple(blocks)


def _block(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.strip("\n").splitlines():
        name, equals, value = line.partition("=")
        if not equals or not name.isascii() or not name.isalnum():
            raise Unreadable("a line of systemctl show is no property")
        found[name] = value
    return found


def read_units(text: str) -> dict[str, Properties]:
    """By `Id`. Raises: Unreadable when a block has none."""
    blocks = read_blocks(text)
    if any(not each.get("Id") for each in blocks):
        raise Unreadable("systemctl showed a unit without a name")
    return {each["Id"]: each for each in blocks}


def is_ours(unit: Properties) -> bool:
    """A service of this project that keeps running: not one that does a thing and ends."""
    return unit["Id"].startswith("passevue-") and unit["Id"].endswith(".service") and unit.get("Type") != "oneshot"


def seconds(value: str) -> float:
    """A duration as systemctl prints it: `1min 30s`, `500ms`, `infinity`, `0`. Raises: Unreadable."""
    if value == "infinity":
        return float("inf")
    total = 0.0
    for word in value.split():
        digits = word.rstrip("abcdefghijklmnopqrstuvwxyzµ")
        try:
            total += float(digits) * _UNITS[word[len(digits) :]]
        except (KeyError, ValueError) as err:
            raise Unreadable("a duration of systemctl is not in its form") from err
    if not value.split():
        raise Unreadable("a duration of systemctl is empty")
    return total


_UNITS = {"": 1e-6, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0,
          "w": 604800.0, "month": 2629800.0, "y": 31557600.0}  # fmt: skip
