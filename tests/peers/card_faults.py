"""What can go wrong between a reader and a card, told in advance and once.

    card.faults.once(after=3, sw=0x6F00)        # the fourth command from now gets 6F00 and is not carried out
    card.faults.once(after=0, answer=b"")       # an answer of 0, 1, 65,538 bytes, of anything
    card.faults.once(after=5, remove=True)      # pulled instead of answering
    card.faults.once(after=0, mute=True)        # never answers
    card.faults.once(after=0, delay=0.8)        # answers, late
    card.faults.more_for_ever()                 # 61 xx after 61 xx, until `clear()` or the next reset
    card.faults.other_length_for_ever()         # 6C xx after 6C yy

`after` counts commands from the moment of the call. Faults of one card do not follow it into the next.
"""

import threading
from dataclasses import dataclass


class CardRemoved(Exception):
    """The card is no longer there: no answer, now or later, until it is inserted again."""


class CardMute(Exception):
    """The card does not answer this command; the reader runs into its waiting time."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, at the command with this number."""

    at: int
    sw: int | None = None
    answer: bytes | None = None
    remove: bool = False
    mute: bool = False
    delay: float = 0.0
    ins: int | None = None


class Faults:
    """Those still to come of one card, and how many commands it has had."""

    def __init__(self) -> None:
        self.commands = 0
        self._coming: list[Fault] = []
        self._loop = ""
        self._turn = 0
        self._lock = threading.Lock()

    def once(
        self,
        after: int = 0,
        *,
        sw: int | None = None,
        answer: bytes | None = None,
        remove: bool = False,
        mute: bool = False,
        delay: float = 0.0,
        ins: int | None = None,
    ) -> None:
        """At the command that comes after `after` others; with `ins`, only commands of that instruction are counted."""
        with self._lock:
            at = after if ins is not None else self.commands + after
            self._coming.append(Fault(at, sw, answer, remove, mute, delay, ins))

    def more_for_ever(self) -> None:
        """`61 01` to everything, one byte at each GET RESPONSE."""
        self._loop = "more"

    def other_length_for_ever(self) -> None:
        """`6C 10` and `6C 20` in turn, whatever length is asked."""
        self._loop = "length"

    def clear(self) -> None:
        with self._lock:
            self._coming.clear()
            self._loop = ""

    def reset(self) -> None:
        self._loop = ""

    def take(self, raw: bytes) -> Fault | None:
        """The fault that this command meets, if any; it will not be met again."""
        with self._lock:
            number, self.commands = self.commands, self.commands + 1
            ins = raw[1] if len(raw) > 1 else None
            for fault in self._coming:
                if fault.ins is None and fault.at == number:
                    self._coming.remove(fault)
                    return fault
                if fault.ins is not None and fault.ins == ins:
                    self._coming.remove(fault)
                    if fault.at == 0:
                        return fault
                    self._coming.append(_sooner(fault))
                    break
        return self._looping(raw)

    def _looping(self, raw: bytes) -> Fault | None:
        if self._loop == "more":
            got = b"\x00" if len(raw) > 1 and raw[1] == 0xC0 else b""
            return Fault(0, answer=got + b"\x61\x01")
        if self._loop == "length":
            self._turn += 1
            return Fault(0, sw=0x6C10 if self._turn % 2 else 0x6C20)
        return None


def _sooner(fault: Fault) -> Fault:
    return Fault(fault.at - 1, fault.sw, fault.answer, fault.remove, fault.mute, fault.delay, fault.ins)
