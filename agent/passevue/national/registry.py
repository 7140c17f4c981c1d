"""The DMP as the box speaks to it: one method per transaction, each one try on the wire (dmp-xds.md § 1).

Rules:
- A new VIHF and a new MessageID for every try; what was frozen is sent as it is.
- A try that failed before its last byte was handed to the connection is a `NetworkError`; from that byte on, whatever
  is not understood is `InDoubt` for a mutation (reliability § 6). A query is never in doubt.
- Nothing is followed: no redirect, no proxy of the environment, no cookie, no compression. The answer is bounded in
  bytes and time, and belongs to the request only if RelatesTo says so.
- Nothing is sent that the audit trail could not tell (LOG-01): `admit` says no before anything leaves.
- What an answer means is in `outcome`; this module moves bytes.
"""

import asyncio
import ssl
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

import aiohttp
import structlog

from passevue import config
from passevue.errors import (
    BoxError,
    CredentialError,
    Failing,
    InDoubt,
    NetworkError,
    Refused,
    TrustError,
    Unreadable,
)
from passevue.national import outcome, xds
from passevue.national.key_tls import KeyTls
from passevue.national.personal import InPerson, PersonalSigner
from passevue.national.soap import (
    Attachment,
    Element,
    Message,
    Request,
    new_message_id,
    read_message,
    write_mtom_request,
    write_request,
)
from passevue.national.structures import StructureKeys, Structures
from passevue.national.token_keys import TokenTls
from passevue.national.vihf import Lps, Mode, VihfFacts, build_vihf
from passevue.national.wire import Sent, bounded, in_pieces, raise_for_transport, retry_after
from passevue.queue.work import Answer, Submission

MAX_CONNECTIONS = 8  # per structure: twice the default lanes, for look-ups beside publications
KEEP_ALIVE_S = 15.0  # shorter than a server's, so that a stale connection seldom puts a try in doubt
DUPLICATE_TRIES = 5  # a duplicate that no look-up finds, then a person (dmp-xds.md § 10)
BRIEF_BYTES = 256 << 10  # of an answer, read in some milliseconds; a longer one does not hold the loop
_DUPLICATES_KEPT = 10_000

T = TypeVar("T")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Exchange:
    """One try on the wire, for the audit trail (dmp-xds.md § 11): `facts` name the patient, so it goes nowhere else.

    `result` is `ok`, the class of the error in the tree, `Cancelled`, or `Crashed` for one that is none of ours; `code`
    what the DMP said, where it said something.
    """

    transaction: str
    message_id: str
    structure: str
    facts: VihfFacts = field(repr=False)
    set_unique_id: str
    started_at: datetime
    duration_s: float
    result: str
    code: str = ""


async def _at_once() -> None:
    pass


class Registry:
    """The DMP's services. Use as an async context manager, or call `close`.

    Args:
        settings: section `[registry]`.
        structures: keys by StructIdNat.
        sender: OID of this box.
        on_exchange: told of every try, good or bad.
        clock: aware now.
        admit: returns when a try may begin, or raises TraceError.
        in_person: who is signed in to speak in their own name.
    """

    def __init__(
        self,
        settings: config.Registry,
        structures: Structures,
        sender: str,
        on_exchange: Callable[[Exchange], None] = lambda _: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        admit: Callable[[], Awaitable[None]] = _at_once,
        in_person: InPerson | None = None,
    ) -> None:
        self._settings = settings
        self._base = str(settings.url).rstrip("/")
        self._structures = structures
        self._sender = sender
        self._on_exchange = on_exchange
        self._clock = clock
        self._admit = admit
        self._in_person = in_person or InPerson()
        self._key_tls = KeyTls(structures.open_context, settings.connect_timeout_s)
        self._in_person.on_leave(self._key_tls.leave)
        self._tokens: dict[str, TokenTls] = {}  # what last opened connections in a structure's name
        self._sessions: dict[str, tuple[ssl.SSLContext, aiohttp.ClientSession]] = {}
        self._retired: list[tuple[float, aiohttp.ClientSession]] = []  # still busy when their certificates changed
        self._duplicates: OrderedDict[str, int] = OrderedDict()
        self._lps = Lps(
            settings.lps_name,
            settings.lps_version,
            settings.lps_homologation,
            settings.lps_id,
            settings.secret_connection_code,
        )

    async def __aenter__(self) -> "Registry":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        sessions, self._sessions = self._sessions, {}
        retired, self._retired = self._retired, []
        for _, session in (*sessions.values(), *retired):
            await session.close()
        await self._key_tls.close()

    # Transactions

    async def publish(self, submission: Submission, target_entry_uuid: str | None = None) -> Answer:
        """TD2.1a, or TD2.1b when the metadata need the entryUUID of what is replaced.

        Raises:
            NetworkError: not sent whole, or the DMP is overloaded.
            InDoubt: sent whole and not understood, or it may be there already: look up.
            CredentialError: certificate, VIHF or clock; held.
            Refused: definitive; `outcome.StaleTarget` when the target moved: look up and try once more.
            TrustError: the server's certificate is wrong.
        """
        metadata = xds.fill_entry_uuid(submission.metadata, target_entry_uuid)
        attachments = (Attachment("0.3", submission.signature), Attachment("0.2", submission.kos))
        body = xds.provide_and_register(metadata)
        return await self._mutate(submission, "repository", xds.PROVIDE_AND_REGISTER, body, attachments)

    async def withdraw(
        self, submission: Submission, entry_uuid: str, original_status: xds.EntryStatus = xds.EntryStatus.APPROVED
    ) -> Answer:
        """TD3.3c: the document's status becomes Deleted by ITI-57. Raises as `publish`."""
        metadata = xds.fill_entry_uuid(submission.metadata, entry_uuid)
        metadata = xds.with_original_status(metadata, original_status)
        return await self._mutate(submission, "registry", xds.UPDATE, metadata, ())

    async def find(
        self,
        unique_id: str,
        structure: str,
        facts: VihfFacts,
        returns: xds.ReturnType = xds.ReturnType.OBJECT_REF,
    ) -> xds.Found | None:
        """TD3.1b: the entryUUID of one of our documents, None when the DMP does not know it.

        INDIRECTE mode has a right to references only; `LEAF_CLASS` gives status and hash where the mode allows it.

        Raises:
            NetworkError, CredentialError, Refused, TrustError: as `publish`; never InDoubt.
        """
        body = xds.get_documents(unique_id, returns)
        return await self._exchange("TD3.1b", "registry", xds.STORED_QUERY, structure, facts, body, _read_found)

    async def patient_status(self, structure: str, facts: VihfFacts) -> xds.PatientStatus:
        """TD0.2: whether the patient of `facts` has an open DMP. Raises as `find`."""
        value, _, rest = facts.resource_id.partition("^^^&")
        body = xds.patient_status(new_message_id(), (value, rest.partition("&")[0]), self._sender, self._clock())
        return await self._exchange(
            "TD0.2", "patients", xds.PATIENT_STATUS, structure, facts, body, _read_patient_status
        )

    # One try

    async def _mutate(
        self, submission: Submission, service: str, action: str, body: bytes, attachments: tuple[Attachment, ...]
    ) -> Answer:
        facts = VihfFacts.from_bytes(submission.vihf)
        transaction = submission.transaction.value
        set_id = submission.set_unique_id
        try:
            answer = await self._exchange(
                transaction, service, action, submission.structure, facts, body, _read_answer, attachments, set_id
            )
        except outcome.MayBeThere as err:
            self._count_duplicate(set_id, err)
            raise
        self._duplicates.pop(set_id, None)
        if answer.warnings:
            log.warning("registry_warned", transaction=transaction, codes=answer.warnings)
        return answer

    def _count_duplicate(self, set_id: str, err: outcome.MayBeThere) -> None:
        """It says that it has our set, and no look-up finds it: after some tries, a person decides."""
        tries = self._duplicates.pop(set_id, 0) + 1
        if tries >= DUPLICATE_TRIES:
            raise Refused(err.code, f"the DMP answered so {tries} times") from err
        self._duplicates[set_id] = tries
        while len(self._duplicates) > _DUPLICATES_KEPT:
            self._duplicates.popitem(last=False)

    async def _exchange(
        self,
        transaction: str,
        service: str,
        action: str,
        structure: str,
        facts: VihfFacts,
        body: bytes,
        read: Callable[[Message], T],
        attachments: tuple[Attachment, ...] = (),
        set_unique_id: str = "",
    ) -> T:
        """One request and what `read` makes of its answer, whatever happens told to `on_exchange`.

        It is a mutation when it has a submission set.
        """
        mutation = bool(set_unique_id)
        await self._admit()
        keys = self._structures.get(structure)
        person = self._in_person.of_person(facts.name_id, facts.consent) if facts.mode is Mode.DIRECTE else None
        message_id = new_message_id()
        started_at, start = self._clock(), time.monotonic()
        result, code = "ok", ""
        try:
            signer = keys.sign if person is None else person.signs
            assertion = await build_vihf(facts, signer, started_at, self._settings.digest, self._lps)
            to = f"{self._base}/{service}"
            request = (
                write_mtom_request(action, to, assertion, body, message_id, attachments)
                if attachments
                else write_request(action, to, assertion, body, message_id)
            )
            message = await self._send(keys, person, to, request, mutation=mutation)
            if message.fault is not None:
                outcome.raise_for_fault(message.fault, mutation=mutation)
            return read(message)
        except BoxError as err:
            result, code = _kind(err), getattr(err, "code", "")
            raise
        except BaseException as err:  # cancelled, or a fault of ours: whatever it is, it is not `ok`
            result = "Cancelled" if isinstance(err, asyncio.CancelledError) else "Crashed"
            raise
        finally:
            duration_s = round(time.monotonic() - start, 3)
            exchange = Exchange(
                transaction, message_id, structure, facts, set_unique_id, started_at, duration_s, result, code
            )
            log.info("exchanged", transaction=transaction, message_id=message_id, duration_s=duration_s, result=result)
            self._on_exchange(exchange)

    async def _send(
        self, keys: StructureKeys, person: PersonalSigner | None, to: str, request: Request, *, mutation: bool
    ) -> Message:
        sent = Sent()

        async def ask(session: aiohttp.ClientSession) -> Message:
            return await self._ask(session, to, request, sent, mutation=mutation)

        try:
            by = person or self._token(keys)
            if by is not None:
                return await self._key_tls.ask(by, ask, lambda: mutation and sent.whole)
            return await ask(await self._session(keys))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as err:
            raise_for_transport(err, in_doubt=mutation and sent.whole)
        except Unreadable as err:
            kind = InDoubt if mutation else NetworkError
            raise kind(f"the answer was not understood: {err.message}") from err

    async def _ask(
        self, session: aiohttp.ClientSession, to: str, request: Request, sent: Sent, *, mutation: bool
    ) -> Message:
        """One request; on the main loop, or on that of a person's connections: it changes nothing but `sent`."""
        headers = {
            "Content-Type": request.content_type,
            "Content-Length": str(request.length),
            "Accept": "application/soap+xml, multipart/related",
            "Accept-Encoding": "identity",
        }
        async with asyncio.timeout(self._settings.timeout_s):
            async with session.post(
                to, data=in_pieces(request, sent), headers=headers, allow_redirects=False
            ) as response:
                return await self._read(response, request, mutation=mutation)

    async def _read(self, response: aiohttp.ClientResponse, request: Request, *, mutation: bool) -> Message:
        retry_after_s = retry_after(response.headers.get("Retry-After"), self._clock())
        media = response.content_type
        if response.status not in (200, 400, 500) or media not in ("application/soap+xml", "multipart/related"):
            if response.status == 200:
                raise Unreadable(f"expected SOAP, got {media[:40]!r}")
            outcome.raise_for_status(response.status, retry_after_s, mutation=mutation)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise Unreadable("expected an answer without compression")
        content_type, body = response.headers["Content-Type"], await bounded(response)
        if len(body) > BRIEF_BYTES:
            message = await asyncio.to_thread(read_message, content_type, body)
        else:
            message = read_message(content_type, body)
        _check_belongs(message, request)
        if response.status != 200 and message.fault is None:
            raise Unreadable(f"HTTP {response.status} with SOAP that is no fault")
        return message

    def _token(self, keys: StructureKeys) -> TokenTls | None:
        """What opens connections in a structure's name with a key of a token; that of its old certificate is left."""
        before = self._tokens.pop(keys.id, None)
        if before is not None and before is not keys.tls:
            self._key_tls.retire(before)
        if keys.tls is not None:
            self._tokens[keys.id] = keys.tls
        return keys.tls

    async def _session(self, keys: StructureKeys) -> aiohttp.ClientSession:
        """The session of one structure, made new when its certificates are; one that may be busy is closed later."""
        await self._close_retired()
        held = self._sessions.get(keys.id)
        if held is not None and held[0] is keys.ssl_context and not held[1].closed:
            return held[1]
        connector = aiohttp.TCPConnector(
            ssl=keys.ssl_context, limit=MAX_CONNECTIONS, keepalive_timeout=KEEP_ALIVE_S, use_dns_cache=False
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._settings.connect_timeout_s),
            auto_decompress=False,
            trust_env=False,
        )
        self._sessions[keys.id] = (keys.ssl_context, session)
        if held is not None:
            self._retired.append((time.monotonic(), held[1]))
        return session

    async def _close_retired(self) -> None:
        oldest = time.monotonic() - 2 * self._settings.timeout_s
        done = [session for since, session in self._retired if since < oldest]
        self._retired = [one for one in self._retired if one[0] >= oldest]
        for session in done:
            await session.close()


def _kind(err: BoxError) -> str:
    """The class of the tree, whatever narrower one was raised."""
    kinds = (InDoubt, Failing, NetworkError, CredentialError, TrustError, Refused)
    return next((kind.__name__ for kind in kinds if isinstance(err, kind)), type(err).__name__)


def _check_belongs(message: Message, request: Request) -> None:
    """RelatesTo must be ours; a fault may have lost it, but not have another's (F-19)."""
    if message.relates_to != request.message_id and (message.relates_to or message.fault is None):
        raise Unreadable("the answer belongs to another request")
    expected = xds.ANSWER_ACTIONS[request.action]
    if message.fault is None and message.action and message.action not in expected:
        raise Unreadable("the answer is to another action")


def _read_answer(message: Message) -> Answer:
    payload = message.payload
    if payload is None or payload.tag != f"{{{xds.RS}}}RegistryResponse":
        raise InDoubt("expected a RegistryResponse")
    response = outcome.read_registry_response(payload)
    if response.status == outcome.SUCCESS and not response.findings:
        return Answer(response.status, message.relates_to, None, response.warnings)
    if response.status == outcome.FAILURE and response.findings:
        outcome.raise_for_findings(response.findings)
    # Partial success, success with errors, failure without: nobody knows what was kept (reliability § 6).
    raise InDoubt(f"the registry answered neither success nor failure: {len(response.findings)} errors")


def _read_found(message: Message) -> xds.Found | None:
    payload = _payload(message, f"{{{xds.QUERY}}}AdhocQueryResponse")
    response = outcome.read_registry_response(payload)
    if response.findings:
        outcome.raise_for_findings(response.findings)
    if response.status != outcome.SUCCESS:
        raise NetworkError("TD3.1b: expected Success or an error")
    try:
        return xds.read_found(payload)
    except Unreadable as err:
        raise NetworkError(f"TD3.1b: {err.message}") from err


def _read_patient_status(message: Message) -> xds.PatientStatus:
    try:
        return xds.read_patient_status(_payload(message, f"{{{xds.HL7}}}PRPA_IN201308UV02"))
    except Unreadable as err:
        raise NetworkError(f"TD0.2: {err.message}") from err


def _payload(message: Message, tag: str) -> Element:
    if message.payload is None or message.payload.tag != tag:
        raise NetworkError("the answer does not hold what was asked")
    return message.payload
