"""A card's key as a `Signer`: what it signs verifies, and what goes wrong with a card is said in words."""

import asyncio
import threading
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import padding

from passevue.card.cps_signer import CpsSigner
from passevue.card.key_signer import tls_key_of
from passevue.card.signer import Signer
from passevue.errors import BoxError, CardAbsent, CardFault, CredentialError, PinBlocked, PinNeeded, TrustError
from passevue.national.vihf import Lps, Role, VihfFacts, build_vihf
from tests.peers.pki_persons import CardKeys

from .only_signs import HASHES, OnlySigns


@pytest.fixture
def card(card_keys: CardKeys) -> OnlySigns:
    return OnlySigns(card_keys.signature)


@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
@pytest.mark.parametrize("size", [0, 1, 3_000_000])
async def test_what_it_signs_verifies_with_its_certificate(card: OnlySigns, hash_name: str, size: int) -> None:
    signer: Signer = CpsSigner(card)
    data = b"\x5a" * size
    signature = await signer.sign(data, hash_name)
    public = signer.certificate.public_key()
    public.verify(signature, data, padding.PKCS1v15(), HASHES[hash_name])  # type: ignore[union-attr, call-arg]


async def test_another_hash_is_refused_before_the_card_is_asked(card: OnlySigns) -> None:
    with pytest.raises(CredentialError) as caught:
        await CpsSigner(card).sign(b"", "sha512")
    assert caught.value.hint
    assert card.signatures == 0


@pytest.mark.parametrize("failure", [PinNeeded("no code"), PinBlocked("blocked"), CardFault("6F00")])
async def test_the_cards_errors_come_through_and_the_next_try_may_succeed(card: OnlySigns, failure: BoxError) -> None:
    signer = CpsSigner(card)
    card.fails = failure
    with pytest.raises(type(failure)) as caught:
        await signer.sign(b"x", "sha256")
    assert caught.value.hint
    card.fails = None
    assert await signer.sign(b"x", "sha256")


async def test_a_card_pulled_during_a_signature_ends_the_signer_for_good(card: OnlySigns) -> None:
    signer = CpsSigner(card)
    card.takes_s = 5
    signing = asyncio.create_task(signer.sign(b"x", "sha256"))
    await card.asked.wait()
    card.pulled.set()
    with pytest.raises(CardAbsent) as caught:
        await signing
    assert "carte" in caught.value.hint
    card.pulled.clear()  # put in again: this is another session, for another signer
    with pytest.raises(CardAbsent):
        await signer.sign(b"x", "sha256")
    assert card.signatures == 0


async def test_a_card_swapped_between_two_commands_never_signs_for_the_first_holder(
    card: OnlySigns, card_keys: CardKeys
) -> None:
    signer = CpsSigner(card)
    card.takes_s = 0.2
    signing = asyncio.create_task(signer.sign(b"x", "sha256"))
    await card.asked.wait()
    await asyncio.sleep(0.01)
    card.swapped = card_keys.technical.key
    with pytest.raises(TrustError) as caught:
        await signing
    assert "changée" in caught.value.hint


def test_each_key_has_its_one_use(card_keys: CardKeys) -> None:
    with pytest.raises(CredentialError, match="signature certificate") as caught:
        CpsSigner(OnlySigns(card_keys.authentication))
    assert caught.value.hint
    loop = asyncio.new_event_loop()
    with pytest.raises(CredentialError, match="authentication certificate"):
        tls_key_of(OnlySigns(card_keys.signature), loop)
    loop.close()


async def test_five_hundred_signatures_leave_no_thread_and_no_task(card: OnlySigns) -> None:
    signer = CpsSigner(card)
    await signer.sign(b"first", "sha256")
    before = threading.active_count(), len(asyncio.all_tasks())
    for number in range(500):
        await signer.sign(b"%d" % number, "sha256")
    assert (threading.active_count(), len(asyncio.all_tasks())) == before
    assert card.signatures == 501


async def test_a_vihf_can_be_signed_by_a_card(card: OnlySigns) -> None:
    facts = VihfFacts("899700367909", "10B0127189", "SA07", "", (Role("10", "1.2.250.1.71.1.2.7", "Médecin"),), "")
    assertion = await build_vihf(facts, CpsSigner(card), datetime.now(UTC), "sha256", Lps("Passevue", "0.1", "PVU-0"))
    assert b"GN=CAMILLE" in assertion
    assert card.signatures == 1
