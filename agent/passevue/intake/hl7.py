r"""HL7 v2 messages as bytes: separators, segments, fields, charset, escapes. No rule of any message type is here.

Rules the module keeps:

- A message is cut, never decoded whole: the 325 kB of a document in OBX-5.5 stay bytes. Text is decoded where it is
  read.
- Nothing is split without a bound (reliability § 8): what would pass it is refused, not cut off.
- What cannot be read raises `Hl7Error` with the code and the location to answer; text is data, never markup.

Facts:

- MSH-1 is the separator itself, so field n of MSH is at index n - 1 after splitting; `Segment` hides this.
- Separators come from MSH-1 and MSH-2 (HL7 v2.5 § 2.5.4). A fifth character of MSH-2 is the truncation mark of 2.7.
- Senders end segments with CR, LF or CRLF (hl7v2.md § 2). A line that does not open with a segment name goes on with
  the line before it: `patient1.hl7` has such a break inside OBX-3, and some senders wrap base64.
- `patient1.hl7` says `8859/1` and is UTF-8. Text with accents that decodes as UTF-8, to western signs, is UTF-8,
  whatever a declared 8859/1 or 8859/15 says. A declared UTF-8 that does not decode is refused: an identity is not
  guessed.

    message = parse(raw)
    pid = message.only("PID")
    pid.text(5, 2)    # PID-5.2
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from passevue.errors import Hl7Error, Unreadable

MAX_SEGMENTS = 5_000
MAX_FIELDS = 500
MAX_REPETITIONS = 1_000
MAX_COMPONENTS = 1_000
MAX_TEXT_BYTES = 64 << 10
"""Longest value read as text: ten times the longest that any field of the volet holds."""

_BOM = b"\xef\xbb\xbf"
_SEGMENT_NAME = re.compile(rb"[A-Z][A-Z0-9]{2}")
_FORBIDDEN = (b"\x00", b"\x0b", b"\x1c")
# Table 0211 as senders spell it (hl7v2.md § 2), and the Python codec.
_CODECS = {
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
    "8859/15": "iso8859-15",
    "8859/1": "iso8859-1",
    "ASCII": "utf-8",
    "": "utf-8",
}
_PAYLOAD_BYTES = 32 << 10  # a segment longer than this carries a document: not looked at to tell the charset
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Separators:
    """MSH-1 and MSH-2, one byte each."""

    field: bytes = b"|"
    component: bytes = b"^"
    repetition: bytes = b"~"
    escape: bytes = b"\\"
    subcomponent: bytes = b"&"

    @property
    def all(self) -> bytes:
        return self.field + self.component + self.repetition + self.escape + self.subcomponent


STANDARD = Separators()


class Segment:
    """One segment. Fields, components and subcomponents are numbered from 1 as the standard does.

    Raises:
        Hl7Error: 199, more than `MAX_FIELDS` fields; 102 when a repetition or component is over its bound.
    """

    __slots__ = ("_fields", "codec", "index", "name", "raw", "separators")

    def __init__(self, raw: bytes, separators: Separators, codec: str, index: int) -> None:
        self.raw = raw
        self.name = raw[:3].decode("ascii")
        self.separators = separators
        self.codec = codec
        self.index = index  # which of its name it is, from 1: the second part of ERR-2
        fields = _split(raw, separators.field, MAX_FIELDS + 1)
        if len(fields) > MAX_FIELDS + 1:
            raise Hl7Error(
                199, f"Expected at most {MAX_FIELDS} fields instead got more", location=f"{self.name}^{index}"
            )
        self._fields = [b"MSH", separators.field, *fields[1:]] if self.name == "MSH" else fields

    def location(self, field: int) -> str:
        """ERR-2 of a field: `PID^1^3`."""
        return f"{self.name}^{self.index}^{field}"

    def field(self, number: int) -> bytes:
        """Field `number` as it came; empty when the segment is shorter."""
        return self._fields[number] if number < len(self._fields) else b""

    def repetitions(self, number: int) -> list[bytes]:
        """The repetitions of a field that hold something."""
        field = self.field(number)
        return [each for each in self._cut(field, self.separators.repetition, MAX_REPETITIONS, number) if each]

    def components(self, number: int, *, of: bytes | None = None) -> list[bytes]:
        """The components of the first repetition, or of the repetition `of`, as they came."""
        if of is None:
            of = self.field(number)
            if self.separators.repetition in of:
                of = self._cut(of, self.separators.repetition, MAX_REPETITIONS, number)[0]
        return self._cut(of, self.separators.component, MAX_COMPONENTS, number)

    def text(self, number: int, component: int = 1, subcomponent: int = 1, *, of: bytes | None = None) -> str:
        """One leaf as text: decoded, unescaped, without blanks at its ends.

        Raises:
            Hl7Error: 102, the bytes are not of the charset, or hold control characters, or are too long.
        """
        components = self.components(number, of=of)
        if component > len(components):
            return ""
        leaves = self._cut(components[component - 1], self.separators.subcomponent, MAX_COMPONENTS, number)
        return self.decoded(leaves[subcomponent - 1], number) if subcomponent <= len(leaves) else ""

    def decoded(self, leaf: bytes, number: int) -> str:
        """`leaf`, a part of field `number`, as text."""
        if len(leaf) > MAX_TEXT_BYTES:
            raise Hl7Error(
                102, f"Expected at most {MAX_TEXT_BYTES} bytes instead got {len(leaf)}", location=self.location(number)
            )
        try:
            text = unescape(leaf.decode(self.codec), self.separators, self.codec)
        except UnicodeDecodeError as err:
            raise Hl7Error(102, f"Expected {self.codec} text", location=self.location(number)) from err
        if _CONTROL.search(text):
            raise Hl7Error(102, "Expected text without control characters", location=self.location(number))
        return text.strip()

    def _cut(self, value: bytes, separator: bytes, most: int, number: int) -> list[bytes]:
        parts = _split(value, separator, most)
        if len(parts) > most:
            raise Hl7Error(102, f"Expected at most {most} parts instead got more", location=self.location(number))
        return parts


@dataclass(frozen=True)
class Message:
    """A message cut into segments, in their order. `codec` is the Python name of the charset in use."""

    segments: tuple[Segment, ...]
    separators: Separators
    codec: str

    @property
    def msh(self) -> Segment:
        return self.segments[0]

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(segment.name for segment in self.segments)

    def all(self, name: str) -> list[Segment]:
        return [segment for segment in self.segments if segment.name == name]

    def only(self, name: str) -> Segment:
        """The one segment of that name.

        Raises:
            Hl7Error: 100 when there is none, 198 when there are several.
        """
        found = self.all(name)
        if not found:
            raise Hl7Error(100, f"Expected a segment {name} instead got none", location=name)
        if len(found) > 1:
            raise Hl7Error(198, f"Expected one segment {name} instead got {len(found)}", location=f"{name}^2")
        return found[0]


def parse(raw: bytes) -> Message:
    """`raw` cut into segments, its separators, charset and bounds checked.

    Raises:
        Unreadable: there is no MSH: nothing to answer.
        Hl7Error: there is one, and the message is not HL7 v2 within the bounds.
    """
    raw = _from_msh(raw)
    separators = read_separators(raw)
    for byte in _FORBIDDEN:
        if byte in raw:
            raise Hl7Error(102, f"Expected no byte 0x{byte.hex()} inside a message")
    lines = list(_lines(raw))
    codec = _codec(lines, separators)
    counts: dict[bytes, int] = {}
    segments = []
    for line in lines:
        name = line[:3]
        counts[name] = counts.get(name, 0) + 1
        segments.append(Segment(line, separators, codec, counts[name]))
    return Message(tuple(segments), separators, codec)


def read_msh(raw: bytes) -> Segment:
    """The MSH alone, read as leniently as can be: so that whatever follows it, there is an answer.

    Raises:
        Unreadable: there is no MSH, or nothing can be told from it.
    """
    raw = _from_msh(raw)
    line = re.split(rb"[\r\n]", raw[: MAX_TEXT_BYTES + 1], maxsplit=1)[0]
    if len(line) < 5 or len(line) > MAX_TEXT_BYTES or line.count(line[3:4]) > MAX_FIELDS - 1:
        raise Unreadable(f"Expected an MSH with fields instead got {len(line)} bytes")
    try:
        separators = read_separators(raw)
    except Hl7Error:
        separators = Separators(field=line[3:4])
    declared = line.split(separators.field)
    codec = _CODECS.get(_declared(declared[17]) if len(declared) > 17 else "", "utf-8")
    return Segment(line, separators, codec, 1)


def read_separators(raw: bytes) -> Separators:
    """The separators that MSH-1 and MSH-2 announce.

    Raises:
        Hl7Error: 102, they are not four different printable signs.
    """
    field = raw[3:4]
    encoding = raw[4:10].partition(field)[0] if field else b""
    if not 4 <= len(encoding) <= 5:
        raise Hl7Error(102, f"Expected 4 encoding characters instead got {len(encoding)}", location="MSH^1^2")
    signs = field + encoding
    if len(set(signs)) != len(signs) or any(not 0x21 <= sign <= 0x7E or chr(sign).isalnum() for sign in signs):
        raise Hl7Error(102, "Expected separators that are different printable signs", location="MSH^1^2")
    return Separators(field, encoding[0:1], encoding[1:2], encoding[2:3], encoding[3:4])


def unescape(text: str, separators: Separators = STANDARD, codec: str = "utf-8") -> str:
    r"""`text` with its escape sequences replaced (HL7 v2.5 § 2.7): `\F\ \S\ \T\ \R\ \E\`, `\Xhh…\`, `\.br\`.

    Highlighting is dropped; a sequence that is not known stays as it is. The result is never longer than `text`.
    """
    escape = separators.escape.decode("latin-1")
    if escape not in text:
        return text
    signs = {
        "F": separators.field.decode("latin-1"),
        "S": separators.component.decode("latin-1"),
        "T": separators.subcomponent.decode("latin-1"),
        "R": separators.repetition.decode("latin-1"),
        "E": escape,
        ".br": "\n",
        "H": "",
        "N": "",
    }

    def replaced(found: re.Match[str]) -> str:
        sequence = found[1]
        if sequence in signs:
            return signs[sequence]
        if sequence[0] == "X" and re.fullmatch("(?:[0-9A-Fa-f]{2})+", sequence[1:]):
            return bytes.fromhex(sequence[1:]).decode(codec)
        return found[0]

    sign = re.escape(escape)
    return re.sub(f"{sign}([^{sign}]{{1,{MAX_TEXT_BYTES}}}){sign}", replaced, text)


def escaped(text: str) -> str:
    """`text` safe between the standard separators; control characters become blanks."""
    if not _NEEDS_ESCAPE.search(text):
        return text
    return _CONTROL_ALL.sub(" ", text).translate(_ESCAPES)


_ESCAPES = {ord("\\"): "\\E\\", ord("|"): "\\F\\", ord("^"): "\\S\\", ord("&"): "\\T\\", ord("~"): "\\R\\"}
_CONTROL_ALL = re.compile("[\x00-\x1f\x7f-\x9f]")
_NEEDS_ESCAPE = re.compile(r"[\\|^&~\x00-\x1f\x7f-\x9f]")


def _from_msh(raw: bytes) -> bytes:
    """`raw` from its MSH on: a byte order mark and empty lines before it are forgiven."""
    start = raw[:64].removeprefix(_BOM).lstrip(b"\r\n \t")
    if not start.startswith(b"MSH"):
        raise Unreadable("Expected a message that opens with MSH")
    return raw if raw.startswith(b"MSH") else raw[raw.index(b"MSH") :]


def _lines(raw: bytes) -> Iterator[bytes]:
    """The segments, whatever ends them; a line without a segment name continues the one before."""
    field = raw[3:4]
    held: list[bytes] = []
    count = 0
    for line in _ended(raw):
        if _SEGMENT_NAME.match(line) and line[3:4] in {field, b""}:
            if held:
                yield held[0] if len(held) == 1 else b"".join(held)
            count += 1
            if count > MAX_SEGMENTS:
                raise Hl7Error(199, f"Expected at most {MAX_SEGMENTS} segments instead got more")
            held = [line]
        else:
            held.append(line)
    yield held[0] if len(held) == 1 else b"".join(held)


def _ended(raw: bytes) -> Iterator[bytes]:
    """The lines of `raw` that hold something. Two searches side by side: `bytes.splitlines` has no bound."""
    room = 2 * MAX_SEGMENTS + len(raw) // 60  # segments ended by CRLF, and base64 wrapped at 60 or more
    start, size = 0, len(raw)
    cr, lf = raw.find(b"\r"), raw.find(b"\n")
    while start < size:
        end = min(cr if cr >= 0 else size, lf if lf >= 0 else size)
        if end > start:
            yield raw[start:end]
        room -= 1
        if room < 0:
            raise Hl7Error(199, f"Expected at most {MAX_SEGMENTS} segments instead got more ends of line")
        start = end + 1
        if end == cr:
            cr = raw.find(b"\r", start)
        else:
            lf = raw.find(b"\n", start)


def _split(value: bytes, separator: bytes, most: int) -> list[bytes]:
    """`value.split(separator, most)`, ten times faster on what holds a document: `find` looks at words, not bytes."""
    if len(value) <= _PAYLOAD_BYTES:
        return value.split(separator, most)
    parts: list[bytes] = []
    start, end = 0, value.find(separator)
    while end >= 0 and len(parts) < most:
        parts.append(value[start:end])
        start = end + 1
        end = value.find(separator, start)
    parts.append(value[start:])
    return parts


def _declared(msh_18: bytes) -> str:
    return msh_18.partition(b"~")[0].decode("latin-1").strip().upper()


def _codec(lines: list[bytes], separators: Separators) -> str:
    fields = lines[0].split(separators.field)
    declared = _declared(fields[17].partition(separators.repetition)[0]) if len(fields) > 17 else ""
    codec = _CODECS.get(declared)
    if codec is None:
        raise Hl7Error(103, f"Expected a charset of {sorted(filter(None, _CODECS))}", location="MSH^1^18")
    text = b"\r".join(line for line in lines if len(line) <= _PAYLOAD_BYTES)
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as err:
        if codec != "utf-8":
            return codec
        said = "declared" if declared else "assumed, MSH-18 being empty"
        raise Hl7Error(102, f"Expected UTF-8 text as {said}", location="MSH^1^18") from err
    return codec if codec != "utf-8" and not _western(decoded) else "utf-8"


def _western(text: str) -> bool:
    """Text of signs that a French keyboard writes: what UTF-8 read by mistake does not give."""
    try:
        text.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True
