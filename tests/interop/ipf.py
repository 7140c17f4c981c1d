"""IPF (Open eHealth Integration Platform) as the national registry: its XDS endpoints behind an edge that speaks TLS.

IPF's part is Java and knows IHE's XDS.b, not the DMP's dialect of it. Its tutorial server is no longer published, so
the store behind its endpoints is a small one of ours (`java/ipf`); SOAP, MTOM, ebXML and the checks of every request
and answer are IPF's. The edge stands before it: it takes the box's own mutual TLS connection, puts the few forms in
which the DMP departs from IHE into IHE's (`DIALECT`, each with its reason), sends all else on byte for byte, and keeps
what went by. A test can have it translate less, to see that IPF refuses exactly these forms and no other.

Alone: `python -m tests.interop.jvm ipf` prints the command line of the server.
"""

import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.interop.jvm import Running, or_skip
from tests.peers.pki import Pki

START_WITHIN_S = 60.0  # three seconds on an idle machine of two cores
_BODY = re.compile(rb"<soap:Body>.*?</soap:Body>", re.DOTALL)
_ACTION = re.compile(rb"<Action [^>]*>([^<]*)</Action>")
# IPF offers one address a transaction; the DMP two services.
_ADDRESSES = {
    b"urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b": "provide",
    b"urn:ihe:iti:2007:RetrieveDocumentSet": "retrieve",
    b"urn:ihe:iti:2007:RegistryStoredQuery": "registry",
    b"urn:ihe:iti:2010:UpdateDocumentSet": "update",
}


@dataclass(frozen=True, slots=True)
class Form:
    """One form of the DMP that IHE does not allow, and how to write it as IHE does."""

    name: str
    reason: str
    dmp: re.Pattern[bytes]
    ihe: bytes

    def as_ihe(self, body: bytes) -> bytes:
        return self.dmp.sub(self.ihe, body)


DIALECT = (
    Form(
        "XON.7",
        "authorInstitution carries IDNST in XON.7 (CI-SIS); IHE has XON.1, XON.6 and XON.10 only (ITI TF-3 4.2.3.1.7)",
        re.compile(rb"(&amp;1\.2\.250\.1\.71\.4\.2\.2&amp;ISO\^)IDNST(\^\^\^)"),
        rb"\1\2",
    ),
    Form(
        "CX.5",
        "patient identifiers carry NH or PI in CX.5 (CI-SIS); IHE has CX.1 and CX.4 only (ITI TF-3 4.2.3.1.7)",
        re.compile(rb"(&amp;ISO)\^(?:NH|PI)(?=[\"<'])"),
        rb"\1",
    ),
    Form(
        "authorSpecialty",
        "authorSpecialty is code^label^OID (CI-SIS, dmp-xds.md § 5.1), which IPF reads as a CX: code^^^&OID&ISO",
        re.compile(rb"(<Value>G15_[^<^]*)\^[^<^]*\^([\d.]+)(?=</Value>)"),
        rb"\1^^^&amp;\2&amp;ISO",
    ),
    Form(
        "Deleted",
        "NewStatus of a withdrawal is the French Deleted; IHE knows Approved and Deprecated (ITI-57)",
        re.compile(rb"urn:asip:ci-sis:2010:StatusType:Deleted"),
        b"urn:oasis:names:tc:ebxml-regrep:StatusType:Deprecated",
    ),
)

# The DMP answers ITI-57 with another wsa:Action than IHE's WSDL has (dmp-xds.md § 3).
_UPDATED = (b"urn:ihe:iti:2010:UpdateDocumentSetResponse", b"urn:ihe:iti:2010:UpdateDocumentSet-Response")


@contextmanager
def xds_server(folder: Path) -> Iterator[int]:
    """IPF's server: the loopback port on which it speaks plain HTTP. Skips the test when it cannot be had."""
    running = Running(or_skip("ipf"), "XdsServer", folder)
    try:
        yield running.answer(START_WITHIN_S)["port"]
    finally:
        running.close()


@dataclass
class Edge:
    """What went by, newest last: bodies of requests as the box sent them, and IPF's answers."""

    url: str = ""
    dialect: tuple[Form, ...] = DIALECT
    requests: list[bytes] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def edge(port: int, pki: Pki) -> AsyncIterator[Edge]:
    """The DMP's address for the box: mutual TLS on a free port, everything handed to IPF's server on `port`."""
    edge = Edge()
    async with aiohttp.ClientSession(auto_decompress=False) as session:

        async def hand_on(request: web.Request) -> web.Response:
            body = await request.read()
            edge.requests.append(body)
            action = _ACTION.search(body)
            assert action is not None, "a request without wsa:Action"
            address = f"http://127.0.0.1:{port}/{_ADDRESSES[action[1]]}"
            headers = {"Content-Type": request.headers["Content-Type"], "Accept": request.headers["Accept"]}
            async with session.post(address, data=_translated(body, edge.dialect), headers=headers) as answer:
                edge.answers.append((await answer.read()).replace(*_UPDATED))
                headers = {"Content-Type": answer.headers["Content-Type"]}
                return web.Response(status=answer.status, body=edge.answers[-1], headers=headers)

        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/services/{service}", hand_on)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=_tls(pki))
            await site.start()
            edge.url = f"https://127.0.0.1:{runner.addresses[0][1]}/services"
            yield edge
        finally:
            await runner.cleanup()


def _translated(body: bytes, dialect: tuple[Form, ...]) -> bytes:
    """Only the SOAP body changes: not the signed VIHF, nor the documents after it."""

    def as_ihe(found: re.Match[bytes]) -> bytes:
        content = found[0]
        for form in dialect:
            content = form.as_ihe(content)
        return content

    return _BODY.sub(as_ihe, body, count=1)


def _tls(pki: Pki) -> ssl.SSLContext:
    """As the DMP: a server certificate of the IGC-Santé, and a client one asked for."""
    server = pki.server("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    context.load_verify_locations(pki.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    return context
