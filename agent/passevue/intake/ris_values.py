"""What a message of the RIS says, as values: who, which document, what is asked, under which visibility."""

from dataclasses import dataclass
from enum import StrEnum

from passevue.intake.received import Kind


class Demand(StrEnum):
    """What the message asks for (hl7v2.md § 4)."""

    NEW = "new"  # NW, F, T02
    REPLACE = "replace"  # RO, C, T10
    VISIBILITY = "visibility"  # as a replacement, with MODIF_CONF_CODE
    DELETE = "delete"  # CA, D, T04
    IMAGES_CHANGED = "images-changed"  # OMI^O23
    IMAGES_REMOVED = "images-removed"  # OMI^O23 with ORC-1 CA: a hint only, the PACS decides


@dataclass(frozen=True, slots=True)
class Participant:
    """The `SB` PRT: who asks for the publication, and for which structure (hl7v2.md § 3.8)."""

    person_id: str  # PRT-5.1
    family: str  # PRT-5.2
    given: str  # PRT-5.3
    person_id_type: str  # PRT-5.13, RPPS or IDNPS
    structure_id: str  # PRT-8.10
    structure_name: str  # PRT-8.1
    structure_id_type: str  # PRT-8.7, FINEJ, FINEG or IDNST
    device_id: str = ""  # PRT-10.1, when a device is the author instead of a person


@dataclass(frozen=True, slots=True)
class Visibility:
    """The three flags of the document; a missing one is `False` (hl7v2.md § 3.9)."""

    masque_ps: bool = False
    invisible_patient: bool = False
    invisible_representants_legaux: bool = False


@dataclass(frozen=True, slots=True)
class RisMessage:
    """One message of the RIS, checked by itself; whether it agrees with its CDA is for `document.request`.

    Attributes:
        control_id: MSH-10.
        sender: `MSH-3|MSH-4`.
        ins: matricule and OID of PID-3; None only when nothing is to be published (DESTDMP) or in an OMI.
        ipp: the `PI` identifiers of PID-3 that carry an OID: value and OID.
        birth_name: PID-5.1 of the repetition of type L; birth_given its PID-5.2.
        birth_date: PID-7 as it came; may be partial, as INS dates may be. Empty only in an OMI.
        sex: PID-8: F, M or U. Empty only in an OMI.
        identity_reliability: PID-32; `VALI` only if it says nothing else.
        patient_class: PV1-2: I, O, E, R or N. Empty only in an OMI.
        cda: the document's bytes, decoded from base64; empty in an OMI.
        document_id: TXA-12 as `root` or `root^extension`; empty in an ORU. replaced_document_id is TXA-13.
        more_cdas: further documents of an ORU (the same report at another CDA level).
        accession_number, study_uid: IPC-1 and IPC-3; empty but in an OMI.
    """

    kind: Kind
    demand: Demand
    control_id: str
    sender: str
    ins: tuple[str, str] | None
    ipp: tuple[tuple[str, str], ...]
    birth_name: str
    birth_given: str
    birth_date: str
    sex: str
    identity_reliability: str
    patient_class: str
    cda: bytes = b""
    document_id: str = ""
    replaced_document_id: str = ""
    participant: Participant | None = None
    visibility: Visibility = Visibility()
    secret_connection: bool = False
    for_dmp: bool = True
    accession_number: str = ""
    study_uid: str = ""
    more_cdas: tuple[bytes, ...] = ()
