"""The two codes of a card: tries, blocking, change, unblocking (cps-card.md § 5).

Facts: four digits padded with FF to eight bytes; three tries; `63 Cx` says how many are left, `69 83` that none is;
what was verified is forgotten at reset.
"""

from dataclasses import dataclass

OK, BLOCKED, WRONG_LENGTH, WRONG_DATA = 0x9000, 0x6983, 0x6700, 0x6A80
NOT_VERIFIED = 0x6982
SIZE = 8


def padded(code: str) -> bytes:
    return code.encode().ljust(SIZE, b"\xff")


@dataclass(slots=True)
class Code:
    """One code and its counter."""

    value: bytes
    tries: int
    left: int = -1
    verified: bool = False

    def __post_init__(self) -> None:
        if self.left < 0:
            self.left = self.tries

    def status(self) -> int:
        """Answer to an empty VERIFY, which costs no try."""
        if self.left == 0:
            return BLOCKED
        return OK if self.verified else 0x63C0 | self.left

    def verify(self, given: bytes) -> int:
        if len(given) != SIZE:
            return WRONG_LENGTH
        if self.left == 0:
            return BLOCKED
        self.verified = given == self.value
        self.left = self.tries if self.verified else self.left - 1
        return OK if self.verified else 0x63C0 | self.left

    def replace(self, new: bytes) -> int:
        """Takes another value of the same form; it has to be verified anew."""
        digits = new.rstrip(b"\xff")
        if len(new) != SIZE:
            return WRONG_LENGTH
        if not digits.isdigit() or len(digits) != len(self.value.rstrip(b"\xff")):
            return WRONG_DATA
        self.value, self.verified, self.left = new, False, self.tries
        return OK


@dataclass(slots=True)
class Codes:
    """PIN and unblocking code together. `uses` is the counter 9D: how often the PIN may still be unblocked."""

    pin: Code
    unblocking: Code
    uses: int

    def reset(self) -> None:
        self.pin.verified = self.unblocking.verified = False

    def by_reference(self, reference: int) -> Code | None:
        return {1: self.pin, 2: self.unblocking}.get(reference)

    def change(self, old: bytes, new: bytes) -> int:
        status = self.pin.verify(old)
        return self.pin.replace(new) if status == OK else status

    def unblock(self, code: bytes, new: bytes) -> int:
        if self.uses == 0:
            return BLOCKED
        status = self.unblocking.verify(code)
        if status != OK:
            return status
        self.unblocking.verified = False
        status = self.pin.replace(new)
        self.uses -= status == OK
        return status

    def unblock_verified(self) -> int:
        """CPS4: the counter alone, after the unblocking code was verified; the new PIN follows as a change."""
        if not self.unblocking.verified:
            return NOT_VERIFIED
        if self.uses == 0:
            return BLOCKED
        self.uses -= 1
        self.pin.left, self.pin.verified = self.pin.tries, False
        return OK
