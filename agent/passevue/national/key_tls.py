"""Connections that a key outside this process opens, a card's or a token's: one `TlsThread` per who speaks.

Rules:
- Made at the first request in that name, with the authorities and the suites of the structures' contexts.
- A person who leaves: everything is cut at once. What had left whole by then is in doubt, the rest was not sent.
- A structure whose keys are renewed: what is under way ends first.
- What the answer says is told apart from what the key says: only the latter puts a request that left in doubt.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import aiohttp
from cryptography import x509

from passevue.card.key_signer import SigningKey, tls_key_of
from passevue.card.tls_thread import TlsThread
from passevue.errors import BoxError, CardAbsent, CredentialError, InDoubt, TrustError

T = TypeVar("T")
_GONE = "whoever speaks has left"


class OpensTls(Protocol):
    """Who speaks: a person by their card, or a structure by its token. Told from others by identity."""

    @property
    def chain(self) -> Sequence[x509.Certificate]:
        """Authorities to send along with the certificate."""
        ...

    async def open_tls(self) -> SigningKey:
        """The key that opens the connection. Raises: CredentialError when there is none now."""
        ...


@dataclass(slots=True, eq=False)
class _Held:
    """One who speaks, kept so that nobody else gets its id."""

    by: OpensTls
    thread: TlsThread | None = None
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    asking: int = 0
    retired: bool = False
    left: bool = False


class KeyTls:
    """Connections by who speaks.

    Args:
        open_context: what they are opened with, but for the certificate; blocks.
        connect_timeout_s: of each connection.
    """

    def __init__(self, open_context: Callable[[], ssl.SSLContext], connect_timeout_s: float) -> None:
        self._open_context = open_context
        self._connect_timeout_s = connect_timeout_s
        self._held: dict[int, _Held] = {}
        self._gone: set[asyncio.Task[None]] = set()

    async def ask(
        self, by: OpensTls, work: Callable[[aiohttp.ClientSession], Awaitable[T]], doubt: Callable[[], bool]
    ) -> T:
        """The outcome of `work(session)`, on the thread of this one's connections.

        Args:
            doubt: whether a failure now leaves open what the far side did.

        Raises:
            CredentialError: the key does not sign, or whoever it is has left.
            InDoubt: so, when `doubt()`.
            Exception: whatever `work` raises.
        """

        async def told(session: aiohttp.ClientSession) -> T | BoxError:
            try:
                return await work(session)
            except BoxError as err:
                return err

        held = self._held.setdefault(id(by), _Held(by))
        held.asking += 1
        try:
            thread = await self._thread(held)
            found = await thread.run(told)
        except (CredentialError, TrustError) as err:
            if doubt():
                raise InDoubt(f"sent whole, then {type(err).__name__}") from err
            raise
        finally:
            held.asking -= 1
            if held.retired and not held.asking:
                self.leave(by)
        if isinstance(found, BoxError):
            raise found
        return found

    async def _thread(self, held: _Held) -> TlsThread:
        async with held.opening:
            if held.thread is None:
                held.thread = await self._open(held.by)
            if held.left:
                await held.thread.close(CardAbsent(_GONE))
                raise CardAbsent(_GONE)
            return held.thread

    async def _open(self, by: OpensTls) -> TlsThread:
        signing = await by.open_tls()
        context = await asyncio.to_thread(self._open_context)
        key, operation = tls_key_of(signing, asyncio.get_running_loop(), by.chain)
        thread = TlsThread(context, key, operation, connect_timeout_s=self._connect_timeout_s)
        opening = asyncio.ensure_future(thread.__aenter__())
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:  # whoever asked has gone; the thread would live on
            opening.add_done_callback(lambda done: None if done.exception() else self._end(thread))
            raise
        return thread

    def leave(self, by: OpensTls) -> None:
        """`by` has left: their connections are cut, in the background."""
        held = self._held.pop(id(by), None)
        if held is None:
            return
        held.left = True
        if held.thread is not None:
            self._end(held.thread)

    def _end(self, thread: TlsThread) -> None:
        task = asyncio.get_running_loop().create_task(thread.close(CardAbsent(_GONE)))
        self._gone.add(task)
        task.add_done_callback(self._gone.discard)

    def retire(self, by: OpensTls) -> None:
        """Nothing more is asked in this name: its connections end with what is under way."""
        held = self._held.get(id(by))
        if held is None or not held.asking:
            self.leave(by)
        else:
            held.retired = True

    async def close(self) -> None:
        for held in tuple(self._held.values()):
            self.leave(held.by)
        with contextlib.suppress(BoxError):
            await asyncio.gather(*self._gone)
