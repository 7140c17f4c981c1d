"""What the readers of this box hold, as the sign-in page shows it: values, and the decision what a card is good for.

    CardsView(readers=1, cards=(CardSeen(…, phase=CardPhase.READY, tries_left=3),))

A card is known here by its `insertion`: a number that no other insertion ever has, so that a card pulled and put back,
or swapped within ten milliseconds, is another one. `repr` shows no holder.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from passevue.card.cps import Category, Cps, Generation


class CardPhase(StrEnum):
    """Where a card in a reader stands; `people_words` says what to do in each."""

    READING = "reading"
    READY = "ready"  # its code is asked
    LAST_TRY = "last-try"  # asked, with a confirmation
    BLOCKED = "blocked"
    IN_USE = "in-use"  # somebody is signed in with it
    TOO_EARLY = "too-early"
    EXPIRED = "expired"
    TEST_CARD = "test-card"  # in a box of production
    REAL_CARD = "real-card"  # in a box of test
    CONTACTLESS = "contactless"  # takes no code in this mode
    STAFF = "staff"  # a card that names no health professional
    BROKEN_UPDATE = "broken-update"
    UNKNOWN = "unknown"
    UNTRUSTED = "untrusted"
    MUTE = "mute"  # it does not answer: upside down, or broken
    FAULT = "fault"

    @property
    def asks_code(self) -> bool:
        return self in (CardPhase.READY, CardPhase.LAST_TRY)


@dataclass(frozen=True, slots=True, repr=False)
class CardSeen:
    """One card in a reader. Holder and number are what the card gives freely: for who stands at the box only.

    `said` is the French sentence of the error that stopped its reading, where it has a better one than the phase.
    """

    insertion: int
    reader: str
    phase: CardPhase
    inserted_at: datetime
    tries_left: int | None = None
    number: str = ""
    family: str = ""
    given: str = ""
    said: str = ""

    def __repr__(self) -> str:
        return f"CardSeen({self.insertion}, {self.phase})"


@dataclass(frozen=True, slots=True)
class CardsView:
    """All readers. `service`: whether the card service answers at all."""

    readers: int = 0
    cards: tuple[CardSeen, ...] = ()
    service: bool = True

    def card(self, insertion: int | None) -> CardSeen | None:
        return next((one for one in self.cards if one.insertion == insertion), None)


def phase_of(cps: Cps, realm: str, now: datetime) -> CardPhase:
    """What a card that was read is good for in a box of `realm` (`production` or `test`)."""
    if cps.update_broken:
        return CardPhase.BROKEN_UPDATE
    if cps.generation is Generation.CPS3_CONTACTLESS:
        return CardPhase.CONTACTLESS
    if cps.category is None or cps.authentication is None or cps.holder is None:
        return CardPhase.UNKNOWN
    if cps.category is Category.TEST and realm == "production":
        return CardPhase.TEST_CARD
    if cps.category is Category.PRODUCTION and realm != "production":
        return CardPhase.REAL_CARD
    if cps.valid_from is not None and now < cps.valid_from:
        return CardPhase.TOO_EARLY
    if cps.valid_until is None or now >= cps.valid_until:
        return CardPhase.EXPIRED
    if not cps.holder.profession:
        return CardPhase.STAFF
    return _phase_of_code(cps)


def _phase_of_code(cps: Cps) -> CardPhase:
    if cps.pin is None:
        return CardPhase.UNKNOWN
    if cps.pin.blocked:
        return CardPhase.BLOCKED
    return CardPhase.LAST_TRY if cps.pin.tries_left in (None, 1) else CardPhase.READY


def tries_left(cps: Cps) -> int | None:
    return cps.pin.tries_left if cps.pin is not None else None
