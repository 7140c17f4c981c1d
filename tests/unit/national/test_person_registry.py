"""Requests in a person's own name: what the card signs, what the DMP peer refuses, what a card that leaves undoes."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from passevue import config
from passevue.card.cps_signer import CpsSigner
from passevue.card.signer import Signer
from passevue.errors import CardAbsent, CredentialError, Failing, InDoubt, Refused
from passevue.national.personal import InPerson, PersonalSigner, direct_facts
from passevue.national.psc_claims import Situation
from passevue.national.registry import Exchange, Registry
from passevue.national.structures import Structures
from passevue.national.vihf import Mode
from tests.peers.card import Holder, Profile
from tests.peers.dmp import DmpPeer, Fault
from tests.peers.pki import Pki
from tests.peers.pki_persons import CardKeys, Persons
from tests.unit.card.only_signs import OnlySigns
from tests.unit.national.submissions import FACTS, STRUCTURE, publication

Settings = Callable[..., config.Registry]
HERE = Situation(STRUCTURE, "", "SA08", "10", "SM44", "", "RADIOLOGUE", "CAMILLE")


@pytest.fixture(scope="module")
def persons(tmp_path_factory: pytest.TempPathFactory) -> Persons:
    return Persons(tmp_path_factory.mktemp("persons"))


@pytest.fixture(scope="module")
def card_keys(persons: Persons) -> CardKeys:
    return persons.card_keys(Profile(holder=Holder(id_nat=FACTS.name_id)))


@pytest.fixture
async def dmp(pki: Pki, persons: Persons) -> AsyncIterator[DmpPeer]:
    async with DmpPeer(pki, persons=persons) as peer:
        yield peer


class Card:
    """A person at the box with both keys of one card, or of two."""

    def __init__(self, sign: CardKeys, tls: CardKeys, id_nat: str = FACTS.name_id) -> None:
        self.sign, self.tls = OnlySigns(sign.signature), OnlySigns(tls.authentication)
        self.person = PersonalSigner(id_nat, Mode.DIRECTE, HERE, datetime.now(UTC), CpsSigner(self.sign), self.tls)
        self.facts = direct_facts(replace(FACTS, name_id=id_nat), self.person, 1)


@pytest.fixture
def in_person() -> InPerson:
    return InPerson()


@pytest.fixture
async def registry(
    dmp: DmpPeer, structures: Structures, settings: Settings, in_person: InPerson
) -> AsyncIterator[Registry]:
    async with Registry(settings(dmp.url), structures, "1.2.250.1.999.1", in_person=in_person) as client:
        yield client


async def test_one_connection_serves_all_that_a_person_asks(
    registry: Registry, in_person: InPerson, dmp: DmpPeer, card_keys: CardKeys
) -> None:
    card = Card(card_keys, card_keys)
    in_person.choose(1, card.person)
    assert (await registry.patient_status(STRUCTURE, card.facts)).exists
    assert await registry.find("1.2.3", STRUCTURE, card.facts) is None
    assert [(one.mode, one.client) for one in dmp.requests] == [("DIRECTE", FACTS.name_id)] * 2
    assert (card.sign.signatures, card.tls.signatures) == (2, 1)


async def test_a_try_that_ends_by_a_fault_of_ours_is_never_told_as_a_success(
    dmp: DmpPeer, structures: Structures, settings: Settings, in_person: InPerson, card_keys: CardKeys
) -> None:
    class Broken(CpsSigner):
        async def sign(self, data: bytes, hash_name: str) -> bytes:
            raise RuntimeError("a fault of the program")

    told: list[Exchange] = []
    card = Card(card_keys, card_keys)
    person = replace(card.person, signer=Broken(card.sign))
    in_person.choose(1, person)
    async with Registry(settings(dmp.url), structures, "1.2.250.1.999.1", told.append, in_person=in_person) as registry:
        with pytest.raises(RuntimeError):
            await registry.patient_status(STRUCTURE, card.facts)
    assert [one.result for one in told] == ["Crashed"]


async def test_connections_that_are_given_up_while_they_open_leave_no_thread(
    dmp: DmpPeer, structures: Structures, settings: Settings, in_person: InPerson, card_keys: CardKeys
) -> None:
    for _ in range(5):
        card = Card(card_keys, card_keys)
        in_person.choose(1, card.person)
        async with Registry(settings(dmp.url), structures, "1.2.250.1.999.1", in_person=in_person) as registry:
            asking = asyncio.create_task(registry.patient_status(STRUCTURE, card.facts))
            while not asking.done() and not card_threads():  # noqa: ASYNC110 - nothing tells of a thread
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])
    deadline = time.monotonic() + 20
    while card_threads():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def card_threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name == "card-tls"]


async def test_the_connection_and_the_assertion_are_of_one_card(
    registry: Registry, in_person: InPerson, persons: Persons, card_keys: CardKeys
) -> None:
    another = persons.card_keys(Profile(holder=Holder(id_nat="899700000017")))
    for card in (
        Card(card_keys, another),
        Card(another, card_keys),
        Card(card_keys, card_keys, "899700000017"),
    ):
        in_person.choose(1, card.person)
        with pytest.raises(Failing, match="DMPAuthentication"):
            await registry.patient_status(STRUCTURE, card.facts)
        in_person.leave(card.person)


async def test_a_set_signed_by_the_structure_does_not_go_in_a_persons_name(
    registry: Registry, in_person: InPerson, dmp: DmpPeer, card_keys: CardKeys, signer: Signer
) -> None:
    card = Card(card_keys, card_keys)
    in_person.choose(1, card.person)
    submission = replace(await publication(signer), vihf=card.facts.to_bytes())
    with pytest.raises(Refused, match="XDSRepositoryMetadataError"):
        await registry.publish(submission)
    assert dmp.committed == []


async def test_who_has_not_agreed_to_this_entry_is_not_asked(
    registry: Registry, in_person: InPerson, dmp: DmpPeer, card_keys: CardKeys
) -> None:
    card = Card(card_keys, card_keys)
    in_person.choose(2, card.person)
    with pytest.raises(CredentialError, match="has left"):
        await registry.patient_status(STRUCTURE, card.facts)
    assert (dmp.requests, card.sign.signatures) == ([], 0)


async def test_a_card_pulled_in_the_handshake_leaves_nothing_in_doubt(
    registry: Registry, in_person: InPerson, dmp: DmpPeer, card_keys: CardKeys
) -> None:
    card = Card(card_keys, card_keys)
    card.tls.takes_s = 15
    in_person.choose(1, card.person)
    submission = replace(await publication(card.person.signs), vihf=card.facts.to_bytes())
    asking = asyncio.create_task(registry.publish(submission))
    await card.tls.asked.wait()
    in_person.leave(card.person)
    with pytest.raises(CardAbsent):
        await asyncio.wait_for(asking, 5)
    assert dmp.requests == []


async def test_a_card_pulled_after_all_was_sent_leaves_it_in_doubt(
    registry: Registry, in_person: InPerson, dmp: DmpPeer, card_keys: CardKeys
) -> None:
    card = Card(card_keys, card_keys)
    in_person.choose(1, card.person)
    dmp.fail(Fault.COMMIT_THEN_HANG)
    submission = replace(await publication(card.person.signs), vihf=card.facts.to_bytes())
    asking = asyncio.create_task(registry.publish(submission))
    while not dmp.committed and not asking.done():  # noqa: ASYNC110 - the peer has no event for it
        await asyncio.sleep(0.01)
    in_person.leave(card.person)
    with pytest.raises(InDoubt):
        await asyncio.wait_for(asking, 5)


async def test_a_persons_connections_end_when_they_leave(
    registry: Registry, in_person: InPerson, card_keys: CardKeys
) -> None:
    card = Card(card_keys, card_keys)
    in_person.choose(1, card.person)
    await registry.patient_status(STRUCTURE, card.facts)
    in_person.leave(card.person)
    await asyncio.gather(*registry._key_tls._gone)
    assert registry._key_tls._held == {}


async def test_what_cannot_be_kept_is_not_promised(card_keys: CardKeys) -> None:
    in_person = InPerson()
    by_phone = replace(Card(card_keys, card_keys).person, mode=Mode.INDIRECTE_RENFORCEE, signer=None)
    with pytest.raises(Refused) as caught:
        in_person.choose(1, by_phone)
    assert (caught.value.code, in_person.of(1)) == ("not-by-psc", None)


async def test_who_listens_is_told_of_each_consent_that_ends_once(card_keys: CardKeys) -> None:
    in_person, ended = InPerson(), list[int]()
    forget = in_person.on_settled(ended.append)
    await in_person.agree(7, Card(card_keys, card_keys).person)
    in_person.settle(7)
    in_person.settle(7)
    forget()
    await in_person.agree(8, Card(card_keys, card_keys).person)
    await in_person.take_back(8)
    assert ended == [7]


async def test_the_card_must_prove_the_profession_of_the_report(card_keys: CardKeys) -> None:
    person = Card(card_keys, card_keys).person
    with pytest.raises(Refused, match="another profession"):
        direct_facts(FACTS, replace(person, situation=replace(HERE, profession="40")), 1)
