"""What goes wrong with the Pro Santé Connect peer, seen from outside, and the answers that this makes."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from aiohttp import web

_HTML = "<!doctype html><title>Bienvenue</title><h1>Wi-Fi du parking</h1><form>Acceptez les conditions</form>"


class Fault(StrEnum):
    """One switch of the peer."""

    SLOW = "slow"  # `delay_s`, then all is well
    HANG = "hang"  # headers, then one byte a second
    DOWN = "503"
    GATEWAY = "502"  # HTML of a reverse proxy
    TOO_MANY = "429"  # with Retry-After
    RESET = "reset"
    CAPTIVE_PORTAL = "captive-portal"  # 200, HTML
    PORTAL_AS_JSON = "captive-portal-json"  # 200, HTML that says it is JSON
    REDIRECT = "redirect"
    HUGE = "huge"  # 2 MiB of JSON
    NOT_JSON = "not-json"
    DUPLICATE_KEYS = "duplicate-keys"
    LIST = "list"  # JSON, and no object
    EMPTY = "empty-object"
    WRONG_ISSUER = "wrong-issuer"  # discovery, introspection
    PLAIN_HTTP = "plain-http"  # discovery with http addresses
    MANY_KEYS = "many-keys"  # JWKS of 10,000
    PRIVATE_KEY = "private-key"  # JWKS
    SYMMETRIC_KEY = "symmetric-key"  # JWKS
    OTHER_PERSON = "other-person"  # userinfo, introspection: somebody else
    ACTIVE_AS_TEXT = "active-as-text"  # introspection: "true"
    NOBODY = "nobody"  # introspection, userinfo: no identity
    NO_EXP = "no-exp"  # introspection
    NO_SCOPE = "no-scope"  # introspection, token
    EXPIRED = "expired"  # introspection: active, and exp in the past
    INVALID_CLIENT = "invalid-client"
    NO_ID_TOKEN = "no-id-token"


class Refusal(Exception):
    """The error that OAuth has a name for."""

    def __init__(self, error: str, status: int = 400) -> None:
        super().__init__(error)
        self.error = error
        self.status = status


def _lie(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda answer: answer.update(values)


def _nobody(answer: dict[str, Any]) -> None:
    for name in ("username", "preferred_username"):
        del answer[name]
    answer["sub"] = "somebody"


# What an introspection says that is not so.
LIES: dict[Fault, Callable[[dict[str, Any]], None]] = {
    Fault.ACTIVE_AS_TEXT: _lie(active="true"),
    Fault.NO_EXP: lambda answer: answer.pop("exp"),  # type: ignore[dict-item]
    Fault.NO_SCOPE: _lie(scope="openid"),
    Fault.EXPIRED: _lie(exp=1),
    Fault.WRONG_ISSUER: _lie(iss="https://elsewhere.invalid"),
    Fault.NOBODY: _nobody,
}
# What comes instead of any answer.
ANSWERS: dict[Fault, Callable[[], web.Response]] = {
    Fault.DOWN: lambda: web.Response(status=503, text="maintenance"),
    Fault.GATEWAY: lambda: web.Response(status=502, text=_HTML, content_type="text/html"),
    Fault.TOO_MANY: lambda: web.Response(status=429, headers={"Retry-After": "1"}),
    Fault.CAPTIVE_PORTAL: lambda: web.Response(text=_HTML, content_type="text/html"),
    Fault.PORTAL_AS_JSON: lambda: web.Response(text=_HTML, content_type="application/json"),
    Fault.REDIRECT: lambda: web.Response(status=302, headers={"Location": "https://127.0.0.1:1/"}),
    Fault.HUGE: lambda: web.json_response({"access_token": "x" * (2 << 20)}),
    Fault.NOT_JSON: lambda: web.Response(body=b"\xff\xfe{", content_type="application/json"),
    Fault.DUPLICATE_KEYS: lambda: web.Response(
        text='{"active": false, "active": true}', content_type="application/json"
    ),
    Fault.LIST: lambda: web.json_response([]),
    Fault.EMPTY: lambda: web.json_response({}),
}
