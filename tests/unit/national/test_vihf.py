"""The VIHF against the ANS's published one, digest and RSA value, and against an independent verifier."""

import base64
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from passevue.card.signer import Signer
from passevue.document.report import read_report
from passevue.errors import Refused, Unreadable
from passevue.national.vihf import (
    KNOW_HOW,
    PROFESSIONS,
    Lps,
    Role,
    VihfFacts,
    _Assertion,
    build_vihf,
    facts_of,
    signed_info_body,
)
from passevue.national.xmldsig import _NOT_XML, ALGORITHMS, DSIG
from tests.peers.dmp_signed import NotSigned, verify_assertion
from tests.unit.national.submissions import FACTS, SAMPLES, sample_envelope

LPS = Lps("Passevue", "0.1", "PVU-000000-test")
NOW = datetime(2026, 11, 21, 10, 0, 0, 123456, tzinfo=UTC)
SAML = "urn:oasis:names:tc:SAML:2.0:assertion"

# The sample's own values. Five are masked in the published file; they stand in the demonstrator's public code
# (ansforge/DRIM-M_DRIMbox, MIT) and belong to another vendor: a test vector, never sent.
SAMPLE_FACTS = VihfFacts(
    name_id="899700367909",
    structure_id="499700367909006",
    sector="SA25",
    subject_id="Alain PAT-SIX",
    roles=(Role("10", PROFESSIONS, "Medecin"), Role("SM26", KNOW_HOW, "Qualifie en Medecine Generale (SM)")),
    resource_id="162018885045327^^^&1.2.250.1.213.1.4.10&ISO^NH",
)
SAMPLE_LPS = Lps("DRIMbox", "1.0", "BCO-465897-tmp2", "01.12.12")


@pytest.fixture(scope="module")
def rebuilt() -> _Assertion:
    certificate = x509.load_pem_x509_certificate((SAMPLES / "igc/feuille_org_sign_drimbox.pem").read_bytes())
    instant = datetime(2023, 11, 14, 13, 44, 58, 116000, tzinfo=UTC)
    return _Assertion(SAMPLE_FACTS, certificate, instant, SAMPLE_LPS, "f6056f97-a487-4d36-9244-11db8c7d6372")


def test_the_samples_digest_comes_out_of_its_values(rebuilt: _Assertion) -> None:
    published = sample_envelope().findtext(f".//{{{DSIG}}}DigestValue")
    assert ALGORITHMS["sha1"].digest(rebuilt.canonical()) == published == "AfLA+Kx+48Js8knvPWSS0tKR5Xg="


def test_the_samples_signature_verifies_over_our_signed_info(rebuilt: _Assertion) -> None:
    body = signed_info_body(rebuilt.id, ALGORITHMS["sha1"], rebuilt.canonical())
    signed_info = f'<ds:SignedInfo xmlns:ds="{DSIG}">{body}</ds:SignedInfo>'.encode()
    value = base64.b64decode(sample_envelope().findtext(f".//{{{DSIG}}}SignatureValue") or "")
    certificate = x509.load_pem_x509_certificate((SAMPLES / "igc/feuille_org_sign_drimbox.pem").read_bytes())
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(value, signed_info, padding.PKCS1v15(), hashes.SHA1())


def test_the_form_is_the_samples_element_by_element(rebuilt: _Assertion) -> None:
    ours = [(one.tag, sorted(one.attrib)) for one in etree.fromstring(rebuilt.canonical()).iter()]
    sample = sample_envelope().find(f".//{{{SAML}}}Assertion")
    signature = sample.find(f"{{{DSIG}}}Signature")
    sample.remove(signature)
    assert ours == [(one.tag, sorted(one.attrib)) for one in sample.iter()]


@pytest.mark.parametrize("digest", ["sha1", "sha256"])
async def test_an_independent_verifier_takes_it(signer: Signer, digest: str) -> None:
    assertion = etree.fromstring(await build_vihf(FACTS, signer, NOW, digest, LPS))
    signed = verify_assertion(assertion)
    assert signed.certificate == signer.certificate
    assert assertion.get("IssueInstant") == "2026-11-21T10:00:00.123Z"
    assert re.fullmatch(r"_[0-9a-f-]{36}", assertion.get("ID", ""))
    order = [etree.QName(child).localname for child in assertion]
    assert order == ["Issuer", "Signature", "Subject", "AuthnStatement", "AttributeStatement"]


async def test_two_are_never_the_same(signer: Signer) -> None:
    first, second = [await build_vihf(FACTS, signer, NOW, "sha1", LPS) for _ in range(2)]
    assert etree.fromstring(first).get("ID") != etree.fromstring(second).get("ID")


xml_text = st.text(st.characters(blacklist_categories=("Cs",)), max_size=20)


@given(xml_text, xml_text, xml_text)
async def test_any_text_is_signed_as_canonicalisation_has_it_or_refused(
    signer: Signer, name: str, label: str, patient: str
) -> None:
    facts = replace(FACTS, subject_id=name, resource_id=patient, roles=(Role("10", PROFESSIONS, label), FACTS.roles[1]))
    if _NOT_XML.search(name + label + patient):
        with pytest.raises(Refused, match="NotXml"):
            await build_vihf(facts, signer, NOW, "sha256", LPS)
    else:
        verify_assertion(etree.fromstring(await build_vihf(facts, signer, NOW, "sha256", LPS)))


async def test_a_changed_value_no_longer_verifies(signer: Signer) -> None:
    content = await build_vihf(FACTS, signer, NOW, "sha1", LPS)
    with pytest.raises(NotSigned):
        verify_assertion(etree.fromstring(content.replace(b"INDIRECTE", b"DIRECTE")))


async def test_a_secret_connection_is_stated_or_refused_never_left_out(signer: Signer) -> None:
    facts = replace(FACTS, secret_connection=True)
    with pytest.raises(Refused, match="ConnexionSecrete"):
        await build_vihf(facts, signer, NOW, "sha1", LPS)
    stated = await build_vihf(facts, signer, NOW, "sha1", replace(LPS, secret_connection_code="CODE"))
    assert b"hl7:confidentiality-code" in stated


def test_facts_survive_their_bytes() -> None:
    facts = replace(FACTS, secret_connection=True)
    assert VihfFacts.from_bytes(facts.to_bytes()) == facts


@given(st.binary(max_size=100) | st.sampled_from([b"{}", b"[]", b'{"version": 1}', b'{"version": 2}', b"null"]))
def test_any_bytes_are_facts_or_our_own_error(content: bytes) -> None:
    with pytest.raises(Unreadable):
        VihfFacts.from_bytes(content)


def test_the_facts_of_a_report_are_its_signatorys() -> None:
    report = read_report((SAMPLES / "cda/IMG_CR_IMG_2023.11_CDA-R2-Niveau-1.xml").read_bytes())
    facts = facts_of(report, "10B0127189", "SA07")
    assert report.legal_authenticator is not None
    assert facts.name_id == report.legal_authenticator.id
    assert (facts.roles[0].code, facts.roles[0].code_system) == ("10", PROFESSIONS)
    assert facts.roles[1].code_system == KNOW_HOW
    assert facts.resource_id.endswith("&ISO^NH")


def test_a_report_without_signatory_or_specialty_is_refused_before_sending() -> None:
    report = read_report((SAMPLES / "cda/IMG_CR_IMG_2023.11_CDA-R2-Niveau-1.xml").read_bytes())
    with pytest.raises(Refused, match="VihfFacts"):
        facts_of(replace(report, legal_authenticator=None, authors=()), "10B0127189", "SA07")
    assert report.legal_authenticator is not None
    assert report.legal_authenticator.code is not None
    bare = replace(report.legal_authenticator, code=replace(report.legal_authenticator.code, code="G15_10"))
    with pytest.raises(Refused, match="SpecialtyMissing"):
        facts_of(replace(report, legal_authenticator=bare), "10B0127189", "SA07")
