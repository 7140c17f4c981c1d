"""multipart/related of a WADO-RS answer: any bytes, in pieces of any size, are read or refused; the next body is read.

The first byte is the size of the pieces. What comes out must not depend on it.
"""

import contextlib
from collections.abc import Iterable

from passevue.errors import Unreadable
from passevue.intake.dicomweb_multipart import Multipart, PartBegins, PartData, boundary_of

MAX_PART = 4096
GOOD = b"--b0\r\nContent-Type: application/dicom\r\n\r\nDICM\r\n--b0--\r\n"


def parts(body: bytes, size: int) -> list[tuple[dict[str, str], bytes]]:
    parser = Multipart("b0", max_part=MAX_PART, max_parts=20)
    found: list[tuple[dict[str, str], bytes]] = []
    for at in range(0, len(body), size):
        for event in parser.feed(body[at : at + size]):
            if isinstance(event, PartBegins):
                found.append((event.headers, b""))
            elif isinstance(event, PartData):
                found[-1] = (found[-1][0], found[-1][1] + event.data)
    parser.close()
    return found


def read(body: bytes, size: int) -> list[tuple[dict[str, str], bytes]] | None:
    try:
        return parts(body, size)
    except Unreadable:
        return None


def one_input(data: bytes) -> None:
    size, body = (data[0] or 1, data[1:]) if data else (1, b"")
    if read(body, size) != read(body, len(body) or 1):
        raise AssertionError("what is read depends on the pieces it comes in")
    with contextlib.suppress(Unreadable):
        boundary_of("multipart/related; " + body.decode("latin-1"))
    if parts(GOOD, size) != [({"content-type": "application/dicom"}, b"DICM")]:
        raise AssertionError("the next good body is not read")


def seeds() -> Iterable[bytes]:
    yield b"\x07" + GOOD
    yield b"\x01--b0 \t\r\n\r\n\r\n--b\r\n\r\n--b0\r\nA: b\r\n\r\n\r\n--b0--"
    yield b'\x10boundary="b0"; type="application/dicom"'
