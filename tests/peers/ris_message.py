"""The HL7 v2 messages of a RIS, built from nothing: ORU^R01, MDM^T02/T10/T04 and OMI^O23 (hl7v2.md §§ 1.1, 3, 7).

Bytes out. Each builder takes what a test may want to get wrong (`orc_1`, `obx_11`, `event`, `version`, `charset`, …);
left alone, they make coherent messages as the samples of the ANS show them.
"""

import base64
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from tests.peers.ris_report import Doctor, Exam, Person, Site

DOCUMENT = "18748-4^CR d'imagerie médicale^LN"
VISIBLE = {"MASQUE_PS": "N", "INVISIBLE_PATIENT": "N", "INVISIBLE_REP_LEGAUX": "N"}
CODECS = {"UNICODE UTF-8": "utf-8", "": "utf-8", "8859/15": "iso8859-15", "8859/1": "latin-1"}
_numbers = itertools.count(1)


class Ask(StrEnum):
    """What the message asks for."""

    NEW = "new"
    REPLACE = "replace"
    VISIBILITY = "visibility"
    DELETE = "delete"


# ORC-1, OBX-11, MDM event, MODIF_CONF_CODE (hl7v2.md § 4)
_SIGNALS = {
    Ask.NEW: ("NW", "F", "T02", "N"),
    Ask.REPLACE: ("RO", "C", "T10", "N"),
    Ask.VISIBILITY: ("RO", "C", "T10", "Y"),
    Ask.DELETE: ("CA", "D", "T04", "N"),
}


@dataclass(frozen=True)
class Envelope:
    """The MSH: who speaks to whom, in which version and charset. An empty `control_id` gets a new number."""

    application: str = "RIS-ESSAI"
    facility: str = "CENTRE-ESSAI"
    receiving_application: str = "DRIMBOX"
    receiving_facility: str = "CENTRE-ESSAI"
    control_id: str = ""
    processing_id: str = "P"
    version: str = ""
    charset: str = "UNICODE UTF-8"
    accept_ack: str = ""  # MSH-15: AL, NE, ER, SU asks for the enhanced mode
    application_ack: str = ""
    profile: str = "2.1^CISIS_CDA_HL7_V2"
    when: str = ""


@dataclass(frozen=True)
class Details:
    """What a report message says beside the CDA."""

    flags: Mapping[str, str] = field(default_factory=dict)  # OBX-3.1 to Y or N, over the defaults
    patient_class: str = "O"
    reliability: str = "VALI"
    doctor: Doctor = field(default_factory=Doctor)
    site: Site = field(default_factory=Site)
    person_id_type: str = "RPPS"
    structure_id_type: str = "FINEG"
    with_prt: bool = True


def control_id() -> str:
    """A number that this process gives once; with the second of its making no two runs collide."""
    return f"{datetime.now(UTC):%y%m%d%H%M%S}{next(_numbers):08d}"


def oru(
    cda: bytes,
    patient: Person,
    ask: Ask = Ask.NEW,
    *,
    envelope: Envelope = Envelope(),
    details: Details = Details(),
    orc_1: str | None = None,
    obx_11: str | None = None,
    separator: str = "\r",
) -> bytes:
    """ORU^R01 with one document."""
    signal = _SIGNALS[ask]
    lines = [
        _msh("ORU^R01^ORU_R01", envelope, "2.5"),
        _pid(patient, details),
        _pv1(details),
        f"ORC|{signal[0] if orc_1 is None else orc_1}|",
        f"OBR|1|984375862^EntityNAME|09011600123^EntityNAME|{DOCUMENT}||||||||||||||09011600123|||||||F|",
        *_document(cda, signal[1] if obx_11 is None else obx_11, "TEXT", details),
        *_flags("CE", ask, details),
    ]
    return _encoded(lines, envelope, separator)


def mdm(
    cda: bytes,
    patient: Person,
    ask: Ask = Ask.NEW,
    *,
    envelope: Envelope = Envelope(),
    details: Details = Details(),
    event: str | None = None,
    orc_1: str | None = None,
    obx_11: str | None = None,
    txa_12: str | None = None,
    txa_13: str | None = None,
    separator: str = "\r",
) -> bytes:
    """MDM^T02, T10 or T04. TXA-12 and TXA-13 are read off the CDA unless given."""
    signal = _SIGNALS[ask]
    event = signal[2] if event is None else event
    lines = [
        _msh(f"MDM^{event}^MDM_T02", envelope, "2.6"),
        "EVN||20261120113000|||OPERATEUR^ESSAI|20261120113000",
        _pid(patient, details),
        _pv1(details),
        f"ORC|{signal[0] if orc_1 is None else orc_1}|",
        f"OBR|1|||{DOCUMENT}|",
        f"TXA|1|18748-4|TEXT|202611201130||||||||{_own_id(cda) if txa_12 is None else txa_12}"
        f"|{_parent_id(cda) if txa_13 is None else txa_13}||||AU|||||{details.doctor.id}",
        *_document(cda, signal[1] if obx_11 is None else obx_11, "text", details),
        *_flags("CWE", ask, details),
    ]
    return _encoded(lines, envelope, separator)


def omi(
    exam: Exam,
    patient: Person,
    *,
    envelope: Envelope = Envelope(),
    details: Details = Details(),
    orc_1: str = "NW",
    separator: str = "\r",
) -> bytes:
    """OMI^O23: the images of `exam` changed (`NW`), or were all removed (`CA`)."""
    lines = [
        _msh("OMI^O23^OMI_O23", envelope, "2.5.1", profile=""),
        _pid(patient, details),
        _pv1(details),
        f"ORC|{orc_1}|",
        "TQ1|||||||20261120||",
        f"OBR|1|984375862^EntityNAME|09011600123^EntityNAME|{DOCUMENT}",
        "OBX|1|ST|Modification Examen Imagerie||||||||||||||",
        f"IPC|{_text(exam.accession)}|PACS_SOURCE|{_text(exam.study_uid)}|12346789|{exam.modality}||||PACS",
    ]
    return _encoded(lines, envelope, separator)


def _encoded(lines: list[str], envelope: Envelope, separator: str) -> bytes:
    text = separator.join(lines) + separator
    return text.encode(CODECS.get(envelope.charset, "utf-8"), errors="replace")


def _msh(kind: str, envelope: Envelope, version: str, profile: str | None = None) -> str:
    fields = (
        "MSH",
        "^~\\&",
        envelope.application,
        envelope.facility,
        envelope.receiving_application,
        envelope.receiving_facility,
        envelope.when or f"{datetime.now(UTC):%Y%m%d%H%M%S}",
        "",
        kind,
        envelope.control_id or control_id(),
        envelope.processing_id,
        envelope.version or version,
        "",
        "",
        envelope.accept_ack,
        envelope.application_ack,
        "FRA",
        envelope.charset,
        "",
        "",
        envelope.profile if profile is None else profile,
    )
    return "|".join(fields)


def _pid(patient: Person, details: Details) -> str:
    namespace = "ASIP-SANTE-INS-NIA" if patient.ins_oid.endswith(".9") else "ASIP-SANTE-INS-NIR"
    ids = (
        f"{patient.ins}^^^{namespace}&{patient.ins_oid}&ISO^INS^^20101207"
        f"~{_text(patient.ipp)}^^^AUT-AFFECTATION&{patient.ipp_root}&ISO^PI"
    )
    names = f"{_text(patient.family)}^{_text(patient.given)}^{_text(patient.givens)}^^^^L"
    if patient.used_family or patient.used_given:
        names += f"~{_text(patient.used_family or patient.family)}^{_text(patient.used_given or patient.given)}^^^^^D"
    places = f"^^^^^^BDL^^{patient.birth_place}~1 Rue Inventée^^PARIS^^75007^FRA^H"
    fields = {3: ids, 5: names, 7: patient.birth_date, 8: patient.sex, 11: places, 31: "N", 32: details.reliability}
    return "PID|" + "|".join(fields.get(number, "") for number in range(1, 33))


def _pv1(details: Details) -> str:
    return f"PV1|1|{details.patient_class}|UFRADIO||||||||||||||||000897406^^^AUT-AFFECTATION&120456789&M^VN^^20261120"


def _document(cda: bytes, obx_11: str, sub_type: str, details: Details) -> list[str]:
    payload = base64.b64encode(cda).decode()
    lines = [f"OBX|1|ED|{DOCUMENT}||^{sub_type}^XML^Base64^{payload}||||||{obx_11}|"]
    if details.with_prt:
        doctor, site = details.doctor, details.site
        lines.append(
            f"PRT||UC||SB^^participation|{doctor.id}^{_text(doctor.family)}^{_text(doctor.given)}^^^^^^"
            f"ASIP-SANTE- PS&1.2.250.1.71.4.2.1&ISO^D^^^{details.person_id_type}"
            f"|||{_text(site.name)}^^^^^ASIP-SANTE-ST&1.2.250.1.71.4.2.2&ISO^{details.structure_id_type}^^^{site.finess}"
        )
    return lines


def _flags(obx_2: str, ask: Ask, details: Details) -> list[str]:
    values = {
        **VISIBLE,
        "CONNEXION_SECRETE": "N",
        "MODIF_CONF_CODE": _SIGNALS[ask][3],
        "DESTDMP": "Y",
        "DESTMSSANTEPS": "N",
        "DESTMSSANTEPAT": "N",
        "ACK_RECEPTION": "N",
        "ACK_LECTURE_MSS": "N",
        **details.flags,
    }
    return [
        f"OBX|{number}|{obx_2}|{code}^libellé^MetaDMPMSS||{value}^^expandedYes-NoIndicator||||||F|"
        for number, (code, value) in enumerate(values.items(), 2)
    ]


def _text(value: str) -> str:
    """`value` with the separators escaped (HL7 v2 § 2.7.1)."""
    escapes = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}
    return "".join(escapes.get(char, char) for char in value)


def _own_id(cda: bytes) -> str:
    found = re.search(rb'<id root="([^"]+)"/>\s*<code code=', cda)
    return found[1].decode() if found else ""


def _parent_id(cda: bytes) -> str:
    found = re.search(rb'<parentDocument><id root="([^"]+)"', cda)
    return found[1].decode() if found else ""
