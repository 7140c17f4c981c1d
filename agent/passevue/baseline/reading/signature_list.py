"""EFI_SIGNATURE_LIST: what the firmware's `db` trusts (UEFI 2.10 § 32.4.1).

Each list: type GUID (16), size of the list (4), size of its header (4), size of each entry (4), header, entries. An
entry is its owner's GUID (16) and the certificate or hash. Sizes are little-endian.
"""

import hashlib
import struct

from passevue.errors import Unreadable

_HEAD = struct.Struct("<16sIII")
_OWNER = 16


def entries(data: bytes) -> tuple[bytes, ...]:
    """Each certificate or hash. Raises: Unreadable."""
    found: list[bytes] = []
    at = 0
    while at < len(data):
        if len(data) - at < _HEAD.size:
            raise Unreadable("a signature list is cut")
        _, whole, header, each = _HEAD.unpack_from(data, at)
        body = whole - _HEAD.size - header
        if whole < _HEAD.size or at + whole > len(data) or body < 0 or each <= _OWNER or body % each:
            raise Unreadable("a signature list has sizes that do not add up")
        start = at + _HEAD.size + header
        found += [data[place + _OWNER : place + each] for place in range(start, at + whole, each)]
        at += whole
    return tuple(found)


def fingerprints(data: bytes) -> tuple[str, ...]:
    """SHA-256 of each, hexadecimal. Raises: Unreadable."""
    return tuple(hashlib.sha256(each).hexdigest() for each in entries(data))
