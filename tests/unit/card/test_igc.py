"""What persons' and organisations' certificates have alike, on the public ones of the ANS and on ours."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from passevue.card import igc
from tests.unit.national.test_certificate import sample

NOW = datetime(2026, 11, 21, tzinfo=UTC)
KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name.from_rfc4514_string("CN=AC")
CA = x509.BasicConstraints(ca=True, path_length=None)


def usage(*, key_cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(True, False, False, False, False, key_cert_sign, False, False, False)


def made(*extensions: x509.ExtensionType, key: ec.EllipticCurvePrivateKey = KEY) -> x509.Certificate:
    """Names itself as its issuer; signed with `key`."""
    builder = x509.CertificateBuilder(NAME, NAME, KEY.public_key(), 7, NOW, NOW + timedelta(days=9))
    for one in extensions:
        builder = builder.add_extension(one, critical=True)
    return builder.sign(key, hashes.SHA256())


def test_the_origin_byte_and_the_authoritys_name_tell_the_realm() -> None:
    assert igc.is_test(sample("feuille_org_sign_drimbox")) is True
    assert igc.is_test(sample("feuille_cpe_auth_test_expiree")) is True
    assert igc.is_test(sample("feuille_ssl_serv_production_expiree")) is False
    assert igc.is_test(sample("test_aci_el_org")) is None
    assert igc.is_test_authority(sample("test_aci_el_org"))


@pytest.mark.parametrize("value", [b"", b"\x04\x01", b"\x04\x02\x80\x80", b"\x05\x01\x80"])
def test_an_origin_that_cannot_be_read_says_nothing(value: bytes) -> None:
    assert igc.is_test(made(x509.UnrecognizedExtension(igc.ORIGIN, value))) is None


def test_the_private_key_usage_period_ends_its_use() -> None:
    assert igc.usable_until(sample("feuille_org_sign_drimbox")) == datetime(2025, 1, 18, 8, 47, 8, tzinfo=UTC)
    assert igc.usable_until(made()) == NOW + timedelta(days=9)


@pytest.mark.parametrize(
    ("extensions", "issues"),
    [
        ([CA], True),
        ([CA, usage(key_cert_sign=True)], True),
        ([CA, usage(key_cert_sign=False)], False),
        ([x509.BasicConstraints(ca=False, path_length=None)], False),
        ([], False),
    ],
)
def test_who_may_not_sign_certificates_issued_none(extensions: Sequence[x509.ExtensionType], issues: bool) -> None:
    authority = made(*extensions)
    assert (igc.issuer_of(made(), [authority]) is authority) is issues


def test_an_issuer_is_told_by_its_signature_not_by_its_name() -> None:
    wrong, right = made(CA, key=OTHER), made(CA)
    assert igc.issuer_of(made(key=OTHER), [wrong, right]) is None
    assert igc.issuer_of(made(), [right]) is right
    assert igc.issuer_of(sample("feuille_org_sign_drimbox"), [right, sample("test_aci_el_org")]) is not None
