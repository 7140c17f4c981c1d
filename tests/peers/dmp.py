"""A DMP of ours: mTLS, ITI-41, ITI-18, ITI-57 and TD0.2, which checks what the DMP checks and refuses like it.

Its rules are in `dmp_registry`, what it asks of a VIHF in `dmp_vihf`, its verifier of signatures in `dmp_signed`: none
of it uses a line of the package. Faults are switches:

    async with DmpPeer(pki) as dmp:
        dmp.url                                   # registry.url of the box
        dmp.fault = Fault.COMMIT_THEN_RESET       # until set to None
        dmp.fail(Fault.BUSY, times=2)             # the next two publications or withdrawals
        dmp.committed                             # ledger: uniqueId and SHA-256 of every KOS taken
        dmp.documents["1.2.3"].status
        await dmp.cut(); await dmp.restore()      # the network goes away and comes back, same address

By hand: `python -m tests.peers.dmp FOLDER [--port P] [--structure STRUCT_ID]`.
"""

import argparse
import asyncio
import hashlib
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from aiohttp import web
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from lxml import etree

from tests.peers import dmp_answers as answers
from tests.peers.dmp_answers import Asked, BadRequest
from tests.peers.dmp_refuser import Refuser
from tests.peers.dmp_registry import APPROVED, DELETED, RIM, Committed, Document, MemoryRegistry, XdsError
from tests.peers.dmp_vihf import Vihf, VihfRefused, check_vihf, common_name_of, purposes
from tests.peers.pki import Pki
from tests.peers.pki_persons import Persons
from tests.peers.tls_site import TlsSite, server_context

CIPHERS = "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-SHA384"
PUBLISH = "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b"
QUERY = "urn:ihe:iti:2007:RegistryStoredQuery"
UPDATE = "urn:ihe:iti:2010:UpdateDocumentSet"
PATIENT = "urn:hl7-org:v3:PRPA_IN201307UV02"
ANSWER_ACTION = {
    PUBLISH: f"{PUBLISH}Response",
    QUERY: f"{QUERY}Response",
    UPDATE: f"{UPDATE}-Response",
    PATIENT: "urn:hl7-org:v3:PRPA_IN201308UV02",
}
SERVICE = {PUBLISH: "repository", QUERY: "registry", UPDATE: "registry", PATIENT: "patients"}
GET_DOCUMENTS = "urn:uuid:5c4f972b-d56b-40ac-a5fc-c8ca9b40b9d4"
FIND_DOCUMENTS = "urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d"
FAULT_ACTION = "http://www.w3.org/2005/08/addressing/soap/fault"


class Fault(StrEnum):
    """What goes wrong with a publication or a withdrawal; look-ups go on, but for LOOK_UP_*."""

    COMMIT_THEN_RESET = "commit-then-reset"
    COMMIT_THEN_500 = "commit-then-500"
    COMMIT_THEN_TRUNCATED = "commit-then-truncated"
    COMMIT_THEN_WRONG_TYPE = "commit-then-wrong-type"
    COMMIT_THEN_WRONG_RELATES_TO = "commit-then-wrong-relates-to"
    COMMIT_THEN_BUSY = "commit-then-503"
    COMMIT_THEN_HANG = "commit-then-hang"  # headers, then nothing
    COMMIT_THEN_DRIP = "commit-then-drip"  # the answer at 1 byte a second
    COMMIT_THEN_DUPLICATE = "commit-then-duplicate"  # XDSDuplicateUniqueIdInRegistry for what it just took
    COMMIT_THEN_HUGE = "commit-then-huge"  # an endless answer
    SUCCESS_WITHOUT_COMMIT = "success-without-commit"
    SLOW = "slow"  # `delay_s`, then all is well
    RESET_AT_ONCE = "reset-at-once"  # closes while the request comes
    BUSY = "503"  # with Retry-After
    TOO_MANY = "429"  # with Retry-After
    REGISTRY_BUSY = "XDSRegistryBusy"
    GENERIC = "XDSRegistryError"
    PARTIAL = "partial-success"
    RECEIVER_FAULT = "receiver-fault"
    WARNING = "warning"  # success with a warning
    CAPTIVE_PORTAL = "captive-portal"  # 200, HTML
    REDIRECT = "redirect"
    LOOK_UP_DOWN = "look-up-down"  # ITI-18 answers 503; publication works
    LOOK_UP_PORTAL = "look-up-portal"  # ITI-18 answers 200, HTML
    LOOK_UP_RESET = "look-up-reset"


_AFTER_COMMIT = {one for one in Fault if one.startswith("commit-then")}
_OF_LOOK_UP = {Fault.LOOK_UP_DOWN, Fault.LOOK_UP_PORTAL, Fault.LOOK_UP_RESET}


@dataclass(frozen=True)
class Request:
    """One request that came: `result` is `ok`, an XDS or fault code, or the fault switch that met it."""

    action: str
    message_id: str
    vihf_id: str
    result: str
    mode: str = ""
    client: str = ""  # CN of the certificate that opened the connection


class DmpPeer:
    """The server. `clock` decides on the freshness of VIHF; `persons` certify the cards that it knows, if any."""

    def __init__(
        self,
        pki: Pki,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        persons: Persons | None = None,
    ) -> None:
        self._pki = pki
        self._persons = persons
        self._spoke: dict[str, tuple[str, str]] = {}  # mode and client by id of the VIHF
        self._site = TlsSite(host, port)
        self._clock = clock
        self._refuser: Refuser | None = None
        self._times: int | None = None
        self._fault: Fault | None = None
        self.delay_s = 1.0
        self.retry_after_s = 3600
        self.memory = MemoryRegistry()
        self.requests: list[Request] = []
        self.vihf_seen: set[str] = set()
        self.messages_seen: set[str] = set()
        self.unknown_patients: set[str] = set()  # CX: XDSUnknownPatientId, TD0.2 answers NF
        self.closed_patients: set[str] = set()  # CX: TD0.2 says closed
        self.slow_to_show: set[str] = set()  # uniqueIds that it has, and does not find yet

    # Switches and ledgers

    @property
    def fault(self) -> Fault | None:
        return self._fault

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        self._fault, self._times = fault, None

    def fail(self, fault: Fault, times: int = 1) -> None:
        """`fault` for the next `times` requests that it concerns."""
        self._fault, self._times = fault, times

    async def refuse_certificates(self, alert: int | None = None) -> None:
        """Every connection now ends with this TLS alert, unknown_ca by default; `restore` takes them again."""
        await self.stop()
        self._refuser = Refuser(self._context(knows_clients=False), (self._site.host, self.port), alert)
        await asyncio.to_thread(self._refuser.start)

    @property
    def documents(self) -> dict[str, Document]:
        return self.memory.documents

    @property
    def committed(self) -> list[Committed]:
        return self.memory.committed

    @property
    def withdrawn(self) -> list[str]:
        return self.memory.withdrawn

    @property
    def visible(self) -> dict[str, str]:
        """uniqueId of every Approved KOS, and its SHA-256."""
        return {
            one.unique_id: hashlib.sha256(one.content).hexdigest()
            for one in self.documents.values()
            if one.status == APPROVED and one.mime_type == "application/dicom"
        }

    # Life

    async def __aenter__(self) -> "DmpPeer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def port(self) -> int:
        return self._site.port

    @property
    def url(self) -> str:
        return f"https://{self._site.host}:{self.port}/si-dmp-server/v2/services"

    async def start(self) -> None:
        app = web.Application(client_max_size=256 << 20)
        app.router.add_post("/si-dmp-server/v2/services/{service}", self._handle)
        await self._site.start(app, self._context(), handler_cancellation=True)

    async def stop(self) -> None:
        await self._site.stop()
        if self._refuser is not None:
            await asyncio.to_thread(self._refuser.stop)
            self._refuser = None

    async def cut(self) -> None:
        """The network goes: nobody listens, open connections are closed."""
        await self.stop()

    async def restore(self) -> None:
        """The network is back, at the same address, and certificates are taken."""
        await self.stop()
        await self.start()

    def _context(self, *, knows_clients: bool = True) -> ssl.SSLContext:
        clients = [self._pki.authority, *([self._persons.authority] if self._persons is not None else [])]
        return server_context(self._pki, self._site.host, clients if knows_clients else [], ciphers=CIPHERS)

    # One request

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self._fault is Fault.RESET_AT_ONCE and self._spend():
            return _reset(request)
        body = await request.read()
        try:
            asked = answers.read_request(request.headers.get("Content-Type", ""), body)
        except (BadRequest, KeyError, ValueError, etree.XMLSyntaxError) as err:
            return web.Response(status=400, text=f"bad request: {type(err).__name__}")
        if SERVICE.get(asked.action) != request.match_info["service"]:
            return self._soap(asked, answers.fault("ActionNotSupported", "wrong service"), 500, FAULT_ACTION)
        met = await self._before(request, asked)
        if met is not None:
            return met
        try:
            vihf = self._check(request, asked)
        except VihfRefused as err:
            self._note(asked, "", err.subcode)
            return self._soap(asked, answers.fault(err.subcode, err.reason), 500, FAULT_ACTION)
        if asked.action == QUERY:
            return self._query(asked, vihf)
        if asked.action == PATIENT:
            self._note(asked, vihf.id, "ok")
            known = vihf.patient not in self.unknown_patients
            return self._soap(asked, answers.patient_answer(known, vihf.patient not in self.closed_patients))
        return await self._mutate(request, asked, vihf)

    def _check(self, request: web.Request, asked: Asked) -> Vihf:
        connection = request.get_extra_info("ssl_object")
        client = x509.load_der_x509_certificate(connection.getpeercert(True))
        card = self._persons is not None and client.issuer == self._persons.sub_authority.subject
        allowed = {ExtendedKeyUsageOID.CLIENT_AUTH, *((ExtendedKeyUsageOID.SMARTCARD_LOGON,) if card else ())}
        if purposes(client) != allowed:
            raise VihfRefused("DMPInvalidCertificate", "Not a valid authentication certificate")
        if not asked.message_id.startswith("urn:uuid:") or asked.message_id in self.messages_seen:
            raise VihfRefused("InvalidAddressingHeader", "MessageID missing or already used")
        self.messages_seen.add(asked.message_id)
        persons = self._persons.sub_authority if self._persons is not None else None
        vihf = check_vihf(asked.assertion, self._pki.sub_authority, client, self.vihf_seen, self._clock(), persons)
        self._spoke[vihf.id] = (vihf.mode, common_name_of(client))
        return vihf

    def _query(self, asked: Asked, vihf: Vihf) -> web.StreamResponse:
        query = asked.payload.find(f"{{{RIM}}}AdhocQuery")
        option = asked.payload.find(f"{{{answers.QUERY}}}ResponseOption")
        returns = option.get("returnType") if option is not None else ""
        if query is None or returns not in ("ObjectRef", "LeafClass"):
            return self._soap(asked, answers.query_response((), [("XDSRegistryError", "not a stored query")]))
        if returns == "LeafClass" and vihf.mode == "INDIRECTE":
            self._note(asked, vihf.id, "XDSRegistryError")
            return self._soap(asked, answers.query_response((), [("XDSRegistryError", "Accès non autorisé")]))
        try:
            found = self._find(query, vihf)
        except XdsError as err:
            self._note(asked, vihf.id, err.code)
            return self._soap(asked, answers.query_response((), [(err.code, err.context)]))
        self._note(asked, vihf.id, "ok")
        write = answers.object_ref if returns == "ObjectRef" else answers.leaf_class
        return self._soap(asked, answers.query_response([write(one) for one in found]))

    def _find(self, query: etree._Element, vihf: Vihf) -> list[Document]:
        slots = {
            slot.get("name", ""): slot.findtext(f"{{{RIM}}}ValueList/{{{RIM}}}Value", "")
            for slot in query.iterfind(f"{{{RIM}}}Slot")
        }
        shown = [one for one in self.documents.values() if one.unique_id not in self.slow_to_show]
        seen = [one for one in shown if one.status != DELETED and one.patient == vihf.patient]
        if query.get("id") == GET_DOCUMENTS:
            unique, entry = slots.get("$XDSDocumentEntryUniqueId"), slots.get("$XDSDocumentEntryEntryUUID")
            wanted = _values(unique or entry or "")
            if not wanted or (unique and entry):
                raise XdsError("XDSStoredQueryParamNumber", "uniqueId or entryUUID")
            return [one for one in seen if (one.unique_id if unique else one.entry_uuid) in wanted]
        if query.get("id") == FIND_DOCUMENTS:
            if _values(f"({slots.get('$XDSDocumentEntryPatientId', '')})") != [vihf.patient]:
                raise XdsError("XDSStoredQueryMissingParam", "patientId")
            status = _values(slots.get("$XDSDocumentEntryStatus", ""))
            return [one for one in seen if one.status in status]
        raise XdsError("XDSUnknownStoredQuery", "not known here")

    async def _mutate(self, request: web.Request, asked: Asked, vihf: Vihf) -> web.StreamResponse:
        if vihf.mode not in ("INDIRECTE", "DIRECTE"):
            return self._soap(asked, answers.fault("DMPAccess", "Accès non autorisé"), 500, FAULT_ACTION)
        if self._fault is Fault.SUCCESS_WITHOUT_COMMIT and self._spend():
            self._note(asked, vihf.id, Fault.SUCCESS_WITHOUT_COMMIT)
            return self._soap(asked, answers.registry_response())
        try:
            self._carry_out(asked, vihf)
        except XdsError as err:
            self._note(asked, vihf.id, err.code)
            return self._soap(asked, answers.registry_response([(err.code, err.context)]))
        except (BadRequest, KeyError) as err:
            self._note(asked, vihf.id, "XDSMissingDocument")
            return self._soap(asked, answers.registry_response([("XDSMissingDocument", type(err).__name__)]))
        if self._fault in _AFTER_COMMIT and (fault := self._fault) and self._spend():
            self._note(asked, vihf.id, fault)
            return await self._after_commit(fault, request, asked)
        self._note(asked, vihf.id, "ok")
        if self._fault is Fault.WARNING and self._spend():
            warning = answers.registry_response([("XDSExtraMetadataNotSaved", "")], warning=True)
            return self._soap(asked, warning)
        return self._soap(asked, answers.registry_response())

    def _carry_out(self, asked: Asked, vihf: Vihf) -> None:
        lists = list(asked.payload.iter(f"{{{RIM}}}RegistryObjectList"))
        if len(lists) != 1:
            raise XdsError("XDSRegistryMetadataError", "expected one RegistryObjectList")
        if vihf.patient in self.unknown_patients:
            raise XdsError("XDSUnknownPatientId", "no DMP")
        if asked.action == PUBLISH:
            self.memory.submit(lists[0], answers.attached(asked), vihf)
        else:
            self.memory.update(lists[0], vihf)

    # Faults

    def _spend(self) -> bool:
        """One use of the switch."""
        if self._times is not None:
            self._times -= 1
            if self._times <= 0:
                self._fault, self._times = None, None
        return True

    async def _before(self, request: web.Request, asked: Asked) -> web.StreamResponse | None:
        """What a fault answers before anything is looked at."""
        fault = self._fault
        if fault is None or (fault in _OF_LOOK_UP) != (asked.action == QUERY) or asked.action == PATIENT:
            return None
        if fault is Fault.SLOW and self._spend():
            await asyncio.sleep(self.delay_s)
            return None
        write = _BEFORE.get(fault)
        if write is None:
            return None
        self._spend()
        self._note(asked, "", fault)
        return write(self, request, asked)

    async def _after_commit(self, fault: Fault, request: web.Request, asked: Asked) -> web.StreamResponse:
        good = answers.envelope(ANSWER_ACTION[asked.action], asked.message_id, answers.registry_response())
        content_type, body = answers.as_multipart(good)
        if fault is Fault.COMMIT_THEN_RESET:
            return _reset(request)
        if fault is Fault.COMMIT_THEN_500:
            return web.Response(status=500, text="Internal Server Error")
        if fault is Fault.COMMIT_THEN_BUSY:
            return web.Response(status=503, headers={"Retry-After": str(self.retry_after_s)})
        if fault is Fault.COMMIT_THEN_TRUNCATED:
            return web.Response(body=body[: len(body) // 2], headers={"Content-Type": content_type})
        if fault is Fault.COMMIT_THEN_WRONG_TYPE:
            return web.Response(body=good, content_type="text/plain")
        if fault is Fault.COMMIT_THEN_DUPLICATE:
            again = answers.registry_response([("XDSDuplicateUniqueIdInRegistry", "uniqueId of the set")])
            return self._soap(asked, again)
        if fault is Fault.COMMIT_THEN_WRONG_RELATES_TO:
            other = answers.envelope(ANSWER_ACTION[asked.action], "urn:uuid:another", answers.registry_response())
            content_type, body = answers.as_multipart(other)
            return web.Response(body=body, headers={"Content-Type": content_type})
        return await self._endless(fault, request, content_type, body)

    async def _endless(self, fault: Fault, request: web.Request, content_type: str, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        if fault is Fault.COMMIT_THEN_HANG:
            await asyncio.sleep(3600)
        elif fault is Fault.COMMIT_THEN_HUGE:
            for _ in range(4096):
                await response.write(b" " * (1 << 16))
        else:
            for at in range(len(body)):
                await response.write(body[at : at + 1])
                await asyncio.sleep(1)
        return response

    # Answers

    def _note(self, asked: Asked, vihf_id: str, result: str) -> None:
        self.requests.append(Request(asked.action, asked.message_id, vihf_id, result, *self._spoke.pop(vihf_id, ())))

    def _soap(self, asked: Asked, body: str, status: int = 200, action: str = "") -> web.Response:
        root = answers.envelope(action or ANSWER_ACTION[asked.action], asked.message_id, body)
        if SERVICE.get(asked.action) == "repository":
            content_type, content = answers.as_multipart(root)
        else:
            content_type, content = "application/soap+xml; charset=UTF-8", root
        return web.Response(status=status, body=content, headers={"Content-Type": content_type})

    def _too_many(self, status: int) -> web.Response:
        return web.Response(status=status, headers={"Retry-After": str(self.retry_after_s)})


_Write = Callable[[DmpPeer, web.Request, Asked], web.StreamResponse]
_HTML = "<html><body>Connectez-vous au réseau</body></html>"
_BEFORE: dict[Fault, _Write] = {
    Fault.BUSY: lambda peer, _, __: peer._too_many(503),
    Fault.TOO_MANY: lambda peer, _, __: peer._too_many(429),
    Fault.LOOK_UP_DOWN: lambda peer, _, __: peer._too_many(503),
    Fault.LOOK_UP_PORTAL: lambda *_: web.Response(text=_HTML, content_type="text/html"),
    Fault.LOOK_UP_RESET: lambda _, request, __: _reset(request),
    Fault.CAPTIVE_PORTAL: lambda *_: web.Response(text=_HTML, content_type="text/html"),
    Fault.REDIRECT: lambda *_: web.Response(status=307, headers={"Location": "https://127.0.0.1:1/"}),
    Fault.REGISTRY_BUSY: lambda peer, _, asked: peer._soap(
        asked, answers.registry_response([("XDSRegistryBusy", "later")])
    ),
    Fault.GENERIC: lambda peer, _, asked: peer._soap(asked, answers.registry_response([("XDSRegistryError", "?")])),
    Fault.PARTIAL: lambda peer, _, asked: peer._soap(
        asked,
        answers.registry_response(
            [("XDSRegistryError", "one part")], status="urn:ihe:iti:2007:ResponseStatusType:PartialSuccess"
        ),
    ),
    Fault.RECEIVER_FAULT: lambda peer, _, asked: peer._soap(
        asked, answers.fault("", "internal error", "Receiver"), 500, FAULT_ACTION
    ),
}


def _reset(request: web.Request) -> web.Response:
    """RST instead of an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response(status=500)


def _values(text: str) -> list[str]:
    """`('a','b')` of a stored query; quotes doubled."""
    if not (text.startswith("(") and text.endswith(")")):
        return []
    return [one.replace("''", "'") for one in re.findall(r"'((?:[^']|'')*)'", text)]


async def _serve(folder: Path, port: int, structure: str) -> None:
    pki = Pki(folder)
    async with DmpPeer(pki, port=port) as dmp:
        print(f"DMP            {dmp.url}")
        print(f"authority      {pki.authority}")
        for name, value in pki.structure(structure).as_config().items():
            print(f"{name:<14} {value}")
        seen = 0
        while True:
            await asyncio.sleep(0.5)
            for one in dmp.requests[seen:]:
                print(f"{one.action.rpartition(':')[2]:<34} {one.result}")
            seen = len(dmp.requests)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where keys are kept")
    parser.add_argument("--port", type=int, default=8443)
    parser.add_argument("--structure", default="10B0127189", help="StructIdNat to make certificates for")
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.folder, arguments.port, arguments.structure))
