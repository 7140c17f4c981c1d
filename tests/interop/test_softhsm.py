"""SoftHSM2 behind PKCS#11 stands where a key file does: the same VIHF to the byte, the same mutual TLS."""

import asyncio
import ssl
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from passevue.card.key_signer import tls_key_of
from passevue.card.pem_signer import PemSigner, read_pem
from passevue.card.pkcs11 import KeyName, Pkcs11Key, Pkcs11Signer, Pkcs11Token
from passevue.card.tls_thread import TlsThread
from passevue.errors import CardAbsent
from passevue.national.signature import sign_submission_set
from passevue.national.vihf import Lps, Role, VihfFacts, build_vihf
from tests.interop.card_at_hand import OPENSSL, s_server
from tests.peers import hsm as softhsm
from tests.peers.pki import KeyPaths, Pki

pytestmark = [
    pytest.mark.skipif(bool(softhsm.missing()), reason=f"not installed: {softhsm.missing()}"),
    pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed (tests/packages.txt)"),
]
STRUCTURE = "10B0127189"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def hsm(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> softhsm.SoftHsm:
    hsm = softhsm.shared(tmp_path_factory.mktemp("hsm"))
    keys = pki.structure(STRUCTURE)
    hsm.token("structure")
    for number, (certificate, key, label) in enumerate(
        ((keys.sign_certificate, keys.sign_key, "sign"), (keys.auth_certificate, keys.auth_key, "auth")), start=1
    ):
        held, private = KeyPaths(certificate, key).load()
        hsm.put("structure", private, held, id=f"{number:02}", label=label)
    return hsm


@pytest.fixture
async def sign(hsm: softhsm.SoftHsm) -> AsyncIterator[Pkcs11Key]:
    token = Pkcs11Token(hsm.library, "structure", lambda: "1234")
    yield await token.key(KeyName(label="sign"))
    await token.close()


@pytest.fixture
async def auth(hsm: softhsm.SoftHsm) -> AsyncIterator[Pkcs11Key]:
    token = Pkcs11Token(hsm.library, "structure", lambda: "1234")
    yield await token.key(KeyName(id=b"\x02"))
    await token.close()


@pytest.fixture
def file_signer(pki: Pki) -> PemSigner:
    keys = pki.structure(STRUCTURE)
    return read_pem(keys.sign_certificate.read_bytes(), keys.sign_key.read_bytes())


@pytest.mark.parametrize("digest", ["sha256", "sha1"])
async def test_vihf_and_xades_are_those_of_the_key_file_to_the_byte(
    sign: Pkcs11Key, file_signer: PemSigner, monkeypatch: pytest.MonkeyPatch, digest: str
) -> None:
    fixed = uuid.UUID(int=7)
    monkeypatch.setattr(uuid, "uuid4", lambda: fixed)  # the only thing of an assertion that differs each time
    now = datetime.now(UTC)
    facts = VihfFacts("899700367909", STRUCTURE, "SA07", "Camille", (Role("10", "1.2.250.1.71.1.2.7", "Médecin"),), "")
    lps = Lps("Passevue", "0.1", "PVU-0")
    signer = Pkcs11Signer(sign)
    assert await build_vihf(facts, signer, now, digest, lps) == await build_vihf(facts, file_signer, now, digest, lps)
    documents = [("1.2.3", b"kos")]
    assert await sign_submission_set(signer, "1.2.9", documents, "2.25.7", now, digest) == await sign_submission_set(
        file_signer, "1.2.9", documents, "2.25.7", now, digest
    )


@pytest.mark.parametrize(("option", "version"), [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")])
async def test_s_server_accepts_a_token_key(auth: Pkcs11Key, pki: Pki, option: str, version: str) -> None:
    with s_server(pki.server("127.0.0.1"), pki.authority, option) as server:
        tls, operation = tls_key_of(auth, asyncio.get_running_loop(), [pki.sub_authority])
        async with TlsThread(ssl.create_default_context(cafile=pki.authority), tls, operation) as https:
            answer = await https.request("GET", server.url, timeout_s=20)
    assert version in answer.body.decode()
    assert f"{auth.certificate.serial_number:X}" in answer.body.decode().replace(":", "").upper()


async def test_a_token_that_is_pulled_opens_nothing_until_it_is_back(
    auth: Pkcs11Key, hsm: softhsm.SoftHsm, pki: Pki
) -> None:
    with s_server(pki.server("127.0.0.1"), pki.authority) as server:
        tls, operation = tls_key_of(auth, asyncio.get_running_loop(), [pki.sub_authority])
        async with TlsThread(ssl.create_default_context(cafile=pki.authority), tls, operation) as https:
            hsm.pull()
            try:
                with pytest.raises(CardAbsent) as caught:
                    await https.request("GET", server.url, timeout_s=20)
                assert "module de clés" in caught.value.hint
            finally:
                hsm.put_back()
            assert (await https.request("GET", server.url, timeout_s=20)).status == 200
