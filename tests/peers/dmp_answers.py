"""The DMP peer's words: how it reads requests and writes answers, with the standard library and lxml only."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message as MimeHeaders
from urllib.parse import unquote
from xml.sax.saxutils import escape, quoteattr

from lxml import etree

from tests.peers.dmp_registry import REPOSITORY, RIM, Document
from tests.peers.dmp_signed import PARSER

SOAP = "http://www.w3.org/2003/05/soap-envelope"
WSA = "http://www.w3.org/2005/08/addressing"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
XOP = "http://www.w3.org/2004/08/xop/include"
XDSB = "urn:ihe:iti:xds-b:2007"
RS = "urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0"
QUERY = "urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0"
STATUS = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:"
SEVERITY = "urn:oasis:names:tc:ebxml-regrep:ErrorSeverityType:"


class BadRequest(Exception):
    """A request that is not what the binding asks for."""


@dataclass(frozen=True)
class Asked:
    """A request as the peer reads it."""

    action: str
    message_id: str
    to: str
    assertion: etree._Element
    payload: etree._Element
    parts: dict[str, bytes]


def read_request(content_type: str, body: bytes) -> Asked:
    headers = MimeHeaders()
    headers["Content-Type"] = content_type
    parts: dict[str, bytes] = {}
    root = body
    if headers.get_content_type() == "multipart/related":
        if headers.get_param("type") != "application/xop+xml":
            raise BadRequest('expected type="application/xop+xml"')
        parts = _split(str(headers.get_boundary()).encode(), body)
        root = parts.pop(str(headers.get_param("start")).strip("<>"))
    elif headers.get_content_type() != "application/soap+xml":
        raise BadRequest("expected application/soap+xml")
    envelope = etree.fromstring(root, PARSER)
    header, content = envelope.find(f"{{{SOAP}}}Header"), envelope.find(f"{{{SOAP}}}Body")
    if envelope.tag != f"{{{SOAP}}}Envelope" or header is None or content is None or len(content) != 1:
        raise BadRequest("expected a SOAP 1.2 envelope")
    assertions = header.findall(f"{{{WSSE}}}Security/*")
    if len(assertions) != 1:
        raise BadRequest("expected one VIHF")
    return Asked(
        action=header.findtext(f"{{{WSA}}}Action", ""),
        message_id=header.findtext(f"{{{WSA}}}MessageID", ""),
        to=header.findtext(f"{{{WSA}}}To", ""),
        assertion=assertions[0],
        payload=content[0],
        parts=parts,
    )


def _split(boundary: bytes, body: bytes) -> dict[str, bytes]:
    """Strict MIME: CRLF everywhere, closing delimiter, `binary` parts with a Content-ID."""
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary)
    if pieces[0] not in (b"",) or pieces[-1].strip() != b"--":
        raise BadRequest("multipart: expected delimiters at both ends")
    parts: dict[str, bytes] = {}
    for piece in pieces[1:-1]:
        head, _, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        if fields["Content-Transfer-Encoding"] != "binary":
            raise BadRequest("expected binary parts")
        parts[fields["Content-ID"].strip("<>")] = content
    return parts


def attached(asked: Asked) -> dict[str, bytes]:
    """Contents by `Document/@id`."""
    contents: dict[str, bytes] = {}
    for document in asked.payload.iterfind(f"{{{XDSB}}}Document"):
        include = document.find(f"{{{XOP}}}Include")
        if include is None:
            raise BadRequest("expected xop:Include")
        contents[document.get("id", "")] = asked.parts[unquote(include.get("href", "").removeprefix("cid:"))]
    return contents


def envelope(action: str, relates_to: str, body: str) -> bytes:
    return (
        f'<soap:Envelope xmlns:soap="{SOAP}"><soap:Header><Action xmlns="{WSA}">{escape(action)}</Action>'
        f'<MessageID xmlns="{WSA}">urn:uuid:{uuid.uuid4()}</MessageID>'
        f'<RelatesTo xmlns="{WSA}">{escape(relates_to)}</RelatesTo></soap:Header>'
        f"<soap:Body>{body}</soap:Body></soap:Envelope>"
    ).encode()


def as_multipart(root: bytes) -> tuple[str, bytes]:
    """As CXF answers at `/repository`, attachments or not."""
    boundary = f"uuid:{uuid.uuid4()}"
    head = (
        f'--{boundary}\r\nContent-Type: application/xop+xml; charset=UTF-8; type="application/soap+xml"\r\n'
        "Content-Transfer-Encoding: binary\r\nContent-ID: <root.message@cxf.apache.org>\r\n\r\n"
    )
    content_type = (
        f'multipart/related; type="application/xop+xml"; boundary="{boundary}"; '
        'start="<root.message@cxf.apache.org>"; start-info="application/soap+xml"'
    )
    return content_type, head.encode() + root + f"\r\n--{boundary}--".encode()


def fault(subcode: str, reason: str, code: str = "Sender") -> str:
    return (
        f"<soap:Fault><soap:Code><soap:Value>soap:{code}</soap:Value>"
        f'<soap:Subcode><soap:Value xmlns:dmp="urn:dmp">dmp:{escape(subcode)}</soap:Value></soap:Subcode></soap:Code>'
        f'<soap:Reason><soap:Text xml:lang="fr">{escape(reason)}</soap:Text></soap:Reason></soap:Fault>'
    )


def _error_lines(errors: Sequence[tuple[str, str]], severity: str) -> str:
    return "".join(
        f"<rs:RegistryError errorCode={quoteattr(code)} codeContext={quoteattr(context)} "
        f"severity={quoteattr(severity)}/>"
        for code, context in errors
    )


def registry_response(errors: Sequence[tuple[str, str]] = (), *, warning: bool = False, status: str = "") -> str:
    """`errors` are codes and contexts."""
    status = status or STATUS + ("Failure" if errors and not warning else "Success")
    severity = SEVERITY + ("Warning" if warning else "Error")
    lines = _error_lines(errors, severity)
    inner = f"<rs:RegistryErrorList>{lines}</rs:RegistryErrorList>" if errors else ""
    return f'<rs:RegistryResponse xmlns:rs="{RS}" status={quoteattr(status)}>{inner}</rs:RegistryResponse>'


def query_response(objects: Sequence[str], errors: Sequence[tuple[str, str]] = ()) -> str:
    status = STATUS + ("Failure" if errors else "Success")
    lines = _error_lines(errors, SEVERITY + "Error")
    error_list = f'<rs:RegistryErrorList xmlns:rs="{RS}">{lines}</rs:RegistryErrorList>' if errors else ""
    return (
        f'<query:AdhocQueryResponse xmlns:query="{QUERY}" status={quoteattr(status)} totalResultCount="{len(objects)}">'
        f'{error_list}<rim:RegistryObjectList xmlns:rim="{RIM}">{"".join(objects)}</rim:RegistryObjectList>'
        "</query:AdhocQueryResponse>"
    )


def object_ref(document: Document) -> str:
    return f"<rim:ObjectRef id={quoteattr(document.entry_uuid)}/>"


def leaf_class(document: Document) -> str:
    """The entry as submitted, with what the registry gave it."""
    entry = etree.fromstring(etree.tostring(document.metadata))
    entry.set("id", document.entry_uuid)
    entry.set("lid", document.entry_uuid)
    entry.set("status", document.status)
    slot = etree.SubElement(entry, f"{{{RIM}}}Slot", name="repositoryUniqueId")
    etree.SubElement(etree.SubElement(slot, f"{{{RIM}}}ValueList"), f"{{{RIM}}}Value").text = REPOSITORY
    entry.insert(0, slot)
    return str(etree.tostring(entry, encoding="unicode"))


def patient_answer(exists: bool, active: bool) -> str:
    """PRPA_IN201308UV02."""
    subject = (
        '<subject typeCode="SUBJ"><registrationEvent classCode="REG" moodCode="EVN"><subject1 typeCode="SBJ">'
        f'<patient classCode="PAT"><statusCode code="{"active" if active else "nullified"}"/></patient>'
        "</subject1></registrationEvent></subject>"
        if exists
        else ""
    )
    return (
        '<PRPA_IN201308UV02 xmlns="urn:hl7-org:v3" ITSVersion="XML_1.0">'
        '<attentionLine><keyWordText code="AUTORISATION" codeSystem="1.2.250.1.213.4.1.2.6.1"/>'
        '<value code="VALIDE"/></attentionLine>'
        '<acknowledgement typeCode="AA"/><controlActProcess classCode="CACT" moodCode="EVN">'
        f'{subject}<queryAck><queryResponseCode code="{"OK" if exists else "NF"}"/></queryAck>'
        "</controlActProcess></PRPA_IN201308UV02>"
    )
