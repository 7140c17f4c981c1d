"""Writes the XDS metadata of a KOS: publication, replacement (ITI-41) and withdrawal (ITI-57), as dmp-xds.md § 5 says.

Rules:
- the author of the set is who asked for the publication (PRT of role SB), for the structure whose certificate is used;
  those of the document entry are the report's;
- all times are UTC; hash is SHA-1 in hexadecimal and size the length of the very bytes sent;
- the same facts give the same bytes: everything that changes comes in as a parameter.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from passevue.document import ebrim
from passevue.document.ebrim import Element, Request, slot
from passevue.document.header import Code, Exam, Professional, Report, Structure
from passevue.document.hl7_forms import cx, escaped, xcn, xcn_of_participant, xon
from passevue.document.patient import Ins, Patient
from passevue.document.terminology import (
    INVISIBLE_PATIENT,
    MASQUE_PS,
    REGION_SCHEME,
    content_type,
    visibility_codes,
)
from passevue.document.times import utc_of, utc_stamp
from passevue.errors import Refused
from passevue.intake.ris_values import Participant, Visibility

SET_ID = "SubmissionSet01"
KOS_ID = "DocumentKOS"
SIGNATURE_ID = "Signature01"

_SET_AUTHOR = "urn:uuid:a7058bb9-b4e4-4307-ba5b-e3f0ab85e12d"
_SET_CONTENT_TYPE = "urn:uuid:aa543740-bdda-424e-8c96-df4873be8500"
_SET_NODE = "urn:uuid:a54d6aa5-d40d-43f9-88c5-b4633d873bdd"
_SET_PATIENT_ID = "urn:uuid:6b5aea1a-874d-4603-a4bc-96a0a7b38446"
_SET_SOURCE_ID = "urn:uuid:554ac39e-e3fe-47fe-b233-965d2a147832"
_SET_UNIQUE_ID = "urn:uuid:96fdda7c-d067-4183-912e-bf5ee74998a8"

_STABLE = "urn:uuid:7edca82f-054d-47f2-a032-9b2a5b5186c1"
_AUTHOR = "urn:uuid:93606bcf-9494-43ec-9b4e-a7748d1a838d"
_CLASS = "urn:uuid:41a5887f-8865-4c09-adf7-e362475b143a"
_TYPE = "urn:uuid:f0306f51-975f-434e-a61c-c59651d33983"
_FORMAT = "urn:uuid:a09d5840-386c-46f2-b5ad-9c3699a4309d"
_CONFIDENTIALITY = "urn:uuid:f4f85eac-e6cb-4883-b524-f2705394840f"
_FACILITY = "urn:uuid:f33fb8ac-18af-42cc-ae0e-ed0b0bdb91e1"
_PRACTICE_SETTING = "urn:uuid:cccf5598-8b07-4b77-a05e-ae952c785ead"
_EVENT = "urn:uuid:2c6b8cb7-8b2a-4051-b291-b1ae6a575ef4"
_PATIENT_ID = "urn:uuid:58a6f841-87b3-4a3e-92fd-a8ffeff98427"
_UNIQUE_ID = "urn:uuid:2e82c1f6-a085-4c72-9da3-8640a32e42ab"

_SIGNS = "urn:ihe:iti:2007:AssociationType:signs"
_RPLC = "urn:ihe:iti:2007:AssociationType:RPLC"
_UPDATE_STATUS = "urn:ihe:iti:2010:AssociationType:UpdateAvailabilityStatus"
APPROVED = "urn:oasis:names:tc:ebxml-regrep:StatusType:Approved"
DELETED = "urn:asip:ci-sis:2010:StatusType:Deleted"
_ORIGINAL = (("SubmissionSetStatus", "Original"),)

_KOS_CLASS = Code("31", "1.2.250.1.213.1.1.4.1", "Imagerie médicale")
_KOS_TYPE = Code("IMG-KOS", "1.2.250.1.213.1.1.4.12", "Référence d'objets d'un examen d'imagerie")
_KOS_FORMAT = Code(
    "1.2.840.10008.5.1.4.1.1.88.59",
    "1.2.840.10008.2.6.1",
    "Document de Références d'objets d'imagerie selon profil IHE RAD XDS-I",
)
_KOS_TITLE = "Reference d'Objets d'un Examen d'Imagerie"
_SIGNATURE_CLASS = Code("urn:oid:1.3.6.1.4.1.19376.1.2.1.1.1", "URN", "Digital Signature")
_SIGNATURE_TYPE = Code("E1762", "ASTM", "Full Document")
_SIGNATURE_FORMAT = Code("http://www.w3.org/2000/09/xmldsig#", "URN", "Default Signature Style")
_SIGNATURE_EVENT = Code("1.2.840.10065.1.12.1.14", "1.2.840.10065.1.12", "Source")
_NORMAL = Code("N", "2.16.840.1.113883.5.25", "Normal")


@dataclass(frozen=True, slots=True)
class SetFacts:
    """What the submission set says.

    Attributes:
        unique_id: XDSSubmissionSet.uniqueId. `source_id`: OID of the box.
        submitted_at: aware; frozen before the first try.
        structure: the one whose certificate signs: StructIdNat and name.
        participant: who asked; None: the report's author did.
        patient_class: PV1-2.
    """

    unique_id: str
    source_id: str
    submitted_at: datetime
    structure: Structure
    participant: Participant | None
    patient_class: str
    title: str = "Publication KOS"
    comments: str = ""


@dataclass(frozen=True, slots=True)
class KosEntry:
    """The KOS: uniqueId is its SOPInstanceUID, `content` its file, `created_at` the `now` that it was built with.

    `modalities` are those of eventCodeList (`study.event_modalities`); `timezone` is the IANA name for stamps of the
    report without an offset.
    """

    unique_id: str
    content: bytes
    created_at: datetime
    visibility: Visibility
    modalities: tuple[Code, ...]
    timezone: str


@dataclass(frozen=True, slots=True)
class SignatureEntry:
    """The XAdES of the set: uniqueId is its `Signature/@Id`."""

    unique_id: str
    content: bytes


def publication_metadata(
    report: Report,
    exam: Exam,
    facts: SetFacts,
    kos: KosEntry,
    signature: SignatureEntry,
    replaces_entry_uuid: str | None = None,
) -> bytes:
    """`lcm:SubmitObjectsRequest` of ITI-41; `replaces_entry_uuid` (with `urn:uuid:`) makes it a replacement.

    Raises:
        Refused: `no-ins`.
    """
    request = Request()
    _submission_set(request, report, facts)
    _kos_entry(request, report, exam, facts, kos)
    _signature_entry(request, report, exam, facts, signature)
    request.association(ebrim.HAS_MEMBER, SET_ID, KOS_ID, _ORIGINAL)
    request.association(ebrim.HAS_MEMBER, SET_ID, SIGNATURE_ID, _ORIGINAL)
    request.association(_SIGNS, SIGNATURE_ID, SET_ID, _ORIGINAL)
    if replaces_entry_uuid is not None:
        request.association(_RPLC, KOS_ID, replaces_entry_uuid, _ORIGINAL)
    return request.to_bytes()


def withdrawal_metadata(report: Report, facts: SetFacts, entry_uuid: str, original_status: str = APPROVED) -> bytes:
    """`lcm:SubmitObjectsRequest` of ITI-57 that deletes one entry (TD3.3c): no document, no signature.

    Raises:
        Refused: `no-ins`.
    """
    request = Request()
    _submission_set(request, report, facts)
    request.association(
        _UPDATE_STATUS,
        SET_ID,
        entry_uuid,
        (("OriginalStatus", original_status), ("NewStatus", DELETED)),
        objectType=ebrim.ASSOCIATION_OBJECT,
    )
    return request.to_bytes()


def _ins(patient: Patient) -> Ins:
    if patient.ins is None:
        raise Refused("no-ins", "the report holds no INS", hint="Le compte rendu ne porte pas d'INS.")
    return patient.ins


def _submission_set(request: Request, report: Report, facts: SetFacts) -> None:
    package = request.object("RegistryPackage", id=SET_ID)
    slot(package, "submissionTime", (utc_stamp(facts.submitted_at),))
    ebrim.name(package, "Name", facts.title)
    ebrim.name(package, "Description", facts.comments)
    request.author(package, _SET_AUTHOR, _set_author(report, facts))
    request.classification(package, _SET_CONTENT_TYPE, content_type(facts.patient_class))
    request.node(package, _SET_NODE)
    patient_id = _ins(report.patient).cx
    request.external_identifier(package, _SET_PATIENT_ID, patient_id, "XDSSubmissionSet.patientId")
    request.external_identifier(package, _SET_SOURCE_ID, facts.source_id, "XDSSubmissionSet.sourceId")
    request.external_identifier(package, _SET_UNIQUE_ID, facts.unique_id, "XDSSubmissionSet.uniqueId")


def _set_author(report: Report, facts: SetFacts) -> tuple[tuple[str, str], ...]:
    if facts.participant is not None and (facts.participant.person_id or facts.participant.device_id):
        person = xcn_of_participant(facts.participant, facts.source_id)
    else:
        author = report.author or report.legal_authenticator
        person = xcn(author) if author is not None else ""
    return (("authorPerson", person), ("authorInstitution", xon(facts.structure)))


def _kos_entry(request: Request, report: Report, exam: Exam, facts: SetFacts, kos: KosEntry) -> None:
    entry = request.object("ExtrinsicObject", id=KOS_ID, mimeType="application/dicom", objectType=_STABLE)
    ins = _ins(report.patient)
    slot(entry, "creationTime", (utc_stamp(kos.created_at),))
    slot(entry, "submissionTime", (utc_stamp(facts.submitted_at),))
    slot(entry, "languageCode", (report.language,))
    _legal_authenticator(entry, report)
    slot(entry, "serviceStartTime", (utc_of(exam.start, kos.timezone),))
    slot(entry, "serviceStopTime", (utc_of(exam.stop, kos.timezone),))
    slot(entry, "sourcePatientId", (cx(report.patient.ipp, "PI") if report.patient.ipp else ins.cx,))
    _hash_and_size(entry, kos.content)
    slot(entry, "sourcePatientInfo", source_patient_info(report.patient))
    slot(entry, "urn:ihe:iti:xds:2013:referenceIdList", reference_ids(exam))
    ebrim.name(entry, "Name", _KOS_TITLE)
    ebrim.name(entry, "Description", "KOS")
    _authors(request, entry, report)
    confidentiality = (report.confidentiality, *visibility_codes(kos.visibility))
    _codes(request, entry, report, (_KOS_CLASS, _KOS_TYPE, _KOS_FORMAT), confidentiality)
    for region in exam.regions:
        request.classification(entry, _EVENT, Code(region.code, REGION_SCHEME, region.label))
    for modality in kos.modalities:
        request.classification(entry, _EVENT, modality)
    _entry_ids(request, entry, ins, kos.unique_id)


def _signature_entry(request: Request, report: Report, exam: Exam, facts: SetFacts, signature: SignatureEntry) -> None:
    """dmp-xds.md § 5.4: masked from everyone, whatever the KOS is."""
    entry = request.object("ExtrinsicObject", id=SIGNATURE_ID, mimeType="text/xml", objectType=_STABLE)
    ins = _ins(report.patient)
    moment = utc_stamp(facts.submitted_at)
    slot(entry, "creationTime", (moment,))
    slot(entry, "submissionTime", (moment,))
    slot(entry, "languageCode", ("art",))
    _legal_authenticator(entry, report)
    slot(entry, "serviceStartTime", (moment,))
    slot(entry, "serviceStopTime", (moment,))
    slot(entry, "sourcePatientId", (ins.cx,))
    _hash_and_size(entry, signature.content)
    slot(entry, "urn:ihe:iti:xds:2013:referenceIdList", reference_ids(exam))
    ebrim.name(entry, "Name", "Source")
    ebrim.name(entry, "Description", "")
    _authors(request, entry, report)
    confidentiality = (_NORMAL, MASQUE_PS, INVISIBLE_PATIENT)
    _codes(request, entry, report, (_SIGNATURE_CLASS, _SIGNATURE_TYPE, _SIGNATURE_FORMAT), confidentiality)
    request.classification(entry, _EVENT, _SIGNATURE_EVENT)
    _entry_ids(request, entry, ins, signature.unique_id)


def _legal_authenticator(entry: Element, report: Report) -> None:
    person = report.legal_authenticator
    slot(entry, "legalAuthenticator", (xcn(person),) if person is not None and person.id else ())


def _hash_and_size(entry: Element, content: bytes) -> None:
    slot(entry, "hash", (hashlib.sha1(content, usedforsecurity=False).hexdigest(),))
    slot(entry, "size", (str(len(content)),))


def _authors(request: Request, entry: Element, report: Report) -> None:
    """One author attribute each: tele-radiology has two."""
    people = report.authors or ((report.legal_authenticator,) if report.legal_authenticator else ())
    for person in people:
        request.author(entry, _AUTHOR, _entry_author(person))


def _entry_author(person: Professional) -> tuple[tuple[str, str], ...]:
    code, function = person.code, person.function
    return (
        ("authorPerson", xcn(person) if person.id else ""),
        ("authorInstitution", xon(person.structure) if person.structure and person.structure.id else ""),
        ("authorRole", function.label or function.code if function else ""),
        ("authorSpecialty", f"{escaped(code.code)}^{escaped(code.label)}^{code.system}" if code else ""),
    )


def _codes(
    request: Request,
    entry: Element,
    report: Report,
    class_type_format: tuple[Code, Code, Code],
    confidentiality: tuple[Code, ...],
) -> None:
    class_code, type_code, format_code = class_type_format
    request.classification(entry, _CLASS, class_code)
    request.classification(entry, _TYPE, type_code)
    for code in confidentiality:
        request.classification(entry, _CONFIDENTIALITY, code)
    request.classification(entry, _FORMAT, format_code)
    if report.facility is not None:
        request.classification(entry, _FACILITY, report.facility)
    if report.practice_setting is not None:
        request.classification(entry, _PRACTICE_SETTING, report.practice_setting)


def _entry_ids(request: Request, entry: Element, ins: Ins, unique_id: str) -> None:
    request.external_identifier(entry, _PATIENT_ID, ins.cx, "XDSDocumentEntry.patientId")
    request.external_identifier(entry, _UNIQUE_ID, unique_id, "XDSDocumentEntry.uniqueId")


def source_patient_info(patient: Patient) -> tuple[str, ...]:
    """PID-5, 7, 8 and the birth place in PID-11; what the report does not say is left out."""
    values = [f"PID-5|{escaped(patient.birth_family)}^{escaped(patient.birth_given)}^^^^^L"]
    if patient.birth_date:
        values.append(f"PID-7|{patient.birth_date}")
    values.append(f"PID-8|{patient.sex}")
    if patient.birth_place:
        values.append(f"PID-11|^^^^^^BDL^^{escaped(patient.birth_place)}")
    return tuple(values)


def reference_ids(exam: Exam) -> tuple[str, ...]:
    """CXi values: accession, study (which needs no authority), order (ITI TF-3 4.2.3.2.28)."""
    values = [f"{exam.study_uid}^^^^urn:ihe:iti:xds:2016:studyInstanceUID"]
    if exam.accession is not None:
        values.insert(0, cx(exam.accession, "urn:ihe:iti:xds:2013:accession"))
    if exam.placer_order is not None:
        values.append(cx(exam.placer_order, "urn:ihe:iti:xds:2013:order"))
    return tuple(values)
