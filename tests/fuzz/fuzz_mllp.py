"""MLLP frames: any bytes, cut anyhow; then the next good message is served."""

from collections.abc import Iterable

from passevue.errors import Unreadable
from passevue.intake.mllp_frames import HEAD, Framer

BOUND = 4096
GOOD = b"MSH|good"


def seeds() -> Iterable[bytes]:
    yield b"\x08\x0bMSH|^~\\&|A\rPID|1\x1c\r"
    yield b"\x01\x0bone\x1c\r\r\n\x0btwo\x1c\x0bthree\x1c\n"
    yield b"\xffjunk\x0b\x0b\x0bone\x0b\x1ctwo\x1c\r"
    yield b"\x40\x0b" + b"x" * (BOUND + 1) + b"\x1c\r"


def one_input(data: bytes) -> None:
    """The first byte says in which pieces the others come."""
    piece, data = (data[0] or 1, data[1:]) if data else (1, b"")
    framer = Framer(BOUND)
    try:
        for start in range(0, len(data), piece):
            for frame in framer.feed(data[start : start + piece]):
                assert len(frame.content) <= (BOUND if frame.whole else HEAD)
            assert framer.held <= max(BOUND, HEAD) + piece + 1
    except Unreadable:
        return  # not MLLP: the connection is closed
    if framer.inside:
        framer.feed(b"\x1c\r")
    frames = framer.feed(b"\x0b" + GOOD + b"\x1c\r")
    assert frames[-1].content == GOOD
