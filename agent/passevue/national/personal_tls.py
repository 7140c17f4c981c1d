"""The connections that a person's card opened: one `TlsThread` per signed-in person, until that person leaves.

Rules:
- Made at the first request in that person's name, with the authorities and the suites of the structures' contexts.
- When the person leaves, everything is cut at once. What had left whole by then is in doubt, the rest was not sent.
- What the answer says is told apart from what the card says: only the latter puts a request that left in doubt.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import aiohttp

from passevue.card.key_signer import tls_key_of
from passevue.card.tls_thread import TlsThread
from passevue.errors import BoxError, CardAbsent, CredentialError, InDoubt, TrustError
from passevue.national.personal import PersonalSigner
from passevue.national.structures import context_of_dmp

T = TypeVar("T")


class PersonalTls:
    """Connections by person.

    Args:
        authority: PEM of who certifies the DMP's servers.
        connect_timeout_s: of each connection.
    """

    def __init__(self, authority: Path, connect_timeout_s: float) -> None:
        self._authority = authority
        self._connect_timeout_s = connect_timeout_s
        self._threads: dict[int, tuple[PersonalSigner, TlsThread]] = {}  # by id of the person, who is kept beside
        self._opening = asyncio.Lock()
        self._left: list[PersonalSigner] = []  # while one was being opened
        self._gone: set[asyncio.Task[None]] = set()

    async def ask(
        self, by: PersonalSigner, work: Callable[[aiohttp.ClientSession], Awaitable[T]], doubt: Callable[[], bool]
    ) -> T:
        """The outcome of `work(session)`, on the thread of this person's connections.

        Args:
            doubt: whether a failure now leaves open what the far side did.

        Raises:
            CredentialError: the card does not sign, or the person has left.
            InDoubt: so, when `doubt()`.
            Exception: whatever `work` raises.
        """

        async def told(session: aiohttp.ClientSession) -> T | BoxError:
            try:
                return await work(session)
            except BoxError as err:
                return err

        thread = await self._thread(by)
        try:
            found = await thread.run(told)
        except (CredentialError, TrustError) as err:
            if doubt():
                raise InDoubt(f"sent whole, then {type(err).__name__}") from err
            raise
        if isinstance(found, BoxError):
            raise found
        return found

    async def _thread(self, by: PersonalSigner) -> TlsThread:
        async with self._opening:
            held = self._threads.get(id(by))
            if held is not None:
                return held[1]
            if by.tls_key is None:
                raise CredentialError(
                    "the card has no authentication key",
                    hint="Cette carte ne permet pas d’ouvrir la connexion au DMP : publiez avec une autre.",
                )
            self._left.clear()
            context = await asyncio.to_thread(context_of_dmp, self._authority)
            key, operation = tls_key_of(by.tls_key, asyncio.get_running_loop())
            thread = TlsThread(context, key, operation, connect_timeout_s=self._connect_timeout_s)
            await thread.__aenter__()
            if any(one is by for one in self._left):
                await thread.close()
                raise CardAbsent("the person has left")
            self._threads[id(by)] = (by, thread)
            return thread

    def leave(self, by: PersonalSigner) -> None:
        """`by` has left: their connections are cut, in the background."""
        if self._opening.locked():
            self._left.append(by)
        held = self._threads.pop(id(by), None)
        if held is None:
            return
        task = asyncio.get_running_loop().create_task(held[1].close(CardAbsent("the person has left")))
        self._gone.add(task)
        task.add_done_callback(self._gone.discard)

    async def close(self) -> None:
        for by, _ in tuple(self._threads.values()):
            self.leave(by)
        with contextlib.suppress(BoxError):
            await asyncio.gather(*self._gone)
