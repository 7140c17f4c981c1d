"""Tokens of the PSC peer, signed by a few lines of its own; and every token that must be refused (reliability N-16).

`FORGERIES` names each fault with what it does to header and claims before, or to the token after, it is signed.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

Claims = dict[str, Any]


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def b64_json(value: Any) -> str:
    return b64(json.dumps(value).encode())


def _number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


@dataclass
class SigningKey:
    """One RSA key with its name. `SigningKey.new("k1")` takes a moment."""

    kid: str
    private: rsa.RSAPrivateKey

    @classmethod
    def new(cls, kid: str) -> "SigningKey":
        return cls(kid, rsa.generate_private_key(65537, 2048))

    def jwk(self) -> Claims:
        public = self.private.public_key().public_numbers()
        return {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.kid,
            "n": _number(public.n),
            "e": _number(public.e),
        }

    def private_jwk(self) -> Claims:
        return {**self.jwk(), "d": _number(self.private.private_numbers().d)}

    def sign(self, header: Claims, claims: Claims) -> str:
        signed = f"{b64_json(header)}.{b64_json(claims)}"
        value = self.private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{b64(value)}"

    def header(self) -> Claims:
        return {"alg": "RS256", "typ": "JWT", "kid": self.kid}


def at_hash(access: str) -> str:
    return b64(hashlib.sha256(access.encode()).digest()[:16])


@dataclass(frozen=True)
class Forgery:
    """`change` alters header and claims in place; `sign` makes the token, by default as it should be."""

    change: Callable[[Claims, Claims], object] = lambda _, __: None
    sign: Callable[[SigningKey, Claims, Claims], str] = field(default=SigningKey.sign)


def _claim(**values: Any) -> Forgery:
    return Forgery(lambda _, claims: claims.update(values))


def _without(*names: str) -> Forgery:
    return Forgery(lambda _, claims: [claims.pop(name, None) for name in names])


def _later(name: str, seconds: float) -> Forgery:
    return Forgery(lambda _, claims: claims.update({name: claims["iat"] + seconds}))


def _header(**values: Any) -> Forgery:
    return Forgery(lambda header, _: header.update(values))


def _unsigned(alg: str) -> Forgery:
    return Forgery(sign=lambda _, header, claims: f"{b64_json({**header, 'alg': alg})}.{b64_json(claims)}.")


def _hmac_with_public_key(key: SigningKey, header: Claims, claims: Claims) -> str:
    """CVE-2015-9235: the server's public key as the secret of an HMAC."""
    public = key.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signed = f"{b64_json({**header, 'alg': 'HS256'})}.{b64_json(claims)}"
    return f"{signed}.{b64(hmac.new(public, signed.encode(), hashlib.sha256).digest())}"


def _own_key(member: str) -> Forgery:
    """Signed by the forger's key, which the token brings along or points to."""

    def sign(_: SigningKey, header: Claims, claims: Claims) -> str:
        forger = SigningKey.new("forger")
        brought: Any = forger.jwk() if member == "jwk" else "https://forger.invalid/keys"
        return forger.sign({**header, member: brought}, claims)

    return Forgery(sign=sign)


def _twice(key: SigningKey, header: Claims, claims: Claims) -> str:
    text = json.dumps(claims)[:-1] + ', "sub": "f:x:899700000025"}'
    signed = f"{b64_json(header)}.{b64(text.encode())}"
    return f"{signed}.{b64(key.private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _flipped(key: SigningKey, header: Claims, claims: Claims) -> str:
    token = key.sign(header, claims)
    middle = len(token) - 100
    return token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :]


FORGERIES: dict[str, Forgery] = {
    "wrong-iss": _claim(iss="https://elsewhere.invalid/auth/realms/esante-wallet"),
    "no-iss": _without("iss"),
    "wrong-aud": _claim(aud="another-client"),
    "more-aud": _claim(aud=["passevue", "another-client"]),
    "no-aud": _without("aud"),
    "wrong-azp": _claim(azp="another-client"),
    "wrong-nonce": _claim(nonce="another-nonce"),
    "no-nonce": _without("nonce"),
    "expired": _later("exp", -3600),
    "no-exp": _without("exp"),
    "exp-as-text": _claim(exp="4102444800"),
    "exp-true": _claim(exp=True),
    "no-iat": _without("iat"),
    "old": Forgery(lambda _, claims: claims.update(iat=claims["iat"] - 3600)),
    "issued-in-the-future": Forgery(
        lambda _, claims: claims.update(iat=claims["iat"] + 3600, exp=claims["exp"] + 3600)
    ),
    "not-yet": _later("nbf", 3600),
    "signed-in-in-the-future": _later("auth_time", 3600),
    "low-acr": _claim(acr="0"),
    "no-acr": _without("acr"),
    "no-sub": _without("sub"),
    "access-token-as-id": _claim(typ="Bearer"),
    "wrong-at-hash": _claim(at_hash=at_hash("another token")),
    "alg-none": _unsigned("none"),
    "alg-None": _unsigned("None"),
    "alg-empty": _unsigned(""),
    "alg-case": _header(alg="rs256"),
    "alg-other-family": _header(alg="PS256"),
    "alg-number": _header(alg=256),
    "hs256-with-public-key": Forgery(sign=_hmac_with_public_key),
    "unknown-kid": _header(kid="nobody"),
    "kid-path": _header(kid="../../../../dev/null"),
    "kid-sql": _header(kid="' UNION SELECT 'x"),
    "kid-number": _header(kid=1),
    "jwk-in-header": _own_key("jwk"),
    "jku-in-header": _own_key("jku"),
    "x5u-in-header": _own_key("x5u"),
    "crit": _header(crit=["exp"]),
    "b64-false": _header(b64=False),
    "typ": _header(typ="at+jwt"),
    "flipped-bit": Forgery(sign=_flipped),
    "no-signature": Forgery(sign=lambda key, header, claims: key.sign(header, claims).rpartition(".")[0] + "."),
    "duplicate-keys": Forgery(sign=_twice),
    "two-parts": Forgery(sign=lambda key, header, claims: key.sign(header, claims).rpartition(".")[0]),
    "five-parts": Forgery(sign=lambda key, header, claims: key.sign(header, claims) + ".x.y"),
    "padded": Forgery(sign=lambda key, header, claims: key.sign(header, claims) + "="),
    "huge": Forgery(lambda _, claims: claims.update(filler="x" * (1 << 19))),
    "deep": Forgery(sign=lambda key, header, claims: f"{b64_json(header)}.{b64(b'[' * 20_000)}.x"),
}
