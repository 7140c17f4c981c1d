"""The METADATA.XML of an XDM archive: reads both forms in use, writes the bare request (xdm.md § 3).

Forms read: the SOAP envelope of ITI-41 (the demonstrator writes it), the bare `SubmitObjectsRequest`, and the published
sample of it that declares no prefix and begins with an empty line. Everything is found by local name.
"""

import re
from dataclasses import dataclass
from typing import Any, TypeAlias
from xml.parsers import expat

from lxml import etree

from passevue.document.xml import check_bounds, parse
from passevue.errors import Unreadable

Element: TypeAlias = Any  # lxml has no types

MAX_METADATA_BYTES = 1 << 20
ENTRY_UUID = "XDSDocumentEntry.EntryUUID"
ENTRY_UUID_SCHEME = "1.2.3"  # as the demonstrator registers it
_UNIQUE_ID = "XDSDocumentEntry.uniqueId"
_NAME = re.compile(rb"<(?P<prefix>[A-Za-z_][\w.-]*):[A-Za-z_][\w.-]*")


@dataclass(frozen=True, slots=True)
class DocumentFacts:
    """What one ExtrinsicObject says of its file; empty where it says nothing."""

    mime_type: str
    uri: str
    hash: str
    size: str
    unique_id: str
    entry_uuid: str
    patient_id: str


def read_metadata(data: bytes) -> tuple[DocumentFacts | None, DocumentFacts | None]:
    """The KOS entry and the signature entry.

    Raises:
        Unreadable: no SubmitObjectsRequest in it, or two KOS entries.
    """
    request = _request_of(data)
    facts = [_facts(each) for each in _children(request, "ExtrinsicObject")]
    kos = [each for each in facts if each.mime_type == "application/dicom"]
    signatures = [each for each in facts if each.mime_type == "text/xml"]
    if len(kos) > 1 or len(signatures) > 1:
        raise Unreadable("XDM: expected one KOS and one signature in METADATA.XML")
    return (kos[0] if kos else None, signatures[0] if signatures else None)


def metadata_for_archive(data: bytes, kos_uri: str, signature_uri: str, entry_uuid: str) -> bytes:
    """The bare request with what an archive adds: Slot `URI` on both documents, entryUUID on the KOS (xdm.md § 3).

    Raises:
        Unreadable: no SubmitObjectsRequest in it.
    """
    request = _request_of(data)
    uris = {"application/dicom": kos_uri, "text/xml": signature_uri}
    for entry in _children(request, "ExtrinsicObject"):
        mime_type = str(entry.get("mimeType", ""))
        uri = uris.get(mime_type, "")
        if uri:
            _set_slot(entry, "URI", uri)
        if mime_type == "application/dicom" and entry_uuid:
            _set_entry_uuid(entry, entry_uuid.removeprefix("urn:uuid:"))
    etree.cleanup_namespaces(request)
    content: bytes = etree.tostring(request, encoding="UTF-8", xml_declaration=True, with_tail=False)
    return content


def _request_of(data: bytes) -> Element:
    data = data[: MAX_METADATA_BYTES + 1].removeprefix(b"\xef\xbb\xbf").lstrip()
    try:
        root = parse(data, max_bytes=MAX_METADATA_BYTES)
    except Unreadable:
        root = parse(_with_prefixes_declared(data), max_bytes=MAX_METADATA_BYTES)
    found = list(root.iter("{*}SubmitObjectsRequest"))
    if len(found) != 1:
        raise Unreadable(f"XDM: expected one SubmitObjectsRequest in METADATA.XML, got {len(found)}")
    return found[0]


def _with_prefixes_declared(data: bytes) -> bytes:
    """The document with every prefix that it uses and declares nowhere declared on its root."""
    check_bounds(data, MAX_METADATA_BYTES)
    used: set[str] = set()
    declared = {"xml", "xmlns"}

    def start(name: str, attributes: list[str]) -> None:
        for qualified in (name, *attributes[::2]):
            prefix, colon, local = qualified.partition(":")
            if prefix == "xmlns" and colon:
                declared.add(local)
            elif colon:
                used.add(prefix)

    reader = expat.ParserCreate()
    reader.ordered_attributes = True
    reader.StartElementHandler = start
    try:
        reader.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError) as err:
        raise Unreadable("XDM: METADATA.XML is not well-formed") from err
    root = _NAME.search(data)
    missing = used - declared
    if root is None or not missing:
        raise Unreadable("XDM: METADATA.XML is not well-formed")
    declarations = "".join(f' xmlns:{prefix}="urn:undeclared:{prefix}"' for prefix in sorted(missing))
    return data[: root.end()] + declarations.encode() + data[root.end() :]


def _local(element: Element) -> str:
    return str(etree.QName(element).localname)


def _children(element: Element, local_name: str) -> list[Element]:
    return list(element.iter(f"{{*}}{local_name}"))


def _slot(entry: Element, name: str) -> str:
    for slot in entry.findall("{*}Slot"):
        if slot.get("name") == name:
            value = slot.find("{*}ValueList/{*}Value")
            return "" if value is None else "".join(value.itertext()).strip()
    return ""


def _external_identifier(entry: Element, name: str) -> str:
    for identifier in entry.findall("{*}ExternalIdentifier"):
        label = identifier.find("{*}Name/{*}LocalizedString")
        if label is not None and label.get("value") == name:
            return str(identifier.get("value", "")).strip()
    return ""


def _facts(entry: Element) -> DocumentFacts:
    return DocumentFacts(
        mime_type=str(entry.get("mimeType", "")),
        uri=_slot(entry, "URI"),
        hash=_slot(entry, "hash").lower(),
        size=_slot(entry, "size"),
        unique_id=_external_identifier(entry, _UNIQUE_ID),
        entry_uuid=_external_identifier(entry, ENTRY_UUID).removeprefix("urn:uuid:"),
        patient_id=_external_identifier(entry, "XDSDocumentEntry.patientId"),
    )


def _set_slot(entry: Element, name: str, value: str) -> None:
    for old in entry.findall("{*}Slot"):
        if old.get("name") == name:
            entry.remove(old)
    namespace = etree.QName(entry).namespace
    slot = etree.Element(f"{{{namespace}}}Slot", name=name)
    etree.SubElement(etree.SubElement(slot, f"{{{namespace}}}ValueList"), f"{{{namespace}}}Value").text = value
    entry.insert(sum(_local(child) == "Slot" for child in entry), slot)


def _set_entry_uuid(entry: Element, value: str) -> None:
    for old in entry.findall("{*}ExternalIdentifier"):
        label = old.find("{*}Name/{*}LocalizedString")
        if label is not None and label.get("value") == ENTRY_UUID:
            entry.remove(old)
    namespace = etree.QName(entry).namespace
    identifier = etree.SubElement(
        entry,
        f"{{{namespace}}}ExternalIdentifier",
        id="EntryUUID",
        identificationScheme=ENTRY_UUID_SCHEME,
        registryObject=str(entry.get("id", "")),
        value=value,
    )
    name = etree.SubElement(identifier, f"{{{namespace}}}Name")
    etree.SubElement(name, f"{{{namespace}}}LocalizedString", charset="UTF8", value=ENTRY_UUID)
