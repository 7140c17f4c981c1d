"""A light, bounded look into a data set: is it what it claims to be, and what does the index need of it.

Walks the top level of the data set without making a tree: elements that nobody asked for are hopped over, sequences
and fragments are walked for their lengths only. A look costs tens of microseconds and no memory, whatever the object.

Bounds (reliability § 8): sequence depth 32, 100,000 elements. A value that is taken is at most 1 KiB long: longer ones
are as if they were not there. Anything that does not add up is `Unreadable`.

Facts (PS3.5 §§ 7.1, 7.5, A.4):
- Explicit VR: the VRs of `LONG_VRS` have two reserved bytes and a 32-bit length, the others a 16-bit length.
- Length FFFFFFFFH is undefined: items follow until the delimiter. Inside a sequence of VR UN the coding is implicit
  little endian (§ 6.2.2).
- Encapsulated pixel data is a list of items: an offset table (0 or 4 bytes a frame), then fragments.
"""

from dataclasses import dataclass
from struct import Struct

from passevue.errors import Unreadable
from passevue.intake.negotiation import EXPLICIT_BIG, IMPLICIT_LITTLE

MAX_DEPTH = 32
MAX_ELEMENTS = 100_000
MAX_VALUE = 1024
UNDEFINED = 0xFFFFFFFF

LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
SHORT_VRS = frozenset(
    (
        *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT"),
        *(b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"),
    )
)
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_DATA = 0x7FE00010
FIRST_TAG = 0x00040000  # group 0000 is the command's, 0002 the file's
SOP_CLASS_UID, SOP_INSTANCE_UID = 0x00080016, 0x00080018
STUDY_INSTANCE_UID, SERIES_INSTANCE_UID = 0x0020000D, 0x0020000E
CHARACTER_SET = 0x00080005

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Coding:
    """How elements are coded: transfer syntax, seen from the bytes."""

    explicit: bool
    tag: Struct  # group, element
    header: Struct  # group, element, VR, short length
    long: Struct


EXPLICIT = Coding(True, Struct("<HH"), Struct("<HH2sH"), Struct("<L"))
IMPLICIT = Coding(False, Struct("<HH"), Struct("<HH2sH"), Struct("<L"))
BIG = Coding(True, Struct(">HH"), Struct(">HH2sH"), Struct(">L"))


def coding_of(transfer_syntax: str) -> Coding:
    """Every syntax but two is explicit VR little endian on the outside (PS3.5 Annex A)."""
    return {IMPLICIT_LITTLE: IMPLICIT, EXPLICIT_BIG: BIG}.get(transfer_syntax, EXPLICIT)


class Walk:
    """One look through `data`. `left` counts the elements that may still be met, of `most`."""

    def __init__(self, data: Buffer, most: int = MAX_ELEMENTS) -> None:
        self.data = data
        self.end = len(data)
        self.most = self.left = most

    def header(self, at: int, coding: Coding) -> tuple[int, bytes, int, int]:
        """Tag, VR (empty when implicit), length, and where the value begins."""
        self.left -= 1
        if self.left < 0:
            raise Unreadable(f"more than {self.most} elements")
        if at + 8 > self.end:
            raise Unreadable("element header cut")
        if coding.explicit:
            group, element, vr, length = coding.header.unpack_from(self.data, at)
            if vr in SHORT_VRS:
                return group << 16 | element, vr, length, at + 8
            if group != 0xFFFE:
                if vr not in LONG_VRS or at + 12 > self.end:
                    raise Unreadable("VR is none of PS3.5")
                return group << 16 | element, vr, coding.long.unpack_from(self.data, at + 8)[0], at + 12
        else:
            group, element = coding.tag.unpack_from(self.data, at)
        return group << 16 | element, b"", coding.long.unpack_from(self.data, at + 4)[0], at + 8

    def past(self, at: int, vr: bytes, length: int, coding: Coding, depth: int) -> int:
        """Where the value that begins at `at` ends."""
        if length != UNDEFINED:
            if length > self.end - at:
                raise Unreadable(f"element of {length} bytes with {self.end - at} left")
            return at + length
        if vr not in (b"", b"SQ", b"UN"):
            raise Unreadable(f"undefined length with VR {vr!r}")
        return self.past_items(at, IMPLICIT if vr == b"UN" else coding, depth + 1)

    def past_items(self, at: int, coding: Coding, depth: int) -> int:
        if depth > MAX_DEPTH:
            raise Unreadable(f"sequences nested deeper than {MAX_DEPTH}")
        while True:
            tag, _, length, at = self.header(at, coding)
            if tag == SEQUENCE_END:
                return at
            if tag != ITEM:
                raise Unreadable("sequence holds something else than items")
            if length != UNDEFINED:
                at = self.past(at, b"", length, coding, depth)
                continue
            at = self.past_elements(at, coding, depth)

    def past_elements(self, at: int, coding: Coding, depth: int) -> int:
        """Past the elements of an item of undefined length, its delimiter included."""
        while True:
            tag, vr, length, at = self.header(at, coding)
            if tag == ITEM_END:
                return at
            if tag == PIXEL_DATA and length == UNDEFINED:  # an icon (PS3.3 F.7) may be compressed too
                at = self.past_fragments(at, coding)
                continue
            at = self.past(at, vr, length, coding, depth)

    def past_fragments(self, at: int, coding: Coding) -> int:
        """Encapsulated pixel data (PS3.5 A.4): the offset table must fit the fragments that follow."""
        tag, _, length, at = self.header(at, coding)
        if tag != ITEM or length % 4 or length > self.end - at:
            raise Unreadable("encapsulated pixel data without a good offset table")
        offsets = [coding.long.unpack_from(self.data, at + each)[0] for each in range(0, length, 4)]
        at = first = at + length
        starts: set[int] = set()
        wanted = set(offsets)
        while True:
            start = at - first
            tag, _, length, at = self.header(at, coding)
            if tag == SEQUENCE_END:
                break
            if tag != ITEM or length > self.end - at:
                raise Unreadable("encapsulated pixel data holds something else than fragments")
            if start in wanted:
                starts.add(start)
            at += length
        if offsets != sorted(offsets) or starts != wanted:
            raise Unreadable("offset table does not point at fragments")
        return at


def look(data: Buffer, transfer_syntax: str, wanted: frozenset[int], *, encapsulated: bool) -> dict[int, bytes]:
    """Values of the top level elements in `wanted`, as bytes without their padding.

    The walk goes to the end, so the whole top level has been found to add up: nothing twice running, no wanted tag
    twice, no group 0002, lengths inside the data, pixel data encapsulated exactly when the transfer syntax says so.
    Tags out of order are taken: modalities do send them.

    Raises:
        Unreadable: it does not add up, or passes a bound.
    """
    walk, coding = Walk(data), coding_of(transfer_syntax)
    found: dict[int, bytes] = {}
    at, last, end = 0, 0, walk.end
    while at < end:
        tag, vr, length, at = walk.header(at, coding)
        if tag == last or tag in found or tag < FIRST_TAG or tag >> 16 == 0xFFFE:
            raise Unreadable("an element twice, or one that a data set cannot hold")
        last, start = tag, at
        if tag == PIXEL_DATA:
            at = past_pixel_data(walk, coding, at, vr, length, encapsulated=encapsulated)
        elif length <= end - at:
            at += length
            if tag in wanted and length <= MAX_VALUE:
                found[tag] = bytes(data[start:at]).strip(b"\0 ")
        else:
            at = walk.past(at, vr, length, coding, 0)
    return found


def past_pixel_data(walk: Walk, coding: Coding, at: int, vr: bytes, length: int, *, encapsulated: bool) -> int:
    if (length == UNDEFINED) is not encapsulated:
        raise Unreadable("pixel data is not as the transfer syntax says")
    return walk.past_fragments(at, coding) if encapsulated else walk.past(at, vr, length, coding, 0)
