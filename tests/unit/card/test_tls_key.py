"""A key that only signs, behind a stock SSLContext: handshakes in memory with a server that asks for a certificate."""

import gc
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from passevue.card import openssl as openssl_module
from passevue.card.openssl import openssl
from passevue.card.tls_key import TlsKey, keys_in_use, use_key
from passevue.errors import CardAbsent, CredentialError, PinNeeded, TrustError
from tests.peers.pki import KeyPaths, Pki
from tests.peers.pki_persons import CardKeys, Persons


@dataclass
class Software:
    """The private operation in this process."""

    key: rsa.RSAPrivateKey
    raw_rsa: bool = False
    raises: Exception | None = None
    digest_infos: list[bytes] = field(default_factory=list)
    blocks: list[bytes] = field(default_factory=list)

    def sign_digest_info(self, digest_info: bytes) -> bytes:
        self.digest_infos.append(digest_info)
        return self._power(b"\x00\x01" + b"\xff" * (253 - len(digest_info)) + b"\x00" + digest_info)

    def decrypt_block(self, block: bytes) -> bytes:
        self.blocks.append(block)
        return self._power(block)

    def _power(self, block: bytes) -> bytes:
        if self.raises is not None:
            raise self.raises
        numbers = self.key.private_numbers()
        return pow(int.from_bytes(block, "big"), numbers.d, numbers.public_numbers.n).to_bytes(256, "big")


@pytest.fixture
def client(organisations: Pki) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(organisations.authority))
    context.check_hostname = False
    return context


@pytest.fixture
def server(server_key: KeyPaths, persons: Persons) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_key.certificate, server_key.key)
    context.load_verify_locations(persons.folder / "root-FORT-test.pem")  # the root alone: the chain must be sent
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> ssl.SSLObject:
    """The server's end of a finished handshake."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    waiting = list(ends)
    for _ in range(20):
        for end in list(waiting):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(end)
        if not waiting:
            return ends[1]
    raise AssertionError("the handshake does not end")


def serial_of(end: ssl.SSLObject) -> int:
    certificate = end.getpeercert()
    assert certificate is not None
    return int(str(certificate["serialNumber"]), 16)


@pytest.mark.parametrize(("raw_rsa", "version"), [(False, "TLSv1.2"), (True, "TLSv1.3")])
def test_a_key_opens_tls_in_the_version_that_it_can_sign_for(
    client: ssl.SSLContext,
    server: ssl.SSLContext,
    card_keys: CardKeys,
    persons: Persons,
    raw_rsa: bool,
    version: str,
) -> None:
    software = Software(card_keys.authentication.key, raw_rsa)
    key = TlsKey(card_keys.authentication.certificate, software, [persons.sub_authority])
    use_key(client, key)
    end = shake_hands(client, server)
    assert end.version() == version
    assert serial_of(end) == card_keys.authentication.certificate.serial_number
    assert key.take_failure() is None
    assert (len(software.digest_infos), len(software.blocks)) == ((0, 1) if raw_rsa else (1, 0))


def test_a_cps3_is_asked_for_a_sha256_digest_info_and_nothing_else(
    client: ssl.SSLContext, server: ssl.SSLContext, card_keys: CardKeys, persons: Persons
) -> None:
    software = Software(card_keys.authentication.key)
    use_key(client, TlsKey(card_keys.authentication.certificate, software, [persons.sub_authority]))
    shake_hands(client, server)
    (digest_info,) = software.digest_infos
    assert digest_info.hex().startswith("3031300d060960864801650304020105000420")
    assert len(digest_info) == 51


def test_a_server_that_wants_pss_only_gets_no_signature_from_a_cps3(
    client: ssl.SSLContext, server: ssl.SSLContext, card_keys: CardKeys, persons: Persons
) -> None:
    software = Software(card_keys.authentication.key)
    use_key(client, TlsKey(card_keys.authentication.certificate, software, [persons.sub_authority]))
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    with pytest.raises(ssl.SSLError):
        shake_hands(client, server)
    assert software.digest_infos == []


@pytest.mark.parametrize("raw_rsa", [False, True])
@pytest.mark.parametrize("failure", [CardAbsent("pulled"), PinNeeded("no code")])
def test_the_handshake_fails_and_the_cards_own_reason_is_kept(
    client: ssl.SSLContext, server: ssl.SSLContext, card_keys: CardKeys, raw_rsa: bool, failure: Exception
) -> None:
    key = TlsKey(card_keys.authentication.certificate, Software(card_keys.authentication.key, raw_rsa, raises=failure))
    use_key(client, key)
    with pytest.raises(ssl.SSLError):
        shake_hands(client, server)
    assert key.take_failure() is failure
    assert key.take_failure() is None


def test_what_is_no_error_of_ours_becomes_one(
    client: ssl.SSLContext, server: ssl.SSLContext, card_keys: CardKeys
) -> None:
    software = Software(card_keys.authentication.key, raises=ZeroDivisionError())
    key = TlsKey(card_keys.authentication.certificate, software)
    use_key(client, key)
    with pytest.raises(ssl.SSLError):
        shake_hands(client, server)
    failure = key.take_failure()
    assert isinstance(failure, CredentialError)
    assert "ZeroDivisionError" in failure.message


@pytest.mark.parametrize("raw_rsa", [False, True])
def test_another_cards_signature_never_leaves_with_this_certificate(
    client: ssl.SSLContext, server: ssl.SSLContext, card_keys: CardKeys, raw_rsa: bool
) -> None:
    other = Software(card_keys.signature.key, raw_rsa)
    key = TlsKey(card_keys.authentication.certificate, other)
    use_key(client, key)
    with pytest.raises(ssl.SSLError):
        shake_hands(client, server)
    failure = key.take_failure()
    assert isinstance(failure, TrustError)
    assert "carte a été changée" in failure.hint


@pytest.mark.parametrize("answer", [b"", b"\x00", b"\x00" * 256, b"\xff" * 256, b"\x01" * 257])
def test_a_signature_of_any_bytes_is_refused_before_openssl_sees_it(card_keys: CardKeys, answer: bytes) -> None:
    class Lies(Software):
        def sign_digest_info(self, digest_info: bytes) -> bytes:
            return answer

    key = TlsKey(card_keys.authentication.certificate, Lies(card_keys.authentication.key))
    assert key.apply(b"digest info", 1) is None
    assert isinstance(key.take_failure(), TrustError)


@pytest.mark.parametrize(("length", "padding"), [(246, 1), (255, 3), (256, 3), (51, 4), (51, 0)])
def test_what_the_key_cannot_do_is_not_asked_of_it(card_keys: CardKeys, length: int, padding: int) -> None:
    software = Software(card_keys.authentication.key)
    key = TlsKey(card_keys.authentication.certificate, software)
    assert key.apply(b"\x01" * length, padding) is None
    assert isinstance(key.take_failure(), CredentialError)
    assert software.digest_infos == software.blocks == []


def test_the_chain_is_sent_once_however_often_the_key_is_given(
    client: ssl.SSLContext, server: ssl.SSLContext, card_keys: CardKeys, persons: Persons
) -> None:
    one = card_keys.authentication
    for _ in range(50):  # fifty times the chain would pass the server's bound for a certificate message
        use_key(client, TlsKey(one.certificate, Software(one.key), [persons.sub_authority, persons.root]))
    lengths: list[int] = []

    def note(_end: object, _direction: str, _version: object, _content: object, kind: int, data: bytes) -> None:
        if kind == ssl_certificate_message and _direction == "read":
            lengths.append(len(data))

    ssl_certificate_message = 11
    server._msg_callback = note  # type: ignore[attr-defined]
    shake_hands(client, server)
    assert max(lengths) < 8000


def test_a_context_given_another_key_speaks_with_that_one(
    client: ssl.SSLContext, server: ssl.SSLContext, card_keys: CardKeys, persons: Persons
) -> None:
    for one in (card_keys.authentication, card_keys.technical):
        use_key(client, TlsKey(one.certificate, Software(one.key), [persons.sub_authority]))
        assert serial_of(shake_hands(client, server)) == one.certificate.serial_number


def test_nothing_is_left_of_five_hundred_keys(server: ssl.SSLContext, card_keys: CardKeys, organisations: Pki) -> None:
    gc.collect()
    before = keys_in_use()
    one = card_keys.authentication
    for number in range(500):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        use_key(context, TlsKey(one.certificate, Software(one.key, raw_rsa=number % 2 == 0)))
    del context
    gc.collect()
    assert keys_in_use() == before


def test_the_layout_of_the_context_is_proved_once_and_another_refused() -> None:
    assert openssl() is openssl()

    class Elsewhere(openssl_module.OpenSsl):
        where = 0

        def context_of(self, context: ssl.SSLContext) -> int:
            return self.where

    for where in (0, 8, 0x10001, 0xFFFFFFFFFFFFFFF8, id(object()) & ~7, id(Elsewhere)):
        Elsewhere.where = where
        with pytest.raises(CredentialError, match="another layout") as caught:
            openssl_module.prove(Elsewhere())
        assert "Python" in caught.value.hint


def test_a_certificate_without_rsa_is_refused_in_words(persons: Persons) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    with pytest.raises(CredentialError, match="RSA"):
        TlsKey(certificate, Software.__new__(Software))
