"""The rules of ORU^R01, MDM^T02/T04/T10 and OMI^O23: from bytes to a `RisMessage`, or to the error to answer.

Pure: the same bytes give the same value, at intake and again when the queue's turn comes. What a message says by itself
is checked here; whether it agrees with the CDA inside is not (`document.request`).

Choices where the pages leave room:

- Type, event, version and processing id that are not ours get `AE` as the volet's own example does (sending the same
  again is useless), where reliability § 5 says `AR`.
- PID-3 without an INS is refused only when the report is for the DMP: otherwise nothing will be published of it.
- A flag that is missing is N, DESTDMP included: nothing goes out that was not asked for.
- Fields required by the volet that the box never reads (PV1-19, OBR-16…) are not asked for: the ANS's own samples
  leave them empty.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from passevue.errors import Hl7Error
from passevue.intake.ack import echo
from passevue.intake.hl7 import Message, Segment, parse
from passevue.intake.received import Kind
from passevue.intake.ris_document import (
    REPORT_CODE,
    Document,
    read_document_id,
    read_documents,
    read_flags,
    read_participant,
    visibility_of,
)
from passevue.intake.ris_identity import Identity, read_identity, valid_oid
from passevue.intake.ris_values import Demand, RisMessage

MAX_CONTROL_ID = 199  # MSH-10 has 20 characters in 2.5 and 199 from 2.7 on
PROCESSING_IDS = frozenset("PTD")
PROFILE = "CISIS_CDA_HL7_V2"

# MSH-9.1: version (MSH-12), events (MSH-9.2), and the segments that must be there, in this order (hl7v2.md § 1.1).
# Those marked once only stand once; other segments, known to the box or not, are passed over.


@dataclass(frozen=True, slots=True)
class _Shape:
    version: str
    events: frozenset[str]
    required: tuple[str, ...]
    once: frozenset[str]


_SHAPES = {
    "ORU": _Shape(
        "2.5", frozenset({"R01"}), ("MSH", "PID", "PV1", "ORC", "OBR", "OBX"), frozenset({"MSH", "PID", "PV1"})
    ),
    "MDM": _Shape(
        "2.6",
        frozenset({"T02", "T04", "T10"}),
        ("MSH", "EVN", "PID", "PV1", "ORC", "OBR", "TXA", "OBX"),
        frozenset({"MSH", "EVN", "PID", "PV1", "ORC", "OBR", "TXA"}),
    ),
    "OMI": _Shape(
        "2.5.1", frozenset({"O23"}), ("MSH", "PID", "PV1", "ORC", "OBR", "IPC"), frozenset({"MSH", "PID", "PV1"})
    ),
}
# ORC-1, OBX-11 of the document, and the event of an MDM (hl7v2.md § 4).
_DEMANDS = {("NW", "F"): Demand.NEW, ("RO", "C"): Demand.REPLACE, ("CA", "D"): Demand.DELETE}
_EVENTS = {Demand.NEW: "T02", Demand.REPLACE: "T10", Demand.DELETE: "T04"}
ORDER_CONTROLS = frozenset({"NW", "RO", "CA"})


def read_ris_message(raw: bytes) -> RisMessage:
    """What the message asks for.

    Raises:
        Unreadable: no MSH.
        Hl7Error: with the code, location and text to answer.
    """
    message = parse(raw)
    kind, event = _check_header(message.msh)
    _check_structure(message, _SHAPES[kind])
    return _exam_changed(message) if kind == "OMI" else _report(message, kind, event)


def sender_of(msh: Segment) -> str:
    return f"{echo(msh, 3)}|{echo(msh, 4)}"


def _check_header(msh: Segment) -> tuple[str, str]:
    kind, event = msh.text(9, 1), msh.text(9, 2)
    shape = _SHAPES.get(kind)
    if shape is None:
        raise Hl7Error(200, f"Expected one of {', '.join(_SHAPES)} instead got {_shown(kind)}", location="MSH^1^9")
    if event not in shape.events:
        expected = ", ".join(sorted(shape.events))
        raise Hl7Error(201, f"Expected {kind} event {expected} instead got {_shown(event)}", location="MSH^1^9")
    control_id = msh.text(10)
    if not control_id:
        raise Hl7Error(101, "Expected a message control id instead got none", location="MSH^1^10")
    if len(msh.field(10)) > MAX_CONTROL_ID:
        raise Hl7Error(102, f"Expected a control id of at most {MAX_CONTROL_ID} characters", location="MSH^1^10")
    if (processing := msh.text(11)) not in PROCESSING_IDS:
        raise Hl7Error(202, f"Expected P, T or D instead got {_shown(processing)}", location="MSH^1^11")
    if (version := msh.text(12)) != shape.version:
        raise Hl7Error(203, f"Expected {kind} in {shape.version} instead got {_shown(version)}", location="MSH^1^12")
    _check_profile(msh)
    return kind, event


def _check_profile(msh: Segment) -> None:
    """MSH-21: version 2 of the volet; another profile, or none, is not our business."""
    for profile in msh.repetitions(21):
        if msh.text(21, 2, of=profile) == PROFILE and msh.text(21, 1, of=profile).partition(".")[0] != "2":
            raise Hl7Error(203, f"Expected version 2 of {PROFILE}", location="MSH^1^21")


def _check_structure(message: Message, shape: _Shape) -> None:
    names = message.names
    after = -1
    for name in shape.required:
        if name not in names:
            raise Hl7Error(100, f"Expected a segment {name} instead got none", location=name)
        if name in shape.once and names.count(name) > 1:
            raise Hl7Error(198, f"Expected one segment {name} instead got {names.count(name)}", location=f"{name}^2")
        place = names.index(name)
        if place < after:
            raise Hl7Error(100, f"Expected {name} after the segments before it", location=f"{name}^1")
        after = place


def _report(message: Message, kind: str, event: str) -> RisMessage:
    identity = read_identity(message, strict=True)
    documents = read_documents(message)
    document = documents[0]
    _check_cardinality(documents, kind)
    orc, obr = _order_of(message, document)
    demand = _demand(orc, document, event if kind == "MDM" else "")
    _check_type(obr, document)
    flags = read_flags(message)
    if flags["for_dmp"] and identity.ins is None:
        raise Hl7Error(101, "Expected an INS in PID-3 instead got none", location="PID^1^3")
    if demand is Demand.REPLACE and flags["modif_conf_code"]:
        demand = Demand.VISIBILITY
    document_id, replaced = _document_ids(message, event) if kind == "MDM" else ("", "")
    return replace(
        _without_content(message, identity, Kind.REPORT, demand),
        cda=document.cda,
        more_cdas=tuple(other.cda for other in documents[1:]),
        document_id=document_id,
        replaced_document_id=replaced,
        participant=read_participant(document, required=flags["for_dmp"]),
        visibility=visibility_of(flags),
        secret_connection=flags["secret_connection"],
        for_dmp=flags["for_dmp"],
    )


def _check_cardinality(documents: Sequence[Document], kind: str) -> None:
    """An MDM holds one document; an ORU may hold the same report at CDA levels 1 and 3, with the same demand."""
    if len(documents) > (1 if kind == "MDM" else 2):
        raise Hl7Error(198, f"Expected one document instead got {len(documents)}", location="OBX^2")
    if len({document.status for document in documents}) > 1:
        raise Hl7Error(207, "Expected one OBX-11 for all documents", location="OBX^2^11", application_code=906)


def _order_of(message: Message, document: Document) -> tuple[Segment, Segment]:
    """The ORC and OBR under which the document stands: the last of each before it."""
    last: dict[str, Segment] = {}
    for segment in message.segments:
        if segment is document.obx:
            break
        last[segment.name] = segment
    missing = next((name for name in ("ORC", "OBR") if name not in last), None)
    if missing:
        raise Hl7Error(100, f"Expected a segment {missing} before the document", location=missing)
    return last["ORC"], last["OBR"]


def _demand(orc: Segment, document: Document, event: str) -> Demand:
    """The three signals must agree; an incoherent message is rejected (hl7v2.md § 4)."""
    control = orc.text(1)
    if not control:
        raise Hl7Error(101, "Expected NW, RO or CA in ORC-1 instead got none", location=orc.location(1))
    demand = _DEMANDS.get((control, document.status))
    if demand is None or (event and _EVENTS[demand] != event):
        if control not in ORDER_CONTROLS:
            raise Hl7Error(103, f"Expected NW, RO or CA instead got {_shown(control)}", location=orc.location(1))
        said = f"ORC-1 {control}, OBX-11 {document.status}" + (f", event {event}" if event else "")
        raise Hl7Error(
            207, f"Expected signals that agree instead got {said}", location=orc.location(1), application_code=906
        )
    return demand


def _check_type(obr: Segment, document: Document) -> None:
    """OBR-4 is the type of the document; OBX-3 was found to be that of a report."""
    code = obr.text(4)
    if not code:
        raise Hl7Error(101, "Expected a document type instead got none", location=obr.location(4))
    if code != REPORT_CODE:
        raise Hl7Error(103, f"Expected {REPORT_CODE} as in {document.obx.location(3)}", location=obr.location(4))


def _document_ids(message: Message, event: str) -> tuple[str, str]:
    txa = message.only("TXA")
    if (kind := txa.text(2)) and kind != REPORT_CODE:
        raise Hl7Error(103, f"Expected {REPORT_CODE}", location=txa.location(2))
    document_id, replaced = read_document_id(txa, 12), read_document_id(txa, 13)
    if not document_id:
        raise Hl7Error(101, "Expected the id of the document instead got none", location=txa.location(12))
    if event == "T10" and not replaced:
        raise Hl7Error(101, "Expected the id of the replaced document instead got none", location=txa.location(13))
    return document_id, replaced


def _exam_changed(message: Message) -> RisMessage:
    identity = read_identity(message, strict=False)
    orcs, ipcs = message.all("ORC"), message.all("IPC")
    studies = {ipc.text(3): ipc for ipc in ipcs}
    if "" in studies:
        raise Hl7Error(101, "Expected a StudyInstanceUID instead got none", location=studies[""].location(3))
    if len(studies) > 1:
        raise Hl7Error(198, f"Expected one study instead got {len(studies)}", location="IPC^2^3")
    study_uid, ipc = studies.popitem()
    if not valid_oid(study_uid):
        raise Hl7Error(102, "Expected a StudyInstanceUID", location=ipc.location(3))
    removed = all(orc.text(1) == "CA" for orc in orcs)
    return replace(
        _without_content(
            message, identity, Kind.EXAM_CHANGED, Demand.IMAGES_REMOVED if removed else Demand.IMAGES_CHANGED
        ),
        accession_number=ipcs[0].text(1),
        study_uid=study_uid,
    )


def _without_content(message: Message, identity: Identity, kind: Kind, demand: Demand) -> RisMessage:
    """Who speaks, of whom, asking what."""
    return RisMessage(
        kind=kind,
        demand=demand,
        control_id=echo(message.msh, 10),
        sender=sender_of(message.msh),
        ins=identity.ins,
        ipp=identity.ipp,
        birth_name=identity.birth_name,
        birth_given=identity.birth_given,
        birth_date=identity.birth_date,
        sex=identity.sex,
        identity_reliability=identity.identity_reliability,
        patient_class=identity.patient_class,
    )


def _shown(value: str) -> str:
    """A code of a header field in a message: short, printable; such fields hold no identity."""
    return f"{value[:12]!a}"
