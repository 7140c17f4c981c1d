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
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from passevue.card.cps import Holder, KeyUse, Situation
from passevue.card.cps_signer import CardKey
from passevue.errors import BoxError, CardAbsent, CardFault, Refused, Unreadable, ZoneAway
from passevue.status.card_desk import OPEN_WITHIN_S, CardDesk, CardHold
from passevue.status.card_view import CardsView
from passevue.status.form import wipe
from passevue.zones.link import Asked, Bounds, Link, Told, WithData
from passevue.zones.meeting import Line, Meeting, Place
from passevue.zones.part import Part

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
    """The code goes along as data."""

    insertion: int
    last_try: bool


@dataclass(frozen=True, slots=True)
class KeyOffered:
    """A key of a card: its certificate as PEM, and what it does."""

    certificate: str
    raw_rsa: bool


@dataclass(frozen=True, slots=True, repr=False)
class CardOpened:
    hold: int
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
class Done:
    pass


# --- host ------------------------------------------------------------------------------------------------------------


def cards_for_page(desk: CardDesk) -> Callable[[socket.socket], Awaitable[None]]:
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
            )
            async with asyncio.TaskGroup() as group:
                telling = group.create_task(_tell_cards(desk, link), name="cards-told")
                await link.run()
                telling.cancel()

    return serve


@asynccontextmanager
async def _at_desk(desk: CardDesk) -> AsyncIterator["_AtDesk"]:
    at_desk = _AtDesk(desk)
    try:
        yield at_desk
    finally:
        await asyncio.shield(at_desk.close_all())


async def _tell_cards(desk: CardDesk, link: Link) -> None:
    with suppress(ZoneAway):
        while True:
            version = desk.version
            link.tell(CardsNow(desk.view()))
            await desk.changed(version)


class _AtDesk:
    """One page at the desk: the cards that it holds."""

    def __init__(self, desk: CardDesk) -> None:
        self._desk = desk
        self._holds: dict[int, CardHold] = {}

    async def open(self, question: OpenCard, pin: bytearray) -> CardOpened:
        try:
            if len(self._holds) >= MOST_HOLDS:
                raise CardFault("too many cards are held")
            held = await self._desk.open(question.insertion, pin, last_try=question.last_try)
        finally:
            wipe(pin)
        number = secrets.randbits(53)
        self._holds[number] = held
        return CardOpened(
            number,
            held.holder,
            held.situations,
            held.valid_until,
            offered(held.auth_key),
            offered(held.sign_key) if held.sign_key is not None else None,
        )

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

    async def close_all(self) -> None:
        while self._holds:
            _, held = self._holds.popitem()
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
            question = OpenCard(theirs, last_try)
            opened, _ = await link.ask(question, pin, gives=CardOpened, timeout_s=OPEN_WITHIN_S + 5, secret=True)
        except ZoneAway as err:
            raise CardFault("the zone of the readers went away", hint=err.hint) from err
        finally:
            wipe(pin)
        return self._held(link, insertion, opened)

    def _held(self, link: Link, insertion: int, opened: CardOpened) -> CardHold:
        async def close() -> None:
            with suppress(ZoneAway):  # the host has let go of everything then
                await link.ask(CloseCard(opened.hold), gives=Done)

        sign = opened.sign_key
        return CardHold(
            insertion,
            opened.holder,
            opened.situations,
            opened.valid_until,
            FarKey(link, opened.hold, KeyUse.AUTH, opened.auth_key),
            FarKey(link, opened.hold, KeyUse.SIGN, sign) if sign is not None else None,
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
