"""IGC-Santé certificates, on the public ones of the ANS."""

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from passevue.errors import TrustError
from passevue.national import certificate as igc
from passevue.national.certificate import Family
from tests.unit.national.submissions import SAMPLES


def sample(name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((SAMPLES / f"igc/{name}.pem").read_bytes())


def test_the_dn_is_written_as_the_ans_samples_write_it() -> None:
    signer = sample("feuille_org_sign_drimbox")
    assert igc.distinguished_name(signer.subject) == (
        "CN=DRIMbox, OU=499700367909006, O=CABINET M DOC0036790, ST=Paris (75), C=FR"
    )
    assert igc.distinguished_name(signer.issuer) == (
        "CN=TEST AC IGC-SANTE ELEMENTAIRE ORGANISATIONS, OU=IGC-SANTE TEST, OU=0002 187512751, O=ASIP-SANTE, C=FR"
    )


def test_a_card_holders_multi_valued_rdn_stays_one() -> None:
    text = igc.distinguished_name(sample("feuille_cpe_auth_test_expiree").subject)
    first = text.split(", ")[0]
    assert sorted(part.split("=")[0] for part in first.split("+")) == ["CN", "GN", "SN"]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("DUPONT, MARTIN", "DUPONT\\, MARTIN"),
        ("A+B", "A\\+B"),
        ("#1", "\\#1"),
        (" x ", "\\ x\\ "),
        ('"<>;\\', '\\"\\<\\>\\;\\\\'),
        ("Côte-d'Or (21)", "Côte-d'Or (21)"),
    ],
)
def test_special_characters_are_escaped(value: str, written: str) -> None:
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, value)])
    assert igc.distinguished_name(name) == f"O={written}"


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=30))
def test_escapes_agree_with_the_library(value: str) -> None:
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, value)])
    assert x509.Name.from_rfc4514_string(igc.distinguished_name(name)) == name


def test_an_unknown_attribute_is_named_by_its_oid() -> None:
    name = x509.Name([x509.NameAttribute(ObjectIdentifier("1.2.3"), "x")])
    assert igc.distinguished_name(name) == "1.2.3=x"


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("feuille_org_sign_drimbox", Family.ORG_SIGN),
        ("feuille_liste_blanche_2026", Family.ORG_SIGN),
        ("feuille_ssl_serv_test_expiree", Family.SERV_SSL_SERV),
        ("feuille_ssl_serv_production_expiree", Family.SERV_SSL_SERV),
        ("feuille_cpe_auth_test_expiree", Family.ORG_AUTH_CLI),  # by KU and EKU alone; its subject has no structure OU
        ("test_aci_el_org", None),
    ],
)
def test_families_are_told_by_usage(name: str, family: Family | None) -> None:
    assert igc.family(sample(name)) is family


def test_the_structure_is_the_ou() -> None:
    assert igc.structure_id(sample("feuille_org_sign_drimbox")) == "499700367909006"
    with pytest.raises(TrustError):
        igc.structure_id(sample("test_aci_el_org"))


def test_the_chain_leads_to_the_root_or_is_refused() -> None:
    leaf, sub, root = (sample(n) for n in ("feuille_org_sign_drimbox", "test_aci_el_org", "test_ac_racine_el"))
    now = datetime(2024, 1, 1, tzinfo=UTC)
    igc.check_chain(leaf, [sub, root], now)
    for authorities, at in (([sub], now), ([root], now), ([], now), ([sub, root], datetime(2040, 1, 1, tzinfo=UTC))):
        with pytest.raises(TrustError):
            igc.check_chain(leaf, authorities, at)
    with pytest.raises(TrustError, match="no authority of the store"):
        igc.check_chain(sample("feuille_ssl_serv_production_expiree"), [sub, root], now)


@pytest.mark.parametrize("year", [1999, 2070])
def test_a_clock_outside_the_authority_s_dates_is_not_taken_for_another_authority(year: int) -> None:
    leaf, *authorities = (sample(n) for n in ("feuille_org_sign_drimbox", "test_aci_el_org", "test_ac_racine_el"))
    with pytest.raises(TrustError, match="not in its dates") as refused:
        igc.check_chain(leaf, authorities, datetime(year, 1, 1, tzinfo=UTC))
    assert "horloge" in refused.value.hint
