"""Invented reports: people, structures and exams that do not exist, and the CDA that a RIS writes about them.

The documents have the shape of `tests/samples/cda` (CDA-R2 level 1, the PDF inside) and nothing of their text: every
person, structure and number is invented. PAT-TROIS is the test identity that the ANS publishes for this use. The PDF is
a real one-page file, padded to the size that real reports have, so that a message weighs about 325 kB.
"""

import base64
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from xml.sax.saxutils import escape, quoteattr

INS_NIR_TEST = "1.2.250.1.213.1.4.10"
INS_NIR = "1.2.250.1.213.1.4.8"
IPP_ROOT = "1.2.250.1.213.4.5.2.4"
REAL_PDF_BYTES = 174_000  # base64 twice over (PDF in the CDA, CDA in the message): 325 kB of message
PARIS = timezone(timedelta(hours=1))


def with_key(nir13: str) -> str:
    """The 13 characters of a NIR and the key that makes them a matricule INS (Corsica's letters count as digits)."""
    digits = nir13.replace("2A", "19").replace("2B", "18")
    return f"{nir13}{97 - int(digits) % 97:02d}"


@dataclass(frozen=True)
class Person:
    """A patient: traits of the INS and the cabinet's own identifier."""

    ins: str
    family: str
    given: str
    givens: str
    birth_date: str
    sex: str  # F or M
    birth_place: str  # INSEE code
    birth_city: str = "DOMPREMY"
    ins_oid: str = INS_NIR_TEST
    ipp: str = "IPP101"
    ipp_root: str = IPP_ROOT
    used_family: str = ""
    used_given: str = ""


PAT_TROIS = Person("279035121518989", "PAT-TROIS", "DOMINIQUE", "DOMINIQUE", "19790328", "F", "51215")

_FAMILIES = ("ESSAI-UN", "D'ESSAI", "ESSAI LONG", "MARTIN-ESSAI", "ÉPREUVE", "EXEMPLE", "FICTIF", "MODELE")
_GIVENS = ("ALIX", "CAMILLE", "MARIE-ANGE", "ZOÉ", "CHARLIE", "SACHA", "NOËL", "YANN")


def invented_person(number: int) -> Person:
    """Patient `number`, always the same one; no two numbers below a million share a matricule."""
    draw = random.Random(number)
    sex, year, month = draw.choice("FM"), draw.randrange(30, 99), draw.randrange(1, 13)
    place = draw.choice(("75112", "2A004", "2B033", "69383", "51215"))
    nir13 = f"{2 if sex == 'F' else 1}{year:02d}{month:02d}{place[:2]}{number % 1_000_000:06d}"
    family, given = draw.choice(_FAMILIES), draw.choice(_GIVENS)
    return Person(
        ins=with_key(nir13),
        family=family,
        given=given,
        givens=f"{given} {draw.choice(_GIVENS)}",
        birth_date=f"19{year:02d}{month:02d}{draw.randrange(1, 29):02d}",
        sex=sex,
        birth_place=place,
        birth_city="VILLE-ESSAI",
        ipp=f"IPP{number}",
        used_family=f"{family}-USAGE" if number % 2 else "",
    )


@dataclass(frozen=True)
class Doctor:
    """A professional: 8 and the RPPS number."""

    id: str = "801234560801"
    family: str = "BIDEAULT"
    given: str = "Jacques"
    specialty: str = "G15_10/SM44"


@dataclass(frozen=True)
class Site:
    """A structure: 1 and the geographic FINESS, as StructIdNat wants it."""

    id: str = "1750803447"
    name: str = "Centre de radiologie Ambroise"
    sector: str = "SA08"
    setting: str = "AMBULATOIRE"

    @property
    def finess(self) -> str:
        return self.id[1:]


@dataclass(frozen=True)
class Exam:
    """One study, with the order that asked for it."""

    study_uid: str
    accession: str
    order: str
    modality: str = "CT"
    region: tuple[str, str] = ("774007", "tête et/ou cou")
    act: tuple[str, str] = ("24727-0", "CT Head W contrast IV")
    ccam: str = "ACQH004"
    start: datetime = datetime(2026, 11, 20, 10, 25, tzinfo=PARIS)
    stop: datetime = datetime(2026, 11, 20, 11, 17, tzinfo=PARIS)
    accession_root: str = "1.2.250.1.925.994044785528.27"
    order_root: str = "1.2.250.1.748.12345678.12"


def invented_exam(number: int, modality: str = "CT") -> Exam:
    """Exam `number`: study, accession and order of the same number."""
    return Exam(f"1.2.250.1.213.4.5.2.1.{number}", f"ACN{number}", f"OPN{number}", modality)


def invented_document_id(number: int, version: int = 1) -> str:
    return f"1.2.250.1.213.4.5.4.{number}.{version}"


def report(
    patient: Person,
    exams: Exam | Sequence[Exam],
    *,
    document_id: str,
    set_id: str = "",
    version: int = 1,
    replaces: str = "",
    author: Doctor = Doctor(),
    authenticator: Doctor | None = None,
    site: Site = Site(),
    one_service_event: bool = False,
    pdf_bytes: int = REAL_PDF_BYTES,
    code: str = "18748-4",
    when: datetime = datetime(2026, 11, 20, 11, 30, tzinfo=PARIS),
) -> bytes:
    """The CDA of a validated report, UTF-8.

    `replaces` is the id of the version before it; `set_id` defaults to the id without its last arc, which all versions
    share. `one_service_event` writes all studies in one serviceEvent, as exam F of the ANS does.
    """
    exams = (exams,) if isinstance(exams, Exam) else tuple(exams)
    events = _one_event(exams, author, site) if one_service_event else "".join(_event(e, author, site) for e in exams)
    text = f"""<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:ps3-20="urn:dicom-org:ps3-20" \
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<realmCode code="FR"/>
<typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
<templateId root="2.16.840.1.113883.2.8.2.1"/>
<templateId root="1.2.250.1.213.1.1.1.1"/>
<templateId root="1.3.6.1.4.1.19376.1.2.20"/>
<id root={quoteattr(document_id)}/>
<code code={quoteattr(code)} displayName="CR d'imagerie médicale" codeSystem="2.16.840.1.113883.6.1" \
codeSystemName="LOINC">{"".join(_loinc(exam.act) for exam in exams)}</code>
<title>CR d'imagerie médicale - examen inventé</title>
<effectiveTime value="{_ts(when)}"/>
<confidentialityCode code="N" displayName="Normal" codeSystem="2.16.840.1.113883.5.25"/>
<languageCode code="fr-FR"/>
<setId root={quoteattr(set_id or document_id.rpartition(".")[0])}/>
<versionNumber value="{version}"/>
{_record_target(patient)}
{_author(author, site, when)}
{_custodian(site)}
{_legal_authenticator(authenticator or author, site, when)}
{"".join(_order(exam) for exam in exams)}
{events}
{_parent(replaces)}
{_encounter(site, exams)}
<component><nonXMLBody><text mediaType="application/pdf" representation="B64">\
{base64.b64encode(pdf(pdf_bytes)).decode()}</text></nonXMLBody></component>
</ClinicalDocument>
"""
    return text.encode()


@cache
def pdf(size: int) -> bytes:
    """A valid one-page PDF of `size` bytes (600 at least), its padding incompressible as real pages are."""
    head = (
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
        b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>endobj\n"
    )
    tail = b"\nendstream endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
    room = max(0, size - len(head) - len(tail) - 60)
    stream = f"4 0 obj<</Length {room}>>stream\n".encode() + random.Random(size).randbytes(room)
    return head + stream + tail


def _ts(when: datetime) -> str:
    return when.strftime("%Y%m%d%H%M%S%z")


def _loinc(act: tuple[str, str]) -> str:
    return (
        f'<translation code={quoteattr(act[0])} displayName={quoteattr(act[1])} codeSystem="2.16.840.1.113883.6.1" '
        'codeSystemName="LOINC"/>'
    )


def _record_target(patient: Person) -> str:
    used = ""
    if patient.used_family or patient.used_given:
        used = (
            f'<family qualifier="CL">{escape(patient.used_family or patient.family)}</family>'
            f'<given qualifier="CL">{escape(patient.used_given or patient.given)}</given>'
        )
    gender = "Féminin" if patient.sex == "F" else "Masculin"
    return (
        "<recordTarget><patientRole>"
        f'<id extension="{patient.ins}" root="{patient.ins_oid}"/>'
        f'<id extension={quoteattr(patient.ipp)} root="{patient.ipp_root}"/>'
        "<addr><houseNumber>1</houseNumber><streetName>Rue Inventée</streetName><postalCode>75007</postalCode>"
        '<city>PARIS</city><country>FRANCE</country></addr><telecom value="tel:0100000000" use="H"/>'
        '<patient classCode="PSN"><name>'
        f'<family qualifier="BR">{escape(patient.family)}</family><given qualifier="BR">{escape(patient.given)}</given>'
        f"<given>{escape(patient.givens)}</given>{used}</name>"
        f'<administrativeGenderCode code="{patient.sex}" displayName="{gender}" codeSystem="2.16.840.1.113883.5.1"/>'
        f'<birthTime value="{patient.birth_date}"/><birthplace><place><addr><county>{patient.birth_place}</county>'
        f"<city>{escape(patient.birth_city)}</city></addr></place></birthplace></patient></patientRole></recordTarget>"
    )


def _organization(site: Site, element: str = "representedOrganization") -> str:
    return (
        f'<{element}><id root="1.2.250.1.71.4.2.2" extension="{site.id}"/><name>{escape(site.name)}</name>'
        '<telecom value="tel:0146000000" use="WP"/><addr><houseNumber>12</houseNumber>'
        "<streetName>Rue Inventée</streetName><postalCode>75010</postalCode><city>PARIS</city></addr>"
        f'<standardIndustryClassCode code="{site.setting}" displayName="Ambulatoire" '
        f'codeSystem="1.2.250.1.213.1.1.4.9"/></{element}>'
    )


def _assigned(doctor: Doctor, site: Site, element: str) -> str:
    return (
        f'<{element}><id root="1.2.250.1.71.4.2.1" extension="{doctor.id}"/>'
        f'<code code="{doctor.specialty}" displayName="Médecin - Radio-diagnostic (SM)" '
        'codeSystem="1.2.250.1.213.1.1.4.5"/><addr><city>PARIS</city></addr>'
        '<telecom value="tel:0146000000" use="WP"/>'
        f"<assignedPerson><name><prefix>M</prefix><given>{escape(doctor.given)}</given>"
        f"<family>{escape(doctor.family)}</family><suffix>DR</suffix></name></assignedPerson>"
        f"{_organization(site)}</{element}>"
    )


def _author(doctor: Doctor, site: Site, when: datetime) -> str:
    return (
        '<author><functionCode code="ATTPHYS" displayName="Référent - Responsable du patient dans la structure de '
        f'soins" codeSystem="2.16.840.1.113883.5.88"/><time value="{_ts(when)}"/>'
        f"{_assigned(doctor, site, 'assignedAuthor')}</author>"
    )


def _custodian(site: Site) -> str:
    return (
        '<custodian><assignedCustodian><representedCustodianOrganization><id root="1.2.250.1.71.4.2.2" '
        f'extension="{site.id}"/><name>{escape(site.name)}</name></representedCustodianOrganization>'
        "</assignedCustodian></custodian>"
    )


def _legal_authenticator(doctor: Doctor, site: Site, when: datetime) -> str:
    return (
        f'<legalAuthenticator><time value="{_ts(when)}"/><signatureCode code="S"/>'
        f"{_assigned(doctor, site, 'assignedEntity')}</legalAuthenticator>"
    )


def _order(exam: Exam) -> str:
    return (
        f'<inFulfillmentOf><order><id root="{exam.order_root}" extension={quoteattr(exam.order)}/>'
        f'<ps3-20:accessionNumber root="{exam.accession_root}" extension={quoteattr(exam.accession)}/>'
        "</order></inFulfillmentOf>"
    )


def _event(exam: Exam, doctor: Doctor, site: Site) -> str:
    return _one_event((exam,), doctor, site)


def _one_event(exams: Sequence[Exam], doctor: Doctor, site: Site) -> str:
    exam = exams[0]
    ids = "".join(f'<id root="{each.study_uid}"/>' for each in exams)
    return (
        f'<documentationOf><serviceEvent classCode="ACT">{ids}'
        f'<code code="{exam.act[0]}" displayName={quoteattr(exam.act[1])} codeSystem="2.16.840.1.113883.6.1" '
        'codeSystemName="LOINC">'
        f'<translation code="{exam.ccam}" displayName="Acte inventé" codeSystem="1.2.250.1.215.300.1" '
        'codeSystemName="CCAM"/>'
        f'<translation code="{exam.modality}" displayName="Modalité" codeSystem="1.2.840.10008.2.16.4" '
        'codeSystemName="DCM"><qualifier><name code="121139" displayName="Modalité d\'imagerie" '
        'codeSystem="1.2.840.10008.2.16.4" codeSystemName="DCM"/></qualifier></translation>'
        f'<translation code="{exam.region[0]}" displayName={quoteattr(exam.region[1])} '
        'codeSystem="2.16.840.1.113883.6.96" codeSystemName="SNOMED CT"><qualifier><name code="39111-0" '
        'displayName="localisation anatomique" codeSystem="2.16.840.1.113883.6.1" codeSystemName="LOINC"/>'
        f'</qualifier></translation></code><effectiveTime><low value="{_ts(exam.start)}"/>'
        f'<high value="{_ts(exam.stop)}"/></effectiveTime><performer typeCode="PRF">'
        f"{_assigned(doctor, site, 'assignedEntity')}</performer></serviceEvent></documentationOf>"
    )


def _parent(replaces: str) -> str:
    if not replaces:
        return ""
    return (
        f'<relatedDocument typeCode="RPLC"><parentDocument><id root={quoteattr(replaces)}/></parentDocument>'
        "</relatedDocument>"
    )


def _encounter(site: Site, exams: Sequence[Exam]) -> str:
    start, stop = min(e.start for e in exams), max(e.stop for e in exams)
    return (
        '<componentOf><encompassingEncounter><code code="AMB" displayName="ambulatoire (hors établissement)" '
        f'codeSystem="2.16.840.1.113883.5.4"/><effectiveTime><low value="{_ts(start)}"/><high value="{_ts(stop)}"/>'
        f'</effectiveTime><location><healthCareFacility><id root="1.2.250.1.71.4.2.2" extension="{site.id}"/>'
        f'<code code="{site.sector}" displayName="Cabinet de groupe" codeSystem="1.2.250.1.71.4.2.4"/>'
        f"<location><name>{escape(site.name)}</name></location></healthCareFacility></location>"
        "</encompassingEncounter></componentOf>"
    )
