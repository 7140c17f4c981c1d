"""Pro Santé Connect as the flows see it: tokens for a grant, checked; a person for a token; an end (§§ 3-5).

Rules:
- Addresses come from the discovery document: asked at start and daily, the kept copy when it cannot be had.
- A grant is used only after its identity token passed every check; the person of userinfo is the token's (`sub`).
- Tokens stay in memory and print nothing.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import structlog

from passevue import config
from passevue.errors import BoxError, NetworkError, SignInError, TrustError, Unreadable
from passevue.national.psc_claims import Professional, read_professional
from passevue.national.psc_discovery import WELL_KNOWN, Endpoints, KeptDiscovery, read_discovery
from passevue.national.psc_json import seconds, text
from passevue.national.psc_keys import KeyRing
from passevue.national.psc_token import (
    MAX_TOKEN_BYTES,
    Expected,
    IdToken,
    check_access_hash,
    key_id,
    read_id_token,
)
from passevue.national.psc_wire import AWAY, PscWire

SCOPE = "openid scope_all"
RENEW_AFTER_S = 86_400.0
_LONGEST_LIFE_S = 14_400.0
_T = TypeVar("_T")
_ODD = "La réponse de Pro Santé Connect n'est pas celle attendue : reconnectez-vous, sinon prévenez le support."

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, repr=False)
class Grant:
    """What the token endpoint gave. `refresh` and `id_token` are "" when it gave none."""

    access: str
    access_until: datetime
    refresh: str
    refresh_until: datetime | None  # None: it does not say
    id_token: str


def read_grant(found: Mapping[str, Any], now: datetime) -> Grant:
    """Raises: Unreadable when it is not what RFC 6749 § 5.1 says; SignInError when less was granted than asked."""
    access = text(found, "access_token", MAX_TOKEN_BYTES)
    if not access or not access.isascii() or not access.isprintable():
        raise Unreadable("expected an access token")
    if text(found, "token_type").casefold() != "bearer":
        raise Unreadable("expected a bearer token")
    scope = text(found, "scope") or SCOPE
    if not set(SCOPE.split()) <= set(scope.split()):
        raise SignInError(
            "scope_missing",
            "less was granted than asked",
            hint="Pro Santé Connect n'a pas accordé l'identité complète : prévenez l'administrateur du boîtier.",
        )
    life = timedelta(seconds=seconds(found, "expires_in", 0.0, _LONGEST_LIFE_S))
    refresh = text(found, "refresh_token", MAX_TOKEN_BYTES)
    refresh_life = seconds(found, "refresh_expires_in", 0.0, _LONGEST_LIFE_S)
    until = now + timedelta(seconds=refresh_life) if refresh and refresh_life else None
    return Grant(access, now + life, refresh, until, text(found, "id_token", MAX_TOKEN_BYTES))


class PscServer:
    """The far side.

    Args:
        settings: section `[psc]`.
        wire: the connections.
        kept: the discovery document on the disk.
        clock: aware now.
    """

    def __init__(
        self,
        settings: config.Psc,
        wire: PscWire,
        kept: KeptDiscovery,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.issuer = str(settings.issuer).rstrip("/")
        self.clock = clock
        self._wire = wire
        self._kept = kept
        self._endpoints: Endpoints | None = None
        self._monotonic = monotonic
        self._read_at: float | None = None
        self._told = False  # an outage is one line, not one a minute
        self._alone = asyncio.Lock()
        self._keys = KeyRing(self._fetch_keys, monotonic)

    # Addresses

    async def endpoints(self) -> Endpoints:
        """Raises: NetworkError when no document was ever had; TrustError when it is another issuer's."""
        if self._endpoints is None:
            async with self._alone:
                if self._endpoints is None:
                    self._endpoints = await self._first()
        return self._endpoints

    async def renew(self) -> None:
        """Ask for the document again once it is a day old; what is held stays when that fails."""
        if self._read_at is not None and self._monotonic() - self._read_at < RENEW_AFTER_S:
            return
        try:
            async with self._alone:
                self._endpoints = await self._ask_discovery()
        except BoxError as err:
            self._tell_not_renewed(err)

    async def _first(self) -> Endpoints:
        try:
            return await self._ask_discovery()
        except (NetworkError, SignInError) as err:
            kept = await asyncio.to_thread(self._kept.read, self.issuer)
            if kept is None:
                raise
            self._tell_not_renewed(err)
            return kept

    async def _ask_discovery(self) -> Endpoints:
        found = await self._wire.get("discovery", self.issuer + WELL_KNOWN)
        endpoints = _understood(lambda: read_discovery(found, self.issuer))
        self._read_at, self._told = self._monotonic(), False
        try:
            await asyncio.to_thread(self._kept.write, found)
        except OSError as err:
            log.warning("psc_discovery_not_kept", error_class=type(err).__name__)
        return endpoints

    def _tell_not_renewed(self, err: BoxError) -> None:
        if not self._told:
            log.warning("psc_discovery_not_renewed", error_class=type(err).__name__)
        self._told = True

    async def _fetch_keys(self) -> Mapping[str, Any]:
        return await self._wire.get("jwks", (await self.endpoints()).jwks)

    # Grants

    async def grant(self, what: str, form: Mapping[str, str], *, patient: bool = True) -> Grant:
        """One answer of the token endpoint, its identity token not checked yet. Raises as `PscWire.get`."""
        asked = {**form, "client_id": self.settings.client_id}
        found = await self._wire.post(what, (await self.endpoints()).token, asked, patient=patient)
        return _understood(lambda: read_grant(found, self.clock()))

    async def check(self, grant: Grant, nonce: str = "") -> IdToken:
        """Every check of the grant's identity token.

        Raises:
            TrustError: one fails.
            NetworkError: the keys cannot be had, or the token is none.
        """
        if not grant.id_token:
            raise TrustError("no identity token came with the access token", hint=_ODD)
        family = self.settings.signature
        try:
            key = await self._keys.key(key_id(grant.id_token, family))
            expected = Expected(self.issuer, self.settings.client_id, self.settings.acr, nonce)
            token = read_id_token(grant.id_token, key, family, expected, self.clock())
            check_access_hash(grant.id_token, grant.access)
        except Unreadable as err:
            raise TrustError(f"the identity token is none: {err.message}", hint=_ODD) from err
        return token

    async def person(self, grant: Grant, sub: str) -> Professional:
        """Whom the access token stands for; the same as the identity token's.

        Raises:
            SignInError: `invalid_token` when the token is dead.
            TrustError: somebody else.
        """
        claims = await self._wire.get("userinfo", (await self.endpoints()).userinfo, grant.access)
        person = _understood(lambda: read_professional(claims))
        if person.sub != sub:
            raise TrustError(
                "userinfo names another person than the identity token",
                hint="La réponse de Pro Santé Connect se contredit : reconnectez-vous.",
            )
        return person

    async def ask_ciba(self, form: Mapping[str, str]) -> dict[str, Any]:
        """The answer to a CIBA authentication request. Raises as `PscWire.get`."""
        address = (await self.endpoints()).ciba
        if not address:
            raise SignInError(
                "no_ciba", "the discovery document has no CIBA address",
                hint="Pro Santé Connect ne propose pas l'approbation à distance : passez par le navigateur.",
            )  # fmt: skip
        return await self._wire.post("ciba", address, {**form, "client_id": self.settings.client_id})

    async def introspect(self, token: str) -> dict[str, Any]:
        """What Pro Santé Connect says of somebody's access token; one try. Raises as `PscWire.get`."""
        form = {"token": token, "token_type_hint": "access_token", "client_id": self.settings.client_id}
        return await self._wire.post("introspection", (await self.endpoints()).introspection, form, patient=False)

    async def end(self, grant: Grant) -> None:
        """End the session at Pro Santé Connect, from here: no token passes through a browser. Raises as `get`."""
        endpoints = await self.endpoints()
        client = {"client_id": self.settings.client_id}
        if endpoints.end_session and grant.refresh:
            form = {**client, "refresh_token": grant.refresh, "id_token_hint": grant.id_token}
            await self._wire.post("logout", endpoints.end_session, form)
        elif endpoints.revocation:
            token = grant.refresh or grant.access
            await self._wire.post("revocation", endpoints.revocation, {**client, "token": token})


def _understood(read: Callable[[], _T]) -> _T:
    """What `read` makes of an answer; one that cannot be read is no answer."""
    try:
        return read()
    except Unreadable as err:
        raise NetworkError(f"the answer was not understood: {err.message}", hint=AWAY) from err
