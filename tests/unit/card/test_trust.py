"""Whose certificate is believed: the right realm, the right authority, the right dates, nobody revoked."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from passevue import config
from passevue.card.card_trust import CardTrust
from passevue.card.crl import Crl, read_crl
from passevue.card.crl_store import CrlStore
from passevue.card.trust import Level, PersonTrust, Use, check_same_holder, is_test, read_authorities, usable_until
from passevue.errors import BoxError, ConfigError, CredentialError, TrustError
from tests.peers.ans import Ans, Fault, Lists, lists_of
from tests.peers.card_profile import Holder, Profile
from tests.peers.pki import Family, Pki
from tests.peers.pki_persons import CardKeys, Persons

SAMPLES = Path(__file__).parents[2] / "samples" / "igc"


class Held:
    """Lists held of a persons' authority and its root, made anew for each test."""

    def __init__(self, persons: Persons) -> None:
        self.now = datetime.now(UTC)
        self.makers = lists_of(persons)
        self.lists: dict[bytes, Crl] = {}
        for lists in self.makers.values():
            self.put(lists, lists.make(this_update=self.now - timedelta(hours=1)))

    def put(self, lists: Lists, content: bytes, now: datetime | None = None) -> None:
        self.lists[lists.authority.subject.public_bytes()] = read_crl(content, lists.authority, now or self.now)

    def of(self, authority: x509.Certificate) -> Crl | None:
        return self.lists.get(authority.subject.public_bytes())

    def sub(self, persons: Persons) -> Lists:
        return next(one for one in self.makers.values() if one.authority == persons.sub_authority)


@pytest.fixture
def held(persons: Persons) -> Held:
    return Held(persons)


@pytest.fixture
def trust(persons: Persons, held: Held) -> PersonTrust:
    return PersonTrust("test", read_authorities(persons.authority.read_bytes(), "test"), held.of)


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Persons:
    return Persons(tmp_path_factory.mktemp("production"), "production")


def refused(trust: PersonTrust, certificate: x509.Certificate, now: datetime, use: Use = Use.AUTH) -> BoxError:
    with pytest.raises((TrustError, CredentialError)) as caught:
        trust.believe(certificate, use, now)
    assert caught.value.hint, caught.value.message
    return caught.value


@pytest.mark.parametrize("level", list(Level))
def test_a_card_of_each_level_is_believed(tmp_path: Path, level: Level) -> None:
    persons = Persons(tmp_path, level=level)
    held = Held(persons)
    trust = PersonTrust("test", read_authorities(persons.authority.read_bytes(), "test"), held.of)
    keys = persons.card_keys(Profile())
    found = trust.believe(keys.authentication.certificate, Use.AUTH, held.now)
    assert (found.level, found.issuer, found.root) == (level, persons.sub_authority, persons.root)
    trust.believe(keys.signature.certificate, Use.SIGN, held.now)
    check_same_holder(keys.authentication.certificate, keys.signature.certificate)


def test_each_certificate_is_for_one_use(trust: PersonTrust, card_keys: CardKeys, held: Held) -> None:
    assert isinstance(refused(trust, card_keys.signature.certificate, held.now, Use.AUTH), TrustError)
    assert isinstance(refused(trust, card_keys.authentication.certificate, held.now, Use.SIGN), TrustError)


def test_a_test_card_is_refused_in_production_and_the_other_way_round(production: Persons, persons: Persons) -> None:
    for ours, theirs, word in ((production, persons, "carte de test"), (persons, production, "mode test")):
        held = Held(ours)
        trust = PersonTrust(ours.realm, read_authorities(ours.authority.read_bytes(), ours.realm), held.of)
        stranger = theirs.card_keys(replace(Profile(), category=theirs.realm)).authentication.certificate
        assert word in refused(trust, stranger, held.now).hint


def test_the_category_counts_whoever_issued_the_card(production: Persons) -> None:
    """A test card that the production authority signed by mistake: the byte decides."""
    held = Held(production)
    trust = PersonTrust("production", read_authorities(production.authority.read_bytes(), "production"), held.of)
    good = production.card_keys(replace(Profile(), category="production")).authentication.certificate
    wrong = production.card_keys(replace(Profile(), category="test")).authentication.certificate
    assert (is_test(good), is_test(wrong)) == (False, True)
    trust.believe(good, Use.AUTH, held.now)
    assert "carte de test" in refused(trust, wrong, held.now).hint


def test_the_sample_of_a_real_card_says_its_category_and_is_of_an_authority_not_held(
    trust: PersonTrust, held: Held
) -> None:
    card = x509.load_pem_x509_certificate((SAMPLES / "feuille_cpe_auth_test_expiree.pem").read_bytes())
    assert is_test(card) is True
    assert usable_until(card) == datetime(2020, 3, 23, 15, 16, 43, tzinfo=UTC)
    assert "IGC-Santé" in refused(trust, card, held.now).hint


def test_stores_of_both_realms_are_never_together(persons: Persons, production: Persons, organisations: Pki) -> None:
    for content, realm in (
        (persons.authority.read_bytes(), "production"),
        (production.authority.read_bytes(), "test"),
        (persons.authority.read_bytes() + production.authority.read_bytes(), "test"),
        (organisations.authority.read_bytes(), "test"),
        (b"no PEM at all", "test"),
    ):
        with pytest.raises(ConfigError) as caught:
            read_authorities(content, realm)
        assert caught.value.key == "trust.authority"
        assert caught.value.hint


def test_an_organisation_is_no_person(persons: Persons, organisations: Pki, held: Held) -> None:
    store = [
        *x509.load_pem_x509_certificates(organisations.authority.read_bytes()),
        persons.sub_authority,
        persons.root,
    ]
    trust = PersonTrust("test", store, held.of)
    certificate, _ = organisations.leaf(Family.ORG_AUTH_CLI, "10B0127189").load()
    assert isinstance(refused(trust, certificate, held.now), TrustError)


def test_an_authority_is_no_person(trust: PersonTrust, persons: Persons, held: Held) -> None:
    for certificate in (persons.sub_authority, persons.root):
        assert isinstance(refused(trust, certificate, held.now), TrustError)


def test_a_forger_with_the_same_names_is_refused(trust: PersonTrust, tmp_path: Path, held: Held) -> None:
    forger = Persons(tmp_path)
    certificate = forger.card_keys(Profile()).authentication.certificate
    assert "IGC-Santé" in refused(trust, certificate, held.now).hint


def test_an_expired_card_and_one_of_tomorrow_are_refused_with_a_word_about_the_clock(
    trust: PersonTrust, persons: Persons, held: Held
) -> None:
    day = timedelta(days=1)
    old = persons.card_keys(Profile(), not_before=held.now - 900 * day, not_after=held.now - day)
    new = persons.card_keys(Profile(), not_before=held.now + day)
    expired = refused(trust, old.authentication.certificate, held.now)
    assert isinstance(expired, CredentialError)
    assert f"{held.now - day:%d/%m/%Y}" in expired.hint
    assert "horloge" in refused(trust, new.authentication.certificate, held.now).hint


def test_a_clock_set_back_is_said_even_when_the_card_is_in_its_dates(
    trust: PersonTrust, card_keys: CardKeys, held: Held
) -> None:
    error = refused(trust, card_keys.authentication.certificate, held.now - timedelta(days=30))
    assert isinstance(error, CredentialError)
    assert "horloge" in error.hint


def test_a_revoked_card_is_refused_for_good_even_by_a_stale_list(
    trust: PersonTrust, persons: Persons, card_keys: CardKeys, held: Held
) -> None:
    certificate = card_keys.authentication.certificate
    lists = held.sub(persons)
    held.put(lists, lists.make(revoked=[certificate.serial_number], this_update=held.now - timedelta(hours=1)))
    for now in (held.now, held.now + timedelta(days=20)):
        error = refused(trust, certificate, now)
        assert isinstance(error, TrustError)
        assert "révoquée" in error.hint


def test_a_revoked_authority_takes_all_its_cards_with_it(
    trust: PersonTrust, persons: Persons, card_keys: CardKeys, held: Held
) -> None:
    root = next(one for one in held.makers.values() if one.authority == persons.root)
    held.put(root, root.make(revoked=[persons.sub_authority.serial_number], this_update=held.now - timedelta(hours=1)))
    assert "révoquée" in refused(trust, card_keys.authentication.certificate, held.now).hint


@pytest.mark.parametrize("whose", ["persons", "root"])
def test_without_a_list_or_past_its_end_nobody_is_believed(
    trust: PersonTrust, persons: Persons, card_keys: CardKeys, held: Held, whose: str
) -> None:
    certificate = card_keys.authentication.certificate
    authority = persons.sub_authority if whose == "persons" else persons.root
    lists = Lists(authority, (persons._sub if whose == "persons" else persons._root)[1])
    begun = held.now - timedelta(days=3)
    held.put(lists, lists.make(this_update=begun, next_update=held.now + timedelta(hours=1)))
    trust.believe(certificate, Use.AUTH, held.now)
    stale = refused(trust, certificate, held.now + timedelta(hours=2))
    assert isinstance(stale, CredentialError)
    assert "périmée" in stale.hint
    del held.lists[authority.subject.public_bytes()]
    absent = refused(trust, certificate, held.now)
    assert isinstance(absent, CredentialError)
    assert "réseau" in absent.hint


def test_a_list_that_speaks_of_others_does_not_count(
    trust: PersonTrust, persons: Persons, card_keys: CardKeys, held: Held
) -> None:
    key = persons.sub_authority.subject.public_bytes()
    held.lists[key] = replace(held.lists[key], for_users=False)
    assert isinstance(refused(trust, card_keys.authentication.certificate, held.now), CredentialError)


def test_two_holders_in_one_card_are_seen(persons: Persons, card_keys: CardKeys) -> None:
    other = persons.card_keys(Profile(holder=Holder(id_nat="899700000001", family="AUTRE")))
    with pytest.raises(TrustError):
        check_same_holder(card_keys.authentication.certificate, other.signature.certificate)


@pytest.mark.parametrize("how", ["no category", "unknown critical", "short key", "twice", "no usage"])
def test_a_certificate_of_another_form_is_refused(
    trust: PersonTrust, persons: Persons, held: Held, card_keys: CardKeys, how: str
) -> None:
    model = card_keys.authentication.certificate
    key = rsa.generate_private_key(65537, 1024 if how == "short key" else 2048)
    builder = (
        x509.CertificateBuilder()
        .subject_name(model.subject)
        .issuer_name(model.issuer)
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(held.now - timedelta(days=1))
        .not_valid_after(held.now + timedelta(days=1))
    )
    left_out = {"no category": "1.2.250.1.71.1.2.5", "no usage": "2.5.29.15"}.get(how)
    for extension in model.extensions:
        if extension.oid.dotted_string != left_out:
            builder = builder.add_extension(extension.value, extension.critical)
    if how == "unknown critical":
        builder = builder.add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), critical=True
        )
    certificate = builder.sign(persons._sub[1], hashes.SHA256())
    if how == "twice":
        der = certificate.public_bytes(Encoding.DER)
        certificate = x509.load_der_x509_certificate(
            der.replace(bytes.fromhex("0603551d20"), bytes.fromhex("0603551d0f"), 1)
        )
    assert isinstance(refused(trust, certificate, held.now), TrustError)


async def test_the_boxs_trust_fetches_what_a_first_card_needs(
    persons: Persons, card_keys: CardKeys, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    certificate = card_keys.authentication.certificate
    async with Ans() as ans:
        urls = {}
        for number, (name, lists) in enumerate(lists_of(persons).items()):
            ans.serve(f"/{number}.crl", lists.make())
            urls[name] = ans.url(f"/{number}.crl")
        authorities = read_authorities(persons.authority.read_bytes(), "test")
        settings = config.Crl(urls=urls, timeout_s=0.5)
        crls = CrlStore(tmp_path, authorities, settings)
        card_trust = CardTrust(PersonTrust("test", authorities, crls.of), crls)
        ans.fault = Fault.HTML
        with pytest.raises(CredentialError):
            await card_trust(certificate, now)
        ans.fault = Fault.NONE
        await card_trust(certificate, now)
        ans.fault = Fault.AWAY
        assert (await card_trust.believe(certificate, now)).level is Level.FORT
        assert [state.count for state in card_trust.states(now)] == [0, 0]
