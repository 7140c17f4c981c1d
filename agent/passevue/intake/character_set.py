"""Text of a DICOM element as characters, by its SpecificCharacterSet (PS3.3 C.12.1.1.2, PS3.5 § 6.1.2).

Sets of one byte a character and UTF-8, as European equipment writes them, are decoded here. Code extensions (escape
sequences) and sets of several bytes a character are left to pydicom. It is loaded when the first such text comes: most
centres never see one, and it is 6 MiB in each process.
"""

import warnings
from collections.abc import Sequence

_PLAIN = {"": "latin-1", "ISO_IR 6": "latin-1", "ISO 2022 IR 6": "latin-1", "ISO_IR 192": "utf-8"}
_PLAIN |= {
    form + number: codec
    for form in ("ISO_IR ", "ISO 2022 IR ")
    for number, codec in {
        "100": "latin-1", "101": "iso8859-2", "109": "iso8859-3", "110": "iso8859-4", "126": "iso8859-7",
        "127": "iso8859-6", "138": "iso8859-8", "144": "iso8859-5", "148": "iso8859-9", "166": "tis-620",
        "203": "iso8859-15",
    }.items()
}  # fmt: skip
_DELIMITERS = {0x09, 0x0A, 0x0C, 0x0D}  # what goes back to the first set in text (PS3.5 § 6.1.2.5.3)
NAME_DELIMITERS = {0x5E, 0x3D, 0x5C}  # the same in names: ^ = \


def codec_of(name: str) -> str | None:
    """Python's codec for text in the set `name` alone; None: there is no such set."""
    if (codec := _PLAIN.get(name)) is not None:
        return codec
    from pydicom.charset import python_encoding

    found: str | None = python_encoding.get(name)
    return found


def text_of(value: bytes, names: Sequence[str], delimiters: set[int] = _DELIMITERS) -> str:
    """`value` in the sets `names`; what cannot be decoded becomes replacement characters."""
    if b"\x1b" not in value:
        if value.isascii():
            return value.decode("ascii")
        if (codec := _PLAIN.get(names[0])) is not None:
            return value.decode(codec, "replace")
    from pydicom.charset import convert_encodings, decode_bytes

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of unknown sets; the replacement characters say it
        text: str = decode_bytes(value, convert_encodings(list(names)), delimiters)
    return text
