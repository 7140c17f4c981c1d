"""Revocation lists: read whole and signed, or refused; any bytes end in an answer of ours."""

import time
from datetime import UTC, datetime, timedelta
from mmap import ACCESS_READ, mmap
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from passevue.card.crl import read_crl
from passevue.errors import TrustError, Unreadable
from tests.peers.ans import Lists
from tests.peers.pki_persons import Persons

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def lists(persons: Persons) -> Lists:
    return Lists(*persons._sub)


@pytest.fixture(scope="session")
def plain(lists: Lists) -> bytes:
    return lists.make(revoked=[1, 0x7F, 0x80, 1 << 127], this_update=NOW - timedelta(hours=1))


def test_a_list_says_who_is_revoked(lists: Lists, plain: bytes) -> None:
    crl = read_crl(plain, lists.authority, NOW)
    assert crl.count == 4
    assert all(crl.revoked(serial) for serial in (1, 0x7F, 0x80, 1 << 127))
    assert not any(crl.revoked(serial) for serial in (0, 2, 0x81, 1 << 126, (1 << 127) + 1, 1 << 159, 1 << 500))
    assert (crl.this_update, crl.next_update) == (NOW - timedelta(hours=1), NOW + timedelta(days=7, hours=-1))
    assert crl.number == int((NOW - timedelta(hours=1)).timestamp())
    assert crl.for_users
    assert crl.for_authorities


def test_an_empty_list_revokes_nobody(lists: Lists) -> None:
    crl = read_crl(lists.make(this_update=NOW), lists.authority, NOW)
    assert crl.count == 0
    assert not crl.revoked(0)
    assert not crl.revoked(1)


def test_serials_are_found_as_openssl_finds_them(lists: Lists) -> None:
    serials = sorted({x509.random_serial_number() >> (number % 150) or 1 for number in range(500)})
    data = lists.make(revoked=serials[::2], this_update=NOW)
    ours, theirs = read_crl(data, lists.authority, NOW), x509.load_der_x509_crl(data)
    for serial in serials:
        assert ours.revoked(serial) is (theirs.get_revoked_certificate_by_serial_number(serial) is not None)


@pytest.mark.parametrize("count", [2047, 2048, 2049, 6145])
def test_a_list_of_any_length_is_sorted_whole(lists: Lists, count: int) -> None:
    data = lists.long(count, 15)
    theirs = x509.load_der_x509_crl(data)
    crl = read_crl(data, lists.authority, datetime.now(UTC))
    assert (crl.count, crl.width) == (count, 15)
    assert crl.serials == b"".join(sorted(one.serial_number.to_bytes(15, "big") for one in theirs))


def test_reasons_and_invalidity_dates_of_entries_are_passed_over(lists: Lists) -> None:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(lists.authority.subject)
        .last_update(NOW)
        .next_update(datetime(2051, 1, 1, tzinfo=UTC))  # GeneralizedTime
    )
    entry = (
        x509.RevokedCertificateBuilder()
        .serial_number(77)
        .revocation_date(datetime(2051, 1, 1, tzinfo=UTC))
        .add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
        .add_extension(x509.InvalidityDate(datetime(2025, 1, 1)), critical=False)
        .build()
    )
    data = builder.add_revoked_certificate(entry).sign(lists.key, hashes.SHA512()).public_bytes(Encoding.DER)
    crl = read_crl(data, lists.authority, NOW)
    assert crl.revoked(77)
    assert crl.number is None


def test_a_list_signed_by_another_is_refused(lists: Lists, persons: Persons, plain: bytes) -> None:
    forged = Lists(lists.authority, rsa.generate_private_key(65537, 2048)).make(this_update=NOW)
    with pytest.raises(TrustError) as caught:
        read_crl(forged, lists.authority, NOW)
    assert "IGC-Santé" in caught.value.hint
    with pytest.raises(TrustError):
        read_crl(plain, persons.root, NOW)


def test_a_list_signed_with_sha_1_is_refused(lists: Lists) -> None:
    data = lists.make(this_update=NOW, hash_algorithm=hashes.SHA256()).replace(
        bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105")
    )
    with pytest.raises(TrustError, match="SHA-2"):
        read_crl(data, lists.authority, NOW)


def test_a_list_from_the_future_says_that_the_clock_is_wrong(lists: Lists) -> None:
    with pytest.raises(TrustError) as caught:
        read_crl(lists.make(this_update=NOW + timedelta(minutes=10)), lists.authority, NOW)
    assert "horloge" in caught.value.hint


def _scope(**only: object) -> x509.IssuingDistributionPoint:
    fields: dict[str, object] = {
        "full_name": [x509.UniformResourceIdentifier("http://crl.invalid/a.crl")],
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**(fields | only))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("only", "users", "authorities"),
    [
        ({}, True, True),
        ({"only_contains_user_certs": True}, True, False),
        ({"only_contains_ca_certs": True}, False, True),
    ],
)
def test_what_a_list_speaks_of_is_kept(lists: Lists, only: dict[str, object], users: bool, authorities: bool) -> None:
    crl = read_crl(lists.make(this_update=NOW, extensions=[(_scope(**only), True)]), lists.authority, NOW)
    assert (crl.for_users, crl.for_authorities) == (users, authorities)
    assert crl.places == {"http://crl.invalid/a.crl"}


def test_a_list_that_names_no_address_speaks_of_every_certificate(lists: Lists) -> None:
    somewhere = x509.DirectoryName(lists.authority.subject)
    for named in ([somewhere], [somewhere, x509.UniformResourceIdentifier("ldap://annuaire.invalid/a")], None):
        extension = _scope(full_name=named, only_contains_user_certs=True)
        crl = read_crl(lists.make(this_update=NOW, extensions=[(extension, True)]), lists.authority, NOW)
        assert crl.places == ({"ldap://annuaire.invalid/a"} if named and len(named) > 1 else set())
        assert crl.speaks_of(lists.authority, user=True)  # which names no place itself


@pytest.mark.parametrize(
    "extension",
    [
        (_scope(indirect_crl=True), True),
        (_scope(only_contains_attribute_certs=True), True),
        (_scope(only_some_reasons=frozenset([x509.ReasonFlags.key_compromise])), True),
        (x509.DeltaCRLIndicator(3), True),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"), True),
    ],
)
def test_a_list_of_a_kind_not_followed_here_is_refused(
    lists: Lists, extension: tuple[x509.ExtensionType, bool]
) -> None:
    with pytest.raises(Unreadable):
        read_crl(lists.make(this_update=NOW, extensions=[extension]), lists.authority, NOW)


@pytest.mark.parametrize("cut", [0, 1, 3, 40, 200, -1])
def test_a_list_that_is_cut_or_followed_by_something_is_refused(lists: Lists, plain: bytes, cut: int) -> None:
    with pytest.raises((Unreadable, TrustError)):
        read_crl(plain[:cut], lists.authority, NOW)
    with pytest.raises(Unreadable):
        read_crl(plain + b"\x00", lists.authority, NOW)


def test_a_signature_that_says_it_has_unused_bits_is_refused(lists: Lists, plain: bytes) -> None:
    at = len(plain) - lists.key.key_size // 8 - 1
    assert plain[at] == 0
    with pytest.raises(Unreadable):
        read_crl(plain[:at] + b"\x01" + plain[at + 1 :], lists.authority, NOW)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_bytes_are_taken_or_refused_in_our_words(lists: Lists, plain: bytes, data: st.DataObject) -> None:
    content = bytearray(plain)
    if data.draw(st.booleans()):
        content = bytearray(data.draw(st.binary(max_size=400)))
    for _ in range(data.draw(st.integers(1, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    if bytes(content) == plain:
        return
    with pytest.raises((Unreadable, TrustError)):
        read_crl(bytes(content), lists.authority, NOW)
    assert read_crl(plain, lists.authority, NOW).count == 4


def test_a_large_list_is_read_from_a_mapped_file_in_bounded_time(lists: Lists, tmp_path: Path) -> None:
    data = lists.make(revoked=range(1 << 100, (1 << 100) + 20_000), this_update=NOW)
    path = tmp_path / "big.crl"
    path.write_bytes(data)
    begun = time.perf_counter()
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as mapped:
        crl = read_crl(mapped, lists.authority, NOW)
    assert time.perf_counter() - begun < 10
    assert len(crl.serials) == 20_000 * 13
    assert crl.revoked((1 << 100) + 19_999)
    assert not crl.revoked((1 << 100) + 20_000)
