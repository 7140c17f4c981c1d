"""DICOM files (PS3.10 § 7): what is put before a data set that came over the network, and where it ends.

The preamble is always zeros: nothing that a sender chose stands at the beginning of a file of ours (an object that is
also a program, PS3.10 § 7.5). The transfer syntax is that of the presentation context, never what a data set claims.
"""

from struct import Struct

from passevue.errors import Unreadable
from passevue.intake.association import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

PREAMBLE = bytes(128) + b"DICM"
SHORT_HEADER = Struct("<HH2sH")
LONG_HEADER = Struct("<HH2sxxL")
LONG = Struct("<L")
VERSION = LONG_HEADER.pack(2, 1, b"OB", 2) + b"\0\1"
MAX_META_BYTES = 64 << 10


def write_meta(sop_class: str, sop_instance: str, transfer_syntax: str, source_ae: str) -> bytes:
    """Preamble and group 0002; the data set follows as it came. The UIDs are already checked."""
    elements = VERSION + b"".join(
        (
            element(0x0002, b"UI", sop_class, b"\0"),
            element(0x0003, b"UI", sop_instance, b"\0"),
            element(0x0010, b"UI", transfer_syntax, b"\0"),
            element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID, b"\0"),
            element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME, b" "),
            element(0x0016, b"AE", source_ae, b" "),
        )
    )
    return PREAMBLE + SHORT_HEADER.pack(2, 0, b"UL", 4) + len(elements).to_bytes(4, "little") + elements


def element(number: int, vr: bytes, value: str, pad: bytes) -> bytes:
    encoded = value.encode("ascii")
    encoded += pad * (len(encoded) % 2)
    return SHORT_HEADER.pack(2, number, vr, len(encoded)) + encoded


def data_set_offset(file: bytes) -> int:
    """Where the data set begins in a file.

    Raises:
        Unreadable: no `DICM`, or a group length that lies.
    """
    if len(file) < 144 or file[128:132] != b"DICM" or file[132:140] != SHORT_HEADER.pack(2, 0, b"UL", 4):
        raise Unreadable("not a DICOM file with its meta information")
    length = int.from_bytes(file[140:144], "little")
    if length > min(MAX_META_BYTES, len(file) - 144):
        raise Unreadable("file meta information longer than the file, or than 64 KiB")
    return 144 + length


def transfer_syntax(file: bytes) -> str:
    """What the file meta information declares. Raises: Unreadable: it does not."""
    end, at = data_set_offset(file), 144
    while at + 12 <= end:
        group, number, vr, length = SHORT_HEADER.unpack_from(file, at)
        start = at + 8
        if vr in (b"OB", b"UN", b"UT"):
            start, (length,) = at + 12, LONG.unpack_from(file, at + 8)
        at = start + length
        if group == 2 and number == 0x0010 and at <= end:
            return file[start:at].rstrip(b"\0 ").decode("ascii", errors="replace")
    raise Unreadable("file meta information names no transfer syntax")
