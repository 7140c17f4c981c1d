"""The firmware's measurement log, replayed (TCG PC Client Platform Firmware Profile 1.06 § 10; systemd's own log).

The first event is in the old form (SHA-1) and lists the digests of those that follow: PCR (4), type (4), count (4),
each digest with its algorithm (2), size of the event (4), event. Replaying: PCR = SHA-256(PCR ‖ digest), from zeros.

Facts: EV_NO_ACTION (3) extends nothing, but `StartupLocality` sets the last byte of PCR 0's start. What userspace
measures after the firmware has gone is in /run/log/systemd/tpm2-measure.log, one JSON object a record, each after a
RS (0x1E).
"""

import hashlib
import json
import struct
from collections.abc import Iterator
from typing import Any

from passevue.errors import Unreadable

NO_ACTION = 3
SHA256 = 0x000B
_SPEC_ID = b"Spec ID Event03\0"
_MOST_EVENTS = 20_000
_MOST_DIGESTS = 16


def replay(firmware: bytes, userspace: str = "") -> dict[int, str]:
    """PCR = SHA-256 value, hexadecimal, of each PCR that was extended. Raises: Unreadable."""
    values: dict[int, bytes] = {}
    for pcr, digest in [*_firmware_events(firmware), *_userspace_events(userspace)]:
        values[pcr] = hashlib.sha256(values.get(pcr, bytes(32)) + digest).digest()
    return {pcr: value.hex() for pcr, value in values.items()}


def _firmware_events(data: bytes) -> Iterator[tuple[int, bytes]]:
    sizes, at = _digest_sizes(data)
    for _ in range(_MOST_EVENTS):
        if at == len(data):
            return
        pcr, kind, digest, at = _event(data, at, sizes)
        if kind != NO_ACTION:
            yield pcr, digest
    raise Unreadable(f"a measurement log has more than {_MOST_EVENTS} events")


def _digest_sizes(data: bytes) -> tuple[dict[int, int], int]:
    """Of the first event: algorithm = bytes of its digest, and where the second event begins."""
    try:
        _, kind, size = struct.unpack_from("<II20xI", data, 0)
        if kind != NO_ACTION or data[32:48] != _SPEC_ID:
            raise Unreadable("a measurement log does not begin with its specification")
        (count,) = struct.unpack_from("<I", data, 56)
        if count > _MOST_DIGESTS:
            raise Unreadable("a measurement log has too many algorithms")
        sizes = dict(struct.unpack_from("<HH", data, 60 + 4 * each) for each in range(count))
    except struct.error as err:
        raise Unreadable("a measurement log is cut") from err
    if sizes.get(SHA256) != 32 or 32 + size > len(data):
        raise Unreadable("a measurement log has no SHA-256")
    return sizes, 32 + size


def _event(data: bytes, at: int, sizes: dict[int, int]) -> tuple[int, int, bytes, int]:
    """PCR, type, SHA-256 digest, and where the next begins."""
    digest = b""
    try:
        pcr, kind, count = struct.unpack_from("<III", data, at)
        at += 12
        if count > _MOST_DIGESTS or pcr > 23:
            raise Unreadable("a measured event is not in its form")
        for _ in range(count):
            (algorithm,) = struct.unpack_from("<H", data, at)
            if algorithm not in sizes:
                raise Unreadable("a measured event has an algorithm that the log does not name")
            if algorithm == SHA256:
                digest = data[at + 2 : at + 34]
            at += 2 + sizes[algorithm]
        (size,) = struct.unpack_from("<I", data, at)
    except struct.error as err:
        raise Unreadable("a measurement log is cut") from err
    at += 4 + size
    if at > len(data) or len(digest) != 32:
        raise Unreadable("a measured event is cut")
    return pcr, kind, digest, at


def _userspace_events(text: str) -> Iterator[tuple[int, bytes]]:
    for record in text.split("\x1e"):
        if not record.strip():
            continue
        try:
            tree: Any = json.loads(record)
            digest = next(bytes.fromhex(each["digest"]) for each in tree["digests"] if each["hashAlg"] == "sha256")
            pcr = int(tree["pcr"])
        except (ValueError, KeyError, TypeError, StopIteration, OverflowError, RecursionError) as err:
            raise Unreadable("a record of systemd's measurement log is not in its form") from err
        if len(digest) != 32 or not 0 <= pcr <= 23:
            raise Unreadable("a record of systemd's measurement log is not in its form")
        yield pcr, digest
