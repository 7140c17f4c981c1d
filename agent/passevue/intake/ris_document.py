"""OBX, PRT and TXA: the document of a report message, who asks for its publication, and how it may be seen.

The document is the OBX whose OBX-2 is `ED` and OBX-5.3 `XML`; its payload stays bytes and is not looked into beyond its
first sign (hl7v2.md § 3.7). Flags are read by code, never by position or label (§ 3.9).
"""

import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pybase64

from passevue.errors import Hl7Error
from passevue.intake.hl7 import Message, Segment
from passevue.intake.ris_identity import valid_oid
from passevue.intake.ris_values import Participant, Visibility

REPORT_CODE = "18748-4"  # LOINC, "CR d'imagerie médicale": the only document of the DRIMbox
STATUSES = frozenset("FCD")
# OBX-3.1 and its older spellings (hl7v2.md § 3.9).
FLAGS = {
    "MASQUE_PS": "masque_ps",
    "INVISIBLE_PATIENT": "invisible_patient",
    "INVISIBLE_REP_LEGAUX": "invisible_representants_legaux",
    "INVISIBLE_REPRESENTANTS_LEGAUX": "invisible_representants_legaux",
    "INVISIBLE_REPRENSANTS_LEGAUX": "invisible_representants_legaux",
    "CONNEXION_SECRETE": "secret_connection",
    "MODIF_CONF_CODE": "modif_conf_code",
    "MODIF_CONFIDENTIALITYCODE": "modif_conf_code",
    "DESTDMP": "for_dmp",
}
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_XML_STARTS = (b"<", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_BLANKS = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Document:
    """The document OBX: its payload, OBX-11, and the PRT that follow it."""

    obx: Segment
    cda: bytes
    status: str
    participants: tuple[Segment, ...]


def read_documents(message: Message) -> list[Document]:
    """The documents of the message, the first one first.

    Raises:
        Hl7Error: 100 there is none; 101 to 103 it is not a report in XML in base64, or OBX-11 is of no table.
    """
    found: list[tuple[Segment, list[bytes], list[Segment]]] = []
    owner: list[Segment] | None = None
    for segment in message.segments:
        if segment.name == "OBX":
            data, owner = _encapsulated(segment), None
            if data is not None and data[2].strip().upper() == b"XML":
                owner = []
                found.append((segment, data, owner))
        elif segment.name == "PRT" and owner is not None:
            owner.append(segment)
    if not found:
        raise _why_no_document(message)
    return [_read_document(obx, data, prts) for obx, data, prts in found]


def _encapsulated(obx: Segment) -> list[bytes] | None:
    """The five components of an ED in OBX-5, None when OBX-2 says something else."""
    if obx.field(2).strip() != b"ED":
        return None
    return [*obx.components(5), b"", b"", b"", b"", b""][:5]


def _why_no_document(message: Message) -> Hl7Error:
    for obx in message.all("OBX"):
        if obx.field(2).strip() == b"ED" and obx.text(3) == REPORT_CODE:
            return Hl7Error(102, "Expected a document of type XML in OBX-5.3", location=obx.location(5))
    return Hl7Error(100, "Expected an OBX with a document instead got none", location="OBX")


def _read_document(obx: Segment, data: Sequence[bytes], participants: Sequence[Segment]) -> Document:
    code, status = obx.text(3), obx.text(11)
    if code != REPORT_CODE:
        raise Hl7Error(103 if code else 101, f"Expected the document {REPORT_CODE}", location=obx.location(3))
    if status not in STATUSES:
        raise Hl7Error(103 if status else 101, "Expected F, C or D in OBX-11", location=obx.location(11))
    return Document(obx, _payload(data, obx.location(5)), status, tuple(participants))


def _payload(data: Sequence[bytes], where: str) -> bytes:
    if data[3].strip().upper() != b"BASE64":
        raise Hl7Error(102, "Expected Base64 in OBX-5.4", location=where)
    if not data[4]:
        raise Hl7Error(101, "Expected a document in OBX-5.5 instead got none", location=where)
    cda = _from_base64(data[4], where)
    if not cda[:256].lstrip(_BLANKS).startswith(_XML_STARTS):  # by content, whatever OBX-5.3 says (N-04)
        raise Hl7Error(102, "Expected an XML document in OBX-5.5", location=where)
    return cda


def _from_base64(encoded: bytes, where: str) -> bytes:
    """Strictly decoded; blanks and ends of line, with which some encoders wrap, are left out first."""
    try:
        return pybase64.b64decode(encoded, validate=True)  # ten times as fast as binascii
    except binascii.Error:
        pass
    try:
        return pybase64.b64decode(encoded.translate(None, _BLANKS), validate=True)
    except binascii.Error as err:
        raise Hl7Error(102, f"Expected base64 in OBX-5.5: {err}", location=where) from err


def read_flags(message: Message) -> Mapping[str, bool]:
    """The flags of the metadata OBX, by the names of `FLAGS`' values; a missing one is False.

    Raises:
        Hl7Error: 103 a value is neither Y nor N; 198 the same flag says both.
    """
    flags: dict[str, bool] = {}
    for obx in message.all("OBX"):
        if obx.field(2).strip() == b"ED":
            continue
        name = FLAGS.get(obx.text(3, 1).upper())
        if name is None:
            continue
        value = obx.text(5, 1)
        if value not in {"Y", "N"}:
            raise Hl7Error(103, "Expected Y or N", location=obx.location(5))
        if flags.setdefault(name, value == "Y") != (value == "Y"):
            raise Hl7Error(198, "Expected one value of a flag instead got both", location=obx.location(5))
    return {name: flags.get(name, False) for name in FLAGS.values()}


def visibility_of(flags: Mapping[str, bool]) -> Visibility:
    return Visibility(
        masque_ps=flags["masque_ps"],
        invisible_patient=flags["invisible_patient"],
        invisible_representants_legaux=flags["invisible_representants_legaux"],
    )


def read_participant(document: Document, *, required: bool) -> Participant | None:
    """The `SB` PRT of the document. `required`: the document goes to the DMP.

    Raises:
        Hl7Error: 100 there is none; 198 there are two that differ; 101 it names nobody, or no structure.
    """
    senders = {prt.raw: prt for prt in document.participants if prt.text(4, 1) == "SB"}
    if len(senders) > 1:
        raise Hl7Error(198, "Expected one PRT of role SB", location="PRT")
    if not senders:
        if required:
            raise Hl7Error(100, "Expected a PRT of role SB after the document", location="PRT")
        return None
    (prt,) = senders.values()
    participant = Participant(
        person_id=prt.text(5, 1),
        family=prt.text(5, 2),
        given=prt.text(5, 3),
        person_id_type=prt.text(5, 13),
        structure_id=prt.text(8, 10),
        structure_name=prt.text(8, 1),
        structure_id_type=prt.text(8, 7),
        device_id=prt.text(10, 1),
    )
    if required:
        _check_participant(participant, prt)
    return participant


def _check_participant(participant: Participant, prt: Segment) -> None:
    """SC.DMP/CONF.12: the professional or device that asked, and the structure."""
    if not (participant.person_id or participant.device_id):
        raise Hl7Error(101, "Expected the id of a professional or device", location=prt.location(5))
    if not participant.structure_id:
        raise Hl7Error(101, "Expected the id of the structure", location=prt.location(8))


def read_document_id(txa: Segment, number: int) -> str:
    """TXA-12 or TXA-13 as `root` or `root^extension`; empty when the field is.

    `1.2.3` and `extension^^1.2.3^ISO` are the two forms (hl7v2.md § 3.6); what samples put in component 2 is left out.

    Raises:
        Hl7Error: 102, neither an OID nor a UUID.
    """
    first, root = txa.text(number, 1), txa.text(number, 3)
    if not first and not root:
        return ""
    identifier = (root, first) if root else (first, "")
    if not (valid_oid(identifier[0]) or _UUID.fullmatch(identifier[0])):
        raise Hl7Error(102, "Expected the OID of a document", location=txa.location(number))
    return "^".join(filter(None, identifier))
