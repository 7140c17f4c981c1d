r"""MLLP as bytes: `0x0B` message `0x1C 0x0D` (HL7 v2.5 Appendix C). No socket is here, and no HL7.

    framer = Framer(max_bytes=16 << 20)
    for frame in framer.feed(data):
        frame.content      # one message, without its frame

Rules the module keeps:

- A message ends at `0x1C 0x0D`. `0x1C` before a start block or a line feed ends it too, as some senders leave the CR
  out. Before anything else it is content, which the reader of the message refuses: to end there would take half a
  message for a whole one.
- Start blocks that follow each other are one. `0x0B` further in is content, and refused like `0x1C`.
- What stands between messages is dropped and counted; beyond `MAX_JUNK` the far side does not speak MLLP.
- A message over the bound is not held: its head is kept for the answer, the rest dropped as it comes.
- Each byte is searched once and copied at most twice, however the bytes are cut.
"""

import re
from dataclasses import dataclass

from passevue.errors import Unreadable

START = b"\x0b"
END = b"\x1c\r"
MAX_JUNK = 64 << 10
"""Bytes that are not blank between messages, over the life of a connection: what is left of a cut message may be below
it, another protocol is soon above."""
HEAD = 8 << 10  # of a message over the bound: enough for its MSH
_ENDED = re.compile(rb"\x1c[\r\n\x0b]")
_BLANKS = b"\r\n\t \x00"


@dataclass(frozen=True, slots=True)
class Frame:
    """One message. Not `whole`: it passed the bound, and `content` is its head."""

    content: bytes
    whole: bool = True


class Framer:
    """Cuts what comes on one connection into messages."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held = bytearray()  # of the message under way
        self._inside = False
        self._over = False  # the message under way passed the bound: `_held` is its head and the last byte
        self._junk = 0

    @property
    def inside(self) -> bool:
        """A message has begun and not ended."""
        return self._inside

    @property
    def held(self) -> int:
        """Bytes kept of the message under way."""
        return len(self._held)

    @property
    def over(self) -> bool:
        """The message under way passed the bound."""
        return self._over

    @property
    def junk(self) -> int:
        """Bytes dropped between messages so far, blanks apart."""
        return self._junk

    def feed(self, data: bytes) -> list[Frame]:
        """The messages that `data` ends.

        Raises:
            Unreadable: this is not MLLP; the connection is of no use any more.
        """
        frames: list[Frame] = []
        position = self._end_across(data, frames)
        while position < len(data):
            if not self._inside:
                position = self._begin(data, position)
                continue
            ended = _ENDED.search(data, position) if data.find(b"\x1c", position) >= 0 else None
            if ended is None:
                self._hold(data[position:] if position else data)
                break
            frames.append(self._finish(data[position : ended.start()]))
            position = _after(data, ended.start() + 1)
        return frames

    def _end_across(self, data: bytes, frames: list[Frame]) -> int:
        """The end block whose two bytes came apart; where to go on in `data`."""
        if not (data and self._inside and self._held.endswith(b"\x1c") and data[:1] in {b"\r", b"\n", START}):
            return 0
        del self._held[-1:]
        frames.append(self._finish(b""))
        return _after(data, 0)

    def _begin(self, data: bytes, position: int) -> int:
        start = data.find(START, position)
        junk = data[position:] if start < 0 else data[position:start]
        self._junk += len(junk.translate(None, _BLANKS))
        if self._junk > MAX_JUNK:
            raise Unreadable(f"Expected MLLP instead got {self._junk} bytes outside of messages")
        if start < 0:
            return len(data)
        self._inside = True
        return start + 1

    def _hold(self, data: bytes) -> None:
        if not self._held:
            data = data.lstrip(START)
        self._held += data
        if self._over or len(self._held) > self._max_bytes + 1:  # one more: a last 0x1C may be the end's
            self._over = True
            self._held = self._held[:HEAD] + self._held[-1:] if len(self._held) > HEAD else self._held

    def _finish(self, rest: bytes) -> Frame:
        """The message under way, ended by `rest`."""
        if self._held:
            self._held += rest
            content = bytes(self._held)
        else:
            content = rest.lstrip(START) if rest.startswith(START) else rest
        over = self._over or len(content) > self._max_bytes
        self._held = bytearray()
        self._inside = self._over = False
        return Frame(content[:HEAD], whole=False) if over else Frame(content)


def _after(data: bytes, mark: int) -> int:
    """Where to go on after the second byte of an end block: a start block there opens the next message."""
    return mark if data[mark : mark + 1] == START else mark + 1
