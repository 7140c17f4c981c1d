"""The rollback index: a number of the release that only grave flaws raise, and that a TPM keeps so that it never falls.

It is kept as an NV index of type *bits*: a bit can be set and never cleared, and index n is bit n - 1. A counter would
rise as surely, but begins where the highest counter that the TPM ever had has stopped, so that its value alone says
nothing. What the TPM promises, and what it does not: README.md. No I/O here.
"""

from collections.abc import Mapping
from typing import Any, Final

from passevue.errors import Unreadable

MOST: Final = 64  # bits of such an index
_ATTRIBUTES: Final = {"bits": (0xF0, 0x20), "ownerwrite": (0x2, 0x2), "ownerread": (0x2_0000, 0x2_0000)}
WRITTEN: Final = 1 << 29


def bit(index: int) -> int:
    """What is set for it. Raises: Unreadable when there is no such index."""
    if not 1 <= index <= MOST:
        raise Unreadable(f"a rollback index is 1 to {MOST}, not {index}")
    return 1 << (index - 1)


def index_of(kept: Mapping[str, Any] | None) -> int | None:
    """The index that the TPM keeps, from what `tpm.Tpm.kept` read; None when it keeps none.

    Raises:
        Unreadable: something else lies there, or it is not of the kind that only rises.
    """
    if kept is None:
        return None
    try:
        attributes, value = int(kept["attributes"]), str(kept["value"])
    except (KeyError, TypeError, ValueError) as err:
        raise Unreadable("what the TPM keeps is told in another form") from err
    if any(attributes & mask != wanted for mask, wanted in _ATTRIBUTES.values()):
        raise Unreadable(f"the TPM keeps something else where the rollback index should be: {attributes:#x}")
    if not attributes & WRITTEN:
        return 0
    if len(value) != 16 or any(digit not in "0123456789abcdef" for digit in value):
        raise Unreadable("the rollback index in the TPM is not 8 bytes")
    return int(value, 16).bit_length()
