"""What a TPM signs when it is asked for its time (TPM2_GetTime; TPM 2.0 Library Part 2, § 10.12.8 TPMS_ATTEST).

The signed structure begins with a number that no outsider can have such a key sign ("TCG", made by the TPM alone), and
holds what the asker gave (here a digest) beside the TPM's clock:

    clock     milliseconds that it has been powered, ever; never set, never back but by what a power cut may cost
    resets    how often it was started; back at 0 only when it was cleared, which changes every key too
    restarts  wakings from sleep since the last start
"""

import struct
from dataclasses import dataclass
from typing import Final

from passevue.errors import Unreadable

MAGIC: Final = b"\xffTCG"
ATTEST_TIME: Final = 0x8019
MAX_BYTES: Final = 1024
_CLOCK: Final = struct.Struct(">QIIB")


@dataclass(frozen=True, slots=True)
class Moment:
    """When the TPM signed, by its own clock, and the digest that it signed with it."""

    digest: bytes
    resets: int
    restarts: int
    clock_ms: int

    @property
    def order(self) -> tuple[int, int, int]:
        """Grows from one signature of a TPM to its next."""
        return self.resets, self.restarts, self.clock_ms


def read_attestation(data: bytes) -> Moment:
    """Raises: Unreadable when it is not what TPM2_GetTime gives."""
    try:
        if len(data) > MAX_BYTES or data[:4] != MAGIC or struct.unpack_from(">H", data, 4)[0] != ATTEST_TIME:
            raise Unreadable("not a time that a TPM attests")
        _, at = _sized(data, 6)  # the key's qualified name
        digest, at = _sized(data, at)
        at += _CLOCK.size + 8  # the same clock, hidden from strangers by an offset; firmware version
        at += 8  # milliseconds since this start
        clock_ms, resets, restarts, _ = _CLOCK.unpack_from(data, at)
        at += _CLOCK.size + 8
    except struct.error as err:
        raise Unreadable("a time that a TPM attests is cut") from err
    if at != len(data):
        raise Unreadable("a time that a TPM attests has another length")
    return Moment(digest, resets, restarts, clock_ms)


def _sized(data: bytes, at: int) -> tuple[bytes, int]:
    (size,) = struct.unpack_from(">H", data, at)
    end = at + 2 + size
    if end > len(data):
        raise Unreadable("a time that a TPM attests is cut")
    return data[at + 2 : end], end
