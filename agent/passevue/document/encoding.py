"""Writes DICOM elements in Implicit VR Little Endian (PS3.5 § 7.1.3, A.1) as bytes, with defined lengths.

pydicom spends a second and 60 MB on the sequences of a manifest of 3,000 instances; bytes joined once spend hundredths.
The caller gives the elements of a data set in the order of their tags.
"""

import struct
from collections.abc import Iterable

_HEADER = struct.Struct("<HHI")
_ITEM = struct.Struct("<HHI")
_MAX_LENGTH = 0xFFFF_FFFE


def element(tag: int, value: bytes, padding: bytes = b" ") -> bytes:
    """One element; a value of odd length is padded: text with a space, UIDs with NUL (`padding`)."""
    if len(value) % 2:
        value += padding
    return _HEADER.pack(tag >> 16, tag & 0xFFFF, len(value)) + value


def uid(tag: int, value: str) -> bytes:
    return element(tag, value.encode("ascii"), b"\0")


def sequence(tag: int, items: Iterable[bytes] = ()) -> bytes:
    """A sequence (SQ) of data sets already encoded."""
    parts: list[bytes] = []
    for content in items:
        parts.append(_ITEM.pack(0xFFFE, 0xE000, len(content)))
        parts.append(content)
    body = b"".join(parts)
    if len(body) > _MAX_LENGTH:
        raise OverflowError("a sequence of defined length holds at most 4 GiB")
    return _HEADER.pack(tag >> 16, tag & 0xFFFF, len(body)) + body


def file_of(sop_class_uid: str, sop_instance_uid: str, implementation: tuple[str, str], data_set: bytes) -> bytes:
    """A Part 10 file (PS3.10 § 7.1): preamble, File Meta Information in Explicit VR, data set.

    `implementation` is ImplementationClassUID and ImplementationVersionName.
    """
    class_uid, version_name = implementation
    meta = b"".join(
        (
            struct.pack("<HH2sHI", 0x0002, 0x0001, b"OB", 0, 2) + b"\x00\x01",
            _meta(0x0002, b"UI", sop_class_uid, b"\0"),
            _meta(0x0003, b"UI", sop_instance_uid, b"\0"),
            _meta(0x0010, b"UI", "1.2.840.10008.1.2", b"\0"),
            _meta(0x0012, b"UI", class_uid, b"\0"),
            _meta(0x0013, b"SH", version_name, b" "),
        )
    )
    length = struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, len(meta))
    return b"".join((bytes(128), b"DICM", length, meta, data_set))


def _meta(number: int, vr: bytes, text: str, padding: bytes) -> bytes:
    value = text.encode("ascii")
    if len(value) % 2:
        value += padding
    return struct.pack("<HH2sH", 0x0002, number, vr, len(value)) + value


def root_elements(file: bytes) -> dict[int, bytes] | None:
    """Raw values of the root elements of a file that `file_of` wrote; None for a file of another form."""
    if file[128:132] != b"DICM" or len(file) < 144:
        return None
    position = 144 + int.from_bytes(file[140:144], "little")
    values: dict[int, bytes] = {}
    while position < len(file):
        if position + 8 > len(file):
            return None
        group, number, length = _HEADER.unpack_from(file, position)
        position += 8
        if length > len(file) - position:
            return None
        values[group << 16 | number] = file[position : position + length]
        position += length
    return values
