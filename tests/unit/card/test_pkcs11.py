"""Keys behind PKCS#11: the token is SoftHSM2, and what goes wrong with one is said in words."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric import padding

from passevue.card.pkcs11 import KeyName, Pkcs11Key, Pkcs11Signer, Pkcs11Token
from passevue.card.signer import Signer
from passevue.errors import CardAbsent, CredentialError, PinNeeded
from tests.peers import hsm as softhsm
from tests.peers.pki_persons import CardKeys

from .only_signs import HASHES

SIGN = KeyName(label="sign")
pytestmark = pytest.mark.skipif(bool(softhsm.missing()), reason=f"not installed: {softhsm.missing()}")


@pytest.fixture(scope="module")
def hsm(tmp_path_factory: pytest.TempPathFactory, card_keys: CardKeys) -> softhsm.SoftHsm:
    hsm = softhsm.shared(tmp_path_factory.mktemp("hsm"))
    hsm.token("unit")
    one = card_keys.signature
    hsm.put("unit", one.key, one.certificate, id="01", label="sign")
    hsm.put("unit", card_keys.technical.key, None, id="02", label="bare")
    return hsm


@pytest.fixture
async def token(hsm: softhsm.SoftHsm) -> AsyncIterator[Pkcs11Token]:
    token = Pkcs11Token(hsm.library, "unit", lambda: "1234")
    yield token
    await token.close()


@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
async def test_what_a_token_signs_verifies_with_the_certificate_that_it_holds(
    token: Pkcs11Token, card_keys: CardKeys, hash_name: str
) -> None:
    signer: Signer = Pkcs11Signer(await token.key(SIGN))
    assert signer.certificate == card_keys.signature.certificate
    signature = await signer.sign(b"data", hash_name)
    public = signer.certificate.public_key()
    public.verify(signature, b"data", padding.PKCS1v15(), HASHES[hash_name])  # type: ignore[union-attr, call-arg]


async def test_a_whole_block_goes_through_the_private_exponent(token: Pkcs11Token) -> None:
    key = await token.key(SIGN)
    assert key.raw_rsa
    block = b"\x00" + b"\x5a" * 255
    result = await key.decrypt_block(block)
    numbers = key.certificate.public_key().public_numbers()  # type: ignore[union-attr]
    assert pow(int.from_bytes(result, "big"), numbers.e, numbers.n) == int.from_bytes(block, "big")  # type: ignore[union-attr]


async def test_a_token_that_is_pulled_is_absent_and_works_again_once_back(
    token: Pkcs11Token, hsm: softhsm.SoftHsm
) -> None:
    signer = Pkcs11Signer(await token.key(SIGN))
    await signer.sign(b"x", "sha256")
    hsm.pull()
    try:
        for _ in range(3):
            with pytest.raises(CardAbsent) as caught:
                await signer.sign(b"x", "sha256")
            assert "module de clés" in caught.value.hint
    finally:
        hsm.put_back()
    assert await signer.sign(b"x", "sha256")


async def test_a_wrong_pin_is_sent_once_whatever_is_asked(hsm: softhsm.SoftHsm) -> None:
    asked = []

    def read_pin() -> str:
        asked.append(1)
        return "9999"

    token = Pkcs11Token(hsm.library, "unit", read_pin)
    for _ in range(5):
        with pytest.raises(PinNeeded) as caught:
            await token.key(SIGN)
        assert "refusé" in caught.value.hint
    assert len(asked) == 1
    token.unlatch()
    with pytest.raises(PinNeeded):
        await token.key(SIGN)
    assert len(asked) == 2
    await token.close()


@pytest.mark.parametrize(
    ("library", "label", "name", "error"),
    [
        (Path("/nonexistent/lib.so"), "unit", KeyName(label="sign"), CredentialError),
        (Path("/bin/true"), "unit", KeyName(label="sign"), CredentialError),
        (softhsm.LIBRARY or Path(), "another", KeyName(label="sign"), CardAbsent),
        (softhsm.LIBRARY or Path(), "unit", KeyName(label="nothing"), CredentialError),
        (softhsm.LIBRARY or Path(), "unit", KeyName(id=b"\x02"), CredentialError),  # a key without certificate
    ],
)
async def test_what_is_not_there_is_said_in_words(
    hsm: softhsm.SoftHsm, library: Path, label: str, name: KeyName, error: type[CredentialError]
) -> None:
    token = Pkcs11Token(library, label, lambda: "1234")
    with pytest.raises(error) as caught:
        await token.key(name)
    assert caught.value.hint
    await token.close()


async def test_a_certificate_from_elsewhere_stands_in(token: Pkcs11Token, card_keys: CardKeys) -> None:
    certificate = card_keys.technical.certificate
    key = await token.key(KeyName(id=b"\x02"), certificate)
    assert key.certificate == certificate
    with pytest.raises(CredentialError, match="signature certificate"):
        Pkcs11Signer(key)


async def test_two_keys_of_a_token_sign_by_one_login(hsm: softhsm.SoftHsm, card_keys: CardKeys) -> None:
    asked = []
    token = Pkcs11Token(hsm.library, "unit", lambda: asked.append(1) or "1234")  # type: ignore[func-returns-value]
    for name, held in ((SIGN, card_keys.signature), (KeyName(id=b"\x02"), card_keys.technical)):
        key = await token.key(name, held.certificate)
        signature = await key.sign_digest(hashlib.sha256(b"data").digest(), "sha256")
        held.key.public_key().verify(signature, b"data", padding.PKCS1v15(), HASHES["sha256"])
    assert len(asked) == 1
    await token.close()


async def test_the_key_of_another_certificate_signs_nothing(token: Pkcs11Token, card_keys: CardKeys) -> None:
    with pytest.raises(CredentialError, match="does not belong") as caught:
        await token.key(SIGN, card_keys.technical.certificate)
    assert "certificat" in caught.value.hint
    unlooked = Pkcs11Key(token, SIGN, card_keys.technical.certificate)
    with pytest.raises(CredentialError, match="does not belong"):
        await unlooked.sign_digest(bytes(32), "sha256")


async def test_a_closed_token_answers_at_once(token: Pkcs11Token) -> None:
    signer = Pkcs11Signer(await token.key(SIGN))
    await token.close()
    with pytest.raises(CardAbsent):
        await asyncio.wait_for(signer.sign(b"x", "sha256"), 1)


async def test_five_hundred_signatures_leave_no_thread_and_no_handle(token: Pkcs11Token) -> None:
    signer = Pkcs11Signer(await token.key(SIGN))
    await signer.sign(b"first", "sha256")
    process = psutil.Process()
    before = threading.active_count(), process.num_fds()
    for number in range(500):
        await signer.sign(b"%d" % number, "sha256")
    assert (threading.active_count(), process.num_fds()) == before
