"""Pro Santé Connect: who signs in at this box by e-CPS, and whose token another DRIMbox shows.

    psc = open_psc(config)                      # None without a [psc] section
    await psc.start()                           # then `psc.run()` among the parts
    request = await psc.begin_code()            # send the browser to request.url, keep request in its session
    session = await psc.finish_code(request, callback_query)
    request = await psc.begin_ciba("899700000017")      # show request.binding_message
    session = await psc.finish_ciba(request)
    session.person; await session.access_token(); await session.end()
    await psc.introspect(token_of_a_stranger)

Everything here is I/O in order; the decisions are in the modules beside: `psc_token` (identity tokens), `psc_claims`
(people and situations), `psc_introspection`, `psc_code`, `psc_ciba`, `psc_session`. Facts: pro-sante-connect.md.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import structlog

from passevue import config
from passevue.card.crl_store import crl_folder
from passevue.errors import BoxError, ConfigError, SignInError
from passevue.national.psc_ciba import Channel, Ciba, CibaRequest
from passevue.national.psc_code import CodeFlow, CodeRequest
from passevue.national.psc_discovery import KeptDiscovery
from passevue.national.psc_identity import PscIdentity
from passevue.national.psc_introspection import Introspected, Introspector
from passevue.national.psc_server import Grant, PscServer
from passevue.national.psc_session import PscSession
from passevue.national.psc_token import IdToken
from passevue.national.psc_wire import RETRY_WAITS_S, PscWire
from passevue.national.servers import Servers

__all__ = ["Channel", "CibaRequest", "CodeRequest", "Introspected", "Psc", "PscSession", "open_psc"]

TEND_EVERY_S = 10.0
WATCH_EVERY_S = 60.0

log = structlog.get_logger()


class Psc:
    """The client of Pro Santé Connect.

    Args:
        settings: section `[psc]`.
        identity: what opens TLS.
        folder: where the discovery document is kept.
        clock: aware now.
        monotonic: seconds that no clock setting moves.
        retry_waits_s: pauses between tries of a call that gets no answer.
        tend_every_s: pause between looks at the sessions.
        servers: whose lists of revocation are followed.
    """

    name = "psc"

    def __init__(
        self,
        settings: config.Psc,
        identity: PscIdentity,
        folder: Path,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        retry_waits_s: tuple[float, ...] = RETRY_WAITS_S,
        tend_every_s: float = TEND_EVERY_S,
        servers: Servers | None = None,
    ) -> None:
        self._identity = identity
        self._servers = servers
        self._tend_every_s = tend_every_s
        self._wire = PscWire(settings, identity, clock, retry_waits_s)
        self._server = PscServer(settings, self._wire, KeptDiscovery(folder / "discovery.json"), clock, monotonic)
        self._code = CodeFlow(self._server)
        self._ciba = Ciba(self._server)
        self._introspector = Introspector(self._server.introspect, self._server.issuer, clock, monotonic)
        self._sessions: set[PscSession] = set()
        self.problem: BoxError | None = None  # why a changed certificate is not in use; None when all is well

    async def __aenter__(self) -> "Psc":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Reads the certificate. Raises: ConfigError."""
        await asyncio.to_thread(self._identity.load)

    async def close(self) -> None:
        await self._wire.close()

    async def run(self) -> None:
        """Keeps sessions alive, the discovery document and the certificate fresh; until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tend(), name="psc-tend")
                group.create_task(self._watch(), name="psc-watch")
                if self._servers is not None:
                    group.create_task(self._servers.run(), name="psc-revocation")
        finally:
            await self.close()

    # Sign-in

    async def begin_code(self) -> CodeRequest:
        """A question for a browser: send it to `url`. Raises: NetworkError."""
        return await self._code.begin()

    async def finish_code(self, request: CodeRequest | None, query: Mapping[str, str]) -> PscSession:
        """The session of the person whose browser came back with `query`; `request` is what its cookie leads to.

        Raises:
            SignInError: refused, late, replayed, or another browser's.
            TrustError: a token is wrong.
            NetworkError: nobody answers.
            CredentialError: Pro Santé Connect refuses this box.
        """
        return await self._signed_in(*await self._code.finish(request, query))

    async def begin_ciba(self, id_nat: str, channel: Channel = Channel.MOBILE) -> CibaRequest:
        """Ask the person's phone or card; show `binding_message` meanwhile. Raises as `finish_code`."""
        return await self._ciba.begin(id_nat, channel)

    async def finish_ciba(self, request: CibaRequest) -> PscSession:
        """Waits up to two minutes for the person's answer. Raises as `finish_code`."""
        grant, token = await self._ciba.finish(request)
        session = await self._signed_in(grant, token)
        if session.person.id_nat.casefold() != request.id_nat.casefold():
            with contextlib.suppress(BoxError):
                await session.end()
            raise SignInError(
                "other_person",
                "somebody else than asked has answered",
                hint="Une autre personne a répondu à la demande : recommencez avec votre propre identifiant.",
            )
        return session

    async def _signed_in(self, grant: Grant, token: IdToken) -> PscSession:
        person = None
        try:
            person = await self._server.person(grant, token.sub)
        except SignInError as err:  # the token died on the way: renewed once (§ 10)
            if err.code != "invalid_token" or not grant.refresh:
                raise
            form = {"grant_type": "refresh_token", "refresh_token": grant.refresh}
            grant = await self._server.grant("refresh", form)
            person = await self._server.person(grant, token.sub)
        session = PscSession(self._server, grant, token, person, self._forget)
        self._sessions.add(session)
        return session

    def _forget(self, session: PscSession) -> None:
        self._sessions.discard(session)

    # Tokens of strangers

    async def introspect(self, token: str) -> Introspected:
        """Whose token another DRIMbox shows. Raises as `Introspector.introspect`."""
        return await self._introspector.introspect(token)

    # Upkeep

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(self._tend_every_s)
            for session in tuple(self._sessions):
                try:
                    await session.tend()
                except BoxError as err:
                    code = err.code if isinstance(err, SignInError) else type(err).__name__
                    log.info("psc_session_not_renewed", code=code)

    async def _watch(self) -> None:
        while True:
            try:
                if await asyncio.to_thread(self._identity.renew):
                    log.info("psc_certificate_renewed")
                self.problem = None
            except ConfigError as err:
                if self.problem is None:
                    log.warning("psc_certificate_not_renewed", setting=err.key)
                self.problem = err
            await self._server.renew()
            await asyncio.sleep(WATCH_EVERY_S)


def open_psc(whole: config.Config, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Psc | None:
    """The client that the configuration describes; None when it has no `[psc]` section."""
    if whole.psc is None:
        return None
    authority = whole.psc.authority
    servers = None if authority is None else Servers("psc.authority", authority, crl_folder(whole), clock)
    identity = PscIdentity.of(whole, servers)
    return Psc(whole.psc, identity, whole.box.data_dir / "psc", clock, servers=servers)
