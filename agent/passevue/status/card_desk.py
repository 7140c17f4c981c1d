"""The cards in this box's readers, as people come and go: what is there now, and a sign-in with one of them.

The readers' events come in; out come a `CardsView` that always says the last state, and `open`, which takes a code and
gives a `CardHold`: the card, its code verified, kept for as long as the session lives.

Rules (cps-card.md § 5, CARD-01, CARD-02):
- A code is sent once, and only to the insertion that the person saw: another card in its place gets nothing. While one
  is looked at, another is not taken: a form sent twice in haste costs one try.
- Signing in takes more than the code: the card signs 32 random bytes, and the certificate that checks them must be
  trusted now. What the page believes of a person comes from that certificate; the one that signs is the same person's.
- A card that is read or released is left with a reset: no code stays verified.
- A card that leaves is gone at once, whatever was being done with it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Protocol

import structlog
from cryptography import x509

from passevue.card.codes import Secret
from passevue.card.cps import Cps, KeyUse
from passevue.card.cps_signer import CardKey
from passevue.card.reader import CardIn, CardOut, ReaderIn, ReaderOut, Readers
from passevue.card.trust import Use, check_same_holder
from passevue.errors import (
    BoxError,
    CardAbsent,
    CardError,
    CardFault,
    CredentialError,
    PinBlocked,
    PinWrong,
    Refused,
    TrustError,
    UnknownCard,
)
from passevue.status.card_view import CardPhase, CardSeen, CardsView, phase_of, tries_left
from passevue.status.cards import OPEN_WITHIN_S, CardHold
from passevue.status.wiping import wipe

log = structlog.get_logger()


class CardAtWork(Protocol):
    """A powered card, as `card.reader` gives it: leaving its context resets it. `verify` overwrites the code.

    Raises (each): CardError, of which CardAbsent once it is gone.
    """

    async def identify(self) -> Cps: ...

    async def verify(self, pin: Secret, *, last_try: bool = False) -> None: ...

    async def prove(self, use: KeyUse) -> None: ...

    async def situations(self) -> Cps: ...

    async def key(self, use: KeyUse) -> CardKey: ...


OpenCard = Callable[[], AbstractAsyncContextManager[CardAtWork]]
Trust = Callable[[x509.Certificate, datetime, Use], Awaitable[None]]  # raises TrustError, CredentialError


@dataclass(slots=True)
class _Slot:
    """A card in a reader."""

    seen: CardSeen
    open: OpenCard
    alone: asyncio.Lock
    reading: asyncio.Task[None] | None = None


class CardDesk:
    """The readers of one box.

    Args:
        realm: `production` or `test`: which cards are taken.
        trust: whether a person's certificate is to be believed now.
        clock: aware now.
        readers: whose events are followed; without it somebody calls `reader_in` and the rest.
    """

    name = "cards"

    def __init__(self, realm: str, trust: Trust, clock: Callable[[], datetime], readers: Readers | None = None) -> None:
        self._readers = readers
        self._realm = realm
        self._trust = trust
        self._clock = clock
        self._names: set[str] = set()
        self._slots: dict[str, _Slot] = {}
        self._changed = asyncio.Event()
        self._arrivals: asyncio.Queue[_Slot] = asyncio.Queue()
        self._version = 0

    # What the page asks

    @property
    def version(self) -> int:
        return self._version

    def view(self) -> CardsView:
        cards = tuple(slot.seen for _, slot in sorted(self._slots.items()))
        service = self._readers is None or self._readers.service_up
        return CardsView(len(self._names), cards, service)

    async def changed(self, since: int) -> int:
        """Returns the version once it is not `since`."""
        while self.version == since:
            await self._changed.wait()
        return self.version

    def holds(self, insertion: int) -> bool:
        return self.view().card(insertion) is not None

    async def open(self, insertion: int, pin: bytearray, *, last_try: bool = False) -> CardHold:
        """The card of `insertion` with its holder's code, given once. `pin` is wiped whatever happens.

        Raises:
            CardAbsent: that card is no longer there.
            Refused: `card-busy`: another code is with it; `card-not-now`: it cannot be believed. Nothing was sent.
            PinWrong, PinBlocked, LastTry, PinNeeded: as the card says.
            CardError, TrustError: it is not a card to sign in with.
        """
        try:
            async with asyncio.timeout(OPEN_WITHIN_S):
                return await self._open(insertion, pin, last_try=last_try)
        except TimeoutError as err:
            raise CardFault("the card did not finish in time") from err
        finally:
            wipe(pin)

    async def _open(self, insertion: int, pin: bytearray, *, last_try: bool) -> CardHold:
        slot = self._slot(insertion)
        if slot.seen.phase.asks_code and slot.alone.locked():
            raise Refused("card-busy", "a code is with this card already")
        async with slot.alone:
            if not slot.seen.phase.asks_code:
                raise CardFault(f"the card is {slot.seen.phase}")
            async with AsyncExitStack() as stack:
                card = await stack.enter_async_context(slot.open())
                cps = await self._verified(card, slot, pin, last_try=last_try)
                if cps.holder is None:
                    raise CardFault("the card names nobody")
                auth_key = await card.key(KeyUse.AUTH)
                sign_key = await card.key(KeyUse.SIGN) if cps.signature is not None else None
                self._slot(insertion)  # pulled at the very end: nobody signs in
                kept = stack.pop_all()
            self._show(slot, replace(slot.seen, phase=CardPhase.IN_USE, tries_left=None))

        async def close() -> None:
            await kept.aclose()
            self._released(slot)

        return CardHold(insertion, cps.holder, cps.situations or (), cps.valid_until, auth_key, sign_key, close)

    async def _verified(self, card: CardAtWork, slot: _Slot, pin: bytearray, *, last_try: bool) -> Cps:
        cps = await card.identify()
        phase = phase_of(cps, self._realm, self._clock())
        if cps.number != slot.seen.number or not phase.asks_code:
            self._show(slot, _seen(slot.seen, cps, phase))
            raise CardFault(f"the card is {phase}, or not the one that was shown")
        try:
            await self._believe(cps)
        except CredentialError as err:  # believed when it was read, and not now: its list or the clock
            raise Refused("card-not-now", err.message) from err
        try:
            await card.verify(bytearray(pin), last_try=last_try)  # its own copy: wiped by the card's thread when sent
        except (PinWrong, PinBlocked) as err:
            left = err.tries_left if isinstance(err, PinWrong) else 0
            phase = CardPhase.BLOCKED if not left else CardPhase.LAST_TRY if left == 1 else CardPhase.READY
            self._show(slot, replace(slot.seen, phase=phase, tries_left=left))
            raise
        await card.prove(KeyUse.AUTH)
        return await card.situations()

    async def _believe(self, cps: Cps) -> None:
        key = cps.authentication
        if key is None:
            raise CardFault("the card has no authentication key")
        await self._trust(key.certificate, self._clock(), Use.AUTH)
        if cps.signature is not None:
            check_same_holder(key.certificate, cps.signature.certificate)
            await self._trust(cps.signature.certificate, self._clock(), Use.SIGN)

    def _released(self, slot: _Slot) -> None:
        """A hold was let go: the card is read anew, and may be signed in with again."""
        self._show(slot, replace(slot.seen, phase=CardPhase.READING))
        self._arrivals.put_nowait(slot)

    def _slot(self, insertion: int) -> _Slot:
        for slot in self._slots.values():
            if slot.seen.insertion == insertion:
                return slot
        raise CardAbsent("that card is no longer in its reader")

    # What the readers tell

    def reader_in(self, reader: str) -> None:
        self._names.add(reader)
        self._tell()

    def reader_out(self, reader: str) -> None:
        self._names.discard(reader)
        self._drop(reader)
        self._tell()

    def card_in(self, reader: str, insertion: int, open_card: OpenCard, *, mute: bool = False) -> None:
        self._names.add(reader)
        self._drop(reader)
        seen = CardSeen(insertion, reader, CardPhase.MUTE if mute else CardPhase.READING, self._clock())
        slot = self._slots[reader] = _Slot(seen, open_card, asyncio.Lock())
        if not mute:
            self._arrivals.put_nowait(slot)
        self._tell()

    def card_out(self, reader: str) -> None:
        self._drop(reader)
        self._tell()

    def _drop(self, reader: str) -> None:
        slot = self._slots.pop(reader, None)
        if slot is not None and slot.reading is not None:
            slot.reading.cancel()

    async def _listen(self, readers: Readers) -> None:
        async for event in readers.events():
            match event:
                case ReaderIn():
                    self.reader_in(event.reader)
                case ReaderOut():
                    self.reader_out(event.reader)
                case CardIn():
                    self.card_in(event.reader, event.insertion, partial(readers.session, event), mute=event.mute)
                case CardOut():
                    self.card_out(event.reader)

    # Reading cards as they come

    async def run(self) -> None:
        """Reads each card that comes; until cancelled."""
        async with asyncio.TaskGroup() as group:
            if self._readers is not None:
                group.create_task(self._listen(self._readers), name="card-events")
            while True:
                slot = await self._arrivals.get()
                if self._slots.get(slot.seen.reader) is slot:
                    slot.reading = group.create_task(self._read(slot), name="card-read")

    async def _read(self, slot: _Slot) -> None:
        try:
            async with slot.alone, asyncio.timeout(OPEN_WITHIN_S), slot.open() as card:
                cps = await card.identify()
            phase = phase_of(cps, self._realm, self._clock())
            if phase.asks_code:
                await self._believe(cps)
            self._show(slot, _seen(slot.seen, cps, phase))
        except CardAbsent:
            return  # its removal is told by the reader
        except UnknownCard as err:
            self._show(slot, replace(slot.seen, phase=CardPhase.UNKNOWN, said=err.hint))
        except TrustError as err:
            self._show(slot, replace(slot.seen, phase=CardPhase.UNTRUSTED, said=err.hint))
        except (BoxError, TimeoutError) as err:
            log.warning("card_not_read", error_class=type(err).__name__)
            said = err.hint if isinstance(err, BoxError) else CardError.usual_hint
            self._show(slot, replace(slot.seen, phase=CardPhase.FAULT, said=said))

    def _show(self, slot: _Slot, seen: CardSeen) -> None:
        if self._slots.get(seen.reader) is slot:
            slot.seen = seen
            self._tell()

    def _tell(self) -> None:
        self._version += 1
        self._changed.set()
        self._changed = asyncio.Event()


def _seen(before: CardSeen, cps: Cps, phase: CardPhase) -> CardSeen:
    holder = cps.holder
    return replace(
        before,
        phase=phase,
        tries_left=tries_left(cps),
        number=cps.number,
        family=holder.name if holder else "",
        given=holder.given if holder else "",
        said="",
    )
