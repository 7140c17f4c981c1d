"""Readers and the cards in them, as values: what is there, what changed, told as events. No PC/SC call here.

    events = differences(before, after)

A `Seat` is a reader with the number of its present card. The number grows with each insertion that this box ever
saw, so that "another card" and "the same card put in again" both show as a removal and an insertion, even when both
happened between two looks (cps-card.md § 9: a swap within 10 ms is a removal).

Events are told by comparing what a listener knew with what is: a slow listener misses intermediate states, never the
last one, and nothing piles up.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from passevue.card.pcsc import MUTE, PRESENT, Look


@dataclass(frozen=True, slots=True)
class Seat:
    """A reader. `insertion` is 0 when it is empty; `atr` is empty for a card that does not answer."""

    reader: str
    moves: int
    insertion: int = 0
    atr: bytes = b""


@dataclass(frozen=True, slots=True)
class ReaderIn:
    reader: str


@dataclass(frozen=True, slots=True)
class ReaderOut:
    reader: str


@dataclass(frozen=True, slots=True)
class CardIn:
    """A card was put in. `insertion` names this very insertion; `mute`: it does not answer (upside down, broken)."""

    reader: str
    atr: bytes
    insertion: int

    @property
    def mute(self) -> bool:
        return not self.atr


@dataclass(frozen=True, slots=True)
class CardOut:
    """The card of that insertion is gone: drop everything that was known of it."""

    reader: str
    insertion: int


Event = ReaderIn | ReaderOut | CardIn | CardOut
Seats = Mapping[str, Seat]


class Insertions:
    """Numbers insertions, from 1."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        self._last += 1
        return self._last


def seats_after(before: Seats, looks: Sequence[Look], insertions: Insertions) -> dict[str, Seat]:
    """What is there now, given what was and what PC/SC says."""
    return {look.reader: _seat(before.get(look.reader), look, insertions) for look in looks if look.known}


def _seat(before: Seat | None, look: Look, insertions: Insertions) -> Seat:
    present = bool(look.state & PRESENT) and bool(look.atr or look.state & MUTE)
    if not present:
        return Seat(look.reader, look.moves)
    atr = b"" if look.state & MUTE else look.atr
    same = before is not None and before.insertion and before.moves == look.moves and before.atr == atr
    return before if same and before is not None else Seat(look.reader, look.moves, insertions.next(), atr)


def differences(before: Seats, after: Seats) -> Iterator[Event]:
    """What happened, removals first."""
    for name, seat in before.items():
        now = after.get(name)
        if seat.insertion and (now is None or now.insertion != seat.insertion):
            yield CardOut(name, seat.insertion)
        if now is None:
            yield ReaderOut(name)
    for name, seat in after.items():
        was = before.get(name)
        if was is None:
            yield ReaderIn(name)
        if seat.insertion and (was is None or was.insertion != seat.insertion):
            yield CardIn(name, seat.atr, seat.insertion)
