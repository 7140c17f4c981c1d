"""A virtual card put by hand into a reader that is none: the card's own OS behind `CardDesk`, without PC/SC.

    hand = CardHand(desk)
    hand.put_in(VirtualCard())
    hand.pull()

Each card works on a thread, is powered when it is opened and reset when it is left, as a reader does.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from passevue.card.cps import Cps, KeyUse
from passevue.card.reader_session import SessionKey
from passevue.card.session import CardSession
from passevue.errors import CardAbsent, CardFault
from passevue.status.card_desk import CardDesk

from .card import VirtualCard
from .card_channel import Direct, session_of

T = TypeVar("T")


class _AtWork:
    """What `card.reader_session.ReaderSession` gives, on a card in this process."""

    def __init__(self, card: VirtualCard) -> None:
        self._session = session_of(card, Direct(card))

    async def _run(self, work: Callable[[CardSession], T]) -> T:
        return await asyncio.to_thread(work, self._session)

    async def identify(self) -> Cps:
        return await self._run(lambda card: card.identify())

    async def verify(self, pin: bytes | bytearray, *, last_try: bool = False) -> None:
        await self._run(lambda card: card.verify(pin, last_try=last_try))

    async def prove(self, use: KeyUse) -> None:
        await self._run(lambda card: card.prove(use))

    async def situations(self) -> Cps:
        return await self._run(lambda card: card.situations())

    async def sign(self, use: KeyUse, digest: bytes, hash_name: str = "sha256") -> bytes:
        return await self._run(lambda card: card.sign(use, digest, hash_name))

    async def decrypt_block(self, use: KeyUse, block: bytes) -> bytes:
        return await self._run(lambda card: card.decrypt_block(use, block))

    async def key(self, use: KeyUse) -> SessionKey:
        cps = await self.identify()
        key = cps.key(use)
        if key is None:
            raise CardFault(f"no {use} key")
        session: Any = self
        return SessionKey(session, key, cps.generation)


class CardHand:
    """Puts cards in and pulls them, in a reader called `name`."""

    def __init__(self, desk: CardDesk, name: str = "Lecteur d'essai") -> None:
        self.desk = desk
        self.name = name
        self.card: VirtualCard | None = None
        self.opened = 0  # sessions that the box holds on the card now
        self._insertions = 0
        desk.reader_in(name)

    def put_in(self, card: VirtualCard) -> int:
        """The number of this insertion."""
        if self.card is not None:
            self.pull()
        card.insert()
        self.card = card
        self._insertions += 1
        self.desk.card_in(self.name, self._insertions, lambda: self._open(card))
        return self._insertions

    def pull(self) -> None:
        if self.card is not None:
            self.card.removed = True
            self.card = None
        self.desk.card_out(self.name)

    def unplug(self) -> None:
        self.pull()
        self.desk.reader_out(self.name)

    @asynccontextmanager
    async def _open(self, card: VirtualCard) -> AsyncIterator[_AtWork]:
        if card.removed:
            raise CardAbsent("the card was pulled")
        await asyncio.to_thread(card.power)
        self.opened += 1
        try:
            yield _AtWork(card)
        finally:
            self.opened -= 1
            if not card.removed:
                await asyncio.to_thread(card.reset)
