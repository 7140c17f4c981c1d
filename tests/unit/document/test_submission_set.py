"""Metadata of a publication beside the published sample, and what the sample does not show (dmp-xds.md §§ 5, 6)."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given as for_any
from hypothesis import strategies as st
from lxml import etree

from passevue.document.header import Code, Exam, Order, Professional, Report, Structure
from passevue.document.patient import Identifier, Ins, Patient
from passevue.document.submission_set import (
    KosEntry,
    SetFacts,
    SignatureEntry,
    publication_metadata,
    withdrawal_metadata,
)
from passevue.document.terminology import content_type, modality
from passevue.errors import Refused
from passevue.intake.ris_values import Participant, Visibility
from tests.unit.document.given import NOW, SAMPLES, exam, message, report

WITH_ID = ("RegistryPackage", "ExtrinsicObject")
RIM = "{urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0}"
KOS_CONTENT = (SAMPLES / "kos/ko.dcm").read_bytes()
SIGNATURE_CONTENT = (SAMPLES / "xds/signature_xades_lot.xml").read_bytes()


# A canonical view of metadata: order of slots and classifications, ids and prefixes aside.


def slots(element: Any) -> dict[str, tuple[str, ...]]:
    return {
        slot.get("name"): tuple(value.text for value in slot.iter(f"{RIM}Value"))
        for slot in element.findall(f"{RIM}Slot")
    }


def label(element: Any, tag: str) -> str | None:
    found = element.find(f"{RIM}{tag}/{RIM}LocalizedString")
    return None if found is None else found.get("value")


def view(element: Any) -> dict[str, Any]:
    ids = ("classifiedObject", "registryObject", *(() if element.tag[len(RIM) :] in WITH_ID else ("id",)))
    return {
        "tag": element.tag,
        "attributes": {key: value for key, value in element.attrib.items() if key not in ids},
        "slots": slots(element),
        "name": label(element, "Name"),
        "description": label(element, "Description"),
        "children": sorted(
            (view(child) for child in element if child.tag in (f"{RIM}Classification", f"{RIM}ExternalIdentifier")),
            key=str,
        ),
    }


def objects(metadata: Any) -> dict[str, dict[str, Any]]:
    """By id, or by type and ends for associations."""
    found = {}
    for element in next(metadata.iter(f"{RIM}RegistryObjectList")):
        if element.tag == f"{RIM}Association":
            key = " ".join(element.get(name) for name in ("associationType", "sourceObject", "targetObject"))
        else:
            key = element.get("id")
        found[key] = view(element)
    return found


KIT = Professional(
    "899700367909",
    "DOC0036790",
    "KIT",
    "1.2.250.1.71.4.2.1",
    structure=Structure("499700367909006", "BCOM"),
)


def sample_report() -> tuple[Report, Exam]:
    told = Exam(
        "1.3.6.1.4.1.5962.99.1.3711725607.829148806.1687338938407.3.116",
        Order(
            Identifier("2.16.840.1.113883.6.96", "12989855966"), Identifier("1.2.840.113619.6.196", "7252295367250016")
        ),
        regions=(Code("63337009", "2.16.840.1.113883.6.96", "Abdomen + pelvis"),),
        start="20210104092200+0000",
        stop="20210104160500+0000",
    )
    patient = Patient(
        Ins("162018885045327", "1.2.250.1.213.1.4.10"),
        (Identifier("1.2.250.1.213.1.4.10", "162018885045327"),),  # the sample wrote the INS as IPP
        birth_family="PAT-SIX",
        birth_given="Alain",
        sex="M",
        birth_date="19960124",
    )
    whole = Report(
        Identifier("1.2.3"),
        Code("18748-4"),
        patient,
        authors=(KIT,),
        legal_authenticator=KIT,
        exams=(told,),
        facility=Code("SA01", "1.2.250.1.71.4.2.4", "Etablissement public de santé"),
        practice_setting=Code("AMBULATOIRE", "1.2.250.1.213.1.1.4.9", "Ambulatoire"),
    )
    return whole, told


def sample_facts() -> SetFacts:
    return SetFacts(
        unique_id="1.2.250.1.999.1.1.8121.5.7122",
        source_id="1.2.250.1.999.1.1.8121",
        submitted_at=datetime(2023, 11, 14, 14, 44, 58, tzinfo=UTC),  # the sample's local time
        structure=Structure("499700367909006", "BCOM"),
        participant=Participant("899700367909", "DOC0036790", "KIT", "IDNPS", "", "", ""),
        patient_class="N",
        title="submissionset title",
        comments="submissionset comments",
    )


def sample_entry() -> KosEntry:
    return KosEntry(
        unique_id="1.3.2.751468943.3.1234.56838.231114144457.1.1.1",
        content=KOS_CONTENT,
        created_at=datetime(2023, 11, 14, 14, 44, 57, tzinfo=UTC),
        visibility=Visibility(),
        modalities=(modality("MR"),),
        timezone="Europe/Paris",
    )


SAMPLE_SIGNATURE = SignatureEntry("2.25.253872960909518376796861585574417771331", SIGNATURE_CONTENT)
# Quirks of the sample (its README, dmp-xds.md § 5): what it says → what is right.
QUIRKS = {
    "^^^&amp;1.2.3.4.5.6&amp;ISO^urn:ihe:iti:xds:2016": "^^^^urn:ihe:iti:xds:2016",
    "Reference d'objets d'un examen d'imagerie": "Référence d'objets d'un examen d'imagerie",
    "<Value>1.2.250.1.213.2.5</Value>": "<Value>1.2.250.1.213.1.1.5.695</Value>",  # scheme of the region
    'nodeRepresentation="04"': 'nodeRepresentation="97"',  # no class of PV1-2 means 04
    "Hospitalisation de jour": content_type("N").label,
}


def sample() -> Any:
    """The envelope of the sample, quirks put right."""
    raw = (SAMPLES / "xds/publication.xml").read_text(encoding="utf-8")
    envelope = raw[raw.index("<soap:Envelope") : raw.index("</soap:Envelope>") + 16]
    for theirs, right in QUIRKS.items():
        assert theirs in envelope
        envelope = envelope.replace(theirs, right)
    return etree.fromstring(envelope)


def test_the_published_sample_is_what_we_write_quirks_aside() -> None:
    whole, told = sample_report()
    metadata = publication_metadata(whole, told, sample_facts(), sample_entry(), SAMPLE_SIGNATURE)
    assert objects(sample()) == objects(etree.fromstring(metadata))


# What the sample does not show


def facts(**changes: Any) -> SetFacts:
    told = message()
    whole = SetFacts("2.25.1", "1.2.250.1.999", NOW, Structure("1750803447", "Centre"), told.participant, "O")
    return replace(whole, **changes)


def entry(**changes: Any) -> KosEntry:
    return replace(KosEntry("2.25.2", b"KOS", NOW, Visibility(), (modality("CT"),), "Europe/Paris"), **changes)


def published(told: Report | None = None, replaces: str | None = None, **changes: Any) -> dict[str, dict[str, Any]]:
    told = told or report()
    signature = SignatureEntry("2.25.3", b"<Signature/>\n")
    set_facts = changes.pop("facts", facts())
    data = publication_metadata(told, told.exams[0], set_facts, entry(**changes), signature, replaces)
    return objects(etree.fromstring(data))


def classifications(told: dict[str, Any], scheme: str) -> Iterator[tuple[str, tuple[str, ...], str]]:
    for child in told["children"]:
        if child["attributes"].get("classificationScheme", "").startswith(f"urn:uuid:{scheme}"):
            yield (
                child["attributes"].get("nodeRepresentation", ""),
                child["slots"].get("codingScheme", ()),
                child["name"],
            )


def codes(told: dict[str, Any], scheme: str) -> list[str]:
    return sorted(code for code, _, _ in classifications(told, scheme))


def test_the_kos_entry_of_the_report() -> None:
    kos = published()["DocumentKOS"]
    assert kos["slots"] == {
        "creationTime": ("20261121120000",),
        "submissionTime": ("20261121120000",),
        "languageCode": ("fr-FR",),
        "legalAuthenticator": ("801234560801^BIDEAULT^Jacques^^^^^^&1.2.250.1.71.4.2.1&ISO^D^^^IDNPS",),
        "serviceStartTime": ("20210108092500",),
        "serviceStopTime": ("20210108101700",),
        "sourcePatientId": ("1234567890121^^^&1.2.3.4.567.8.9.10&ISO^PI",),
        "sourcePatientInfo": (
            "PID-5|PAT-TROIS^DOMINIQUE^^^^^L",
            "PID-7|19790328",
            "PID-8|F",
            "PID-11|^^^^^^BDL^^63220",
        ),
        "hash": (hashlib.sha1(b"KOS").hexdigest(),),
        "size": ("3",),
        "urn:ihe:iti:xds:2013:referenceIdList": (
            "105234751^^^&1.2.250.1.925.994044785528.27&ISO^urn:ihe:iti:xds:2013:accession",
            f"{exam().study_uid}^^^^urn:ihe:iti:xds:2016:studyInstanceUID",
            "984375862^^^&1.2.250.1.748.12345678.12&ISO^urn:ihe:iti:xds:2013:order",
        ),
    }
    assert set(classifications(kos, "2c6b8cb7")) == {
        ("774007", ("1.2.250.1.213.1.1.5.695",), "structure de la tête et/ou du cou"),
        ("CT", ("1.2.250.1.213.1.1.5.618",), "Computed Tomography"),
    }
    assert codes(kos, "f33fb8ac") == ["SA08"]
    assert codes(kos, "cccf5598") == ["AMBULATOIRE"]


def test_who_speaks_in_the_set_and_in_the_entry() -> None:
    told = published()
    (of_set,) = (child["slots"] for child in told["SubmissionSet01"]["children"] if "authorPerson" in child["slots"])
    (of_entry,) = (child["slots"] for child in told["DocumentKOS"]["children"] if "authorPerson" in child["slots"])
    assert of_set["authorPerson"] == ("801234564895^Eric^Thomas^^^^^^&1.2.250.1.71.4.2.1&ISO^D^^^IDNPS",)
    assert of_set["authorInstitution"] == ("Centre^^^^^&1.2.250.1.71.4.2.2&ISO^IDNST^^^1750803447",)
    assert of_entry["authorPerson"] == ("801234560801^BIDEAULT^Jacques^^^^^^&1.2.250.1.71.4.2.1&ISO^D^^^IDNPS",)
    assert of_entry["authorInstitution"] == (
        "Centre de radiologie Ambroise^^^^^&1.2.250.1.71.4.2.2&ISO^IDNST^^^101235555",
    )
    assert of_entry["authorSpecialty"] == ("G15_10/SM44^Médecin - Radio-diagnostic (SM)^1.2.250.1.213.1.1.4.5",)


def test_a_device_that_asked_and_a_message_without_anyone() -> None:
    device = Participant("", "", "", "", "300017985", "Centre", "FINEG", "899711256811")
    for participant, person in (
        (device, "899711256811^^^^^^^^&1.2.250.1.999&ISO^U^^^EI"),
        (None, "801234560801^BIDEAULT^Jacques^^^^^^&1.2.250.1.71.4.2.1&ISO^D^^^IDNPS"),
    ):
        told = published(facts=facts(participant=participant))["SubmissionSet01"]
        assert person in [child["slots"].get("authorPerson", ("",))[0] for child in told["children"]]


def test_both_authors_of_tele_radiology() -> None:
    second = replace(report().authors[0], id="801234560802")
    kos = published(replace(report(), authors=(*report().authors, second)))["DocumentKOS"]
    people = [
        child["slots"]["authorPerson"][0].partition("^")[0]
        for child in kos["children"]
        if "authorPerson" in child["slots"]
    ]
    assert sorted(people) == ["801234560801", "801234560802"]


@pytest.mark.parametrize(
    ("visibility", "expected"),
    [
        (Visibility(), ["N"]),
        (Visibility(masque_ps=True), ["MASQUE_PS", "N"]),
        (Visibility(invisible_patient=True), ["INVISIBLE_PATIENT", "N"]),
        (
            Visibility(True, True, True),
            ["INVISIBLE_PATIENT", "INVISIBLE_REPRESENTANTS_LEGAUX", "MASQUE_PS", "N"],
        ),
    ],
)
def test_visibility_is_in_the_kos_and_the_signature_is_always_masked(
    visibility: Visibility, expected: list[str]
) -> None:
    told = published(visibility=visibility)
    assert codes(told["DocumentKOS"], "f4f85eac") == expected
    assert codes(told["Signature01"], "f4f85eac") == ["INVISIBLE_PATIENT", "MASQUE_PS", "N"]


@pytest.mark.parametrize(
    ("patient_class", "code"),
    [("I", "03"), ("O", "07"), ("E", "07"), ("R", "19"), ("N", "97"), ("", "97"), ("?", "97")],
)
def test_content_type(patient_class: str, code: str) -> None:
    told = published(facts=facts(patient_class=patient_class))["SubmissionSet01"]
    assert codes(told, "aa543740") == [code]


def test_a_replacement_points_at_the_entry_it_replaces() -> None:
    uuid = "urn:uuid:10b545ea-725c-446d-9b95-8aeb444eddf3"
    told = published(replaces=uuid)
    key = f"urn:ihe:iti:2007:AssociationType:RPLC DocumentKOS {uuid}"
    assert told[key]["slots"] == {"SubmissionSetStatus": ("Original",)}
    assert len(told) == 7
    assert len(published()) == 6


def test_ids_are_unique_in_a_request() -> None:
    data = publication_metadata(
        report(),
        exam(),
        facts(),
        entry(),
        SignatureEntry("2.25.3", b"x"),
        "urn:uuid:10b545ea-725c-446d-9b95-8aeb444eddf3",
    )
    ids = [element.get("id") for element in etree.fromstring(data).iter() if element.get("id")]
    assert len(ids) == len(set(ids))


def test_children_come_in_the_order_of_the_schema() -> None:
    data = publication_metadata(report(), exam(), facts(), entry(), SignatureEntry("2.25.3", b"x"))
    order = ["Slot", "Name", "Description", "Classification", "ExternalIdentifier"]
    for tag in ("RegistryPackage", "ExtrinsicObject", "Association", "Classification"):
        for element in etree.fromstring(data).iter(f"{RIM}{tag}"):
            ranks = [order.index(child.tag.removeprefix(RIM)) for child in element]
            assert ranks == sorted(ranks)


def test_the_same_facts_give_the_same_bytes() -> None:
    def once() -> bytes:
        return publication_metadata(report(), exam(), facts(), entry(), SignatureEntry("2.25.3", b"x"))

    assert once() == once()


def test_a_withdrawal_changes_the_status_of_the_entry() -> None:
    uuid = "urn:uuid:10b545ea-725c-446d-9b95-8aeb444eddf3"
    told = objects(etree.fromstring(withdrawal_metadata(report(), facts(), uuid)))
    key = f"urn:ihe:iti:2010:AssociationType:UpdateAvailabilityStatus SubmissionSet01 {uuid}"
    assert told.keys() == {"SubmissionSet01", key}
    assert told[key]["slots"] == {
        "OriginalStatus": ("urn:oasis:names:tc:ebxml-regrep:StatusType:Approved",),
        "NewStatus": ("urn:asip:ci-sis:2010:StatusType:Deleted",),
    }
    assert told[key]["attributes"]["objectType"] == (
        "urn:oasis:names:tc:ebxml-regrep:ObjectType:RegistryObject:Association"
    )


def test_what_the_report_does_not_say_is_left_out() -> None:
    bare = replace(
        report(),
        patient=replace(report().patient, local_ids=(), birth_place="", birth_date=""),
        exams=(replace(exam(), order=None, start="", stop="", regions=()),),
        facility=None,
        practice_setting=None,
        legal_authenticator=None,
    )
    kos = published(bare, modalities=())["DocumentKOS"]
    assert kos["slots"]["sourcePatientId"] == ("279035121518989^^^&1.2.250.1.213.1.4.10&ISO^NH",)
    assert kos["slots"]["sourcePatientInfo"] == ("PID-5|PAT-TROIS^DOMINIQUE^^^^^L", "PID-8|F")
    assert kos["slots"].keys().isdisjoint({"serviceStartTime", "serviceStopTime", "legalAuthenticator"})
    assert codes(kos, "2c6b8cb7") == []


def test_without_an_ins_nothing_is_written() -> None:
    nobody = replace(report(), patient=replace(report().patient, ins=None))
    with pytest.raises(Refused, match="no-ins"):
        published(nobody)
    with pytest.raises(Refused, match="no-ins"):
        withdrawal_metadata(nobody, facts(), "urn:uuid:x")


@for_any(st.text(max_size=60), st.text(max_size=60))
def test_any_name_stays_one_field(family: str, given: str) -> None:
    told = replace(report(), patient=replace(report().patient, birth_family=family, birth_given=given))
    person = Participant("8", family, given, "IDNPS", "", "", "")
    written = published(told, facts=facts(participant=person))
    pid_5 = written["DocumentKOS"]["slots"]["sourcePatientInfo"][0]
    assert pid_5.startswith("PID-5|")
    assert pid_5.count("^") == 6
    assert pid_5.count("|") == 1
    (author,) = (
        child["slots"]["authorPerson"][0]
        for child in written["SubmissionSet01"]["children"]
        if "authorPerson" in child["slots"]
    )
    assert author.count("^") == 12


@pytest.mark.parametrize("text", ["<script>", "'; DROP TABLE", "مريم", "A\u202eB", "&amp;", "ÉLÉONORE"])
def test_hostile_text_is_data(text: str) -> None:
    told = replace(report(), patient=replace(report().patient, birth_family=text))
    written = published(told)["DocumentKOS"]["slots"]["sourcePatientInfo"][0]
    assert written == f"PID-5|{text.replace('&', chr(92) + 'T' + chr(92))}^DOMINIQUE^^^^^L"
