"""The VIHF of people: INDIRECTE_RENFORCEE from Pro Santé Connect's claims, DIRECTE by a card (vihf.md §§ 1.1, 3.3)."""

import asyncio
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from lxml import etree

from passevue.card.signer import Signer
from passevue.document.patient import Ins
from passevue.errors import Refused
from passevue.national.psc_claims import read_professional, usable_situations
from passevue.national.psc_token import IdToken
from passevue.national.psc_vihf import facts_of_person
from passevue.national.vihf import KNOW_HOW, PHARMACY_SECTIONS, PROFESSIONS, Lps, Mode, VihfFacts, build_vihf
from tests.peers.dmp_signed import verify_assertion
from tests.peers.pki import Pki
from tests.peers.psc_people import activity, exercice, people
from tests.unit.national.submissions import FACTS, STRUCTURE

NOW = datetime(2026, 11, 21, 10, 0, 0, 123456, tzinfo=UTC)
SIGNED_IN = NOW - timedelta(minutes=7)
LPS = Lps("Passevue", "0.1", "PVU-000000-test")
INS = Ins("279035121518989", "1.2.250.1.213.1.4.10")
SAML = "{urn:oasis:names:tc:SAML:2.0:assertion}"
CLASSES = "urn:oasis:names:tc:SAML:2.0:ac:classes:"
PEOPLE = {one.login: one for one in people(STRUCTURE)}
TOKEN = IdToken("f:x:899700000017", "eidas1", SIGNED_IN, SIGNED_IN)


def facts(login: str = "899700000017", which: int = 0) -> VihfFacts:
    person = read_professional(PEOPLE[login].claims())
    return facts_of_person(person, usable_situations(person, {STRUCTURE})[which], TOKEN, INS)


def attribute(assertion: etree._Element, name: str) -> str | None:
    found = assertion.find(f"{SAML}AttributeStatement/{SAML}Attribute[@Name='{name}']/{SAML}AttributeValue")
    return None if found is None else "".join(found.itertext())


async def built(facts: VihfFacts, signer: Signer, digest: str = "sha256") -> etree._Element:
    assertion = etree.fromstring(await build_vihf(facts, signer, NOW, digest, LPS))
    verify_assertion(assertion)
    return assertion


async def test_air_states_the_person_and_the_situation_chosen(signer: Signer) -> None:
    assertion = await built(facts(), signer)
    assert assertion.findtext(f"{SAML}Subject/{SAML}NameID") == "899700000017"
    assert attribute(assertion, "Authentification_Mode") == "INDIRECTE_RENFORCEE"
    assert attribute(assertion, "Identifiant_Structure") == STRUCTURE
    assert attribute(assertion, "Secteur_Activite") == "SA07^1.2.250.1.71.4.2.4"
    assert attribute(assertion, "urn:oasis:names:tc:xspa:1.0:subject:subject-id") == "Maud CARDAMOME"
    assert attribute(assertion, "urn:oasis:names:tc:xacml:2.0:resource:resource-id") == INS.cx
    roles = assertion.findall(".//{urn:hl7-org:v3}Role")
    assert [(one.get("code"), one.get("codeSystem")) for one in roles] == [("10", PROFESSIONS), ("SM44", KNOW_HOW)]


async def test_air_says_when_pro_sante_connect_saw_the_person(signer: Signer) -> None:
    assertion = await built(facts(), signer)
    statement = assertion.find(f"{SAML}AuthnStatement")
    assert statement.get("AuthnInstant") == "2026-11-21T09:53:00.123Z"
    assert assertion.get("IssueInstant") == "2026-11-21T10:00:00.123Z"
    context = statement.find(f"{SAML}AuthnContext")
    assert [etree.QName(one).localname for one in context] == ["AuthnContextClassRef", "AuthnContextDecl"]
    assert [one.text for one in context] == [f"{CLASSES}TLSClient", "APP_BROWSER_AUTH"]


async def test_a_sign_in_is_never_after_the_assertion(signer: Signer) -> None:
    late = replace(facts(), authenticated_at=(NOW + timedelta(seconds=8)).timestamp())
    assertion = await built(late, signer)
    assert assertion.find(f"{SAML}AuthnStatement").get("AuthnInstant") == assertion.get("IssueInstant")


async def test_a_pharmacist_has_a_section_and_another_profession_needs_nothing(signer: Signer) -> None:
    found = facts("899700000058", 1)
    assert [(one.code, one.code_system) for one in found.roles] == [("21", PROFESSIONS), ("G", PHARMACY_SECTIONS)]
    midwife = {"exercices": [exercice("50", "", activity(STRUCTURE, "X"))]}
    person = read_professional({**PEOPLE["899700000017"].claims(), "SubjectRefPro": midwife})
    (situation,) = usable_situations(person, {STRUCTURE})
    assert [one.code for one in facts_of_person(person, situation, TOKEN).roles] == ["50"]


@pytest.mark.parametrize("profession", ["10", "21"])
def test_a_doctor_or_pharmacist_without_specialty_is_told_before_the_dmp_is_asked(profession: str) -> None:
    claims = {**PEOPLE["899700000017"].claims()}
    claims["SubjectRefPro"] = {"exercices": [exercice(profession, "", activity(STRUCTURE, "X"))]}
    person = read_professional(claims)
    (situation,) = usable_situations(person, {STRUCTURE})
    with pytest.raises(Refused, match="SpecialtyMissing") as refused:
        facts_of_person(person, situation, TOKEN, INS)
    assert "spécialité" in refused.value.hint


async def test_without_patient_there_is_no_resource(signer: Signer) -> None:
    person = read_professional(PEOPLE["899700000017"].claims())
    found = facts_of_person(person, usable_situations(person, {STRUCTURE})[0], TOKEN)
    assert attribute(await built(found, signer), "urn:oasis:names:tc:xacml:2.0:resource:resource-id") is None


async def test_directe_leaves_the_name_to_the_card(signer: Signer) -> None:
    assertion = await built(replace(FACTS, mode=Mode.DIRECTE), signer)
    assert attribute(assertion, "Authentification_Mode") == "DIRECTE"
    assert attribute(assertion, "urn:oasis:names:tc:xspa:1.0:subject:subject-id") is None
    context = assertion.find(f"{SAML}AuthnStatement/{SAML}AuthnContext")
    assert [one.text for one in context] == [f"{CLASSES}SmartcardPKI"]
    assert assertion.find(f"{SAML}AuthnStatement").get("AuthnInstant") == assertion.get("IssueInstant")


async def test_indirecte_is_what_it_was(signer: Signer) -> None:
    assertion = await built(FACTS, signer)
    context = assertion.find(f"{SAML}AuthnStatement/{SAML}AuthnContext")
    assert [one.text for one in context] == [f"{CLASSES}TLSClient"]
    assert attribute(assertion, "urn:oasis:names:tc:xspa:1.0:subject:subject-id") == FACTS.subject_id


def test_facts_survive_their_bytes_in_every_mode_and_older_ones_are_read() -> None:
    for one in (facts(), replace(FACTS, mode=Mode.DIRECTE), FACTS):
        assert VihfFacts.from_bytes(one.to_bytes()) == one
    older = FACTS.to_bytes().replace(b', "authenticated_at": null', b"")
    assert b"authenticated_at" not in older
    assert VihfFacts.from_bytes(older) == FACTS


@pytest.mark.skipif(shutil.which("xmlsec1") is None, reason="xmlsec1 is not installed (tests/packages.txt)")
@pytest.mark.parametrize("digest", ["sha1", "sha256"])
@pytest.mark.parametrize("mode", [Mode.INDIRECTE_RENFORCEE, Mode.DIRECTE])
async def test_xmlsec1_verifies_every_mode(signer: Signer, pki: Pki, tmp_path: Path, mode: Mode, digest: str) -> None:
    content = await build_vihf(replace(facts(), mode=mode), signer, NOW, digest, LPS)
    file = tmp_path / "vihf.xml"
    command = ["xmlsec1", "--verify", "--trusted-pem", str(pki.folder / "root.pem"), "--untrusted-pem",
               str(pki.folder / "sub.pem"), "--id-attr:ID", "urn:oasis:names:tc:SAML:2.0:assertion:Assertion",
               str(file)]  # fmt: skip
    for data, verifies in ((content, True), (content.replace(b"899700000017", b"899700000018"), False)):
        file.write_bytes(data)
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False, timeout=30)
        assert (done.returncode == 0) is verifies
