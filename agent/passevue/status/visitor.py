"""From where a browser asks, which cookies it brings, and whether its form is ours (N-22). Decisions, and one key.

Rules:
- A code, a password or a session crosses only loopback or TLS. On anything else nobody can sign in.
- "At the box" is a loopback address that no proxy speaks for.
- Cookies: `__Host-` and Secure under TLS, always HttpOnly, SameSite=Strict. One exception: what ties Pro Santé
  Connect's answer to the browser that asked is Lax, since that answer comes from another site; it lives ten minutes.
- A form is taken when its Origin is this page and its token is this browser's: an HMAC of its cookie, so that it
  changes when the cookie does.
"""

import hashlib
import hmac
import ipaddress
import secrets
from enum import Enum

from aiohttp import web

CODE_COOKIE_S = 600


class Place(Enum):
    """Where the browser is, as far as secrets go."""

    AT_BOX = "at-box"  # on this very machine
    PRIVATE = "private"  # elsewhere, under TLS
    OPEN = "open"  # elsewhere, readable on the way

    @property
    def may_sign_in(self) -> bool:
        return self is not Place.OPEN


class Cookie(Enum):
    """Ours, by what they are for."""

    SESSION = "passevue"
    VISIT = "passevue-visit"  # before sign-in: whose form this is
    CODE = "passevue-psc"  # which question Pro Santé Connect's answer is to


_PROXY_HEADERS = ("Forwarded", "Via", "X-Forwarded-For", "X-Real-IP")


def place_of(request: web.Request) -> Place:
    if _is_loopback(request.remote or "") and not any(name in request.headers for name in _PROXY_HEADERS):
        return Place.AT_BOX
    return Place.PRIVATE if request.secure else Place.OPEN


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def cookie_of(request: web.Request, cookie: Cookie) -> str:
    """Its value, "" when the browser has none."""
    return request.cookies.get(_name(request, cookie), "")


def set_cookie(request: web.Request, response: web.StreamResponse, cookie: Cookie, value: str) -> None:
    lax = cookie is Cookie.CODE
    response.set_cookie(
        _name(request, cookie),
        value,
        path="/",
        secure=request.secure,
        httponly=True,
        samesite="Lax" if lax else "Strict",
        max_age=CODE_COOKIE_S if lax else None,
    )


def drop_cookie(request: web.Request, response: web.StreamResponse, cookie: Cookie) -> None:
    response.del_cookie(_name(request, cookie), path="/", secure=request.secure, httponly=True, samesite="Strict")


def new_value() -> str:
    return secrets.token_urlsafe(32)


def _name(request: web.Request, cookie: Cookie) -> str:
    return f"__Host-{cookie.value}" if request.secure else cookie.value


def same_origin(request: web.Request) -> bool:
    """Whether a request that changes something was sent by a page of this very origin.

    Every browser sends Origin with a POST, and `null` when it hides where from. Host was checked before.
    """
    origin = request.headers.get("Origin", "")
    ours = f"{request.scheme}://{request.headers.get('Host', '')}"
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    return hmac.compare_digest(origin.lower().encode(), ours.lower().encode()) and site == "same-origin"


class FormTokens:
    """Tokens that show that a form was given to this browser."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def token(self, cookie: str) -> str:
        return hmac.new(self._key, cookie.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    def fits(self, cookie: str, token: str) -> bool:
        """Whether `token` was made for `cookie`; never for none."""
        return bool(cookie) and hmac.compare_digest(self.token(cookie).encode(), token.encode("utf-8", "replace"))
