"""The lenient BER-TLV reader that real cards need: reads what they write, within bounds, and never more.

    first(b"\\x30\\x03\\x02\\x01\\x05")  ->  Tlv(tag=0x30, value=b"\\x02\\x01\\x05")

Facts (cps-card.md § 3): DER on these cards is not clean. BIT STRINGs with eight unused bits (`03 01 08`, `03 02 08
00`) occur and mean the empty string; files are padded with `00` or `FF` after their last value; lengths are written
on more bytes than they need. All that is read. What is refused: a value longer than what holds it, indefinite
lengths, lengths above 65,538, more than 4,096 values in one, more than 24 levels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from passevue.errors import CardFault

MOST_BYTES = 65_538
MOST_VALUES = 4_096
MOST_LEVELS = 24

SEQUENCE = 0x30
SET = 0x31
BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
OBJECT_IDENTIFIER = 0x06
ENUMERATED = 0x0A
UTF8_STRING = 0x0C
_STRINGS = frozenset({UTF8_STRING, 0x13, 0x14, 0x16, 0x1A})  # UTF8, Printable, T61, IA5, Visible

_LONGEST_TAG = 3
_LONGEST_LENGTH = 4


@dataclass(frozen=True, slots=True)
class Tlv:
    """One value. `tag` is its bytes as a number, e.g. 0x30, 0x5F34."""

    tag: int
    value: bytes
    level: int = 0

    def inside(self) -> tuple["Tlv", ...]:
        """The values that this one holds.

        Raises:
            CardFault: it does not hold whole values.
        """
        if self.level + 1 >= MOST_LEVELS:
            raise CardFault(f"values of the card are nested more than {MOST_LEVELS} deep")
        return tuple(_values(self.value, self.level + 1))

    def find(self, tag: int) -> "Tlv | None":
        """The first value of that tag directly inside."""
        return next((each for each in self.inside() if each.tag == tag), None)

    @property
    def text(self) -> str:
        """As text: UTF-8, else Latin-1, as older cards write; without padding at its ends."""
        try:
            read = self.value.decode("utf-8")
        except UnicodeDecodeError:
            read = self.value.decode("latin-1")
        return "".join(char for char in read if char.isprintable()).strip()

    @property
    def is_text(self) -> bool:
        return self.tag in _STRINGS

    @property
    def number(self) -> int:
        """As INTEGER.

        Raises:
            CardFault: empty, or longer than any number of a card.
        """
        if not 1 <= len(self.value) <= 8:
            raise CardFault(f"expected a number, got {len(self.value)} bytes")
        return int.from_bytes(self.value, "big", signed=True)

    @property
    def truth(self) -> bool:
        return any(self.value)

    def bits(self) -> frozenset[int]:
        """As BIT STRING: the numbers of the bits that are set, 0 first. Unused bits above 7 make it empty."""
        if not self.value or self.value[0] > 7:
            return frozenset()
        unused, content = self.value[0], self.value[1:]
        most = min(len(content) * 8 - unused, 64)
        return frozenset(at for at in range(most) if content[at // 8] & (0x80 >> at % 8))


def values(data: bytes) -> tuple[Tlv, ...]:
    """The values that follow each other in a file.

    Raises:
        CardFault: they are not whole, or pass a bound.
    """
    if len(data) > MOST_BYTES:
        raise CardFault(f"expected at most {MOST_BYTES} bytes, got {len(data)}")
    return tuple(_values(data, 0))


def first(data: bytes) -> Tlv:
    """The first value of a file.

    Raises:
        CardFault: there is none, or it is not whole.
    """
    if len(data) > MOST_BYTES:
        raise CardFault(f"expected at most {MOST_BYTES} bytes, got {len(data)}")
    for each in _values(data, 0):
        return each
    raise CardFault("expected a value, got an empty file")


def whole_length(data: bytes) -> int | None:
    """How long the first value is with its head, from its first bytes; None when they do not tell."""
    try:
        _, at = _tag(data, 0)
        length, at = _length(data, at)
    except CardFault:
        return None
    return at + length


def _values(data: bytes, level: int) -> Iterator[Tlv]:
    at = count = 0
    while at < len(data):
        if data[at] in (0x00, 0xFF):  # padding between and after values (ISO 7816-4 § 5.2.2.1)
            at += 1
            continue
        count += 1
        if count > MOST_VALUES:
            raise CardFault(f"more than {MOST_VALUES} values in one")
        tag, at = _tag(data, at)
        length, at = _length(data, at)
        if length > len(data) - at:
            raise CardFault(f"value {tag:X} says {length} bytes, {len(data) - at} are there")
        yield Tlv(tag, data[at : at + length], level)
        at += length


def _tag(data: bytes, at: int) -> tuple[int, int]:
    start = at
    if at >= len(data):
        raise CardFault("a value ends in its tag")
    at += 1
    if data[start] & 0x1F == 0x1F:
        while True:
            if at >= len(data) or at - start >= _LONGEST_TAG:
                raise CardFault("a tag has no end")
            at += 1
            if not data[at - 1] & 0x80:
                break
    return int.from_bytes(data[start:at], "big"), at


def _length(data: bytes, at: int) -> tuple[int, int]:
    if at >= len(data):
        raise CardFault("a value ends before its length")
    head = data[at]
    at += 1
    if head < 0x80:
        return head, at
    size = head & 0x7F
    if not 1 <= size <= _LONGEST_LENGTH or at + size > len(data):
        raise CardFault(f"length {head:02X} is not one that a card writes")
    length = int.from_bytes(data[at : at + size], "big")
    if length > MOST_BYTES:
        raise CardFault(f"length {length} is above {MOST_BYTES}")
    return length, at + size
