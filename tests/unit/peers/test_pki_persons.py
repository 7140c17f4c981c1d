"""The persons' authority makes certificates of the real shape, and whatever must be refused."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtensionOID, NameOID

from tests.peers.card import Holder, Profile
from tests.peers.pki_persons import CARD_NUMBER, CARD_TYPE, KNOW_HOW, PROFESSION, Persons

SAMPLE = Path(__file__).parents[2] / "samples/igc/feuille_cpe_auth_test_expiree.pem"
ORIGIN = x509.ObjectIdentifier("1.2.250.1.71.1.2.5")


@pytest.fixture(scope="module")
def persons(tmp_path_factory: pytest.TempPathFactory) -> Persons:
    return Persons(tmp_path_factory.mktemp("persons"))


def own(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> bytes:
    value = certificate.extensions.get_extension_for_oid(oid).value
    assert isinstance(value, x509.UnrecognizedExtension)
    return value.value


def test_the_chain_holds_and_each_key_is_its_certificates(persons: Persons) -> None:
    keys = persons.card_keys(Profile())
    persons.sub_authority.verify_directly_issued_by(persons.root)
    for pair in (keys.authentication, keys.signature, keys.technical):
        pair.certificate.verify_directly_issued_by(persons.sub_authority)
        assert pair.certificate.public_key() == pair.key.public_key()
    assert keys.authentication.certificate.subject == keys.signature.certificate.subject


def test_a_card_certificate_has_the_extensions_of_the_published_sample_in_the_same_encoding(persons: Persons) -> None:
    ours = persons.card_keys(Profile()).authentication.certificate
    sample = x509.load_pem_x509_certificate(SAMPLE.read_bytes())
    not_made = {ExtensionOID.FRESHEST_CRL, ExtensionOID.AUTHORITY_INFORMATION_ACCESS}
    assert {e.oid for e in sample.extensions} - not_made <= {e.oid for e in ours.extensions}
    assert own(ours, ORIGIN) == own(sample, ORIGIN) == b"\x04\x01\x80"
    assert own(ours, CARD_TYPE) == b"\x02\x01\x00"
    assert own(sample, CARD_TYPE) == b"\x02\x01\x02"
    assert own(ours, CARD_NUMBER)[:13] == own(sample, CARD_NUMBER)[:13] == b"\x13\x158025000001/"
    assert own(ours, PROFESSION) == b"\x02\x01\x0a"
    assert own(ours, KNOW_HOW) == b"\x30\x06\x0c\x04SM44"


def test_the_name_is_one_rdn_of_three_and_has_no_structure(persons: Persons) -> None:
    subject = persons.card_keys(Profile(holder=Holder(family="D'ÉTÉ", given="ANNE-LUCE"))).signature.certificate.subject
    last = subject.rdns[-1]
    assert {attribute.oid: attribute.value for attribute in last} == {
        NameOID.COMMON_NAME: "899700367909",
        NameOID.SURNAME: "D'ÉTÉ",
        NameOID.GIVEN_NAME: "ANNE-LUCE",
    }
    assert not subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)


def test_expired_revoked_and_of_another_realm_can_be_had(persons: Persons, tmp_path: Path) -> None:
    long_ago = datetime(2020, 3, 23, tzinfo=UTC)
    old = persons.card_keys(Profile(), not_before=long_ago - timedelta(days=1095), not_after=long_ago)
    assert old.authentication.certificate.not_valid_after_utc == long_ago
    persons.revoke(old.authentication.certificate)
    crl = x509.load_der_x509_crl(persons.crl.read_bytes())
    assert crl.get_revoked_certificate_by_serial_number(old.authentication.certificate.serial_number)
    key = persons.sub_authority.public_key()
    assert crl.is_signature_valid(key)  # type: ignore[arg-type]
    production = Persons(tmp_path, "production")
    issued = production.card_keys(Profile(category="production")).authentication.certificate
    with pytest.raises(ValueError, match="issuer"):
        issued.verify_directly_issued_by(persons.sub_authority)
    assert own(issued, ORIGIN) == b"\x04\x01\x00"


def test_the_folder_is_found_again_and_own_keys_are_new(persons: Persons) -> None:
    again = Persons(persons.folder)
    assert again.sub_authority == persons.sub_authority
    first, second = persons.card_keys(Profile()), again.card_keys(Profile(), own_keys=True)
    assert first.signature.key.public_key() != second.signature.key.public_key()
    shared = load_pem_private_key((persons.folder / "card-signature.key").read_bytes(), None)
    assert shared.public_key() == first.signature.key.public_key()
