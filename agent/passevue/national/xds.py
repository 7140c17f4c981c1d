"""Bodies of the DMP's requests and what its answers hold: ITI-41, ITI-57, ITI-18 GetDocuments, TD0.2. Values and text.

The metadata of a submission come from `document.submission_set`, frozen; here they are put into their message, and the
one thing that is not frozen, the entryUUID of a target, is filled in (Q-04).
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from lxml import etree

from passevue.document.xml import parse
from passevue.errors import Refused, Unreadable
from passevue.national.soap import Element, include, without_declaration
from passevue.national.xmldsig import escape_attribute, escape_text
from passevue.queue.work import ENTRY_UUID_PLACEHOLDER

RIM = "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"
RS = "urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0"
LCM = "urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0"
QUERY = "urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0"
XDSB = "urn:ihe:iti:xds-b:2007"
HL7 = "urn:hl7-org:v3"

PROVIDE_AND_REGISTER = "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b"
STORED_QUERY = "urn:ihe:iti:2007:RegistryStoredQuery"
UPDATE = "urn:ihe:iti:2010:UpdateDocumentSet"
PATIENT_STATUS = "urn:hl7-org:v3:PRPA_IN201307UV02"
ANSWER_ACTIONS = {
    PROVIDE_AND_REGISTER: (f"{PROVIDE_AND_REGISTER}Response",),
    STORED_QUERY: (f"{STORED_QUERY}Response",),
    UPDATE: (f"{UPDATE}-Response", f"{UPDATE}Response"),  # the DMP's form, and that of IHE's WSDL
    PATIENT_STATUS: ("urn:hl7-org:v3:PRPA_IN201308UV02",),
}

GET_DOCUMENTS = "urn:uuid:5c4f972b-d56b-40ac-a5fc-c8ca9b40b9d4"
DOCUMENT_ID = "DocumentKOS"
SIGNATURE_ID = "Signature01"
DMP_DEVICE = "1.2.250.1.213.4.1.1.1"

_STATUS = f"{{{HL7}}}statusCode"
_ENTRY_UUID = re.compile(r"urn:uuid:[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


class EntryStatus(StrEnum):
    """availabilityStatus of a DocumentEntry (dmp-xds.md § 6)."""

    APPROVED = "urn:oasis:names:tc:ebxml-regrep:StatusType:Approved"
    DEPRECATED = "urn:oasis:names:tc:ebxml-regrep:StatusType:Deprecated"
    ARCHIVED = "urn:asip:ci-sis:2010:StatusType:Archived"
    DELETED = "urn:asip:ci-sis:2010:StatusType:Deleted"


class ReturnType(StrEnum):
    """What a query answers. In INDIRECTE mode only references are allowed (dmp-xds.md § 1.2)."""

    OBJECT_REF = "ObjectRef"
    LEAF_CLASS = "LeafClass"


@dataclass(frozen=True, slots=True)
class Found:
    """A document that the registry knows.

    Attributes:
        entry_uuid: of this version; goes to RPLC and to ITI-57, never to a retrieve.
        others: entryUUIDs of other versions of the same uniqueId, when the registry answered several.
        status, hash, size, repository_unique_id: known from LeafClass only.
    """

    entry_uuid: str
    others: tuple[str, ...] = ()
    status: EntryStatus | None = None
    hash: str = ""
    size: int | None = None
    repository_unique_id: str = ""


@dataclass(frozen=True, slots=True)
class PatientStatus:
    """TD0.2: `exists` a DMP for this INS, `active` it is open; `authorisation` is the DMP's own word (`VALIDE`)."""

    exists: bool
    active: bool
    authorisation: str = ""


def fill_entry_uuid(metadata: bytes, entry_uuid: str | None) -> bytes:
    """`metadata` with the placeholder replaced.

    Raises:
        Refused: it needs one and there is none, or what the registry gave is no entryUUID.
    """
    if ENTRY_UUID_PLACEHOLDER.encode() not in metadata:
        return metadata
    if entry_uuid is None or not _ENTRY_UUID.fullmatch(entry_uuid):
        raise Refused(
            "TargetUnknown",
            "expected the entryUUID of the document to replace or withdraw",
            hint="Le document à remplacer ou à retirer est introuvable dans le DMP.",
        )
    return metadata.replace(ENTRY_UUID_PLACEHOLDER.encode(), entry_uuid.encode())


def provide_and_register(metadata: bytes) -> bytes:
    """ITI-41 body; its documents are the attachments `0.2` (KOS) and `0.3` (signature), as in the ANS sample."""
    documents = "".join(
        f'<xdsb:Document id="{name}">{include(content_id)}</xdsb:Document>'
        for name, content_id in ((DOCUMENT_ID, "0.2"), (SIGNATURE_ID, "0.3"))
    )
    return b"".join(
        (
            f'<xdsb:ProvideAndRegisterDocumentSetRequest xmlns:xdsb="{XDSB}">'.encode(),
            without_declaration(metadata),
            documents.encode(),
            b"</xdsb:ProvideAndRegisterDocumentSetRequest>",
        )
    )


def with_original_status(metadata: bytes, status: EntryStatus) -> bytes:
    """ITI-57 metadata whose OriginalStatus is the true current one (dmp-xds.md § 6); unchanged when it is already."""
    root = parse(metadata)
    values = root.findall(f".//{{{RIM}}}Slot[@name='OriginalStatus']/{{{RIM}}}ValueList/{{{RIM}}}Value")
    if len(values) != 1:
        raise Refused("OriginalStatus", f"expected one OriginalStatus in the withdrawal, got {len(values)}")
    if values[0].text == status:
        return metadata
    values[0].text = status.value
    changed: bytes = etree.tostring(root, encoding="UTF-8")
    return changed


def get_documents(unique_id: str, returns: ReturnType) -> bytes:
    """ITI-18 GetDocuments by uniqueId (TD3.1b); a list of one, quotes doubled (dmp-xds.md § 7)."""
    value = escape_text("('" + unique_id.replace("'", "''") + "')")
    return (
        f'<query:AdhocQueryRequest xmlns:query="{QUERY}" xmlns:rim="{RIM}">'
        f'<query:ResponseOption returnComposedObjects="true" returnType="{returns}"/>'
        f'<rim:AdhocQuery id="{GET_DOCUMENTS}"><rim:Slot name="$XDSDocumentEntryUniqueId"><rim:ValueList>'
        f"<rim:Value>{value}</rim:Value></rim:ValueList></rim:Slot></rim:AdhocQuery></query:AdhocQueryRequest>"
    ).encode()


def read_found(payload: Element) -> Found | None:
    """What a GetDocuments answer holds; None when it is empty. An Approved version goes before the others.

    Raises:
        Unreadable: an object without entryUUID, or an unknown status.
    """
    objects = payload.find(f"{{{RIM}}}RegistryObjectList")
    if objects is None:
        return None
    found = [_read_entry(entry) for entry in objects.iterfind(f"{{{RIM}}}ExtrinsicObject")]
    found += [Found(_entry_uuid(reference)) for reference in objects.iterfind(f"{{{RIM}}}ObjectRef")]
    if not found:
        return None
    best = next((one for one in found if one.status is EntryStatus.APPROVED), found[0])
    others = tuple(dict.fromkeys(one.entry_uuid for one in found if one.entry_uuid != best.entry_uuid))
    return Found(best.entry_uuid, others, best.status, best.hash, best.size, best.repository_unique_id)


def _read_entry(entry: Element) -> Found:
    try:
        status = EntryStatus(entry.get("status", ""))
        size = int(_slot(entry, "size") or -1)
    except ValueError as err:
        raise Unreadable("expected a known status and a size in a DocumentEntry") from err
    return Found(
        _entry_uuid(entry),
        status=status,
        hash=_slot(entry, "hash").lower(),
        size=size if size >= 0 else None,
        repository_unique_id=_slot(entry, "repositoryUniqueId"),
    )


def _entry_uuid(entry: Element) -> str:
    identifier: str = entry.get("id", "")
    if not _ENTRY_UUID.fullmatch(identifier):
        raise Unreadable("expected an entryUUID urn:uuid:…")
    return identifier


def _slot(entry: Element, name: str) -> str:
    text: str = entry.findtext(f"{{{RIM}}}Slot[@name='{name}']/{{{RIM}}}ValueList/{{{RIM}}}Value", "")
    return text.strip()


def patient_status(message_id: str, ins: tuple[str, str], sender: str, now: datetime) -> bytes:
    """TD0.2, PRPA_IN201307UV02 (dmp-xds.md § 9). `ins` is (matricule, OID), `sender` the OID of this box."""
    value, oid = (escape_attribute(part) for part in ins)
    box = escape_attribute(sender)
    return (
        f'<PRPA_IN201307UV02 xmlns="{HL7}" ITSVersion="XML_1.0"><id root="{escape_attribute(message_id)}"/>'
        f'<creationTime value="{now:%Y%m%d%H%M%S}"/>'
        '<interactionId root="2.16.840.1.113883.1.6" extension="PRPA_IN201307UV02"/><processingCode code="P"/>'
        '<processingModeCode code="T"/><acceptAckCode code="AL"/>'
        f'<receiver typeCode="RCV"><device classCode="DEV" determinerCode="INSTANCE"><id root="{DMP_DEVICE}"/>'
        "<name>DMP</name></device></receiver>"
        f'<sender typeCode="SND"><device classCode="DEV" determinerCode="INSTANCE"><id root="{box}"/></device></sender>'
        '<controlActProcess classCode="CACT" moodCode="EVN"><code code="PRPA_TE201307UV02"/>'
        '<reasonCode code="TEST_EXST" codeSystem="1.2.250.1.213.1.1.4.11"/>'
        f'<queryByParameter><queryId root="{box}" extension="{escape_attribute(message_id)}"/>'
        '<statusCode code="new"/><parameterList>'
        f'<patientIdentifier><value root="{oid}" extension="{value}"/>'
        "<semanticsText>Patient.id</semanticsText></patientIdentifier>"
        "</parameterList></queryByParameter></controlActProcess></PRPA_IN201307UV02>"
    ).encode()


def read_patient_status(payload: Element) -> PatientStatus:
    """PRPA_IN201308UV02. Identity traits in it are not read: they must not be displayed.

    Raises:
        Unreadable: not that answer, or the DMP could not take the question.
    """
    acknowledged = _code(payload, "acknowledgement", "typeCode")
    response = _code(payload, "controlActProcess/queryAck/queryResponseCode", "code")
    if acknowledged != "AA" or response not in ("OK", "NF"):
        raise Unreadable("TD0.2: expected an accepted answer, OK or NF")
    statuses = {one.get("code") for patient in payload.iter(f"{{{HL7}}}patient") for one in patient.iterfind(_STATUS)}
    active = response == "OK" and statuses == {"active"}
    return PatientStatus(response == "OK", active, _attention(payload, "AUTORISATION"))


def _code(payload: Element, path: str, attribute: str) -> str:
    found = payload.find("/".join(f"{{{HL7}}}{step}" for step in path.split("/")))
    return found.get(attribute, "") if found is not None else ""


def _attention(payload: Element, key_word: str) -> str:
    for line in payload.iter(f"{{{HL7}}}attentionLine"):
        word = line.find(f"{{{HL7}}}keyWordText")
        value = line.find(f"{{{HL7}}}value")
        if word is not None and word.get("code") == key_word and value is not None:
            return str(value.get("code") or value.get("value") or "".join(value.itertext()))
    return ""
