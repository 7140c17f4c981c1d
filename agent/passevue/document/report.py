"""Reads the header of a CDA-R2 imaging report (IMG-CR-IMG, all generations) into a `Report`, and cuts its body off.

Rules: the header is the same at levels 1 and 3, so nothing is chosen on `templateId` (cda-report.md § 1); ids are
recognised by their root, never by position; order of elements is free; prefixes are free. A StudyInstanceUID is taken
only if it is a valid UID.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeAlias

from lxml import etree

from passevue.document.header import Code, Exam, Order, Professional, Report, Structure
from passevue.document.identifiers import valid_root, valid_uid
from passevue.document.patient import INS_OIDS, Identifier, Ins, Patient
from passevue.document.xml import parse
from passevue.errors import Hl7Error, Unreadable

__all__ = ["Code", "Exam", "Order", "Professional", "Report", "Structure", "header_of", "read_report"]

CDA = "urn:hl7-org:v3"
PS3_20 = "urn:dicom-org:ps3-20"
NS = {"h": CDA, "d": PS3_20}

IMAGING_REPORT = "18748-4"
LOINC = "2.16.840.1.113883.6.1"
DCM = "1.2.840.10008.2.16.4"
SNOMED_CT = "2.16.840.1.113883.6.96"
CCAM = frozenset({"1.2.250.1.213.2.5", "1.2.250.1.215.300.1"})
PROFESSIONALS = "1.2.250.1.71.4.2.1"
STRUCTURES = "1.2.250.1.71.4.2.2"
MODALITY_QUALIFIER = "121139"
REGION_QUALIFIER = "39111-0"

MAX_HEADER_BYTES = 1 << 20  # headers of the samples are some 25 kB
MAX_EXAMS = 100
MAX_EVENTS = 200
MAX_CODES = 200  # of one event
MAX_TEXT = 4_000  # characters of one value; labels of acts are some 200

Element: TypeAlias = Any  # lxml has no types


def read_report(cda: bytes) -> Report:
    """The header of the report in `cda`.

    Raises:
        Unreadable: not XML, or XML that the gate refuses.
        Hl7Error: 103 not an imaging report, 102 no usable id, 198 two patients.
    """
    root = parse(cda)
    code = _document_code(root)
    report = Report(
        id=_document_id(root),
        code=code,
        patient=_patient(root),
        set_id=_identifier(root.find("h:setId", NS)),
        version=_version(root),
        replaced_id=_replaced(root),
        title=_text(root.find("h:title", NS)),
        effective_time=_value(root.find("h:effectiveTime", NS)),
        language=_attribute(root.find("h:languageCode", NS), "code") or "fr-FR",
        authors=tuple(_authors(root)),
        legal_authenticator=_person(root.find("h:legalAuthenticator/h:assignedEntity", NS)),
        custodian=_structure(root.find("h:custodian/h:assignedCustodian/h:representedCustodianOrganization", NS)),
        orders=tuple(_orders(root)),
        facility=_code(root.find("h:componentOf/h:encompassingEncounter/h:location/h:healthCareFacility/h:code", NS)),
    )
    confidentiality = _code(root.find("h:confidentialityCode", NS)) or report.confidentiality
    report = replace(report, exams=_exams(root, report.orders), confidentiality=confidentiality)
    return replace(report, practice_setting=_practice_setting(report))


def header_of(cda: bytes) -> bytes:
    """The same document without its body: what the archive keeps, still readable by `read_report`.

    Raises:
        Unreadable: not XML, or a header beyond any reason (1 MiB).
    """
    root = parse(cda)
    for component in root.findall("h:component", NS):
        root.remove(component)
    header: bytes = etree.tostring(root, encoding="UTF-8", xml_declaration=True)
    if len(header) > MAX_HEADER_BYTES:
        raise Unreadable(f"CDA: expected a header of at most {MAX_HEADER_BYTES} bytes, got {len(header)}")
    return header


def _attribute(element: Element | None, name: str) -> str:
    return "" if element is None else _bounded(str(element.get(name, "")).strip())


def _bounded(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise Unreadable(f"CDA: expected values of at most {MAX_TEXT} characters, got {len(text)}")
    return text


def _value(element: Element | None) -> str:
    return _attribute(element, "value")


def _text(element: Element | None) -> str:
    return "" if element is None else _bounded(" ".join("".join(element.itertext()).split()))


def _code(element: Element | None) -> Code | None:
    code = _attribute(element, "code")
    if not code:
        return None
    return Code(code, _attribute(element, "codeSystem"), _attribute(element, "displayName"))


def _identifier(element: Element | None) -> Identifier | None:
    """An II with a legal root; what only says nullFlavor is none."""
    root = _attribute(element, "root")
    return Identifier(root, _attribute(element, "extension")) if valid_root(root) else None


def _identifiers(elements: list[Element]) -> Iterator[Identifier]:
    for element in elements:
        found = _identifier(element)
        if found is not None:
            yield found


def _document_code(root: Element) -> Code:
    if root.tag != f"{{{CDA}}}ClinicalDocument":
        raise Hl7Error(103, "expected a ClinicalDocument of HL7 CDA-R2", location="OBX^1^5")
    code = _code(root.find("h:code", NS))
    if code is None or code.code != IMAGING_REPORT or code.system != LOINC:
        raise Hl7Error(103, f"expected an imaging report, LOINC {IMAGING_REPORT}", location="OBX^1^5")
    return code


def _document_id(root: Element) -> Identifier:
    found = _identifier(root.find("h:id", NS))
    if found is None:
        raise Hl7Error(102, "expected ClinicalDocument/id with an OID or UUID as root", location="OBX^1^5")
    return found


def _version(root: Element) -> int:
    text = _value(root.find("h:versionNumber", NS))
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _replaced(root: Element) -> Identifier | None:
    for related in root.findall("h:relatedDocument", NS):
        if _attribute(related, "typeCode") == "RPLC":
            return _identifier(related.find("h:parentDocument/h:id", NS))
    return None


def _patient(root: Element) -> Patient:
    roles = root.findall("h:recordTarget/h:patientRole", NS)
    if len(roles) != 1:
        raise Hl7Error(198, f"expected one patient in the report, got {len(roles)}", location="OBX^1^5")
    ids = [found for found in _identifiers(roles[0].findall("h:id", NS)) if found.extension]
    ins = {Ins(found.extension, found.root) for found in ids if found.root in INS_OIDS}
    if len(ins) > 1:
        raise Hl7Error(198, "expected one INS in the report, got several", location="OBX^1^5", application_code=904)
    person = roles[0].find("h:patient", NS)
    birth_place = roles[0].find("h:patient/h:birthplace/h:place/h:addr", NS)
    patient = Patient(
        ins=ins.pop() if ins else None,
        local_ids=tuple(found for found in ids if found.root not in INS_OIDS),
        birth_place="" if birth_place is None else _text(birth_place.find("h:county", NS)),
        birth_city="" if birth_place is None else _text(birth_place.find("h:city", NS)),
    )
    return patient if person is None else _with_traits(patient, person)


def _with_traits(patient: Patient, person: Element) -> Patient:
    families = _name_parts(person, "family")
    givens = _name_parts(person, "given")
    listed = givens.get("", "")
    first = givens.get("BR", "") or listed.partition(" ")[0]
    return replace(
        patient,
        birth_family=families.get("BR") or families.get("SP") or families.get("", ""),
        birth_given=first,
        birth_given_names=listed or first,
        used_family=families.get("CL", ""),
        used_given=givens.get("CL", ""),
        sex=_SEX.get(_attribute(person.find("h:administrativeGenderCode", NS), "code").upper(), "U"),
        birth_date=_birth_date(_value(person.find("h:birthTime", NS))),
    )


_SEX = {"M": "M", "F": "F"}


def _name_parts(person: Element, part: str) -> dict[str, str]:
    """Text by qualifier (`BR`, `CL`, `SP`, empty); several unqualified givens are one list (cda-report.md § 3)."""
    parts: dict[str, list[str]] = {}
    for element in person.findall(f"h:name/h:{part}", NS):
        text = _text(element)
        if text:
            for qualifier in _attribute(element, "qualifier").split() or [""]:
                parts.setdefault(qualifier, []).append(text)
    return {
        qualifier: " ".join(texts) if (part, qualifier) == ("given", "") else texts[0]
        for qualifier, texts in parts.items()
    }


def _birth_date(stamp: str) -> str:
    digits = stamp[:8]
    return digits if digits.isascii() and digits.isdigit() and len(digits) in (4, 6, 8) else ""


def _structure(organization: Element | None) -> Structure | None:
    if organization is None:
        return None
    ids = list(_identifiers(organization.findall("h:id", NS)))
    national = next((found.extension for found in ids if found.root == STRUCTURES), "")
    name = _text(organization.find("h:name", NS))
    setting = _code(organization.find("h:standardIndustryClassCode", NS))
    return Structure(national, name, setting) if national or name or setting else None


def _person(entity: Element | None, function: Code | None = None) -> Professional | None:
    """An assignedEntity or assignedAuthor; None when it names nobody and no structure."""
    if entity is None:
        return None
    ids = [found for found in _identifiers(entity.findall("h:id", NS)) if found.extension]
    best = next((found for found in ids if found.root == PROFESSIONALS), ids[0] if ids else Identifier(""))
    names = entity.find("h:assignedPerson", NS)
    device = entity.find("h:assignedAuthoringDevice", NS)
    structure = _structure(entity.find("h:representedOrganization", NS))
    if not best.extension and structure is None:
        return None
    return Professional(
        id=best.extension,
        family="" if names is None else _text(names.find("h:name/h:family", NS)),
        given="" if names is None else _text(names.find("h:name/h:given", NS)),
        id_root=best.root,
        code=_code(entity.find("h:code", NS)),
        function=function,
        structure=structure,
        device="" if device is None else _device_name(device),
    )


def _device_name(device: Element) -> str:
    names = (_text(device.find(f"h:{part}", NS)) for part in ("manufacturerModelName", "softwareName"))
    return " ".join(name for name in names if name)


def _authors(root: Element) -> Iterator[Professional]:
    for author in root.findall("h:author", NS):
        found = _person(author.find("h:assignedAuthor", NS), _code(author.find("h:functionCode", NS)))
        if found is not None:
            yield found


def _orders(root: Element) -> Iterator[Order]:
    for order in root.findall("h:inFulfillmentOf/h:order", NS):
        placer = next((found for found in _identifiers(order.findall("h:id", NS)) if found.extension), None)
        accession = _identifier(order.find("d:accessionNumber", NS))
        if accession is not None and not accession.extension:
            accession = None
        if placer is not None or accession is not None:
            yield Order(placer, accession)


def _exams(root: Element, orders: tuple[Order, ...]) -> tuple[Exam, ...]:
    """One per StudyInstanceUID. Events of one study are joined; events without one (screening) say nothing here."""
    exams: dict[str, Exam] = {}
    events = root.findall("h:documentationOf/h:serviceEvent", NS)
    _check_number("acts", len(events), MAX_EVENTS)
    for event in events:
        exam = _exam(event)
        for study_uid in dict.fromkeys(_study_uids(event)):
            known = exams.get(study_uid)
            exams[study_uid] = _joined(known, exam) if known else replace(exam, study_uid=study_uid)
            _check_number("studies", len(exams), MAX_EXAMS)
    paired = _paired(len(exams), orders)
    return tuple(replace(exam, order=order) for exam, order in zip(exams.values(), paired, strict=True))


def _check_number(what: str, number: int, most: int) -> None:
    if number > most:
        raise Hl7Error(198, f"expected at most {most} {what} in a report, got {number}", location="OBX^1^5")


def _paired(count: int, orders: tuple[Order, ...]) -> tuple[Order | None, ...]:
    """The order of each exam: the only one, or by rank when there are as many (exam F, cda-report.md § 5.1)."""
    if len(orders) == 1:
        return orders * count
    return orders if len(orders) == count else (None,) * count


def _study_uids(event: Element) -> Iterator[str]:
    """`@root` of each id; an extension may only be the literal `studyInstanceUID` (2019 files)."""
    for element in event.findall("h:id", NS):
        root, extension = _attribute(element, "root"), _attribute(element, "extension")
        if valid_uid(root) and extension in ("", "studyInstanceUID"):
            yield root


def _exam(event: Element) -> Exam:
    """What the event says, whichever study it is about."""
    acts, modalities, regions = _event_codes(event)
    return Exam(
        study_uid="",
        acts=acts,
        modalities=modalities,
        regions=regions,
        start=_value(event.find("h:effectiveTime/h:low", NS)) or _value(event.find("h:effectiveTime", NS)),
        stop=_value(event.find("h:effectiveTime/h:high", NS)),
        performer=_person(event.find("h:performer/h:assignedEntity", NS)),
    )


def _event_codes(event: Element) -> tuple[tuple[Code, ...], tuple[Code, ...], tuple[Code, ...]]:
    """Acts, modalities and regions. Files of 2019 write the region as the act, in the OID of the CCAM."""
    acts: list[Code] = []
    modalities: list[Code] = []
    regions: list[Code] = []
    elements = (*event.findall("h:code", NS), *event.findall("h:code/h:translation", NS))
    _check_number("codes of an act", len(elements), MAX_CODES)
    for element in elements:
        code = _code(element)
        if code is None:
            continue
        qualifier = _attribute(element.find("h:qualifier/h:name", NS), "code")
        if qualifier == MODALITY_QUALIFIER:
            modalities.append(code)
        elif qualifier == REGION_QUALIFIER or (code.system in CCAM and code.code.isdigit()):
            regions.append(code)
        elif not qualifier:
            acts.append(code)
    return tuple(acts), tuple(modalities), tuple(regions)


def _joined(one: Exam, other: Exam) -> Exam:
    return replace(
        one,
        acts=tuple(dict.fromkeys(one.acts + other.acts)),
        modalities=tuple(dict.fromkeys(one.modalities + other.modalities)),
        regions=tuple(dict.fromkeys(one.regions + other.regions)),
        start=one.start or other.start,
        stop=other.stop or one.stop,
        performer=one.performer or other.performer,
    )


def _practice_setting(report: Report) -> Code | None:
    people = (*(exam.performer for exam in report.exams), *report.authors, report.legal_authenticator)
    for person in people:
        if person is not None and person.structure is not None and person.structure.practice_setting is not None:
            return person.structure.practice_setting
    return None
