"""Answers that no DMP gives: scripted bytes behind real TLS (N-13). A publication is then in doubt."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from passevue import config
from passevue.card.signer import Signer
from passevue.errors import InDoubt, NetworkError
from passevue.national import wire
from passevue.national.registry import BRIEF_BYTES, Registry
from passevue.national.structures import Structures
from tests.peers import dmp_answers as answers
from tests.peers.dmp import ANSWER_ACTION, PUBLISH
from tests.peers.pki import Pki
from tests.unit.national.submissions import FACTS, STRUCTURE, publication

Settings = Callable[..., config.Registry]
Script = Callable[[bytes], bytes]  # a good SOAP answer in, bytes on the wire out


def http(headers: str, body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}\r\n\r\n".encode() + body


def soap(extra: str = "", length: int = 0) -> Script:
    """A good answer with other headers, or a Content-Length that lies by `length`."""

    def write(good: bytes) -> bytes:
        lines = f"Content-Type: application/soap+xml\r\nContent-Length: {len(good) + length}"
        return http(lines + extra, good)

    return write


@asynccontextmanager
async def scripted(pki: Pki, script: Script) -> AsyncIterator[str]:
    """A server that reads one request whole, answers what `script` makes of a good answer, and closes."""
    paths = pki.server("127.0.0.1", ("localhost",))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(paths.certificate, paths.key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        assert found
        body = await reader.readexactly(int(found[1]))
        message_id = re.search(rb"urn:uuid:[0-9a-f-]{36}", body)
        assert message_id
        action = PUBLISH if b"ProvideAndRegister" in head else re.search(rb'action="([^"]+)"', head)[1].decode()  # type: ignore[index]
        good = answers.envelope(ANSWER_ACTION[action], message_id[0].decode(), answers.registry_response())
        writer.write(script(good))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


async def publish(pki: Pki, structures: Structures, settings: Settings, signer: Signer, script: Script) -> str:
    async with (
        scripted(pki, script) as url,
        Registry(settings(url, timeout_s=5), structures, "1.2.250.1.999.1") as registry,
    ):
        return (await registry.publish(await publication(signer))).status


async def test_the_script_itself_is_a_success(
    pki: Pki, structures: Structures, settings: Settings, signer: Signer
) -> None:
    assert (await publish(pki, structures, settings, signer, soap())).endswith(":Success")


async def test_a_long_answer_is_read_like_a_short_one(
    pki: Pki, structures: Structures, settings: Settings, signer: Signer
) -> None:
    """Off the loop, which a few MiB of XML would hold."""

    def long(good: bytes) -> bytes:
        return soap()(good.replace(b"<soap:Body>", b"<soap:Body><!--" + b"x" * BRIEF_BYTES * 4 + b"-->"))

    assert (await publish(pki, structures, settings, signer, long)).endswith(":Success")


BAD: dict[str, Script] = {
    "content-length too long": soap(length=100),
    "content-length too short": soap(length=-20),
    "content-length beyond the bound": soap(length=wire.MAX_ANSWER_BYTES),
    "content-length twice": soap("\r\nContent-Length: 5"),
    "gzip": soap("\r\nContent-Encoding: gzip"),
    "nothing": lambda _: b"",
    "not http": lambda _: b"\x00\xff" * 500,
    "headers without end": lambda _: b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000,
    "chunks without end": lambda good: http(
        "Content-Type: application/soap+xml\r\nTransfer-Encoding: chunked", b"%x\r\n%s\r\n" % (len(good), good)
    ),
    "no content-type": lambda good: http(f"Content-Length: {len(good)}", good),
    "no content": lambda _: http("Content-Length: 0", b"", "204 No Content"),
    "multipart without boundary": lambda good: http(
        f"Content-Type: multipart/related\r\nContent-Length: {len(good)}", good
    ),
    "another message's": lambda good: soap()(re.sub(rb"urn:uuid:[0-9a-f-]+</Rel", b"urn:uuid:x</Rel", good)),
    "relates to nothing": lambda good: soap()(re.sub(rb"<RelatesTo.*</RelatesTo>", b"", good)),
    "another action": lambda good: soap()(good.replace(b"ProvideAndRegisterDocumentSet-bResponse", b"Other")),
    "must understand": lambda good: soap()(
        good.replace(b"</soap:Header>", b'<x:y xmlns:x="urn:x" soap:mustUnderstand="1"/></soap:Header>')
    ),
    "a dtd": lambda good: soap()(b"<!DOCTYPE x>" + good),
    "no status": lambda good: soap()(re.sub(rb'status="[^"]*"', b"", good)),
    "an unknown status": lambda good: soap()(good.replace(b":Success", b":Maybe")),
    "failure without a reason": lambda good: soap()(good.replace(b":Success", b":Failure")),
    "empty body": lambda good: soap()(re.sub(rb"<soap:Body>.*</soap:Body>", b"<soap:Body/>", good)),
    "success inside a wrapper": lambda good: soap()(
        good.replace(b"<soap:Body>", b"<soap:Body><w>").replace(b"</soap:Body>", b"</w></soap:Body>")
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
async def test_an_answer_that_is_none_leaves_doubt(
    pki: Pki, structures: Structures, settings: Settings, signer: Signer, name: str
) -> None:
    with pytest.raises(InDoubt):
        await publish(pki, structures, settings, signer, BAD[name])


@pytest.mark.parametrize("name", sorted(set(BAD) - {"another action"}))
async def test_a_look_up_answered_so_is_no_answer(
    pki: Pki, structures: Structures, settings: Settings, name: str
) -> None:
    """Above all it is never `None`, which would mean that the document is not there."""
    async with (
        scripted(pki, BAD[name]) as url,
        Registry(settings(url, timeout_s=5), structures, "1.2.250.1.999.1") as registry,
    ):
        with pytest.raises(NetworkError) as raised:
            await registry.find("1.2.3", STRUCTURE, FACTS)
    assert not isinstance(raised.value, InDoubt)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("99999999", 86_400.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("Mon, 01 Jan", None),
    ],
)
async def test_retry_after_is_read_with_reserve(
    pki: Pki, structures: Structures, settings: Settings, signer: Signer, header: str, seconds: float | None
) -> None:
    busy = http(f"Retry-After: {header}\r\nContent-Length: 0", b"", "429 Too Many Requests")
    with pytest.raises(NetworkError) as raised:
        await publish(pki, structures, settings, signer, lambda _: busy)
    assert raised.value.retry_after_s == seconds
