"""Connections opened with a card's key, in a thread of their own: the handshake blocks it while the card signs.

    async with TlsThread(context, key, operation) as https:
        answer = await https.request("POST", url, body=envelope, headers={"Content-Type": "application/soap+xml"})
        message = await https.run(lambda session: exchange(session, request))   # any coroutine, on that thread

Rules:
- The main loop never waits for the thread: it only awaits futures, and a cancelled request is gone at once for it.
- `close(reason)` is for the card's removal: what was under way raises `reason`, connections already open are cut.
- No cookie, no redirect, no proxy of the environment; answers are bounded.
- A signature that fails comes out as the card's own error (`CardAbsent`, `PinNeeded`…), not as a broken handshake.

Facts: one thread is enough; a card signs one thing at a time. While it does, the other connections of this thread
stand still, for a second at most. A connection that is kept open signs once.
"""

import asyncio
import concurrent.futures
import contextlib
import selectors
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from passevue.card.tls_key import PrivateOperation, TlsKey, use_key
from passevue.errors import BoxError, CardAbsent, CardFault, CredentialError, NetworkError, TrustError, Unreadable

if TYPE_CHECKING:  # loaded by who opens such connections, not by who only gives the key
    import aiohttp

MAX_ANSWER_BYTES = 32 << 20
MAX_CONNECTIONS = 4  # a person at the box asks for one thing at a time; a publication for two
_MAX_WAITING = 64  # requests that wait for a connection; beyond it something is wrong with the caller
_KEEP_ALIVE_S = 15.0
_END_S = 5.0
_GOODBYE_S = 1.0  # for the far side to answer close_notify; longer, and the connection is dropped

T = TypeVar("T")
Sign = Callable[[bytes], Awaitable[bytes]]


class AwaitedOperation:
    """The blocking face of a key whose signatures are coroutines of the main loop. Implements `PrivateOperation`.

    Args:
        loop: where `sign_digest_info` and `decrypt_block` run.
        sign_digest_info: PKCS#1 v1.5 signature of a DigestInfo.
        decrypt_block: raw RSA; None when the key does not do it.
        timeout_s: a card takes a second, a person typing nothing: the code is asked for before.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sign_digest_info: Sign,
        decrypt_block: Sign | None = None,
        *,
        timeout_s: float = 20.0,
    ) -> None:
        self._loop = loop
        self._sign = sign_digest_info
        self._decrypt = decrypt_block
        self._timeout_s = timeout_s
        self._pending: set[concurrent.futures.Future[bytes]] = set()
        self._given_up: BoxError | None = None
        self._lock = threading.Lock()

    @property
    def raw_rsa(self) -> bool:
        return self._decrypt is not None

    def sign_digest_info(self, digest_info: bytes) -> bytes:
        return self._wait(self._sign, digest_info)

    def decrypt_block(self, block: bytes) -> bytes:
        if self._decrypt is None:
            raise CredentialError("this key does no raw RSA")
        return self._wait(self._decrypt, block)

    def give_up(self, reason: BoxError) -> None:
        """Whoever waits, now or later, gets `reason`. From any thread."""
        with self._lock:
            self._given_up = self._given_up or reason
            pending = tuple(self._pending)
        for future in pending:
            future.cancel()

    def _wait(self, operation: Sign, data: bytes) -> bytes:
        if asyncio._get_running_loop() is self._loop:
            raise CredentialError("a handshake with the card's key was begun on the main loop")

        async def call() -> bytes:
            return await operation(data)

        with self._lock:
            if self._given_up is not None:
                raise self._given_up
            if self._loop.is_closed():
                raise CardAbsent("the box is stopping")
            future = asyncio.run_coroutine_threadsafe(call(), self._loop)
            self._pending.add(future)
        try:
            return future.result(self._timeout_s)
        except TimeoutError as err:
            future.cancel()
            raise CardFault(f"the key did not sign within {self._timeout_s:g} s") from err
        except concurrent.futures.CancelledError as err:
            raise self._given_up or CardAbsent("the signature was given up") from err
        finally:
            with self._lock:
                self._pending.discard(future)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One answer, whole. Header names are in lower case; of a repeated one the last counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class TlsThread:
    """A thread with its own loop and HTTP session, whose connections show the certificate of `key`.

    Args:
        context: a client context that trusts who is to be reached; `use_key` is applied to it here.
        operation: what `key` signs through; told to give up when the thread is closed.

    Raises (from entering):
        CredentialError: this Python cannot do it, or OpenSSL refuses the certificate.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        key: TlsKey,
        operation: PrivateOperation,
        *,
        connections: int = MAX_CONNECTIONS,
        connect_timeout_s: float = 30.0,
    ) -> None:
        self._context = context
        self._key = key
        self._operation = operation
        self._connections = connections
        self._connect_timeout_s = connect_timeout_s
        self._places = asyncio.Semaphore(connections)
        self._waiting = 0
        self._closed: BoxError | None = None
        self._selector = selectors.DefaultSelector()  # ours, to see when the last socket is closed
        self._started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._live, name="card-tls", daemon=True)

    async def __aenter__(self) -> Self:
        use_key(self._context, self._key)
        self._thread.start()
        await asyncio.wrap_future(self._started)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, reason: BoxError | None = None) -> None:
        """Cut everything; what was under way raises `reason`. A second call waits for the end of the first."""
        if self._closed is None:
            self._closed = reason or CredentialError("the connections with this key were closed")
            give_up = getattr(self._operation, "give_up", None)
            if give_up is not None:
                give_up(self._closed)
            if self._thread.is_alive():
                self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join, _END_S)

    async def run(self, work: "Callable[[aiohttp.ClientSession], Coroutine[Any, Any, T]]") -> T:
        """The outcome of `work(session)`, which runs on the thread's loop and must touch nothing of the main one.

        Raises:
            CredentialError: the key did not sign (`CardAbsent`, `PinNeeded`…), or the thread was closed.
            TrustError: what it signed does not belong to the certificate.
            Exception: whatever `work` raises.
        """
        if self._waiting >= _MAX_WAITING:
            raise NetworkError("too many requests wait for the card's connections")
        self._waiting += 1
        try:
            async with self._places:
                if self._closed is not None:
                    raise self._closed
                return await self._cross(asyncio.run_coroutine_threadsafe(self._told(work), self._loop))
        finally:
            self._waiting -= 1

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float = 60.0,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> HttpAnswer:
        """One request that may safely be asked twice; what may not uses `run` and tells what was sent.

        Raises:
            CredentialError: as `run`.
            TrustError: as `run`, or the server's certificate is not trusted.
            NetworkError: no answer came, or not in time.
            Unreadable: the answer is longer than `max_bytes`.
        """

        import aiohttp

        async def work(session: aiohttp.ClientSession) -> HttpAnswer:
            async with (
                asyncio.timeout(timeout_s),
                session.request(method, url, headers=headers, data=body, allow_redirects=False) as response,
            ):
                content = await _bounded(response, max_bytes)
                return HttpAnswer(response.status, {n.lower(): v for n, v in response.headers.items()}, content)

        try:
            return await self.run(work)
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ServerFingerprintMismatch) as err:
            raise TrustError(
                "the certificate of the server is not trusted",
                hint="Le serveur atteint n'est pas le bon : pare-feu ou proxy qui intercepte ? Rien n'a été envoyé.",
            ) from err
        except (aiohttp.ClientError, TimeoutError, OSError) as err:
            raise NetworkError(f"no answer: {type(err).__name__}") from err

    # On the main loop

    async def _cross(self, future: concurrent.futures.Future[T]) -> T:
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed is not None and (task is None or not task.cancelling()):
                raise self._closed from None  # the thread ended under it; nobody cancelled this request
            raise

    # On the thread

    def _live(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(self._selector)) as runner:
                runner.run(self._serve())
        except BaseException as err:
            if self._started.done():
                raise
            self._started.set_exception(err)

    async def _serve(self) -> None:
        import aiohttp

        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        connector = aiohttp.TCPConnector(ssl=self._context, limit=self._connections, keepalive_timeout=_KEEP_ALIVE_S)
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout_s),
            auto_decompress=False,
            trust_env=False,
        ) as self._session:
            self._started.set_result(None)
            await self._stop.wait()
            mine = asyncio.current_task()
            under_way = [task for task in asyncio.all_tasks() if task is not mine]
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
        await self._sockets_closed()

    async def _sockets_closed(self) -> None:
        """A connection that was cut in its handshake says goodbye by itself, unknown to the session."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_S):
                while len(self._selector.get_map()) > 1:  # noqa: ASYNC110 - nothing tells; the loop's own pipe stays
                    await asyncio.sleep(0.005)
        await asyncio.sleep(0)

    async def _told(self, work: "Callable[[aiohttp.ClientSession], Coroutine[Any, Any, T]]") -> T:
        """`work`, with the key's own words where the key is why it failed."""
        import aiohttp

        try:
            return await work(self._session)
        except asyncio.CancelledError:
            self._key.take_failure()
            raise
        except (aiohttp.ClientError, OSError, TimeoutError) as err:
            failure = self._key.take_failure()
            if failure is not None:
                raise failure from err
            raise


async def _bounded(response: "aiohttp.ClientResponse", max_bytes: int) -> bytes:
    content = bytearray()
    async for piece in response.content.iter_any():
        content += piece
        if len(content) > max_bytes:
            raise Unreadable(f"expected an answer of at most {max_bytes} bytes")
    return bytes(content)
