"""The cards of the readers for the zone that people sign in at: the host's `CardDesk`, seen from the page.

    serve = cards_for_page(desk)        # host: for `Meeting.open_door(Place.CARD, …)`
    far = FarCards(meeting)             # page: the same face as a CardDesk; `far.line` is a part

Rules (CARD-01, CARD-02):
- The code goes once, as data that is overwritten on both sides, to the insertion that the person saw. The desk decides.
- A key never leaves the host: a digest goes in, a signature comes out, for one `hold` of this very link. Holds are
  numbers that nobody guesses; another link's are not found.
- When the page goes, its link ends, and with it every hold: each card is reset. When the host goes, there are no cards
  here from that moment on, and every session that lived by one ends.
- An insertion is numbered anew here: the host's numbers begin again when it restarts, these never do.
"""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from passevue.card.cps import Holder, KeyUse, Situation
from passevue.card.cps_signer import CardKey
from passevue.errors import BoxError, CardAbsent, CardFault, Refused, Unreadable, ZoneAway
from passevue.status.card_view import CardsView
from passevue.status.cards import OPEN_WITHIN_S, CardHold
from passevue.status.wiping import wipe
from passevue.zones.given_up import GivenUp
from passevue.zones.link import Asked, Bounds, Link, Told, WithData
from passevue.zones.meeting import Line, Meeting, Place
from passevue.zones.part import Part

if TYPE_CHECKING:  # who has the readers hands it over; who has not does not load what reads cards
    from passevue.status.card_desk import CardDesk

MOST_HOLDS = 16  # readers of one pcscd
SIGN_WITHIN_S = 25.0  # a card signs in a second; another session on its reader may come first
BOUNDS = Bounds()
HashName = Literal["sha1", "sha256"]


@dataclass(frozen=True, slots=True)
class CardsNow:
    """Told at once, and whenever it changes."""

    view: CardsView


@dataclass(frozen=True, slots=True)
class OpenCard:
    """The code goes along as data. `hold` is what the card will be held under, a number that nobody guesses."""

    hold: int
    insertion: int
    last_try: bool


@dataclass(frozen=True, slots=True)
class KeyOffered:
    """A key of a card: its certificate as PEM, and what it does."""

    certificate: str
    raw_rsa: bool


@dataclass(frozen=True, slots=True, repr=False)
class CardOpened:
    holder: Holder
    situations: tuple[Situation, ...]
    valid_until: datetime | None
    auth_key: KeyOffered
    sign_key: KeyOffered | None


@dataclass(frozen=True, slots=True)
class SignDigest:
    """The digest goes along as data, and the signature with the answer."""

    hold: int
    use: KeyUse
    hash_name: HashName


@dataclass(frozen=True, slots=True)
class DecryptBlock:
    hold: int
    use: KeyUse


@dataclass(frozen=True, slots=True)
class CloseCard:
    hold: int


@dataclass(frozen=True, slots=True)
class CardGivenUp:
    """Nobody waits any more for the card that was to be held so: it is let go of, now or once it is open."""

    hold: int


@dataclass(frozen=True, slots=True)
class Done:
    pass


# --- host ------------------------------------------------------------------------------------------------------------


def cards_for_page(desk: "CardDesk") -> Callable[[socket.socket], Awaitable[None]]:
    """What serves one connection of the page."""

    async def serve(sock: socket.socket) -> None:
        async with _at_desk(desk) as at_desk:
            link = Link(
                sock,
                BOUNDS,
                asked=[
                    Asked(OpenCard, at_desk.open),
                    Asked(SignDigest, at_desk.sign),
                    Asked(DecryptBlock, at_desk.decrypt),
                    Asked(CloseCard, at_desk.close),
                ],
                told=[Told(CardGivenUp, at_desk.give_up)],
            )
            async with asyncio.TaskGroup() as group:
                beside = [
                    group.create_task(_tell_cards(desk, link), name="cards-told"),
                    group.create_task(at_desk.let_go(), name="cards-given-up"),
                ]
                await link.run()
                for task in beside:
                    task.cancel()

    return serve


@asynccontextmanager
async def _at_desk(desk: "CardDesk") -> AsyncIterator["_AtDesk"]:
    at_desk = _AtDesk(desk)
    try:
        yield at_desk
    finally:
        await asyncio.shield(at_desk.close_all())


async def _tell_cards(desk: "CardDesk", link: Link) -> None:
    with suppress(ZoneAway):
        while True:
            version = desk.version
            link.tell(CardsNow(desk.view()))
            await desk.changed(version)


class _AtDesk:
    """One page at the desk: the cards that it holds."""

    def __init__(self, desk: "CardDesk") -> None:
        self._desk = desk
        self._holds: dict[int, CardHold] = {}
        self._opening: set[int] = set()
        self._given_up = GivenUp()
        self._leaving: asyncio.Queue[CardHold] = asyncio.Queue()

    async def open(self, question: OpenCard, pin: bytearray) -> CardOpened:
        try:
            held = await self._held(question, pin)
        finally:
            wipe(pin)
        if self._given_up.take(question.hold):
            await held.close()
            raise CardAbsent("nobody waits for this card any more")
        self._holds[question.hold] = held
        return CardOpened(
            held.holder,
            held.situations,
            held.valid_until,
            offered(held.auth_key),
            offered(held.sign_key) if held.sign_key is not None else None,
        )

    async def _held(self, question: OpenCard, pin: bytearray) -> CardHold:
        known = {*self._holds, *self._opening}
        if len(known) >= MOST_HOLDS or question.hold in known:
            raise CardFault("too many cards are held, or one under that number")
        if self._given_up.take(question.hold):
            raise CardAbsent("nobody waits for this card any more")  # and no code is sent
        self._opening.add(question.hold)
        try:
            return await self._desk.open(question.insertion, pin, last_try=question.last_try)
        finally:
            self._opening.discard(question.hold)

    async def sign(self, question: SignDigest, digest: bytearray) -> WithData:
        key = self._key(question.hold, question.use)
        return WithData(Done(), await key.sign_digest(bytes(digest), question.hash_name))

    async def decrypt(self, question: DecryptBlock, block: bytearray) -> WithData:
        return WithData(Done(), await self._key(question.hold, question.use).decrypt_block(bytes(block)))

    async def close(self, question: CloseCard, _data: bytearray) -> Done:
        held = self._holds.pop(question.hold, None)
        if held is not None:
            await held.close()
        return Done()

    def give_up(self, told: CardGivenUp) -> None:
        held = self._holds.pop(told.hold, None)
        if held is not None:
            self._leaving.put_nowait(held)
        else:
            self._given_up.add(told.hold)

    async def let_go(self) -> None:
        """Closes what nobody waits for; until cancelled."""
        while True:
            held = await self._leaving.get()
            with suppress(BoxError):
                await held.close()

    async def close_all(self) -> None:
        held_still = list(self._holds.values())
        while not self._leaving.empty():
            held_still.append(self._leaving.get_nowait())
        self._holds.clear()
        for held in held_still:
            with suppress(BoxError):
                await held.close()

    def _key(self, hold: int, use: KeyUse) -> CardKey:
        held = self._holds.get(hold)
        key = None if held is None else held.auth_key if use is KeyUse.AUTH else held.sign_key
        if key is None or use is KeyUse.TECH:
            raise CardAbsent("no card is held under that number")
        return key


def offered(key: CardKey) -> KeyOffered:
    return KeyOffered(key.certificate.public_bytes(Encoding.PEM).decode("ascii"), key.raw_rsa)


# --- page ------------------------------------------------------------------------------------------------------------


class FarCards:
    """The readers of the host: the face of `CardDesk` that signing in needs."""

    def __init__(self, meeting: Meeting) -> None:
        self.line = Line(meeting, Place.CARD, Part.HOST, self._make, down=self._forget)
        self._version = 0
        self._view = CardsView(service=False)
        self._ours: dict[int, int] = {}  # our number of an insertion by the host's
        self._numbers = count(1)
        self._changed = asyncio.Event()

    @property
    def version(self) -> int:
        return self._version

    def view(self) -> CardsView:
        return self._view

    async def changed(self, since: int) -> int:
        """Returns the version once it is not `since`."""
        while self.version == since:
            await self._changed.wait()
        return self.version

    def holds(self, insertion: int) -> bool:
        return self._view.card(insertion) is not None

    async def open(self, insertion: int, pin: bytearray, *, last_try: bool = False) -> CardHold:
        """As `CardDesk.open`; also CardFault while the host is away. `pin` is wiped whatever happens."""
        try:
            theirs = next((number for number, ours in self._ours.items() if ours == insertion), None)
            link = self.line.link
            if theirs is None or link is None or not self.holds(insertion):
                raise CardAbsent("that card is no longer in its reader")
            hold = secrets.randbits(53)
            opened = await self._opened(link, OpenCard(hold, theirs, last_try), pin)
        finally:
            wipe(pin)
        return self._held(link, insertion, hold, opened)

    async def _opened(self, link: Link, question: OpenCard, pin: bytearray) -> CardOpened:
        try:
            found, _ = await link.ask(question, pin, gives=CardOpened, timeout_s=OPEN_WITHIN_S + 5, secret=True)
        except ZoneAway as err:
            _give_up(link, question.hold)
            raise CardFault("the zone of the readers does not answer", hint=err.hint) from err
        except asyncio.CancelledError:
            _give_up(link, question.hold)
            raise
        return found

    def _held(self, link: Link, insertion: int, hold: int, opened: CardOpened) -> CardHold:
        async def close() -> None:
            with suppress(ZoneAway):  # the host has let go of everything then
                await link.ask(CloseCard(hold), gives=Done)

        sign = opened.sign_key
        return CardHold(
            insertion,
            opened.holder,
            opened.situations,
            opened.valid_until,
            FarKey(link, hold, KeyUse.AUTH, opened.auth_key),
            FarKey(link, hold, KeyUse.SIGN, sign) if sign is not None else None,
            close,
        )

    def _make(self, sock: socket.socket, spoke: Callable[[], None]) -> Link:
        return Link(sock, BOUNDS, told=[Told(CardsNow, self._show)], on_first=spoke)

    def _show(self, told: CardsNow) -> None:
        there = {card.insertion for card in told.view.cards}
        self._ours = {
            theirs: self._ours[theirs] if theirs in self._ours else next(self._numbers) for theirs in sorted(there)
        }
        cards = tuple(replace(card, insertion=self._ours[card.insertion]) for card in told.view.cards)
        self._tell(replace(told.view, cards=cards))

    def _forget(self) -> None:
        self._ours.clear()
        self._tell(CardsView(service=False))

    def _tell(self, view: CardsView) -> None:
        self._view = view
        self._version += 1
        self._changed.set()
        self._changed = asyncio.Event()


def _give_up(link: Link, hold: int) -> None:
    """Nobody waits for the answer to an `OpenCard`."""
    with suppress(ZoneAway):
        link.tell(CardGivenUp(hold))


class FarKey:
    """A key of a card that another process holds: a `card.key_signer.SigningKey`."""

    def __init__(self, link: Link, hold: int, use: KeyUse, offered: KeyOffered) -> None:
        self._link = link
        self._hold = hold
        self._use = use
        self._raw_rsa = offered.raw_rsa
        self._certificate = certificate_of(offered)

    @property
    def certificate(self) -> x509.Certificate:
        return self._certificate

    @property
    def raw_rsa(self) -> bool:
        return self._raw_rsa

    async def sign_digest(self, digest: bytes, hash_name: str) -> bytes:
        return await self._ask(SignDigest(self._hold, self._use, hash_of(hash_name)), digest)

    async def decrypt_block(self, block: bytes) -> bytes:
        return await self._ask(DecryptBlock(self._hold, self._use), block)

    async def _ask(self, question: SignDigest | DecryptBlock, data: bytes) -> bytes:
        try:
            _, found = await self._link.ask(question, data, gives=Done, timeout_s=SIGN_WITHIN_S)
        except ZoneAway as err:
            raise CardAbsent("the zone of the readers went away", hint=err.hint) from err
        return bytes(found)


def certificate_of(offered: KeyOffered) -> x509.Certificate:
    """Raises: Unreadable."""
    try:
        return x509.load_pem_x509_certificate(offered.certificate.encode("ascii"))
    except ValueError as err:
        raise Unreadable("a card's certificate is not PEM") from err


def hash_of(name: str) -> HashName:
    """Raises: Refused: not a hash that a card signs."""
    if name not in ("sha1", "sha256"):
        raise Refused("no-such-hash", f"a card signs no {name[:20]!r}")
    return "sha1" if name == "sha1" else "sha256"
