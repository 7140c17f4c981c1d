"""The host's cards seen from the page: the code goes once and leaves nothing, the key stays, and who dies lets go."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from passevue.card.cps import KeyUse
from passevue.card.trust import Use
from passevue.errors import CardAbsent, CardFault, PinWrong, Refused
from passevue.status.card_desk import CardDesk, CardHold
from passevue.zones.cards import CloseCard, Done, FarCards, SignDigest, cards_for_page
from passevue.zones.meeting import Meeting, Place
from passevue.zones.part import Part
from tests.peers.card import Holder, Profile, Situation, VirtualCard
from tests.peers.card_hand import CardHand
from tests.peers.pki_persons import of_process

DIGEST = hashlib.sha256(b"what is signed").digest()
SITUATIONS = (Situation("CABINET", "1750000000", "SA08"), None, Situation("HOPITAL", "10B0184569", "SA01"))


async def believe(_certificate: x509.Certificate, _now: datetime, _use: Use) -> None:
    pass


def now() -> datetime:
    return datetime.now(UTC)


class Zone:
    """Something that lives until `end`."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._stack = AsyncExitStack()

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._stack.aclose()


class HostZone(Zone):
    async def begin(self, meeting: Meeting) -> "HostZone":
        self.desk = CardDesk("test", believe, now)
        self.hand = CardHand(self.desk)
        door = await self._stack.enter_async_context(
            meeting.open_door(Place.CARD, Part.PAGE, cards_for_page(self.desk))
        )
        self._tasks = [asyncio.create_task(one) for one in (self.desk.run(), door.run())]
        return self


class PageZone(Zone):
    def begin(self, meeting: Meeting) -> "PageZone":
        self.cards = FarCards(meeting)
        self._tasks = [asyncio.create_task(self.cards.line.run())]
        return self


class Two:
    """Both, each to be ended and begun again."""

    def __init__(self, meeting: Meeting) -> None:
        self.meeting = meeting

    async def begin(self) -> None:
        self.host = await HostZone().begin(self.meeting)
        self.page = PageZone().begin(self.meeting)

    async def end(self) -> None:
        await self.page.end()
        await self.host.end()

    async def shown(self) -> int:
        """The insertion of the card that may be signed in with, as the page knows it."""
        cards = self.page.cards
        async with asyncio.timeout(20):
            version = -1
            while True:
                ready = [one for one in cards.view().cards if one.phase.asks_code]
                if ready:
                    return ready[0].insertion
                version = await cards.changed(version)

    async def until(self, wanted: bool, insertion: int) -> None:
        async with asyncio.timeout(5):
            version = -1
            while self.page.cards.holds(insertion) is not wanted:
                version = await self.page.cards.changed(version)

    async def held(self) -> CardHold:
        return await self.page.cards.open(await self.shown(), bytearray(b"1234"))


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    both = Two(Meeting(tmp_path))
    await both.begin()
    yield both
    await both.end()


@pytest.fixture(scope="module")
def card() -> VirtualCard:
    profile = Profile(holder=Holder(situations=SITUATIONS), category="test")
    return VirtualCard(profile, of_process("test").card_keys(profile))


def verifies(certificate: x509.Certificate, signature: bytes) -> None:
    public = certificate.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(signature, DIGEST, padding.PKCS1v15(), Prehashed(hashes.SHA256()))


async def test_what_the_card_says_arrives_and_its_keys_sign_from_afar(two: Two, card: VirtualCard) -> None:
    assert two.page.cards.view().service is False  # before they have met
    two.host.hand.put_in(card)
    insertion = await two.shown()
    (seen,) = two.page.cards.view().cards
    assert (seen.family, seen.given) == ("RADIOLOGUE", "CAMILLE")
    pin = bytearray(b"1234")
    hold = await two.page.cards.open(insertion, pin)
    assert pin == bytearray(4)
    assert hold.holder.id_nat == card.profile.holder.id_nat
    assert [one.structure_id for one in hold.situations] == ["1750000000", "10B0184569"]
    assert hold.sign_key is not None
    for key in (hold.auth_key, hold.sign_key):
        verifies(key.certificate, await key.sign_digest(DIGEST, "sha256"))
    with pytest.raises(Refused, match="no-such-hash"):
        await hold.auth_key.sign_digest(DIGEST, "md5")
    await hold.close()
    with pytest.raises(CardAbsent):
        await hold.sign_key.sign_digest(DIGEST, "sha256")


async def test_a_wrong_code_says_what_is_left_and_leaves_no_code(two: Two, card: VirtualCard) -> None:
    two.host.hand.put_in(VirtualCard(card.profile, of_process("test").card_keys(card.profile)))
    pin = bytearray(b"9999")
    with pytest.raises(PinWrong) as caught:
        await two.page.cards.open(await two.shown(), pin)
    assert caught.value.tries_left == 2
    assert pin == bytearray(4)


async def test_a_card_that_is_pulled_is_gone_here_at_once(two: Two, card: VirtualCard) -> None:
    two.host.hand.put_in(card)
    hold = await two.held()
    two.host.hand.pull()
    await two.until(False, hold.insertion)
    with pytest.raises(CardAbsent):
        await hold.auth_key.sign_digest(DIGEST, "sha256")
    pin = bytearray(b"1234")
    with pytest.raises(CardAbsent):
        await two.page.cards.open(hold.insertion, pin)
    assert pin == bytearray(4)
    await hold.close()


async def test_when_the_page_goes_the_card_is_let_go_of(two: Two, card: VirtualCard) -> None:
    two.host.hand.put_in(card)
    await two.held()
    assert two.host.hand.opened == 1
    await two.page.end()
    async with asyncio.timeout(5):
        while two.host.hand.opened:  # noqa: ASYNC110 - the hand has no event for it
            await asyncio.sleep(0.01)
    two.page = PageZone().begin(two.meeting)
    again = await two.held()  # read anew, and signed in with again
    await again.close()


async def test_when_the_host_goes_every_card_is_and_a_code_for_one_never_reaches_another(
    two: Two, card: VirtualCard
) -> None:
    two.host.hand.put_in(card)
    hold = await two.held()
    await two.host.end()
    await two.until(False, hold.insertion)
    assert two.page.cards.view().service is False
    with pytest.raises(CardAbsent):
        await hold.auth_key.sign_digest(DIGEST, "sha256")
    await hold.close()
    two.host = await HostZone().begin(two.meeting)
    other = VirtualCard(card.profile, of_process("test").card_keys(card.profile))
    two.host.hand.put_in(other)  # the host calls it insertion 1 again
    assert await two.shown() != hold.insertion
    with pytest.raises(CardAbsent):
        await two.page.cards.open(hold.insertion, bytearray(b"1234"))
    assert not any(one.command[1] == 0x20 and len(one.command) > 5 for one in other.trace)


async def test_a_host_that_is_away_is_told_as_such(tmp_path: Path) -> None:
    cards = FarCards(Meeting(tmp_path))
    pin = bytearray(b"1234")
    with pytest.raises((CardAbsent, CardFault)):
        await cards.open(1, pin)
    assert pin == bytearray(4)


async def test_a_hold_of_another_link_is_not_found(two: Two, card: VirtualCard) -> None:
    two.host.hand.put_in(card)
    hold = await two.held()
    number = hold.auth_key._hold  # type: ignore[attr-defined]
    other = PageZone().begin(two.meeting)
    async with asyncio.timeout(5):
        while (link := other.cards.line.link) is None:  # noqa: ASYNC110 - it has no event for it
            await asyncio.sleep(0.01)
    for use in (KeyUse.AUTH, KeyUse.SIGN, KeyUse.TECH):
        with pytest.raises(CardAbsent):
            await link.ask(SignDigest(number, use, "sha256"), DIGEST, gives=Done)
    await link.ask(CloseCard(number), gives=Done)  # closes nothing of another's
    await hold.auth_key.sign_digest(DIGEST, "sha256")
    await other.end()
    await hold.close()


@pytest.mark.parametrize("wait_s", [0.0, 0.01, 0.03, 0.06])
async def test_a_card_that_nobody_waits_for_any_more_is_let_go_of(two: Two, card: VirtualCard, wait_s: float) -> None:
    two.host.hand.put_in(card)
    opening = asyncio.create_task(two.page.cards.open(await two.shown(), bytearray(b"1234")))
    await asyncio.sleep(wait_s)
    opening.cancel()
    await asyncio.wait([opening])
    if not opening.cancelled():  # it was quicker
        await opening.result().close()
    async with asyncio.timeout(10):
        while True:
            try:
                hold = await two.held()
                break
            except (Refused, CardFault):  # the first code is still with it
                await asyncio.sleep(0.05)
    await hold.close()
    await two.shown()  # read anew
    async with asyncio.timeout(5):
        while two.host.hand.opened:  # noqa: ASYNC110 - the hand has no event for it
            await asyncio.sleep(0.01)
