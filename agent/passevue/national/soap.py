"""SOAP 1.2 with WS-Addressing and MTOM/XOP: bytes in, values out; values in, bytes out (dmp-xds.md §§ 3-4). No socket.

Rules:
- The envelope is written as text around parts that are already XML: the signed assertion is never parsed again.
- An answer is read on its own Content-Type; repository answers are multipart even for faults.
- An answer belongs to a request only if RelatesTo says so.
- A header that must be understood and is not is an error (SOAP 1.2 § 2.4).
"""

import re
import uuid
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from lxml import etree

from passevue.document.xml import parse
from passevue.errors import Unreadable
from passevue.national.multipart import Part, part_of, read_content_type, read_related, write_related
from passevue.national.xmldsig import escape_attribute, escape_text

Element: TypeAlias = etree._Element

SOAP = "http://www.w3.org/2003/05/soap-envelope"
WSA = "http://www.w3.org/2005/08/addressing"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
XOP = "http://www.w3.org/2004/08/xop/include"
_UNDERSTOOD = {WSA}
_DECLARATION = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*<\?xml[^>]*\?>\s*")


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it goes on the wire. `chunks` in order; the last one is never empty."""

    message_id: str
    action: str
    content_type: str
    chunks: tuple[bytes, ...]

    @property
    def length(self) -> int:
        return sum(map(len, self.chunks))


@dataclass(frozen=True, slots=True)
class Attachment:
    """One document of an MTOM request: `content_id` without brackets."""

    content_id: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """A SOAP 1.2 fault: `code` and `subcode` are local names (`Sender`, `DMPInvalidCertificate`).

    `reason` is the far side's text: it may hold an identity, so it never reaches a log or an error message.
    """

    code: str
    subcode: str
    reason: str


@dataclass(frozen=True, slots=True)
class Message:
    """An answer. `payload` is the first child of Body, None when Body is empty or holds a fault."""

    action: str
    message_id: str
    relates_to: str
    payload: Element | None
    fault: Fault | None
    parts: Mapping[str, bytes]


def new_message_id() -> str:
    return f"urn:uuid:{uuid.uuid4()}"


def write_request(action: str, to: str, assertion: bytes, body: bytes, message_id: str) -> Request:
    """A request without attachments."""
    content_type = f'application/soap+xml; charset=UTF-8; action="{action}"'
    return Request(message_id, action, content_type, (_envelope(action, to, assertion, body, message_id),))


def write_mtom_request(
    action: str, to: str, assertion: bytes, body: bytes, message_id: str, attachments: Sequence[Attachment]
) -> Request:
    """A request whose `body` names its attachments by `xop:Include` (dmp-xds.md § 4)."""
    envelope = _envelope(action, to, assertion, body, message_id)
    root_type = f'application/xop+xml; charset=UTF-8; type="application/soap+xml"; action="{action}"'
    parts = [Part(_part_headers("0.1", root_type), envelope)]
    parts += [Part(_part_headers(one.content_id, "application/octet-stream"), one.content) for one in attachments]
    boundary = f"MIMEBoundary_{uuid.uuid4().hex}"
    content_type = (
        f'multipart/related; boundary="{boundary}"; type="application/xop+xml"; start="<0.1>"; '
        f'start-info="application/soap+xml"; action="{action}"'
    )
    return Request(message_id, action, content_type, write_related(boundary, parts))


def _part_headers(content_id: str, content_type: str) -> tuple[str, ...]:
    return (f"Content-Type: {content_type}", "Content-Transfer-Encoding: binary", f"Content-ID: <{content_id}>")


def _envelope(action: str, to: str, assertion: bytes, body: bytes, message_id: str) -> bytes:
    return b"".join(
        (
            f'<?xml version="1.0" encoding="UTF-8"?><soap:Envelope xmlns:soap="{SOAP}"><soap:Header>'
            f'<MessageID xmlns="{WSA}">{escape_text(message_id)}</MessageID><To xmlns="{WSA}">{escape_text(to)}</To>'
            f'<Action xmlns="{WSA}" soap:mustUnderstand="true">{escape_text(action)}</Action>'
            f'<wsse:Security xmlns:wsse="{WSSE}">'.encode(),
            assertion,
            b"</wsse:Security></soap:Header><soap:Body>",
            without_declaration(body),
            b"</soap:Body></soap:Envelope>",
        )
    )


def include(content_id: str) -> str:
    """An `xop:Include` of one attachment."""
    return f'<xop:Include xmlns:xop="{XOP}" href="cid:{escape_attribute(content_id)}"/>'


def without_declaration(xml: bytes) -> bytes:
    """The document element alone, ready to be put into another document. `xml` is UTF-8."""
    return _DECLARATION.sub(b"", xml, count=1)


def read_message(content_type: str, body: bytes) -> Message:
    """An answer, plain or multipart.

    Raises:
        Unreadable: not SOAP 1.2, not what its Content-Type says, or a header had to be understood and is not.
    """
    kind = read_content_type(content_type)
    parts: Mapping[str, bytes] = {}
    if kind.media == "multipart/related":
        related = read_related(kind, body)
        kind, body, parts = related.root_type, related.root, related.parts
    if kind.media not in ("application/soap+xml", "application/xop+xml"):
        raise Unreadable(f"SOAP: expected application/soap+xml, got {kind.media[:40]!r}")
    envelope = parse(body.strip())
    if envelope.tag != f"{{{SOAP}}}Envelope":
        raise Unreadable("SOAP: expected a SOAP 1.2 envelope")
    header, content = _header_and_body(envelope)
    _check_understood(header)
    fault = content.find(f"{{{SOAP}}}Fault")
    payload = next((child for child in content if isinstance(child.tag, str)), None) if fault is None else None
    return Message(
        action=_addressing(header, "Action"),
        message_id=_addressing(header, "MessageID"),
        relates_to=_addressing(header, "RelatesTo"),
        payload=payload,
        fault=None if fault is None else _read_fault(fault),
        parts=parts,
    )


def _header_and_body(envelope: Element) -> tuple[Element | None, Element]:
    """SOAP 1.2 § 5.1: an optional Header, then one Body, nothing else. A second Body would let one hide another."""
    tags = [child.tag for child in envelope]
    if tags == [f"{{{SOAP}}}Body"]:
        return None, envelope[0]
    if tags == [f"{{{SOAP}}}Header", f"{{{SOAP}}}Body"]:
        return envelope[0], envelope[1]
    raise Unreadable("SOAP: expected one Header and one Body")


def _check_understood(header: Element | None) -> None:
    for block in header if header is not None else ():
        wanted = block.get(f"{{{SOAP}}}mustUnderstand", "false").strip() in ("true", "1")
        if wanted and etree.QName(block).namespace not in _UNDERSTOOD:
            raise Unreadable("SOAP: a header must be understood and is not")


def _addressing(header: Element | None, name: str) -> str:
    found = header.findall(f"{{{WSA}}}{name}") if header is not None else []
    if len(found) > 1:
        raise Unreadable(f"SOAP: expected one {name}, got {len(found)}")
    return "".join(found[0].itertext()).strip() if found else ""


def _read_fault(fault: Element) -> Fault:
    def local(path: str) -> str:
        text: str = fault.findtext(path, "", {"s": SOAP})
        return text.strip().rpartition(":")[2]

    reason = " ".join(text.text or "" for text in fault.iterfind("s:Reason/s:Text", {"s": SOAP}))
    return Fault(local("s:Code/s:Value"), local("s:Code/s:Subcode/s:Value"), reason.strip())


def content_of(element: Element, parts: Mapping[str, bytes]) -> bytes:
    """What a base64Binary element holds, as an attachment or inline.

    Raises:
        Unreadable: neither, or the attachment is missing.
    """
    includes = element.findall(f"{{{XOP}}}Include")
    if len(includes) > 1 or len(includes) != len(element):
        raise Unreadable("XOP: expected one Include and nothing else")
    if includes:
        return part_of(parts, includes[0].get("href", ""))
    try:
        return b64decode("".join((element.text or "").split()), validate=True)
    except (Base64Error, ValueError) as err:
        raise Unreadable("SOAP: expected base64 content") from err
