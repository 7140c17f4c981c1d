"""A Pro Santé Connect of ours: OpenID Connect with mutual TLS, CIBA, introspection; refuses like it, lies on demand.

    async with PscPeer(pki) as psc:
        psc.issuer, psc.client_id                  # for `[psc]` of the box
        psc.auto_approve = "899700000017"          # the authorization page sends the browser straight back
        await psc.asked("899700000017")            # the two digits, once the phone rings
        psc.approve("899700000017")                # as on the phone; `deny` likewise
        psc.phones.interval_s = 1                  # CIBA (psc_ciba)
        psc.forgery = "hs256-with-public-key"      # the next identity tokens (psc_tokens.FORGERIES)
        psc.fault = Fault.CAPTIVE_PORTAL           # until set to None; `psc.fail(fault, times=2)`
        psc.fault_at = {"token"}                   # of these services only
        psc.rotate()                               # new signing key; `rotate(keep=False)` forgets the old one
        await psc.cut(); await psc.restore()       # away and back, same address

The client is known by a certificate of the PKI (RFC 8705): there is no secret. The addresses for mutual TLS are
aliases; the plain ones refuse. Nothing of the package is used.

By hand: `python -m tests.peers.psc FOLDER [--port P] [--structure STRUCT_ID]`; on its input, `ok LOGIN` and `no LOGIN`.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import html
import secrets
import sys
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.peers.pki import Family, Pki
from tests.peers.psc_ciba import Phones
from tests.peers.psc_faults import ANSWERS, LIES, Fault, Refusal
from tests.peers.psc_people import Person, people
from tests.peers.psc_tokens import FORGERIES, SigningKey, at_hash
from tests.peers.tls_site import TlsSite, server_context

REALM = "/auth/realms/esante-wallet"
OIDC = f"{REALM}/protocol/openid-connect"
ALIAS = "/mtls"
CIBA_GRANT = "urn:openid:params:grant-type:ciba"
_PATHS = {
    "token": f"{OIDC}/token",
    "introspection": f"{OIDC}/token/introspect",
    "userinfo": f"{OIDC}/userinfo",
    "revocation": f"{OIDC}/revoke",
    "ciba": f"{OIDC}/ext/ciba/auth",
}
_NAMES = {
    "token": "token_endpoint",
    "introspection": "introspection_endpoint",
    "userinfo": "userinfo_endpoint",
    "revocation": "revocation_endpoint",
    "ciba": "backchannel_authentication_endpoint",
}


@dataclass
class Session:
    """One person signed in at one client."""

    person: Person
    client_id: str
    thumbprint: str
    nonce: str
    auth_time: float
    acr: str = "eidas1"
    state: str = field(default_factory=lambda: str(uuid.uuid4()))
    refresh: str = ""
    refresh_until: float = 0.0
    over: bool = False


@dataclass
class Code:
    session: Session
    redirect_uri: str
    challenge: str
    until: float


@cache
def _first_key() -> SigningKey:
    """Made once in a process: it takes a moment."""
    return SigningKey.new("k1")


class PscPeer:
    """The server. `clock` dates its tokens."""

    def __init__(
        self,
        pki: Pki,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        structure: str = "10B0127189",
        client_id: str = "passevue",
        redirect_uris: Iterable[str] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._pki = pki
        self._site = TlsSite(host, port)
        self.clock = clock
        self._times: int | None = None
        self._fault: Fault | None = None
        self.client_id = client_id
        self.redirect_uris = set(redirect_uris)  # empty: any
        self.structures: set[str] | None = None  # OU of the certificates taken; None: any of the PKI
        self.people = {one.login: one for one in people(structure)}
        self.phones = Phones(self.people, self._now)
        self.keys = [_first_key()]
        self.fault_at: set[str] = set()
        self.forgery = ""
        self.auto_approve = ""
        self.delay_s = 1.0
        self.token_life_s = 60.0
        self.refresh_life_s = 350.0
        self.acr = "eidas1"
        self.calls: Counter[str] = Counter()
        self.at_once = 0  # calls under way now, and the most there ever were
        self.most_at_once = 0
        self.most_connections = 0  # open at once, busy or not
        self.codes: dict[str, Code] = {}
        self.sessions: list[Session] = []
        self.access: dict[str, tuple[Session, float]] = {}

    # Life

    async def __aenter__(self) -> "PscPeer":
        await self.restore()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def restore(self) -> None:
        app = web.Application(middlewares=[self._met])
        app.router.add_get(f"{REALM}/.well-known/wallet-openid-configuration", self._discovery, name="discovery")
        app.router.add_get(f"{OIDC}/certs", self._jwks, name="jwks")
        app.router.add_get("/auth", self._authorize, name="authorize")
        app.router.add_post("/auth", self._authorize_answer, name="authorize-answer")
        app.router.add_post(f"{OIDC}/logout", self._logout, name="logout")
        handlers: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {
            "token": self._token,
            "introspection": self._introspect,
            "userinfo": self._userinfo,
            "revocation": self._revoke,
            "ciba": self._ciba,
        }
        for name, handler in handlers.items():
            app.router.add_route("*", ALIAS + _PATHS[name], handler, name=name)
            app.router.add_route("*", _PATHS[name], self._not_here)
        # A client certificate is asked for and not required: a browser has none.
        context = server_context(self._pki, self._site.host, [self._pki.authority], required=False)
        await self._site.start(app, context, access_log=None)

    async def cut(self) -> None:
        await self._site.stop()

    # Switches

    @property
    def url(self) -> str:
        return f"https://{self._site.host}:{self._site.port}"

    @property
    def issuer(self) -> str:
        return self.url + REALM

    @property
    def fault(self) -> Fault | None:
        return self._fault

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        self._fault, self._times = fault, None

    def fail(self, fault: Fault, times: int = 1) -> None:
        """`fault` for the next `times` calls that it concerns."""
        self._fault, self._times = fault, times

    def rotate(self, *, keep: bool = True) -> None:
        """A new signing key; the old one stays published for a while, or not."""
        new = SigningKey.new(f"k{int(self.keys[0].kid[1:]) + 1}")
        self.keys = [new, *self.keys] if keep else [new]

    def approve(self, login: str) -> str:
        """The person agrees on the phone: the two digits that they saw. KeyError when nothing was asked."""
        return self.phones.answer(login, agreed=True)

    def deny(self, login: str) -> str:
        return self.phones.answer(login, agreed=False)

    async def asked(self, login: str, within_s: float = 10.0) -> str:
        """The two digits, as soon as the person's phone rings."""
        return await self.phones.rang(login, within_s)

    def end_sessions(self, login: str) -> None:
        """The person ended everything elsewhere, or was banned."""
        for session in self.sessions:
            if session.person.login == login:
                session.over = True

    # What every call meets

    @web.middleware
    async def _met(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        name = request.match_info.route.name or "not-here"
        self.calls[name] += 1
        self.most_connections = max(self.most_connections, self._site.connections)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            early = await self._before(request, name)
            return early if early is not None else await handler(request)
        except Refusal as err:
            return web.json_response({"error": err.error, "error_description": "refused"}, status=err.status)
        finally:
            self.at_once -= 1

    def _meets(self, *faults: Fault, at: str) -> bool:
        """Whether one of these faults is met here; counts it."""
        if self._fault not in faults or (self.fault_at and at not in self.fault_at):
            return False
        if self._times is not None:
            self._times -= 1
            if self._times <= 0:
                self._fault, self._times = None, None
        return True

    async def _before(self, request: web.Request, name: str) -> web.StreamResponse | None:
        if self._meets(Fault.SLOW, at=name):
            await asyncio.sleep(self.delay_s)
            return None
        if self._meets(Fault.RESET, at=name):
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if self._meets(Fault.HANG, at=name):
            return await self._without_end(request)
        for fault, answer in ANSWERS.items():
            if self._fault is fault and self._meets(fault, at=name):
                return answer()
        if self._meets(Fault.INVALID_CLIENT, at=name):
            raise Refusal("invalid_client", 401)
        return None

    async def _without_end(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"a": "')
        for _ in range(3600):
            await response.write(b"a")
            await asyncio.sleep(1.0)
        return response

    # Front channel

    async def _discovery(self, _: web.Request) -> web.Response:
        issuer = "https://elsewhere.invalid" + REALM if self._meets(Fault.WRONG_ISSUER, at="discovery") else self.issuer
        url = self.url.replace("https", "http", 1) if self._meets(Fault.PLAIN_HTTP, at="discovery") else self.url
        return web.json_response(
            {
                "issuer": issuer,
                "authorization_endpoint": f"{url}/auth",
                "jwks_uri": f"{url}{OIDC}/certs",
                "end_session_endpoint": f"{url}{OIDC}/logout",
                **{_NAMES[name]: url + path for name, path in _PATHS.items()},
                "mtls_endpoint_aliases": {_NAMES[name]: url + ALIAS + path for name, path in _PATHS.items()},
                "grant_types_supported": ["authorization_code", "refresh_token", CIBA_GRANT],
                "code_challenge_methods_supported": ["plain", "S256"],
                "tls_client_certificate_bound_access_tokens": True,
                "backchannel_token_delivery_modes_supported": ["poll", "ping"],
            }
        )

    async def _jwks(self, _: web.Request) -> web.Response:
        keys = [key.jwk() for key in self.keys]
        if self._meets(Fault.MANY_KEYS, at="jwks"):
            keys += [{**keys[0], "kid": f"x{number}"} for number in range(10_000)]
        if self._meets(Fault.PRIVATE_KEY, at="jwks"):
            keys.append({**self.keys[0].private_jwk(), "kid": "p"})
        if self._meets(Fault.SYMMETRIC_KEY, at="jwks"):
            keys.append({"kty": "oct", "kid": "s", "k": "c2VjcmV0"})
        keys.append({**keys[0], "kid": "enc", "use": "enc", "alg": "RSA-OAEP"})  # as Keycloak publishes one
        return web.json_response({"keys": keys})

    async def _authorize(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        wrong = (
            asked.get("client_id") != self.client_id
            or asked.get("response_type") != "code"
            or asked.get("code_challenge_method") != "S256"
            or not {"openid", "scope_all"} <= set(asked.get("scope", "").split())
            or asked.get("acr_values") not in ("eidas1", "eidas2", "eidas3")
            or not all(asked.get(name) for name in ("state", "nonce", "redirect_uri", "code_challenge"))
            or (self.redirect_uris and asked["redirect_uri"] not in self.redirect_uris)
        )
        if wrong:
            return web.Response(status=400, text="Invalid parameter")
        if self.auto_approve:
            raise web.HTTPFound(self._back(asked, self.auto_approve))
        hidden = "".join(
            f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
            for name, value in asked.items()
        )
        buttons = "".join(
            f'<p><button name="login" value="{one.login}">{html.escape(f"{one.given} {one.family}")}</button></p>'
            for one in self.people.values()
        )
        page = f"""<!doctype html><html lang="fr"><meta charset="utf-8"><title>Pro Santé Connect (simulé)</title>
            <h1>Pro Santé Connect (simulé)</h1><form method="post" action="/auth">{hidden}{buttons}
            <p><button name="login" value="">Refuser</button></p></form></html>"""
        return web.Response(text=page, content_type="text/html")

    async def _authorize_answer(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        login = form.pop("login", "")
        raise web.HTTPFound(self._back(form, login))

    def _back(self, asked: dict[str, str], login: str) -> str:
        answer = {"state": asked["state"], "iss": self.issuer}
        if login:
            code = secrets.token_urlsafe(24)
            session = Session(self.people[login], self.client_id, "", asked["nonce"], self._now(), self.acr)
            self.codes[code] = Code(session, asked["redirect_uri"], asked["code_challenge"], self._now() + 60)
            answer |= {"session_state": session.state, "code": code}
        else:
            answer["error"] = "access_denied"
        return f"{asked['redirect_uri']}?{urlencode(answer)}"

    # Back channel

    async def _not_here(self, _: web.Request) -> web.Response:
        """The plain addresses: this client must use the aliases for mutual TLS (RFC 8705 § 5)."""
        raise Refusal("invalid_client", 401)

    async def _form(self, request: web.Request) -> tuple[dict[str, str], str]:
        """The form of an authenticated client, and the thumbprint of its certificate."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        secure = request.get_extra_info("ssl_object")
        der = secure.getpeercert(True) if secure is not None else None
        if der is None or form.get("client_id") != self.client_id or "client_secret" in form:
            raise Refusal("invalid_client", 401)
        certificate = x509.load_der_x509_certificate(der)
        purposes = set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        unit = str(certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)[0].value)
        if purposes != {ExtendedKeyUsageOID.CLIENT_AUTH} or (
            self.structures is not None and unit not in self.structures
        ):
            raise Refusal("invalid_client", 401)
        return form, base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()

    async def _token(self, request: web.Request) -> web.Response:
        form, thumbprint = await self._form(request)
        grants = {"authorization_code": self._by_code, "refresh_token": self._by_refresh, CIBA_GRANT: self._by_ciba}
        grant = grants.get(form.get("grant_type", ""))
        if grant is None:
            raise Refusal("unsupported_grant_type")
        return web.json_response(self._tokens(grant(form, thumbprint), thumbprint))

    def _by_code(self, form: dict[str, str], _: str) -> Session:
        code = self.codes.pop(form.get("code", ""), None)
        verifier = form.get("code_verifier", "")
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        if (
            code is None
            or code.until < self._now()
            or form.get("redirect_uri") != code.redirect_uri
            or not hmac.compare_digest(challenge, code.challenge)
        ):
            raise Refusal("invalid_grant")
        self.sessions.append(code.session)
        return code.session

    def _by_refresh(self, form: dict[str, str], thumbprint: str) -> Session:
        for session in self.sessions:
            if session.refresh and session.refresh == form.get("refresh_token"):
                if session.over or session.refresh_until < self._now() or session.thumbprint != thumbprint:
                    raise Refusal("invalid_grant")
                return session
        raise Refusal("invalid_grant")

    def _by_ciba(self, form: dict[str, str], _: str) -> Session:
        login = self.phones.poll(form)
        session = Session(self.people[login], self.client_id, "", "", self._now(), self.acr)
        self.sessions.append(session)
        return session

    def _tokens(self, session: Session, thumbprint: str) -> dict[str, Any]:
        now = self._now()
        session.thumbprint = thumbprint
        session.refresh, session.refresh_until = secrets.token_urlsafe(32), now + self.refresh_life_s
        about = {
            "iss": self.issuer, "sub": session.person.sub, "iat": int(now), "exp": int(now + self.token_life_s),
            "auth_time": int(session.auth_time), "acr": session.acr, "azp": self.client_id,
            "session_state": session.state, "sid": session.state, "nonce": session.nonce,
            "preferred_username": session.person.login, "jti": str(uuid.uuid4()),
        }  # fmt: skip
        key = self.keys[0]
        access = key.sign(key.header(), {**about, "typ": "Bearer", "scope": "openid scope_all",
                                         "cnf": {"x5t#S256": thumbprint}})  # fmt: skip
        self.access[access] = (session, now + self.token_life_s)
        header, claims = key.header(), {**about, "typ": "ID", "aud": self.client_id, "at_hash": at_hash(access)}
        if not session.nonce:
            del claims["nonce"]
        forgery = FORGERIES.get(self.forgery)
        if forgery is not None:
            forgery.change(header, claims)
        answer = {
            "access_token": access,
            "expires_in": int(self.token_life_s),
            "refresh_token": session.refresh,
            "refresh_expires_in": int(self.refresh_life_s),
            "token_type": "Bearer",
            "id_token": (forgery.sign if forgery else SigningKey.sign)(key, header, claims),
            "not-before-policy": 0,
            "session_state": session.state,
            "scope": "openid" if self._meets(Fault.NO_SCOPE, at="token") else "openid scope_all",
        }
        if self._meets(Fault.NO_ID_TOKEN, at="token"):
            del answer["id_token"]
        return answer

    async def _ciba(self, request: web.Request) -> web.Response:
        form, _ = await self._form(request)
        return web.json_response(self.phones.ask(form))

    async def _introspect(self, request: web.Request) -> web.Response:
        form, _ = await self._form(request)
        found = self.alive(form.get("token", ""))
        if found is None:
            return web.json_response({"active": False})
        session, until = found
        person = session.person
        if self._meets(Fault.OTHER_PERSON, at="introspection"):
            person = next(one for one in self.people.values() if one is not person)
        answer = {
            "exp": int(until), "iat": int(until - self.token_life_s), "auth_time": int(session.auth_time),
            "jti": str(uuid.uuid4()), "iss": self.issuer, "sub": person.sub, "typ": "Bearer", "azp": session.client_id,
            "nonce": session.nonce, "session_state": session.state, "preferred_username": person.login,
            "email_verified": False, "acr": session.acr, "scope": "openid profile email scope_all",
            "client_id": session.client_id, "username": person.login, "active": True,
        }  # fmt: skip
        for fault, change in LIES.items():
            if self._fault is fault and self._meets(fault, at="introspection"):
                change(answer)
        return web.json_response(answer)

    async def _userinfo(self, request: web.Request) -> web.Response:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        found = self.alive(token) if kind == "Bearer" else None
        if found is None:
            raise Refusal("invalid_token", 401)
        person = found[0].person
        if self._meets(Fault.OTHER_PERSON, at="userinfo"):
            person = next(one for one in self.people.values() if one is not person)
        claims = person.claims()
        if self._meets(Fault.NOBODY, at="userinfo"):
            claims = {"sub": "f", "given_name": person.given}
        return web.json_response(claims)

    async def _revoke(self, request: web.Request) -> web.Response:
        form, _ = await self._form(request)
        for session in self.sessions:
            session.over |= session.refresh == form.get("token")
        return web.Response(status=200, content_type="application/json", text="{}")

    async def _logout(self, request: web.Request) -> web.Response:
        form, _ = await self._form(request)
        for session in self.sessions:
            if session.refresh == form.get("refresh_token") and not session.over:
                session.over = True
                return web.Response(status=204)
        raise Refusal("invalid_grant")

    def alive(self, token: str) -> tuple[Session, float] | None:
        found = self.access.get(token)
        return found if found is not None and not found[0].over and found[1] > self._now() else None

    def _now(self) -> float:
        return self.clock().timestamp()


async def _serve(folder: Path, port: int, structure: str) -> None:
    pki = Pki(folder)
    async with PscPeer(pki, port=port, structure=structure) as peer:
        keys = pki.leaf(Family.ORG_AUTH_CLI, structure)
        print(f"issuer       {peer.issuer}\nclient_id    {peer.client_id}\nauthority    {pki.authority}")
        print(f"certificate  {keys.certificate}\nkey          {keys.key}")
        for one in peer.people.values():
            print(f"{one.login}  {one.given} {one.family}")
        lines: asyncio.Queue[str] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin, lambda: lines.put_nowait(sys.stdin.readline()))
        while line := await lines.get():
            word, _, login = line.strip().partition(" ")
            try:
                print("digits", peer.approve(login) if word == "ok" else peer.deny(login))
            except KeyError as err:
                print(err.args[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where keys are kept")
    parser.add_argument("--port", type=int, default=8444)
    parser.add_argument("--structure", default="10B0127189", help="StructIdNat in which the people work")
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.folder, arguments.port, arguments.structure))
