"""Consents cross from the page to national, signatures the other way; whoever leaves or dies takes theirs along."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from passevue.card.cps_signer import CpsSigner
from passevue.errors import BoxError, CardAbsent, CredentialError, Refused, TrustError, ZoneAway
from passevue.national.personal import InPerson, PersonalSigner
from passevue.national.psc_claims import Situation
from passevue.national.vihf import Mode
from passevue.zones.in_person import FarConsents, NearConsents
from passevue.zones.meeting import Meeting, Place
from passevue.zones.part import Part
from tests.peers.card import Holder, Profile
from tests.peers.pki_persons import keys_of_process
from tests.unit.card.only_signs import OnlySigns

HERE = Situation("1750000000", "", "SA08", "10", "SM44", "", "RADIOLOGUE", "CAMILLE")
DIGEST = hashlib.sha256(b"what is signed").digest()


def person(id_nat: str = "899700367909") -> PersonalSigner:
    """Somebody at the page, with both keys of their card."""
    keys = keys_of_process(Profile(holder=Holder(id_nat=id_nat), category="test"))
    sign, tls = OnlySigns(keys.signature), OnlySigns(keys.authentication)
    return PersonalSigner(id_nat, Mode.DIRECTE, HERE, datetime.now(UTC), CpsSigner(sign), tls)


class Two:
    """National and page, each to be ended and begun again."""

    def __init__(self, meeting: Meeting) -> None:
        self.meeting = meeting
        self._national: list[asyncio.Task[None]] = []
        self._page: list[asyncio.Task[None]] = []

    async def begin_national(self) -> None:
        self._stack = AsyncExitStack()
        self.in_person = InPerson()
        self.near = NearConsents(self.in_person)
        door = await self._stack.enter_async_context(
            self.meeting.open_door(Place.IN_PERSON, Part.PAGE, self.near.serve)
        )
        self._national = [asyncio.create_task(door.run())]

    def begin_page(self) -> None:
        self.far = FarConsents(self.meeting)
        self._page = [asyncio.create_task(self.far.line.run())]

    async def end_national(self) -> None:
        await _ended(self._national)
        await self._stack.aclose()

    async def end_page(self) -> None:
        await _ended(self._page)

    async def met(self) -> None:
        await until(lambda: self.far.reaches)


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


async def until(done: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + 5
    while not done():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)


def gone(in_person: InPerson, number: int) -> bool:
    try:
        in_person.wanted(number)
    except CredentialError:
        return True
    return False


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    both = Two(Meeting(tmp_path))
    await both.begin_national()
    both.begin_page()
    await both.met()
    yield both
    await both.end_page()
    await both.end_national()


async def test_what_is_agreed_to_is_known_when_it_returns_and_its_keys_sign(two: Two) -> None:
    by = person()
    await two.far.agree(7, by)
    there = two.in_person.of_person(by.id_nat, 7)
    assert (there.mode, there.situation, there.authenticated_at) == (Mode.DIRECTE, HERE, by.authenticated_at)
    assert there.signs.certificate == by.signs.certificate
    assert await there.signs.sign(b"what is signed", "sha256") == await by.signs.sign(b"what is signed", "sha256")
    assert there.tls_key is not None
    assert by.tls_key is not None
    assert await there.tls_key.sign_digest(DIGEST, "sha256") == await by.tls_key.sign_digest(DIGEST, "sha256")


async def test_one_person_is_one_there_whatever_they_agree_to(two: Two) -> None:
    by = person()
    await two.far.agree(7, by)
    await two.far.agree(8, by)
    assert two.in_person.of(7) is two.in_person.of(8)


async def test_what_is_settled_is_forgotten_on_both_sides(two: Two) -> None:
    by = person()
    await two.far.agree(7, by)
    two.in_person.settle(7)
    await until(lambda: two.far.of(7) is None)
    await two.far.agree(8, by)
    await two.far.take_back(8)
    assert two.in_person.of(8) is None
    assert not gone(two.in_person, 8)


async def test_who_leaves_takes_their_consents_and_their_keys_along(two: Two) -> None:
    by, told = person(), list[PersonalSigner]()
    two.in_person.on_leave(told.append)
    await two.far.agree(7, by)
    there = two.in_person.of_person(by.id_nat, 7)
    two.far.leave(by)
    await until(lambda: told == [there])
    assert gone(two.in_person, 7)
    with pytest.raises(CardAbsent):
        await there.signs.sign(b"", "sha256")


async def test_a_page_that_dies_is_everybody_leaving(two: Two) -> None:
    await two.far.agree(7, person())
    await two.end_page()
    await until(lambda: gone(two.in_person, 7))
    two.begin_page()
    await two.met()
    assert gone(two.in_person, 7)  # being there again is not to agree again


async def test_national_that_was_away_is_told_who_still_agrees(two: Two) -> None:
    by, other = person(), person("899700000017")
    await two.far.agree(7, by)
    await two.far.agree(8, other)
    await two.end_national()
    await until(lambda: not two.far.reaches)
    two.far.leave(other)
    with pytest.raises(ZoneAway):
        await two.far.agree(9, by)
    await two.far.take_back(9)  # nothing to take back: it is away
    await two.begin_national()
    await two.near.heard(within_s=5)
    assert two.in_person.of_person(by.id_nat, 7).id_nat == by.id_nat
    assert two.in_person.of(8) is None
    assert two.in_person.of(9) is None
    assert two.far.of(9) is None


async def test_national_does_not_wait_for_ever_for_a_page(tmp_path: Path) -> None:
    async with asyncio.timeout(2):
        await NearConsents(InPerson()).heard(within_s=0.1)


async def test_nobody_agrees_with_the_card_of_another(two: Two) -> None:
    with pytest.raises(TrustError):
        await two.far.agree(7, replace(person(), id_nat="899700000017"))
    assert two.in_person.of(7) is None
    assert two.far.of(7) is None


async def test_who_did_not_use_a_card_is_not_promised_anything(two: Two) -> None:
    with pytest.raises(Refused, match="not-by-psc"):
        await two.far.agree(7, replace(person(), mode=Mode.INDIRECTE_RENFORCEE))


async def test_a_key_fails_with_its_own_words(two: Two) -> None:
    by = person()

    class Pulled(OnlySigns):
        async def sign_digest(self, digest: bytes, hash_name: str) -> bytes:
            raise CardAbsent("pulled", hint="Remettez la carte.")

    keys = keys_of_process(Profile(holder=Holder(id_nat=by.id_nat), category="test"))
    await two.far.agree(7, replace(by, signer=CpsSigner(Pulled(keys.signature))))
    with pytest.raises(BoxError) as caught:
        await two.in_person.of_person(by.id_nat, 7).signs.sign(b"", "sha256")
    assert (type(caught.value), caught.value.hint) == (CardAbsent, "Remettez la carte.")


async def test_nobody_signs_who_agreed_to_nothing(two: Two) -> None:
    by = person()
    await two.far.agree(7, by)
    there = two.in_person.of_person(by.id_nat, 7)
    await two.far.take_back(7)
    with pytest.raises(CardAbsent):
        await there.signs.sign(b"", "sha256")
