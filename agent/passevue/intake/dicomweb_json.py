"""DICOM JSON as a QIDO-RS answer has it, from bytes to rows of keys (PS3.18 annex F).

Bounds are checked before the parser sees the bytes: `MAX_JSON` bytes, `MAX_DEPTH` levels. A member given twice, or a
number that JSON does not have (NaN), makes the whole answer unreadable: two readers must never see two things.
`BulkDataURI` and `InlineBinary` are never followed nor read.
"""

import itertools
import json
import re
from typing import Any, NoReturn

from passevue.errors import Unreadable
from passevue.intake.pacs_identifier import TAGS

MAX_JSON = 64 << 20  # reliability § 8
MAX_DEPTH = 32
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_KEYWORDS = {f"{tag:08X}": keyword for keyword, tag in TAGS.items()}


def read_rows(data: bytes) -> list[dict[str, str]]:
    """The rows of a QIDO-RS answer: keywords that we know and their first value as text; no value, no key.

    Raises:
        Unreadable: not JSON, past a bound, or not a list of data sets.
    """
    answer = _load(data)
    if not isinstance(answer, list) or not all(isinstance(row, dict) for row in answer):
        raise Unreadable("QIDO-RS answer is not a list of data sets")
    return [_row(row) for row in answer]


def _load(data: bytes) -> Any:
    if len(data) > MAX_JSON:
        raise Unreadable(f"JSON of {len(data)} bytes, {MAX_JSON} at most are taken")
    depths = itertools.accumulate(map(_STEP.__getitem__, _STRING.sub(b"", data).translate(None, _BRACKETS)))
    if max(depths, default=0) > MAX_DEPTH:
        raise Unreadable(f"JSON deeper than {MAX_DEPTH} levels")
    try:
        return json.loads(
            data.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_no_constant, parse_int=_integer
        )
    except (ValueError, RecursionError) as err:
        raise Unreadable(f"not JSON: {type(err).__name__}") from err


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Unreadable("a JSON object has the same member twice")
    return members


def _no_constant(name: str) -> NoReturn:
    raise Unreadable(f"JSON has no {name}")


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) < 20 else digits  # what is longer is no number of DICOM's


def _row(data_set: dict[str, Any]) -> dict[str, str]:
    row: dict[str, str] = {}
    for tag, attribute in data_set.items():
        keyword = _KEYWORDS.get(tag.upper())
        if keyword and (value := _first(attribute)):
            if keyword in row:
                raise Unreadable(f"{keyword} is given twice in one answer")
            row[keyword] = value
    return row


def _first(attribute: Any) -> str:
    """The first value as text; PN by its Alphabetic group; empty when there is none."""
    if not isinstance(attribute, dict):
        raise Unreadable("an attribute of a QIDO-RS answer is not an object")
    values = attribute.get("Value")
    if not isinstance(values, list) or not values:
        return ""
    value = values[0]
    if isinstance(value, dict):
        value = value.get("Alphabetic", "")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip("\0 ") if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
