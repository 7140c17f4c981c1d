"""The cards in the readers as signing in sees them: what it asks, and what it is given for a card with its code.

`card_desk.CardDesk` answers it where the readers are, a stand-in in another process (`zones.cards`).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from passevue.card.cps import Holder, Situation
from passevue.card.cps_signer import CardKey
from passevue.status.card_view import CardsView

OPEN_WITHIN_S = 30.0  # a full reading takes 2 s on a slow card, a signature 1 s


@dataclass(frozen=True, slots=True, repr=False)
class CardHold:
    """A card whose holder gave its code, kept until `close`.

    Attributes:
        holder: who it names.
        situations: theirs, as the card says.
        valid_until: of the card.
        auth_key: opens TLS. sign_key: signs documents; None on a card that has none.
    """

    insertion: int
    holder: Holder
    situations: tuple[Situation, ...]
    valid_until: datetime | None
    auth_key: CardKey
    sign_key: CardKey | None
    close: Callable[[], Awaitable[None]]


class Cards(Protocol):
    """What signing in asks of the readers: of `CardDesk`, or of its stand-in where another process has them."""

    @property
    def version(self) -> int:
        """Another one whenever the view is."""
        ...

    def view(self) -> CardsView:
        """Readers and cards as they are now."""
        ...

    async def changed(self, since: int) -> int:
        """Returns the version once it is not `since`."""
        ...

    def holds(self, insertion: int) -> bool:
        """Whether that card is still in its reader."""
        ...

    async def open(self, insertion: int, pin: bytearray, *, last_try: bool = False) -> CardHold:
        """See `CardDesk.open`."""
        ...
