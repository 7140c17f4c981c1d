"""The DMP peer's registry in memory, and the rules by which it takes or refuses (dmp-xds.md §§ 5, 6, 10)."""

import hashlib
import uuid
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID
from lxml import etree

from tests.peers.dmp_signed import NotSigned, verify_xades
from tests.peers.dmp_vihf import Vihf, common_name_of, structure_of

RIM = "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"
APPROVED = "urn:oasis:names:tc:ebxml-regrep:StatusType:Approved"
DEPRECATED = "urn:oasis:names:tc:ebxml-regrep:StatusType:Deprecated"
ARCHIVED = "urn:asip:ci-sis:2010:StatusType:Archived"
DELETED = "urn:asip:ci-sis:2010:StatusType:Deleted"
SET_UNIQUE_ID = "urn:uuid:96fdda7c-d067-4183-912e-bf5ee74998a8"
SET_PATIENT = "urn:uuid:6b5aea1a-874d-4603-a4bc-96a0a7b38446"
SET_SOURCE = "urn:uuid:554ac39e-e3fe-47fe-b233-965d2a147832"
SET_AUTHOR = "urn:uuid:a7058bb9-b4e4-4307-ba5b-e3f0ab85e12d"
SET_CONTENT_TYPE = "urn:uuid:aa543740-bdda-424e-8c96-df4873be8500"
SET_NODE = "urn:uuid:a54d6aa5-d40d-43f9-88c5-b4633d873bdd"
UNIQUE_ID = "urn:uuid:2e82c1f6-a085-4c72-9da3-8640a32e42ab"
PATIENT = "urn:uuid:58a6f841-87b3-4a3e-92fd-a8ffeff98427"
CLASS_CODE = "urn:uuid:41a5887f-8865-4c09-adf7-e362475b143a"
NEEDED_CODES = {
    "author": "urn:uuid:93606bcf-9494-43ec-9b4e-a7748d1a838d",
    "classCode": CLASS_CODE,
    "typeCode": "urn:uuid:f0306f51-975f-434e-a61c-c59651d33983",
    "formatCode": "urn:uuid:a09d5840-386c-46f2-b5ad-9c3699a4309d",
    "confidentialityCode": "urn:uuid:f4f85eac-e6cb-4883-b524-f2705394840f",
    "healthcareFacilityTypeCode": "urn:uuid:f33fb8ac-18af-42cc-ae0e-ed0b0bdb91e1",
    "practiceSettingCode": "urn:uuid:cccf5598-8b07-4b77-a05e-ae952c785ead",
}
NEEDED_SLOTS = ("creationTime", "languageCode", "sourcePatientId", "hash", "size")
SIGNATURE_CLASS = "urn:oid:1.3.6.1.4.1.19376.1.2.1.1.1"
HAS_MEMBER = "urn:oasis:names:tc:ebxml-regrep:AssociationType:HasMember"
SIGNS = "urn:ihe:iti:2007:AssociationType:signs"
RPLC = "urn:ihe:iti:2007:AssociationType:RPLC"
UPDATE_STATUS = "urn:ihe:iti:2010:AssociationType:UpdateAvailabilityStatus"
REPOSITORY = "1.2.250.1.213.4.1.1.1.2"


class XdsError(Exception):
    """One RegistryError."""

    def __init__(self, code: str, context: str) -> None:
        super().__init__(f"{code}: {context}")
        self.code = code
        self.context = context


@dataclass
class Document:
    """One DocumentEntry with its content; `metadata` is the ExtrinsicObject as submitted."""

    unique_id: str
    entry_uuid: str
    patient: str
    structure: str
    status: str
    mime_type: str
    sha1: str
    size: int
    content: bytes
    metadata: etree._Element
    replaces: str | None = None


@dataclass(frozen=True)
class Committed:
    """One line of the ledger."""

    unique_id: str
    sha256: str


class MemoryRegistry:
    """`documents` by uniqueId; `committed` is the ledger of KOS, in order, doubles included if there were any."""

    def __init__(self) -> None:
        self.documents: dict[str, Document] = {}
        self.sets: set[str] = set()
        self.committed: list[Committed] = []
        self.withdrawn: list[str] = []

    def by_entry_uuid(self, entry_uuid: str) -> Document | None:
        return next((one for one in self.documents.values() if one.entry_uuid == entry_uuid), None)

    def archive(self, unique_id: str) -> None:
        """The patient, or a professional, puts a document among the old ones (TD3.3d)."""
        self.documents[unique_id].status = ARCHIVED

    # ITI-41

    def submit(self, objects: etree._Element, contents: dict[str, bytes], vihf: Vihf) -> None:
        """Take a whole set or nothing. Raises: XdsError."""
        package = _one(objects, "RegistryPackage")
        set_id, patient = self._check_set(package, vihf)
        entries = {entry.get("id", ""): entry for entry in objects.iterfind(f"{{{RIM}}}ExtrinsicObject")}
        if set(entries) != set(contents):
            missing = "XDSMissingDocument" if set(entries) - set(contents) else "XDSMissingDocumentMetadata"
            raise XdsError(missing, "documents and entries do not match")
        documents = {
            symbol: self._check_entry(entry, contents[symbol], patient, vihf) for symbol, entry in entries.items()
        }
        self._check_unique(set_id, documents)
        self._check_signature(set_id, documents, vihf)
        replaced = self._check_associations(objects, package.get("id", ""), documents, patient, vihf)
        self._commit(set_id, documents, replaced)

    def _check_set(self, package: etree._Element, vihf: Vihf) -> tuple[str, str]:
        set_id, patient = _external(package, SET_UNIQUE_ID), _external(package, SET_PATIENT)
        _external(package, SET_SOURCE)
        if _classified(package, SET_CONTENT_TYPE) is None or not _is_set(package):
            raise XdsError("XDSRegistryMetadataError", "contentTypeCode or classification of the set")
        if not _slot(package, "submissionTime"):
            raise XdsError("XDSRegistryMetadataError", "submissionTime")
        if patient != vihf.patient:
            raise XdsError("XDSPatientIdDoesNotMatch", "resource-id")
        author = _classified(package, SET_AUTHOR)
        institution = _slot(author, "authorInstitution") if author is not None else ""
        if institution.rpartition("^")[2] != vihf.structure:
            raise XdsError("XDSRepositoryError", "Aucun AuthorInstitution ne correspond à l'utilisateur du VIHF")
        person = _slot(author, "authorPerson") if author is not None else ""
        if vihf.mode == "DIRECTE" and person.partition("^")[0] != vihf.name_id:
            raise XdsError("XDSRepositoryError", "Aucun AuthorPerson ne correspond à l'utilisateur du VIHF")
        return set_id, patient

    def _check_entry(self, entry: etree._Element, content: bytes, patient: str, vihf: Vihf) -> Document:
        for slot in NEEDED_SLOTS:
            if not _slot(entry, slot):
                raise XdsError("XDSRegistryMetadataError", f"{slot} is missing")
        for name, scheme in NEEDED_CODES.items():
            if _classified(entry, scheme) is None:
                raise XdsError("XDSRegistryMetadataError", f"{name} is missing")
        if _external(entry, PATIENT) != patient:
            raise XdsError("XDSPatientIdDoesNotMatch", "entry and set")
        sha1 = hashlib.sha1(content).hexdigest()
        if _slot(entry, "hash") != sha1 or _slot(entry, "size") != str(len(content)):
            raise XdsError("XDSRepositoryMetadataError", "hash or size is not that of the document")
        return Document(
            unique_id=_external(entry, UNIQUE_ID),
            entry_uuid=f"urn:uuid:{uuid.uuid4()}",
            patient=patient,
            structure=vihf.structure,
            status=APPROVED,
            mime_type=entry.get("mimeType", ""),
            sha1=sha1,
            size=len(content),
            content=content,
            metadata=entry,
        )

    def _check_unique(self, set_id: str, documents: dict[str, Document]) -> None:
        for document in documents.values():
            held = self.documents.get(document.unique_id)
            if held is not None and held.sha1 != document.sha1:
                raise XdsError("XDSNonIdenticalHash", "same uniqueId, other bytes")
        held_ids = {document.unique_id for document in documents.values()} & set(self.documents)
        if set_id in self.sets or held_ids:
            raise XdsError("XDSDuplicateUniqueIdInRegistry", "uniqueId of the set or of a document")

    def _check_signature(self, set_id: str, documents: dict[str, Document], vihf: Vihf) -> None:
        signatures = [
            one for one in documents.values()
            if (code := _classified(one.metadata, CLASS_CODE)) is not None
            and code.get("nodeRepresentation") == SIGNATURE_CLASS
        ]  # fmt: skip
        if len(signatures) != 1:
            raise XdsError("XDSRepositoryMetadataError", "expected one signature of the set")
        signature = signatures[0]
        others = {one.unique_id: one.content for one in documents.values() if one is not signature}
        try:
            signed = verify_xades(signature.content, set_id, others)
        except (NotSigned, etree.XMLSyntaxError, ValueError) as err:
            raise XdsError("XDSRepositoryMetadataError", f"signature of the set: {err}") from err
        if etree.fromstring(signature.content).get("Id") != signature.unique_id:
            raise XdsError("XDSRepositoryMetadataError", "Signature/@Id is not the uniqueId of its entry")
        if vihf.mode == "DIRECTE":
            if not _of_person(signed.certificate, vihf):
                raise XdsError("XDSRepositoryMetadataError", "the set is signed by another person")
        elif not _of_structure(signed.certificate, vihf.structure):
            raise XdsError("XDSRepositoryMetadataError", "the set is signed by another structure")

    def _check_associations(
        self, objects: etree._Element, package: str, documents: dict[str, Document], patient: str, vihf: Vihf
    ) -> list[Document]:
        found = [
            (one.get("associationType", ""), one.get("sourceObject", ""), one.get("targetObject", ""))
            for one in objects.iterfind(f"{{{RIM}}}Association")
        ]
        members = {target for kind, source, target in found if kind == HAS_MEMBER and source == package}
        if members != set(documents):
            raise XdsError("XDSRegistryMetadataError", "expected HasMember for each document")
        if not any(kind == SIGNS and target == package for kind, _, target in found):
            raise XdsError("XDSRegistryMetadataError", "expected signs from the signature to the set")
        replaced: list[Document] = []
        for kind, source, target in found:
            if kind == RPLC:
                replaced.append(self._check_target(target, patient, vihf))
                documents[source].replaces = target
        return replaced

    def _check_target(self, entry_uuid: str, patient: str, vihf: Vihf) -> Document:
        target = self.by_entry_uuid(entry_uuid)
        if target is None or target.status == DELETED:
            raise XdsError("XDSReplaceFailed", "unknown target")
        if target.status != APPROVED:
            raise XdsError("XDSRegistryDeprecatedDocumentError", "the target is not Approved")
        if target.patient != patient:
            raise XdsError("XDSPatientIdDoesNotMatch", "the target is another patient's")
        if target.structure != vihf.structure:
            raise XdsError("XDSRepositoryError", "Accès non autorisé : document d'une autre structure")
        return target

    def _commit(self, set_id: str, documents: dict[str, Document], replaced: list[Document]) -> None:
        self.sets.add(set_id)
        for target in replaced:
            target.status = DEPRECATED
        for document in documents.values():
            self.documents[document.unique_id] = document
            if document.mime_type == "application/dicom":
                sha256 = hashlib.sha256(document.content).hexdigest()
                self.committed.append(Committed(document.unique_id, sha256))

    # ITI-57

    def update(self, objects: etree._Element, vihf: Vihf) -> None:
        """TD3.3c. Raises: XdsError."""
        set_id, patient = self._check_set(_one(objects, "RegistryPackage"), vihf)
        if set_id in self.sets:
            raise XdsError("XDSDuplicateUniqueIdInRegistry", "uniqueId of the set")
        changes = [
            one for one in objects.iterfind(f"{{{RIM}}}Association") if one.get("associationType") == UPDATE_STATUS
        ]
        if len(changes) != 1:
            raise XdsError("XDSMetadataUpdateError", "expected one UpdateAvailabilityStatus")
        target = self.by_entry_uuid(changes[0].get("targetObject", ""))
        if target is None or target.status == DELETED:
            raise XdsError("UnresolvedReferenceException", "unknown entryUUID")
        if target.patient != patient:
            raise XdsError("XDSPatientIDReconciliationError", "the document is another patient's")
        if target.structure != vihf.structure:
            raise XdsError("XDSRegistryError", "Accès non autorisé : document d'une autre structure")
        if _slot(changes[0], "OriginalStatus") != target.status:
            raise XdsError("XDSMetadataUpdateError", "OriginalStatus is not the current status")
        if _slot(changes[0], "NewStatus") != DELETED:
            raise XdsError("XDSMetadataUpdateOperationError", "NewStatus not allowed in this mode")
        target.status = DELETED
        self.sets.add(set_id)
        self.withdrawn.append(target.unique_id)


def _of_structure(certificate: x509.Certificate, structure: str) -> bool:
    units = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    return bool(units) and structure_of(certificate) == structure


def _of_person(certificate: x509.Certificate, vihf: Vihf) -> bool:
    """A card of the person of the VIHF: maybe an earlier one, the set is signed once and sent until it arrives."""
    try:
        certificate.verify_directly_issued_by(vihf.authority)
    except (InvalidSignature, ValueError):
        return False
    return common_name_of(certificate) == vihf.name_id


def _one(parent: etree._Element, name: str) -> etree._Element:
    found = parent.findall(f"{{{RIM}}}{name}")
    if len(found) != 1:
        raise XdsError("XDSRegistryMetadataError", f"expected one {name}, got {len(found)}")
    return found[0]


def _external(parent: etree._Element, scheme: str) -> str:
    found = [
        one.get("value", "")
        for one in parent.iterfind(f"{{{RIM}}}ExternalIdentifier")
        if one.get("identificationScheme") == scheme
    ]
    if len(found) != 1 or not found[0]:
        raise XdsError("XDSRegistryMetadataError", f"expected one ExternalIdentifier {scheme}")
    return str(found[0])


def _classified(parent: etree._Element, scheme: str) -> etree._Element | None:
    found = (one for one in parent.iterfind(f"{{{RIM}}}Classification") if one.get("classificationScheme") == scheme)
    return next(found, None)


def _is_set(package: etree._Element) -> bool:
    """The classification stands in the package, or beside it."""
    around = [*package.iterfind(f"{{{RIM}}}Classification"), *package.getparent().iterfind(f"{{{RIM}}}Classification")]
    return any(
        one.get("classificationNode") == SET_NODE and one.get("classifiedObject") == package.get("id") for one in around
    )


def _slot(parent: etree._Element, name: str) -> str:
    return str(parent.findtext(f"{{{RIM}}}Slot[@name='{name}']/{{{RIM}}}ValueList/{{{RIM}}}Value", "")).strip()
