"""One call to Pro Santé Connect: a form or a GET over mutual TLS, a bounded JSON answer, failures as ours (§ 10).

Rules:
- Nothing is followed: no redirect, no proxy of the environment, no cookie, no compression. HTML with a 200 is a captive
  portal, never an answer.
- What passes (no answer, 429, 5xx) is tried again after 1, 2 and 4 s where the caller may wait; what is definitive is
  told at once, in words for the person.
- Connections are bounded: beyond `psc.max_connections` calls wait for a turn, in their own deadline.
- No token, code or identity is ever in an error or a log line.
"""

import asyncio
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar

import aiohttp
import structlog

from passevue import config
from passevue.errors import BoxError, CredentialError, NetworkError, SignInError, TrustError, Unreadable
from passevue.national.psc_identity import PscIdentity
from passevue.national.psc_json import MAX_BYTES, read_object
from passevue.national.wire import distrusts, refusal_of_server, refuses_our_certificate, retry_after

RETRY_WAITS_S = (1.0, 2.0, 4.0)  # § 10
KEEP_ALIVE_S = 15.0
_JSON = {"application/json", "application/jwk-set+json"}
_CODE = re.compile(r"[a-z][a-z0-9_]{0,59}")
_T = TypeVar("_T")

# What Pro Santé Connect says (RFC 6749 § 5.2, CIBA Core § 13), and what a person can do about it.
_HINTS = {
    "access_denied": "La connexion a été refusée sur le téléphone ou avec la carte. Recommencez si c'est une erreur.",
    "authorization_pending": "En attente de votre accord sur le téléphone ou avec la carte.",
    "expired_token": "Le délai pour approuver la connexion est passé : recommencez.",
    "invalid_binding_message": "Pro Santé Connect refuse le code à deux chiffres : recommencez.",
    "invalid_grant": "La session Pro Santé Connect est terminée : reconnectez-vous.",
    "invalid_scope": "Ce boîtier n'est pas autorisé à demander l'identité complète : prévenez l'administrateur.",
    "invalid_token": "La session Pro Santé Connect est terminée : reconnectez-vous.",
    "login_required": "Pro Santé Connect demande une nouvelle connexion : recommencez.",
    "slow_down": "En attente de votre accord sur le téléphone ou avec la carte.",
    "unknown_user_id": "Pro Santé Connect ne connaît pas cet identifiant : vérifiez le numéro RPPS saisi.",
}
_OURS = {"invalid_client", "unauthorized_client"}
_PASSING = {"temporarily_unavailable", "server_error"}
AWAY = "Le service d'authentification Pro Santé Connect est injoignable : réessayez dans quelques minutes."
_PORTAL = (
    "Ce n'est pas Pro Santé Connect qui répond, mais sans doute un portail d'accès à Internet : ouvrez le réseau "
    "ou prévenez l'informatique du cabinet."
)

log = structlog.get_logger()


class PscWire:
    """The connections to Pro Santé Connect.

    Args:
        settings: section `[psc]`.
        identity: what opens TLS.
        clock: aware now.
        retry_waits_s: pauses between tries.
    """

    def __init__(
        self,
        settings: config.Psc,
        identity: PscIdentity,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        retry_waits_s: tuple[float, ...] = RETRY_WAITS_S,
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._clock = clock
        self._retry_waits_s = retry_waits_s
        self._held: tuple[ssl.SSLContext, aiohttp.ClientSession] | None = None
        self._retired: list[tuple[float, aiohttp.ClientSession]] = []  # may be busy when the certificate changed

    async def close(self) -> None:
        held, self._held = self._held, None
        retired, self._retired = self._retired, []
        for session in [one for _, one in retired] + ([held[1]] if held else []):
            await session.close()

    async def get(self, what: str, url: str, bearer: str = "") -> dict[str, Any]:
        """The object at `url`; `what` names the call in the log.

        Raises:
            NetworkError: no answer, or one that may be better later.
            SignInError: refused, with its code.
            CredentialError: our certificate or client_id is refused.
            TrustError: the server is not who it should be.
        """
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        return await self._patiently(lambda: self._once(what, "GET", url, None, headers))

    async def post(self, what: str, url: str, form: Mapping[str, str], *, patient: bool = True) -> dict[str, Any]:
        """What `url` answers to `form`. `patient=False`: no pauses, someone waits for it. Raises as `get`."""
        if not patient:
            return await self._at_once(what, url, form)
        return await self._patiently(lambda: self._once(what, "POST", url, form, {}))

    async def _at_once(self, what: str, url: str, form: Mapping[str, str]) -> dict[str, Any]:
        """One try, and a second on a new connection when the first met one that the server had just closed."""
        try:
            return await self._once(what, "POST", url, form, {})
        except NetworkError as err:
            if not isinstance(err.__cause__, aiohttp.ServerDisconnectedError | ConnectionResetError):
                raise
        return await self._once(what, "POST", url, form, {})

    async def _patiently(self, call: Callable[[], Awaitable[_T]]) -> _T:
        for wait_s in self._retry_waits_s:
            try:
                return await call()
            except NetworkError as err:
                await asyncio.sleep(min(err.retry_after_s or 0.0, 10.0) or wait_s)
        return await call()

    async def _once(
        self, what: str, method: str, url: str, form: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        start, result = time.monotonic(), "ok"
        try:
            return await self._ask(method, url, form, headers)
        except BoxError as err:
            result = err.code if isinstance(err, SignInError) else type(err).__name__
            raise
        finally:
            log.debug("psc_exchanged", action=what, result=result, took_ms=round((time.monotonic() - start) * 1000))

    async def _ask(
        self, method: str, url: str, form: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        asked = {"Accept": "application/json", "Accept-Encoding": "identity", **headers}
        try:
            session = await self._session()
            async with asyncio.timeout(self._settings.timeout_s):
                async with session.request(
                    method, url, data=dict(form) if form is not None else None, headers=asked, allow_redirects=False
                ) as response:
                    return await self._read(response)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as err:
            _raise_for_transport(err)
        except Unreadable as err:
            raise NetworkError(f"the answer was not understood: {err.message}", hint=AWAY) from err

    async def _read(self, response: aiohttp.ClientResponse) -> dict[str, Any]:
        later = retry_after(response.headers.get("Retry-After"), self._clock())
        if response.status == 429 or response.status >= 500:
            raise NetworkError(f"HTTP {response.status}", hint=AWAY, retry_after_s=later)
        if response.status == 204:
            return {}
        if 300 <= response.status < 400:
            raise NetworkError(f"HTTP {response.status}: a redirect is not followed", hint=_PORTAL)
        if response.content_type not in _JSON:
            if response.status == 401:
                raise SignInError("invalid_token", "HTTP 401", hint=_HINTS["invalid_token"])
            raise NetworkError(
                f"HTTP {response.status}: expected JSON, got {response.content_type[:40]!r}", hint=_PORTAL
            )
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise Unreadable("expected an answer without compression")
        found = read_object(await _bounded(response))
        if response.status != 200:
            raise_for_error(found.get("error"), response.status)
        return found

    async def _session(self) -> aiohttp.ClientSession:
        """The session of the certificate in use; that of a replaced one is closed when its calls are over."""
        await self._close_retired()
        context = self._identity.context(self._clock())
        if self._held is not None and self._held[0] is context and not self._held[1].closed:
            return self._held[1]
        if self._held is not None:
            self._retired.append((time.monotonic(), self._held[1]))
        connector = aiohttp.TCPConnector(
            ssl=context,
            limit=self._settings.max_connections,
            keepalive_timeout=KEEP_ALIVE_S,
            use_dns_cache=False,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._settings.connect_timeout_s),
            auto_decompress=False,
            trust_env=False,
        )
        self._held = (context, session)
        return session

    async def _close_retired(self) -> None:
        oldest = time.monotonic() - 2 * self._settings.timeout_s
        done = [session for since, session in self._retired if since < oldest]
        self._retired = [one for one in self._retired if one[0] >= oldest]
        for session in done:
            await session.close()


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for piece in response.content.iter_any():
        content += piece
        if len(content) > MAX_BYTES:
            raise Unreadable(f"expected an answer of at most {MAX_BYTES} bytes")
    return bytes(content)


def raise_for_error(said: object, status: int = 0) -> NoReturn:
    """An `error` of OAuth 2 as ours, by § 10: definitive for the site, for the person, or passing."""
    code = said if isinstance(said, str) and _CODE.fullmatch(said) else f"http_{status}"
    if code in _PASSING:
        raise NetworkError(code, hint=AWAY)
    if code in _OURS:
        raise CredentialError(
            f"Pro Santé Connect refuses this client: {code}",
            hint="Pro Santé Connect ne reconnaît pas ce boîtier : vérifiez « psc.client_id » et son certificat.",
        )
    raise SignInError(
        code, f"refused, HTTP {status}", hint=_HINTS.get(code, "Pro Santé Connect a refusé la demande : recommencez.")
    )


def _raise_for_transport(err: BaseException) -> NoReturn:
    refused = refusal_of_server(err)
    if refused is not None:
        raise refused from err
    if distrusts(err):
        raise TrustError(
            "the certificate of Pro Santé Connect's server is not trusted",
            hint="Le serveur atteint n'est pas Pro Santé Connect : pare-feu ou proxy qui intercepte ? Ou bien "
            "l'horloge du boîtier est fausse, ou « psc.authority » est à compléter.",
        ) from err
    if refuses_our_certificate(err):
        raise CredentialError(
            "Pro Santé Connect refuses the connection's certificate",
            hint="Pro Santé Connect refuse le certificat de ce boîtier : expiré, révoqué ou de l'autre domaine ?",
        ) from err
    raise NetworkError(f"no answer: {type(err).__name__}", hint=AWAY) from err
