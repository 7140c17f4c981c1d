"""multipart/related as a WADO-RS answer has it: bytes in, events out, no socket (RFC 2046 § 5.1, RFC 2387).

Feed pieces of any size; a part's content comes out as it comes in, and nothing more than a delimiter's length is ever
held back, so that an image of any size passes through::

    parser = Multipart(boundary_of(content_type), max_part=32 << 20)
    for event in parser.feed(piece): ...
    parser.close()

Facts:
- The delimiter is CRLF, two hyphens and the boundary; the CRLF belongs to it, not to the part before. The first one
  may stand at the very beginning. Spaces may follow it.
- Content that holds the boundary's text without the line break before it is content.
- Bare LF line breaks are not taken: in DICOM content they would cut images in two.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from passevue.errors import Unreadable

MAX_PARTS = 10_000  # reliability § 8
MAX_PART_HEADER = 8 << 10
MAX_PADDING = 256  # spaces after a delimiter
MAX_PREAMBLE = 8 << 10
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]", re.ASCII)
_PARAMETER = re.compile(r';\s*([!#$%&\'*+\-.^_`|~0-9A-Za-z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s";]+))', re.ASCII)
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\r\n\0]*?)[ \t]*")


@dataclass(frozen=True, slots=True)
class PartBegins:
    """A part; `headers` by lower-case name."""

    headers: dict[str, str] = field(default_factory=dict)

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class PartData:
    data: bytes


@dataclass(frozen=True, slots=True)
class PartEnds:
    pass


Event = PartBegins | PartData | PartEnds


class _At(Enum):
    PREAMBLE = auto()  # before the first delimiter
    DELIMITER = auto()  # just after a delimiter: the next bytes say whether it was the last
    HEADER = auto()
    CONTENT_BEGINS = auto()  # at the line break that ends the header section, or belongs to a delimiter
    CONTENT = auto()
    EPILOGUE = auto()  # after the closing delimiter: ignored


def boundary_of(content_type: str) -> str:
    """The boundary that a `multipart/related` Content-Type names.

    Raises:
        Unreadable: another type, no boundary, two, or one that RFC 2046 does not allow.
    """
    media_type, _, _ = content_type.partition(";")
    if media_type.strip().lower() != "multipart/related":
        raise Unreadable("Expected multipart/related instead got another type")
    boundaries = [
        quoted or plain for name, quoted, plain in _PARAMETER.findall(content_type) if name.lower() == "boundary"
    ]
    if len(boundaries) != 1 or not _BOUNDARY.fullmatch(boundaries[0]):
        raise Unreadable("multipart/related without one boundary that is one")
    return str(boundaries[0])


class Multipart:
    """Reads one multipart body. After an error it is of no more use."""

    def __init__(self, boundary: str, *, max_part: int, max_parts: int = MAX_PARTS) -> None:
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        self._max_part = max_part
        self._max_parts = max_parts
        self._at = _At.PREAMBLE
        self._buffer = bytearray(b"\r\n")  # so that a delimiter at the very beginning is one
        self._parts = 0
        self._part_bytes = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """What `data` brings.

        Raises:
            Unreadable: a bound is passed or the form is broken.
        """
        if self._at is _At.EPILOGUE:
            return
        self._buffer += data
        while (event := self._step()) is not None:
            if not isinstance(event, _Moved):
                yield event

    def close(self) -> None:
        """The body has ended.

        Raises:
            Unreadable: before its closing delimiter.
        """
        if self._at is not _At.EPILOGUE:
            raise Unreadable("multipart body ends without its closing delimiter")

    def _step(self) -> "Event | _Moved | None":
        match self._at:
            case _At.PREAMBLE:
                return self._preamble()
            case _At.DELIMITER:
                return self._after_delimiter()
            case _At.HEADER:
                return self._header()
            case _At.CONTENT_BEGINS:
                return self._content_begins()
            case _At.CONTENT:
                return self._content()
            case _At.EPILOGUE:
                self._buffer.clear()
                return None

    def _preamble(self) -> "_Moved | None":
        found = self._buffer.find(self._delimiter)
        if (found if found >= 0 else len(self._buffer)) > MAX_PREAMBLE:
            raise Unreadable("multipart body without a delimiter where it should begin")
        if found < 0:
            return None
        return self._move(_At.DELIMITER, found + len(self._delimiter))

    def _after_delimiter(self) -> "_Moved | None":
        if self._buffer.startswith(b"--"):
            return self._move(_At.EPILOGUE, len(self._buffer))
        end = self._buffer.find(b"\r\n")
        if (end if end >= 0 else len(self._buffer)) > MAX_PADDING:
            raise Unreadable("multipart delimiter followed by something else than a line break")
        if end < 0 or self._buffer == b"-":
            return None
        if self._buffer[:end].strip(b" \t"):
            raise Unreadable("multipart delimiter followed by something else than a line break")
        self._parts += 1
        if self._parts > self._max_parts:
            raise Unreadable(f"multipart body of more than {self._max_parts} parts")
        return self._move(_At.HEADER, end)  # the line break stays: a header section may be empty

    def _header(self) -> PartBegins | None:
        end = self._buffer.find(b"\r\n\r\n")
        if (end if end >= 0 else len(self._buffer)) > MAX_PART_HEADER:
            raise Unreadable(f"multipart header section longer than {MAX_PART_HEADER} bytes")
        if end < 0:
            return None
        headers = _headers(bytes(self._buffer[2:end]))
        del self._buffer[: end + 2]  # the last line break stays: the content may be empty
        self._at = _At.CONTENT_BEGINS
        self._part_bytes = 0
        return PartBegins(headers)

    def _content_begins(self) -> "PartEnds | _Moved | None":
        if self._buffer.startswith(self._delimiter):
            return self._part_ends()
        if self._delimiter.startswith(self._buffer):
            return None
        return self._move(_At.CONTENT, 2)

    def _content(self) -> "PartData | PartEnds | None":
        found = self._buffer.find(self._delimiter)
        if found == 0:
            return self._part_ends()
        end = found if found > 0 else len(self._buffer) - len(self._delimiter) + 1
        if end <= 0:
            return None
        self._part_bytes += end
        if self._part_bytes > self._max_part:
            raise Unreadable(f"multipart part longer than {self._max_part} bytes")
        data = bytes(self._buffer[:end])
        del self._buffer[:end]
        return PartData(data)

    def _part_ends(self) -> PartEnds:
        self._move(_At.DELIMITER, len(self._delimiter))
        return PartEnds()

    def _move(self, at: _At, consumed: int) -> "_Moved":
        del self._buffer[:consumed]
        self._at = at
        return _Moved()


class _Moved:
    """A step that brought nothing but another state."""


def _headers(section: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in section.split(b"\r\n") if section else ():
        match = _HEADER.fullmatch(line)
        if match is None:
            raise Unreadable("multipart header line that is none")
        name = match[1].decode("ascii").lower()
        if name in headers:
            raise Unreadable(f"multipart header {name!r} given twice")
        headers[name] = match[2].decode("latin-1")
    return headers
