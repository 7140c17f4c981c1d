"""JSON from outside, read strictly: what two parsers could read in two ways is not read at all (reliability N-16).

Refused: more than 1 MiB, not UTF-8, a key twice, NaN and infinities, more than 32 levels, text that is no Unicode,
numbers of thousands of digits. `text`, `moment` and `strings` take one value of a known type out of an object.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from passevue.errors import Unreadable

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_TEXT = 4096  # a refresh token of Keycloak has 800 characters
_LATEST = 253_402_300_799  # 9999-12-31, the last moment that `datetime` knows


def read_object(data: bytes, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The JSON object in `data`.

    Raises:
        Unreadable: it is none, or passes a bound.
    """
    if len(data) > max_bytes:
        raise Unreadable(f"expected at most {max_bytes} bytes of JSON, got {len(data)}")
    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as err:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise Unreadable(f"expected JSON: {type(err).__name__}") from err
    if not isinstance(found, dict):
        raise Unreadable(f"expected a JSON object, got {type(found).__name__}")
    _check(found, MAX_DEPTH)
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _check(value: object, depth: int) -> None:
    if depth < 0:
        raise Unreadable(f"expected at most {MAX_DEPTH} levels of JSON")
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            raise Unreadable("expected Unicode text in JSON")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise Unreadable("expected finite numbers in JSON")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check(key, depth - 1)
            _check(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth - 1)


def text(found: Mapping[str, Any], name: str, longest: int = MAX_TEXT) -> str:
    """The string `name`; "" when absent or null.

    Raises:
        Unreadable: it is something else, or too long.
    """
    value = found.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > longest:
        raise Unreadable(f"expected text of at most {longest} characters in {name}")
    return value


def strings(found: Mapping[str, Any], name: str, most: int = 64) -> tuple[str, ...]:
    """The list of strings `name`; a string alone is a list of one; () when absent or null.

    Raises:
        Unreadable: it is something else, or too long.
    """
    value = found.get(name)
    if value is None:
        return ()
    items = value if isinstance(value, list) else [value]
    if len(items) > most or not all(isinstance(item, str) and len(item) <= MAX_TEXT for item in items):
        raise Unreadable(f"expected at most {most} texts in {name}")
    return tuple(items)


def moment(found: Mapping[str, Any], name: str) -> float | None:
    """The seconds since 1970 in `name` (RFC 7519 § 2, NumericDate); None when absent.

    Raises:
        Unreadable: it is no number, or beyond the calendar. `true` is no number.
    """
    value = found.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST:
        raise Unreadable(f"expected seconds since 1970 in {name}")
    return float(value)


def seconds(found: Mapping[str, Any], name: str, default: float, most: float) -> float:
    """The duration `name`, between 0 and `most`: a far side cannot park us.

    Raises:
        Unreadable: it is no number.
    """
    value = found.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not -math.inf <= value <= math.inf:
        raise Unreadable(f"expected seconds in {name}")
    return float(min(max(value, 0), most))
