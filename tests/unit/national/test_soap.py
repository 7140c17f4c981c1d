"""SOAP messages: the ANS's published answer, faults, attachments, and what is refused (N-10, N-13)."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from passevue.errors import Unreadable
from passevue.national import xds
from passevue.national.multipart import read_content_type, read_related
from passevue.national.soap import (
    SOAP,
    WSA,
    WSSE,
    Attachment,
    content_of,
    read_message,
    write_mtom_request,
    write_request,
)
from tests.unit.national.submissions import SAMPLES

PLAIN = "application/soap+xml; charset=UTF-8"


def envelope(body: str, header: str = "") -> bytes:
    return f'<s:Envelope xmlns:s="{SOAP}"><s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>'.encode()


def published_answer() -> tuple[str, bytes]:
    """`xds/response.xml` with the line ends that it has lost put back."""
    text = (SAMPLES / "xds/response.xml").read_text()
    boundary = "uuid:ac95cc6e-f93f-413d-950c-4bf9dc273d8a"
    for name in ("Content-Type", "Content-Transfer-Encoding", "Content-ID"):
        text = re.sub(rf"(?<!^)({name}:)", r"\r\n\1", text)
    text = text.replace("<root.message@cxf.apache.org>", "<root.message@cxf.apache.org>\r\n", 1)
    text = text.replace(f"--{boundary}--", f"\r\n--{boundary}--")
    header = (
        f'multipart/related; type="application/xop+xml"; boundary="{boundary}"; start="<root.message@cxf.apache.org>"'
    )
    return header, text.encode()


def test_the_published_answer_is_read() -> None:
    message = read_message(*published_answer())
    assert message.relates_to == "urn:uuid:a6ba8f7f-b214-4a2d-96f1-54293d537ce3"
    assert message.action in xds.ANSWER_ACTIONS[xds.PROVIDE_AND_REGISTER]
    assert message.payload is not None
    assert message.payload.get("status") == "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Success"


@pytest.mark.parametrize("cut", range(1, 400, 13))
def test_the_published_answer_cut_anywhere_near_its_end_is_refused(cut: int) -> None:
    header, body = published_answer()
    with pytest.raises(Unreadable):
        read_message(header, body[:-cut] if cut > 2 else body[:-3])


def test_an_mtom_request_has_the_form_of_the_published_one() -> None:
    body = xds.provide_and_register(b'<?xml version="1.0"?>\n<a/>')
    request = write_mtom_request(
        xds.PROVIDE_AND_REGISTER, "https://h/repository", b"<vihf/>", body, "urn:uuid:1",
        (Attachment("0.3", b"<sig/>"), Attachment("0.2", b"DICM")),
    )  # fmt: skip
    content = b"".join(request.chunks)
    assert request.length == len(content)
    kind = read_content_type(request.content_type)
    assert kind.parameters["start-info"] == "application/soap+xml"
    assert kind.parameters["action"] == xds.PROVIDE_AND_REGISTER
    related = read_related(kind, content)
    assert dict(related.parts) == {"0.2": b"DICM", "0.3": b"<sig/>"}
    root = etree.fromstring(related.root)
    assert root.findtext(f"{{{SOAP}}}Header/{{{WSA}}}MessageID") == "urn:uuid:1"
    assert root.find(f"{{{SOAP}}}Header/{{{WSSE}}}Security/vihf") is not None
    documents = root.findall(f".//{{{xds.XDSB}}}Document")
    assert [content_of(one, related.parts) for one in documents] == [b"DICM", b"<sig/>"]


def test_the_assertion_goes_out_byte_for_byte() -> None:
    assertion = '<a  x = "1">é</a >'.encode()
    assert assertion in write_request("urn:a", "https://h", assertion, b"<b/>", "urn:uuid:1").chunks[0]


def test_a_fault_is_read_by_local_names() -> None:
    body = (
        "<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>d:DMPInvalidCertificate</s:Value></s:Subcode>"
        "</s:Code><s:Reason><s:Text>Not a valid signature certificate</s:Text></s:Reason></s:Fault>"
    )
    message = read_message(PLAIN, envelope(body))
    assert message.fault is not None
    assert (message.fault.code, message.fault.subcode) == ("Sender", "DMPInvalidCertificate")
    assert message.payload is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("soap 1.1", b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body/></s:Envelope>'),
        ("html", b"<html/>"),
        ("two bodies", envelope("").replace(b"</s:Envelope>", b"<s:Body/></s:Envelope>")),
        ("body below a wrapper", envelope("").replace(b"<s:Body></s:Body>", b"<w><s:Body></s:Body></w>")),
        ("two relates-to", envelope("", f'<RelatesTo xmlns="{WSA}">a</RelatesTo>' * 2)),
        ("must understand", envelope("", '<x:Y xmlns:x="urn:x" s:mustUnderstand="true"/>')),
        ("must understand 1", envelope("", '<x:Y xmlns:x="urn:x" s:mustUnderstand=" 1 "/>')),
        ("dtd", b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + envelope("&e;")),
        ("truncated", envelope("<a/>")[:-5]),
        ("not xml", b"\x00\xff"),
        ("empty", b""),
    ],
)  # fmt: skip
def test_what_is_not_a_soap_message_is_refused(name: str, content: bytes) -> None:
    with pytest.raises(Unreadable):
        read_message(PLAIN, content)


@pytest.mark.parametrize("content_type", ["text/html", "", "application/json", "text/xml; charset=utf-8"])
def test_another_content_type_is_refused(content_type: str) -> None:
    with pytest.raises(Unreadable):
        read_message(content_type, envelope("<a/>"))


@pytest.mark.parametrize(
    "inner",
    [
        '<i:Include xmlns:i="http://www.w3.org/2004/08/xop/include" href="file:///etc/passwd"/>',
        '<i:Include xmlns:i="http://www.w3.org/2004/08/xop/include" href="cid:none"/>',
        '<i:Include xmlns:i="http://www.w3.org/2004/08/xop/include" href="cid:0.1"/>',  # the root: a loop
        '<i:Include xmlns:i="http://www.w3.org/2004/08/xop/include"/>',
        "<other/>",
        "not base64!",
    ],
)
def test_content_that_is_neither_attached_nor_inline_is_refused(inner: str) -> None:
    with pytest.raises(Unreadable):
        content_of(etree.fromstring(f"<Document>{inner}</Document>"), {"0.2": b"x"})


def test_inline_base64_is_taken() -> None:
    assert content_of(etree.fromstring("<Document> S0 9T\n</Document>"), {}) == b"KOS"


words = st.sampled_from(
    ["<s:Fault>", "</s:Fault>", "<a/>", "<![CDATA[x]]>", "<!-- c -->", "&amp;", "&e;", "<?pi?>", "x", "<s:Body>", "]]>"]
)


@given(st.lists(words, max_size=12).map("".join))
def test_any_body_is_read_or_refused(body: str) -> None:
    with contextlib.suppress(Unreadable):
        read_message(PLAIN, envelope(body))
    assert read_message(PLAIN, envelope("<a/>")).payload is not None


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    for kind in (PLAIN, 'multipart/related; boundary="b"'):
        with pytest.raises(Unreadable):
            read_message(kind, content)
