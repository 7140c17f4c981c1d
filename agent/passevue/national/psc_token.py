"""The identity token of Pro Santé Connect: who says so, to whom, when, and whether it is the answer to our question.

Every check of OpenID Connect Core § 3.1.3.7 and RFC 8725, in the order that tells a stranger least. No I/O: the key
comes from `psc_keys`, the moment from the caller.

Rules:
- The algorithm is of the configured family and fits the key; `none` and HMAC do not exist here (N-16).
- A header that asks for something critical is refused; what it says of keys is not looked at.
- The audience is this client alone. The nonce is the one sent. The level is at least the one asked.
- Ten seconds of difference between the two clocks are nobody's fault; tokens live for sixty.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from joserfc import jws
from joserfc.errors import JoseError

from passevue.errors import TrustError, Unreadable
from passevue.national.psc_json import moment, read_object, strings, text
from passevue.national.psc_keys import MAX_ID, Key

MAX_TOKEN_BYTES = 32 << 10  # an identity token has 1 to 2 KiB; N-16 sends 1 MiB
LEEWAY_S = 10.0
OLDEST_S = 600.0  # an answer to a question of ours is not older than the question may be
ACRS = ("eidas1", "eidas2", "eidas3")  # in rising order
FAMILIES = {family: tuple(f"{family}{bits}" for bits in (256, 384, 512)) for family in ("RS", "PS", "ES")}
_KEY_TYPE = {"RS": "RSA", "PS": "RSA", "ES": "EC"}
_CURVE = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
_HINT = (
    "La réponse de Pro Santé Connect n'est pas celle attendue : reconnectez-vous ; si cela dure, prévenez le support."
)


@dataclass(frozen=True, slots=True)
class Expected:
    """What an identity token must say. `nonce` "" where the flow has none (CIBA)."""

    issuer: str
    client_id: str
    acr: str
    nonce: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class IdToken:
    """What a checked identity token says."""

    sub: str
    acr: str
    authenticated_at: datetime  # auth_time, else iat
    issued_at: datetime


def parts_of(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a compact JWS, unverified.

    Raises:
        Unreadable: it is none.
    """
    if len(token) > MAX_TOKEN_BYTES or not token.isascii():
        raise Unreadable(f"expected a token of at most {MAX_TOKEN_BYTES} bytes")
    pieces = token.split(".")
    if len(pieces) != 3:
        raise Unreadable(f"expected a token of three parts, got {len(pieces)}")
    return read_object(_decoded(pieces[0])), read_object(_decoded(pieces[1]))


def _decoded(piece: str) -> bytes:
    """RFC 7515 § 2: no padding, and nothing that is not of the alphabet."""
    try:
        data = base64.b64decode(piece.encode() + b"=" * (-len(piece) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as err:
        raise Unreadable("expected base64url in the token") from err
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != piece:
        raise Unreadable("expected base64url without padding in the token")
    return data


def key_id(token: str, family: str) -> str:
    """The `kid` of a token whose header is one that we take, "" when it has none.

    Raises:
        TrustError: another algorithm, or a critical header.
        Unreadable: not a token.
    """
    header, _ = parts_of(token)
    if header.get("alg") not in FAMILIES[family]:
        raise TrustError(f"expected a token signed by {family}256 or stronger", hint=_HINT)
    if "crit" in header or header.get("b64", True) is not True:
        raise TrustError("a token's header asks for what is not known here", hint=_HINT)
    if str(header.get("typ", "JWT")).upper() != "JWT":
        raise TrustError("expected a JWT", hint=_HINT)
    return text(header, "kid", MAX_ID)


def read_id_token(token: str, key: Key, family: str, expected: Expected, now: datetime) -> IdToken:
    """The checked identity token.

    Raises:
        TrustError: any check fails.
        Unreadable: not a token.
    """
    header, claims = parts_of(token)
    _verify(token, header, key, family)
    _check_parties(claims, expected)
    issued = _check_times(claims, now)
    if expected.nonce and not hmac.compare_digest(text(claims, "nonce").encode(), expected.nonce.encode()):
        _refuse("the nonce of the identity token is not the one sent")
    acr = text(claims, "acr")
    if acr not in ACRS or ACRS.index(acr) < ACRS.index(expected.acr):
        raise TrustError(
            "the sign-in is below the level asked",
            hint=f"La connexion n'atteint pas le niveau demandé ({expected.acr}) : utilisez e-CPS ou la carte CPS.",
        )
    sub = text(claims, "sub", 255)
    if not sub:
        _refuse("the identity token names nobody")
    authenticated = moment(claims, "auth_time")
    if authenticated is not None and authenticated > now.timestamp() + LEEWAY_S:
        _refuse_clock("the sign-in is in the future")
    return IdToken(sub, acr, _moment(authenticated if authenticated is not None else issued), _moment(issued))


def _verify(token: str, header: Mapping[str, Any], key: Key, family: str) -> None:
    algorithm = str(header.get("alg"))
    fits = key.key_type == _KEY_TYPE[family] and getattr(key, "curve_name", None) == _CURVE.get(algorithm)
    if algorithm not in FAMILIES[family] or not fits:
        _refuse("the token's algorithm is not its key's")
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    registry.max_header_length = registry.max_payload_length = MAX_TOKEN_BYTES
    try:
        jws.deserialize_compact(token, key, algorithms=[algorithm], registry=registry)
    except (JoseError, ValueError, TypeError) as err:
        raise TrustError(f"the token's signature is wrong: {type(err).__name__}", hint=_HINT) from err


def _check_parties(claims: Mapping[str, Any], expected: Expected) -> None:
    if text(claims, "iss") != expected.issuer:
        _refuse("the token is another issuer's")
    if strings(claims, "aud") != (expected.client_id,):
        _refuse("the token is meant for another client")
    if claims.get("azp", expected.client_id) != expected.client_id:
        _refuse("the token was given to another client")
    if claims.get("typ", "ID") != "ID":  # Keycloak's word: not an access or logout token in its place
        _refuse("the token is no identity token")


def _check_times(claims: Mapping[str, Any], now: datetime) -> float:
    """Seconds since 1970 of `iat`."""
    at = now.timestamp()
    ends, issued, starts = (moment(claims, name) for name in ("exp", "iat", "nbf"))
    if ends is None or issued is None:
        _refuse("the token says not when it was issued, or when it ends")
    if ends + LEEWAY_S <= at or issued + OLDEST_S <= at:
        _refuse_clock("the token has expired")
    if issued - LEEWAY_S > at or (starts is not None and starts - LEEWAY_S > at):
        _refuse_clock("the token is not valid yet")
    return issued


def check_access_hash(token: str, access: str) -> None:
    """`at_hash` (OpenID Connect Core § 3.1.3.6), where the identity token has it: the access token came with it.

    Raises:
        TrustError: it did not.
    """
    header, claims = parts_of(token)
    said = text(claims, "at_hash")
    if not said:
        return
    digest = hashlib.new("sha" + str(header.get("alg"))[2:], access.encode()).digest()
    if said != base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode():
        _refuse("the access token is not the one that came with the identity token")


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _refuse(message: str) -> NoReturn:
    raise TrustError(message, hint=_HINT)


def _refuse_clock(message: str) -> NoReturn:
    raise TrustError(
        message,
        hint="La date de la réponse de Pro Santé Connect ne va pas : vérifiez l'horloge du boîtier, puis réessayez.",
    )
