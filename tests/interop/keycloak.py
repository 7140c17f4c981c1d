"""Keycloak as Pro Santé Connect: the server distribution, a realm, an edge with PSC's own names, and a telephone.

Pro Santé Connect is a Keycloak (pro-sante-connect.md), so this is as near as a laptop comes to it. The server is the
published archive, unpacked and built once into `.cache/interop/keycloak`. It is asked three things it does not do:

- the discovery document's own name (`wallet-openid-configuration`), and another address for mutual TLS: the edge, which
  is also the issuer's and the browser's address, and which sends everything else on. Mutual TLS goes past it, straight
  to Keycloak.
- a phone: the telephone answers Keycloak's HTTP authentication channel, and calls back when a test says so.

Alone: `python -m tests.interop.keycloak FOLDER`.
"""

import asyncio
import json
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from passevue.national.servers import Servers
from tests.interop.jvm import Missing, unpacked
from tests.interop.keycloak_realm import REALM, realm
from tests.peers.pki import Family, KeyPaths, Pki
from tests.peers.ports import free_port
from tests.peers.psc_people import Person, people
from tests.peers.trusted import servers_of

START_WITHIN_S = 120.0  # fifteen seconds on an idle machine of two cores
BUILD_WITHIN_S = 400.0
ADMIN = ("admin", "a-password-for-a-test")
CLIENT_ID = "passevue"
_QUICK = "-XX:TieredStopAtLevel=1"
_BUILT_IN = ("--db=dev-mem", "--http-relative-path=/auth", "--features=ciba", "--health-enabled=false",
             "--https-client-auth=request")  # fmt: skip
_HOP = {"host", "content-length", "transfer-encoding", "connection", "content-encoding", "accept-encoding"}


@dataclass
class Telephone:
    """Keycloak's HTTP authentication channel: what rings, and how it is answered."""

    url: str = ""
    callback: str = ""
    context: ssl.SSLContext | None = None
    ringing: dict[str, tuple[str, str]] = field(default_factory=dict)  # login: binding message, bearer
    rings: asyncio.Event = field(default_factory=asyncio.Event)

    async def asked(self, login: str) -> str:
        """The two digits, once it rings."""
        async with asyncio.timeout(20):
            while login not in self.ringing:
                self.rings.clear()
                await self.rings.wait()
        return self.ringing[login][0]

    async def answer(self, login: str, status: str) -> None:
        """`SUCCEED`, `UNAUTHORIZED` or `CANCELLED`."""
        _, bearer = self.ringing.pop(login)
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.context or True)) as session,
            session.post(self.callback, json={"status": status}, headers={"Authorization": bearer}) as response,
        ):
            assert response.status == 200, await response.text()

    async def ring(self, request: web.Request) -> web.Response:
        found = await request.json()
        self.ringing[found["login_hint"]] = (found["binding_message"], request.headers["Authorization"])
        self.rings.set()
        return web.Response(status=201)


@dataclass
class Keycloak:
    """A running one. `issuer` is the edge's; `client` opens mutual TLS."""

    issuer: str
    client: KeyPaths
    servers: Servers
    telephone: Telephone
    people: dict[str, Person]
    redirect_uri: str


def home() -> Path:
    """The built server, or the test skips and says why."""
    try:
        made = unpacked("keycloak", _build, _BUILT_IN)
    except Missing as err:
        pytest.skip(f"Keycloak: {err}")
    return next(made.iterdir())


def _build(folder: Path) -> None:
    """Keycloak's own build step: a minute, once."""
    script = next(folder.iterdir()) / "bin" / "kc.sh"
    done = subprocess.run(
        ["sh", str(script), "build", *_BUILT_IN], capture_output=True, text=True, timeout=BUILD_WITHIN_S,
        env={**os.environ, "JAVA_OPTS_KC_HEAP": "-Xmx700m"}, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"Keycloak does not build:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")


@asynccontextmanager
async def keycloak(pki: Pki, folder: Path, redirect_uri: str, structure: str) -> AsyncIterator[Keycloak]:
    """Starts it, and ends it by its process."""
    built = await asyncio.to_thread(home)
    port, edge_port = free_port(), free_port()
    issuer = f"https://127.0.0.1:{edge_port}/auth/realms/{REALM}"
    known = list(people(structure))
    trusting = ssl.create_default_context(cafile=pki.authority)
    callback = f"https://127.0.0.1:{port}/auth/realms/{REALM}/protocol/openid-connect/ext/ciba/auth/callback"
    telephone = Telephone(callback=callback, context=trusting)
    async with _edge(telephone, edge_port, port, pki, trusting):
        process = await asyncio.to_thread(_start, built, pki, folder, port, edge_port, telephone.url)
        try:
            direct = f"https://127.0.0.1:{port}/auth"
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
                await _answers(session, direct, process, folder)
                await _make_realm(session, direct, realm(known, CLIENT_ID, redirect_uri))
            client = pki.leaf(Family.ORG_AUTH_CLI, structure)
            by_login = {one.login: one for one in known}
            yield Keycloak(issuer, client, servers_of(pki), telephone, by_login, redirect_uri)
        finally:
            process.terminate()
            try:
                await asyncio.to_thread(process.wait, 20)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)


def _start(built: Path, pki: Pki, folder: Path, port: int, edge_port: int, channel: str) -> "subprocess.Popen[bytes]":
    server = pki.server("127.0.0.1", ("localhost",))
    command = [
        "sh", str(built / "bin" / "kc.sh"), "start", "--optimized",
        f"--hostname=https://127.0.0.1:{edge_port}/auth", "--http-host=127.0.0.1", f"--https-port={port}",
        f"--https-certificate-file={server.certificate}", f"--https-certificate-key-file={server.key}",
        f"--truststore-paths={pki.authority}", "--cache=local", "--log-level=warn",
        f"--spi-ciba-auth-channel--ciba-http-auth-channel--http-authentication-channel-uri={channel}",
    ]  # fmt: skip
    environ = {
        **os.environ,
        "JAVA_OPTS_KC_HEAP": "-Xmx512m",
        "JAVA_OPTS_APPEND": f"{_QUICK} -Djava.io.tmpdir={folder}",
        "KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN[0],
        "KC_BOOTSTRAP_ADMIN_PASSWORD": ADMIN[1],
    }
    with (folder / "keycloak.log").open("wb") as told:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=told, stderr=told, env=environ, cwd=folder)


async def _answers(session: aiohttp.ClientSession, base: str, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    try:
        async with asyncio.timeout(START_WITHIN_S):
            while process.poll() is None:
                try:
                    async with session.get(f"{base}/realms/master") as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.5)
    except TimeoutError:
        pass
    told = await asyncio.to_thread((folder / "keycloak.log").read_text, errors="replace")
    raise RuntimeError(f"Keycloak did not start:\n{told[-4000:]}")


async def _make_realm(session: aiohttp.ClientSession, base: str, wanted: dict[str, Any]) -> None:
    form = {"grant_type": "password", "client_id": "admin-cli", "username": ADMIN[0], "password": ADMIN[1]}
    async with session.post(f"{base}/realms/master/protocol/openid-connect/token", data=form) as response:
        token = (await response.json())["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    async with session.post(f"{base}/admin/realms", json=wanted, headers=headers) as response:
        assert response.status == 201, await response.text()


# The edge and the telephone


@asynccontextmanager
async def _edge(
    telephone: Telephone, edge_port: int, port: int, pki: Pki, trusting: ssl.SSLContext
) -> AsyncIterator[None]:
    """The issuer's address, and beside it the telephone on plain HTTP."""
    connector = aiohttp.TCPConnector(ssl=trusting)
    async with aiohttp.ClientSession(
        connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
    ) as out:
        back, front = f"https://127.0.0.1:{port}", f"https://127.0.0.1:{edge_port}"

        async def hand_on(request: web.Request) -> web.Response:
            path = request.rel_url.raw_path_qs.replace("wallet-openid-configuration", "openid-configuration")
            headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
            async with out.request(
                request.method, back + path, data=await request.read(), headers=headers, allow_redirects=False
            ) as answer:
                body = await answer.read()
                if "wallet-openid-configuration" in request.path:
                    body = _as_psc(body, front, back)
                kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP]
                response = web.Response(status=answer.status, body=body)
                response.headers.clear()
                for name, value in kept:
                    response.headers.add(name, value)
                return response

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", hand_on)
        phone = web.Application()
        phone.router.add_post("/ring", telephone.ring)
        runners = [web.AppRunner(app, access_log=None), web.AppRunner(phone, access_log=None)]
        server = pki.server("127.0.0.1", ("localhost",))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server.certificate, server.key)
        try:
            for runner in runners:
                await runner.setup()
            await web.TCPSite(runners[0], "127.0.0.1", edge_port, ssl_context=context).start()
            await web.TCPSite(runners[1], "127.0.0.1", 0).start()
            telephone.url = f"http://127.0.0.1:{runners[1].addresses[0][1]}/ring"
            yield
        finally:
            for runner in runners:
                await runner.cleanup()


def _as_psc(body: bytes, front: str, back: str) -> bytes:
    """Aliases for mutual TLS, and the logout that this client authenticates for too, past the edge."""
    found = json.loads(body)
    aliases = found["mtls_endpoint_aliases"]
    found["mtls_endpoint_aliases"] = {name: value.replace(front, back) for name, value in aliases.items()}
    found["end_session_endpoint"] = found["end_session_endpoint"].replace(front, back)
    return json.dumps(found).encode()


async def _serve(folder: Path) -> None:
    async with keycloak(Pki(folder), folder, "http://127.0.0.1:8080/psc/retour", "10B0127189") as running:
        print(running.issuer, *running.people)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
