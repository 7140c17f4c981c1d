"""Identifiers of queries and of their answers, as bytes: Implicit VR Little Endian, the default that every PACS takes.

Facts:
- An answer is read by its tags alone: VR, order and padding of what a PACS sends cannot be relied upon.
- A sequence of undefined length is stepped over, never descended into: nothing that is asked for is in one.
- SpecificCharacterSet (0008,0005) of the answer says how its text is written. PACS forget it, or declare one and write
  another: text without a usable declaration is read as UTF-8 when it can be, else as Latin-1, which always can.
"""

from collections.abc import Iterator, Mapping
from struct import Struct, error

from passevue.errors import Unreadable
from passevue.intake.character_set import NAME_DELIMITERS, codec_of, text_of

MAX_ELEMENTS = 1_000  # a query has under twenty keys
MAX_DEPTH = 32
_ELEMENT = Struct("<HHL")
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD

SpecificCharacterSet = 0x00080005

TAGS = {
    "SOPClassUID": 0x00080016,
    "SOPInstanceUID": 0x00080018,
    "StudyDate": 0x00080020,
    "StudyTime": 0x00080030,
    "AccessionNumber": 0x00080050,
    "QueryRetrieveLevel": 0x00080052,
    "Modality": 0x00080060,
    "ReferringPhysicianName": 0x00080090,
    "StudyDescription": 0x00081030,
    "SeriesDescription": 0x0008103E,
    "PatientID": 0x00100020,
    "StudyInstanceUID": 0x0020000D,
    "SeriesInstanceUID": 0x0020000E,
    "StudyID": 0x00200010,
    "SeriesNumber": 0x00200011,
    "InstanceNumber": 0x00200013,
    "NumberOfFrames": 0x00280008,
}
_KEYWORDS = {tag: keyword for keyword, tag in TAGS.items()}


def write_identifier(keys: Mapping[str, str]) -> bytes:
    """An identifier with these keywords and values (ASCII; empty: a return key)."""
    data = b""
    for keyword in sorted(keys, key=TAGS.__getitem__):
        value = keys[keyword].encode("ascii")
        value += (b"\0" if keyword.endswith("UID") else b" ") * (len(value) % 2)
        data += _ELEMENT.pack(TAGS[keyword] >> 16, TAGS[keyword] & 0xFFFF, len(value)) + value
    return data


def read_identifier(data: bytes) -> dict[str, str]:
    """The keys of an answer that we know, as text without padding; keys not given are not in it.

    Raises:
        Unreadable: lengths that overrun, nesting or number of elements past the bound, an element given twice.
    """
    values: dict[str, bytes] = {}
    charset = b""
    for tag, value in _top_elements(data):
        if tag == SpecificCharacterSet:
            charset = value
        elif keyword := _KEYWORDS.get(tag):
            if keyword in values:
                raise Unreadable(f"{keyword} is given twice in one answer")
            values[keyword] = value
    return {keyword: _text(value, charset) for keyword, value in values.items()}


def _top_elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    depth = count = position = 0
    while position < len(data):
        tag, length, position = _element(data, position)
        count += 1
        if count > MAX_ELEMENTS or depth > MAX_DEPTH:
            raise Unreadable(f"more than {MAX_ELEMENTS} elements or {MAX_DEPTH} levels in an answer")
        if tag in (_ITEM_END, _SEQUENCE_END):
            depth -= 1
            if depth < 0:
                raise Unreadable("a sequence ends that never began")
        elif length == _UNDEFINED:
            depth += 1
        else:
            position += length
            if position > len(data):
                raise Unreadable(f"element {tag:08X} claims {length} bytes, more than there are")
            if depth == 0:
                yield tag, data[position - length : position]
    if depth:
        raise Unreadable("a sequence has no end")


def _element(data: bytes, position: int) -> tuple[int, int, int]:
    try:
        group, element, length = _ELEMENT.unpack_from(data, position)
    except error as err:
        raise Unreadable("element header cut short") from err
    return group << 16 | element, length, position + _ELEMENT.size


def _text(value: bytes, charset: bytes) -> str:
    value = value.strip(b"\0 ")
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii")
    names = [name.strip() for name in charset.decode("ascii", "replace").split("\\")]
    if len(names) > 1:
        return text_of(value, names, NAME_DELIMITERS).strip("\0 ")
    declared = (codec_of(names[0]) if names[0] not in ("", "ISO_IR 6") else None) or "utf-8"
    try:
        return value.decode(declared).strip("\0 ")
    except UnicodeDecodeError:
        return value.decode("latin-1").strip("\0 ")
