"""The keys that sign Pro Santé Connect's tokens (JWKS, RFC 7517): read with bounds, renewed when a new one is named.

Rules:
- A set with a private or secret key, or with more keys than a server has, is refused whole: whoever published it is
  not to be trusted, or is not a key server (reliability N-16).
- RSA of 2,048 to 8,192 bits and the three NIST curves, for signing; what else is in the set is passed over.
- A key identifier is a name in a table: never a path, an address or a query. Nothing that a token says of its own key
  (`jwk`, `jku`, `x5c`, `x5u`) is looked at.
- A name that is not held asks for a new set; one that was not in it either, at most once in 30 s whoever asks:
  strangers cannot make us hammer the server.
"""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from passevue.errors import BoxError, NetworkError, TrustError, Unreadable
from passevue.national.psc_json import strings, text

MAX_KEYS = 64  # Keycloak publishes two to six
MAX_ID = 256
KEPT_FOR_S = 3600.0
ASK_AGAIN_AFTER_S = 30.0
_SECRET_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
_RSA_BITS = range(2048, 8193)
_CURVES = {"P-256", "P-384", "P-521"}

_ODD = "Les clés de Pro Santé Connect sont illisibles : réessayez plus tard, sinon prévenez le support."

Key = RSAKey | ECKey

log = structlog.get_logger()


def read_keys(found: Mapping[str, Any]) -> dict[str, Key]:
    """Signing keys by `kid`; one without it is known as "".

    Raises:
        Unreadable: not a key set, or past a bound.
        TrustError: it holds a private or secret key, or one name for two keys.
    """
    listed = found.get("keys")
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise Unreadable("expected a list of keys")
    if len(listed) > MAX_KEYS:
        raise Unreadable(f"expected at most {MAX_KEYS} keys, got {len(listed)}")
    keys: dict[str, Key] = {}
    for one in listed:
        if _SECRET_MEMBERS & set(one) or one.get("kty") == "oct":
            raise TrustError(
                "a private key is published in the key set of Pro Santé Connect",
                hint="Pro Santé Connect publie une clé secrète : aucune connexion n'est acceptée, prévenez l'ANS.",
            )
        key = _signing_key(one)
        if key is None:
            continue
        name = text(one, "kid", MAX_ID)
        if name in keys:
            raise TrustError("one kid is given to two keys")
        keys[name] = key
    return keys


def _signing_key(one: Mapping[str, Any]) -> Key | None:
    if one.get("use", "sig") != "sig" or "verify" not in (strings(one, "key_ops") or ("verify",)):
        return None
    try:
        if one.get("kty") == "RSA":
            modulus = text(one, "n")
            if _bits(modulus) not in _RSA_BITS:
                return None
            return RSAKey.import_key({"kty": "RSA", "n": modulus, "e": text(one, "e", 16)})
        if one.get("kty") == "EC" and one.get("crv") in _CURVES:
            return ECKey.import_key({"kty": "EC", "crv": one["crv"], "x": text(one, "x"), "y": text(one, "y")})
    except (JoseError, UnsupportedAlgorithm, ValueError, TypeError, KeyError) as err:
        raise Unreadable(f"expected a key of RFC 7518: {type(err).__name__}") from err
    return None


def _bits(number: str) -> int:
    """Of a number in base64url. Raises: ValueError."""
    data = base64.b64decode(number + "=" * (-len(number) % 4), altchars=b"-_", validate=True)
    return int.from_bytes(data, "big").bit_length()


class KeyRing:
    """The key set in use.

    Args:
        fetch: the set as the server gives it now; raises our errors.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Mapping[str, Any]]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._monotonic = monotonic
        self._keys: dict[str, Key] = {}
        self._fetched_at: float | None = None
        self._in_vain_at: float | None = None  # when a set was last asked for, and did not hold the name looked for
        self._alone = asyncio.Lock()

    async def key(self, name: str) -> Key:
        """The key that `kid` names; a token without `kid` is of the only key there is.

        Raises:
            TrustError: there is none.
            NetworkError: the set cannot be had.
        """
        if self._find(name) is None or self._old():
            await self._renew(name)
        found = self._find(name)
        if found is None:
            raise TrustError(
                "a token is signed by a key that Pro Santé Connect does not publish",
                hint="Un jeton n'est pas signé par Pro Santé Connect : la connexion est refusée.",
            )
        return found

    def _find(self, name: str) -> Key | None:
        if not name:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(name)

    def _old(self) -> bool:
        return self._fetched_at is None or self._monotonic() - self._fetched_at > KEPT_FOR_S

    async def _renew(self, name: str) -> None:
        async with self._alone:
            now = self._monotonic()
            if self._find(name) is not None and not self._old():
                return  # somebody else did
            if self._keys and self._in_vain_at is not None and now - self._in_vain_at < ASK_AGAIN_AFTER_S:
                return
            try:
                self._keys, self._fetched_at = await self._ask(), now
            except TrustError:
                self._keys = {}
                raise
            except BoxError as err:
                self._in_vain_at = now
                if self._find(name) is None:
                    raise
                log.warning("psc_keys_not_renewed", error_class=type(err).__name__)
                return
            self._in_vain_at = now if self._find(name) is None else None

    async def _ask(self) -> dict[str, Key]:
        found = await self._fetch()
        try:
            return read_keys(found)
        except Unreadable as err:
            raise NetworkError(f"the key set was not understood: {err.message}", hint=_ODD) from err
