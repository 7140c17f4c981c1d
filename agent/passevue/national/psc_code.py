"""Sign-in by the browser: OpenID Connect's authorization code flow with PKCE (§ 3, RFC 7636, RFC 9700).

Rules:
- `state`, `nonce` and the verifier are 256 random bits each, kept here and in the caller's session, never in the page.
- One answer for one question: a state is spent by its first use, good or bad, and dies after ten minutes.
- The caller ties the question to the browser that asked (its cookie): the answer is taken with the question that this
  browser holds, not with whichever matches.
- The answer's `iss`, when there, is ours (RFC 9207).
"""

import base64
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn
from urllib.parse import urlencode

from passevue.errors import SignInError, TrustError
from passevue.national.psc_server import SCOPE, Grant, PscServer
from passevue.national.psc_token import IdToken
from passevue.national.psc_wire import raise_for_error

ANSWER_WITHIN = timedelta(minutes=10)
MAX_OPEN = 1000  # questions without an answer: more people than a centre has
_LONGEST_CODE = 4096
_START_AGAIN = "Cette connexion n'est plus valable : recommencez depuis la page du boîtier."


@dataclass(frozen=True, slots=True, repr=False)
class CodeRequest:
    """One question to Pro Santé Connect. The browser is sent to `url`; the rest stays with the caller."""

    url: str
    state: str
    nonce: str
    verifier: str
    asked_at: datetime


class CodeFlow:
    """The questions that are open."""

    def __init__(self, server: PscServer) -> None:
        self._server = server
        self._open: OrderedDict[str, datetime] = OrderedDict()

    async def begin(self) -> CodeRequest:
        """A new question.

        Raises:
            NetworkError: where to send the browser is not known.
        """
        endpoints = await self._server.endpoints()
        settings, now = self._server.settings, self._server.clock()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": settings.client_id,
            "redirect_uri": str(settings.redirect_url),
            "scope": SCOPE,
            "acr_values": settings.acr,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in endpoints.authorization else "?"
        self._open[state] = now
        while len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)
        return CodeRequest(f"{endpoints.authorization}{joint}{urlencode(asked)}", state, nonce, verifier, now)

    async def finish(self, request: CodeRequest | None, query: Mapping[str, str]) -> tuple[Grant, IdToken]:
        """The checked grant for the answer that the browser brought.

        Args:
            request: what this browser's session holds; None when it holds nothing.
            query: parameters of the callback.

        Raises:
            SignInError: refused, too late, used before, or not this browser's.
            TrustError: a token or the answer's issuer is wrong.
            NetworkError: nobody answers.
        """
        question = self._question(request, query.get("state", ""))
        code = self._code(query)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": str(self._server.settings.redirect_url),
            "code_verifier": question.verifier,
        }
        grant = await self._server.grant("code", form)
        return grant, await self._server.check(grant, question.nonce)

    def _question(self, request: CodeRequest | None, state: str) -> CodeRequest:
        """The question that this answer is to, now spent."""
        given = state.encode("utf-8", "surrogatepass")  # a query may hold anything
        if request is None or not hmac.compare_digest(given, request.state.encode()):
            _again("state_mismatch", "the answer is to another browser's question")
        if self._open.pop(request.state, None) is None:
            _again("state_used", "the answer was brought before")
        now = self._server.clock()
        if not request.asked_at - timedelta(minutes=1) <= now <= request.asked_at + ANSWER_WITHIN:
            _again("too_late", "the answer came after ten minutes")
        return request

    def _code(self, query: Mapping[str, str]) -> str:
        if query.get("iss", self._server.issuer) != self._server.issuer:
            raise TrustError("the answer is another issuer's", hint=_START_AGAIN)
        if "error" in query:
            raise_for_error(query["error"])
        code = query.get("code", "")
        if not code or len(code) > _LONGEST_CODE:
            _again("no_code", "the answer holds no code")
        return code


def _again(code: str, message: str) -> NoReturn:
    raise SignInError(code, message, hint=_START_AGAIN)
