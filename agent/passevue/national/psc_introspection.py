"""Is this access token, that a stranger showed, alive, and whose is it (§ 7, RFC 7662)?

Rules:
- Fails closed: whatever is not a complete, coherent, positive answer of Pro Santé Connect is a refusal (N-17).
- The answer is kept for as long as the token lives, and 30 s at most; a refusal for 10 s. Tokens are known by their
  hash. The kept answer costs no await.
- One token, one question at a time: who asks meanwhile waits for that answer. Beyond 1,000 waiting, new ones are
  refused at once.
- What the token says of itself is not believed; it must not contradict the answer either.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from passevue.errors import BoxError, NetworkError, SignInError, TrustError, Unreadable
from passevue.national.psc_json import moment, text
from passevue.national.psc_token import LEEWAY_S, MAX_TOKEN_BYTES, parts_of
from passevue.national.psc_wire import AWAY

KEPT_AT_MOST_S = 30.0
REFUSAL_KEPT_S = 10.0
MAX_KEPT = 10_000
MAX_WAITING = 1_000
_REFUSED = "Le jeton présenté n'est pas valable : la personne doit se reconnecter à Pro Santé Connect."


_Error = TypeVar("_Error", bound=BoxError)


@dataclass(frozen=True, slots=True, repr=False)
class Introspected:
    """Whose live token it is, for the trace of the access."""

    id_nat: str
    sub: str
    client_id: str  # of the client that got the token: another vendor's
    acr: str
    session: str
    until: datetime  # end of the token


@dataclass(frozen=True, slots=True)
class _Kept:
    """`until` on the monotonic clock: a wall clock set back must not keep a dead token alive."""

    answer: Introspected | SignInError | TrustError
    until: float


def read_introspection(found: Mapping[str, Any], issuer: str, now: datetime) -> Introspected:
    """What the answer says of a live token.

    Raises:
        SignInError: `token_inactive`, or not for us.
        TrustError: it is incomplete, or another issuer's.
        Unreadable: a value has another type than its own.
    """
    if found.get("active") is False:
        raise SignInError("token_inactive", "the token is dead or unknown", hint=_REFUSED)
    if found.get("active") is not True:
        raise Unreadable("expected true or false in active")
    if text(found, "iss") != issuer:
        raise TrustError("the token is another issuer's", hint=_REFUSED)
    if text(found, "typ").casefold() not in ("", "bearer"):
        raise TrustError("the token is no access token", hint=_REFUSED)
    ends = moment(found, "exp")
    if ends is None or ends <= now.timestamp():
        raise SignInError("token_inactive", "the token has expired", hint=_REFUSED)
    if any((moment(found, name) or 0.0) > now.timestamp() + LEEWAY_S for name in ("iat", "nbf")):
        raise TrustError(
            "the token is from the future", hint="La date d'un jeton ne va pas : vérifiez l'horloge du boîtier."
        )
    if "scope_all" not in text(found, "scope").split():
        raise SignInError("scope_missing", "the token does not carry scope_all", hint=_REFUSED)
    return Introspected(
        id_nat=_id_nat(found),
        sub=text(found, "sub"),
        client_id=text(found, "client_id") or text(found, "azp"),
        acr=text(found, "acr"),
        session=text(found, "session_state") or text(found, "sid"),
        until=datetime.fromtimestamp(ends, UTC),
    )


def _id_nat(found: Mapping[str, Any]) -> str:
    kind, _, rest = text(found, "sub").partition(":")
    said = [text(found, name) for name in ("SubjectNameID", "preferred_username", "username")]
    named = [one for one in (*said, rest.rpartition(":")[2] if kind == "f" else "") if one]
    if not named:
        raise TrustError("the answer names nobody", hint=_REFUSED)
    if len({one.casefold() for one in named}) > 1:
        raise TrustError("the answer names two people", hint=_REFUSED)
    return named[0]


class Introspector:
    """Answers from the cache, else from Pro Santé Connect.

    Args:
        ask: one introspection call; raises our errors.
        issuer: of the tokens.
        clock: aware now.
    """

    def __init__(
        self,
        ask: Callable[[str], Awaitable[Mapping[str, Any]]],
        issuer: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._issuer = issuer
        self._clock = clock
        self._monotonic = monotonic
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._asking: dict[bytes, asyncio.Future[BoxError | None]] = {}
        self._waiting = 0

    async def introspect(self, token: str) -> Introspected:
        """Whose token it is.

        Raises:
            SignInError: dead, unknown or not for us: answer 401.
            TrustError: Pro Santé Connect's answer does not hold together: answer 401.
            NetworkError: Pro Santé Connect cannot be asked: answer 503.
            CredentialError: it refuses this client: answer 503, alert the administrator.
        """
        if not token or len(token) > MAX_TOKEN_BYTES or not token.isascii() or not token.isprintable() or " " in token:
            raise SignInError("token_inactive", "not a token", hint=_REFUSED)
        name = hashlib.sha256(token.encode()).digest()
        kept = self._known(name)
        if kept is None:
            kept = await self._find_out(name, token)
        if isinstance(kept.answer, Introspected):
            return kept.answer
        raise _anew(kept.answer)

    def _known(self, name: bytes) -> _Kept | None:
        kept = self._kept.get(name)
        if kept is None or kept.until <= self._monotonic():
            return None
        if isinstance(kept.answer, Introspected) and kept.answer.until <= self._clock():
            return None
        return kept

    async def _find_out(self, name: bytes, token: str) -> _Kept:
        """Ask, or wait for who asks: who asks may be cancelled, and then the next one does."""
        if self._waiting >= MAX_WAITING:
            raise NetworkError(f"{MAX_WAITING} introspections wait already", hint=AWAY)
        self._waiting += 1
        try:
            while (asked := self._asking.get(name)) is not None:
                failed = await asyncio.shield(asked)
                if failed is not None:
                    raise _anew(failed)
                if (kept := self._known(name)) is not None:
                    return kept
            return await self._ask_for_all(name, token)
        finally:
            self._waiting -= 1

    async def _ask_for_all(self, name: bytes, token: str) -> _Kept:
        answered: asyncio.Future[BoxError | None] = asyncio.get_running_loop().create_future()
        self._asking[name] = answered
        failed: BoxError | None = None
        try:
            kept = await self._answer(token)
            self._keep(name, kept)
            return kept
        except BoxError as err:
            failed = err
            raise
        finally:
            del self._asking[name]
            answered.set_result(failed)

    async def _answer(self, token: str) -> _Kept:
        found = await self._ask(token)
        now, at = self._clock(), self._monotonic()
        try:
            answer = read_introspection(found, self._issuer, now)
            _check_agrees(token, answer)
        except (SignInError, TrustError) as err:
            return _Kept(_anew(err), at + REFUSAL_KEPT_S)  # without its frames, which hold the token
        except Unreadable as err:
            refusal = TrustError(f"the introspection answer was not understood: {err.message}", hint=_REFUSED)
            return _Kept(refusal, at + REFUSAL_KEPT_S)
        return _Kept(answer, at + min((answer.until - now).total_seconds(), KEPT_AT_MOST_S))

    def _keep(self, name: bytes, kept: _Kept) -> None:
        self._kept[name] = kept
        self._kept.move_to_end(name)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)


def _anew(err: _Error) -> _Error:
    """The same error for one more caller: an exception object is raised once, and remembers where."""
    again = type(err).__new__(type(err), *err.args)
    again.__dict__.update(vars(err))
    return again


def _check_agrees(token: str, answer: Introspected) -> None:
    """A token that can be read (a JWT) is about the person of the answer, and ends when it says (N-17)."""
    try:
        _, claims = parts_of(token)
    except Unreadable:
        return  # an opaque token says nothing
    if text(claims, "sub") not in ("", answer.sub):
        raise TrustError("the answer is about another person than the token", hint=_REFUSED)
    ends = moment(claims, "exp")
    if ends is not None and abs(ends - answer.until.timestamp()) > LEEWAY_S:
        raise TrustError("the answer is about another token", hint=_REFUSED)
