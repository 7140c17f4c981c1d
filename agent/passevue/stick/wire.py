"""What passes between the page and who reads the stick for it, over a Unix socket.

    page:    {"want": "bundle", "serial": "7F3A-90C1-22BE"} and a line end
    reader:  FILE {"field", "size"}   DATA bytes … (for each file)   DONE,   or TROUBLE {"code", "hint"} at any time

A frame is its kind (1 byte), the length of what follows (4, big-endian), and that. The page believes none of it: the
reader speaks with whatever was plugged in.
"""

import json
import struct
from enum import IntEnum
from typing import Any

from passevue.errors import Unreadable
from passevue.stick.chosen import Want

HEAD = struct.Struct(">BI")
MOST_ASKED = 256
MOST_JSON = 4 << 10
MOST_DATA = 256 << 10
MOST_HINT = 300


class Kind(IntEnum):
    """What a frame is."""

    FILE = 1
    DATA = 2
    DONE = 3
    TROUBLE = 4


def asking(want: Want, serial: str) -> bytes:
    return json.dumps({"want": want, "serial": serial}).encode() + b"\n"


def read_asking(line: bytes) -> tuple[Want, str]:
    """Raises: Unreadable."""
    told = _object(line)
    try:
        return Want(told["want"]), str(told["serial"])[:60]
    except (KeyError, ValueError) as err:
        raise Unreadable("not a question for the stick") from err


def frame(kind: Kind, content: bytes | dict[str, Any] = b"") -> bytes:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return HEAD.pack(kind, len(data)) + data


def read_head(head: bytes) -> tuple[Kind, int]:
    """Kind and length of what follows. Raises: Unreadable."""
    kind, length = HEAD.unpack(head)
    if kind not in list(Kind) or length > (MOST_DATA if kind == Kind.DATA else MOST_JSON):
        raise Unreadable("not a frame of the stick's reader")
    return Kind(kind), length


def read_file(content: bytes) -> tuple[str, int]:
    """Field and size in bytes. Raises: Unreadable."""
    told = _object(content)
    field, size = told.get("field"), told.get("size")
    if not isinstance(field, str) or not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise Unreadable("not a file of the stick's reader")
    return field, size


def read_trouble(content: bytes) -> tuple[str, str]:
    """Code and hint: one printable line. Raises: Unreadable."""
    told = _object(content)
    code, hint = ("".join(each for each in str(told.get(name, "")) if each.isprintable()) for name in ("code", "hint"))
    return code[:40], hint[:MOST_HINT]


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as err:
        raise Unreadable("not JSON") from err
    if not isinstance(found, dict):
        raise Unreadable("not an object")
    return found
