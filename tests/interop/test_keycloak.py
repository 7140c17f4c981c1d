"""Keycloak, which we did not write and which Pro Santé Connect is made of, signs people in at the box.

Code flow in a real browser, CIBA, refresh, introspection, logout, all by mutual TLS without any secret.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import async_playwright

from passevue import config
from passevue.errors import CredentialError, SignInError, TrustError
from passevue.national.psc import Psc, PscSession
from passevue.national.psc_claims import choose_situation, usable_situations
from passevue.national.psc_identity import PscIdentity
from tests.interop.keycloak import CLIENT_ID, Keycloak, keycloak
from tests.interop.keycloak_realm import PASSWORD
from tests.interop.test_page_in_browser import ARGUMENTS, CHROMIUM
from tests.peers.pki import Family, Pki
from tests.peers.trusted import servers_of

STRUCTURE = "10B0127189"
MEDECIN, SECOND = "899700000017", "899700000025"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


class Callback:
    """Where the browser comes back to: the box's page, as far as this matters here."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: asyncio.Queue[dict[str, str]] = asyncio.Queue()

    async def take(self, request: web.Request) -> web.Response:
        self.answers.put_nowait(dict(request.query))
        return web.Response(text="<h1>De retour</h1>", content_type="text/html")


@asynccontextmanager
async def _callback() -> AsyncIterator[Callback]:
    callback = Callback()
    app = web.Application()
    app.router.add_get("/psc/retour", callback.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    callback.url = f"http://127.0.0.1:{runner.addresses[0][1]}/psc/retour"
    try:
        yield callback
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def callback() -> AsyncIterator[Callback]:
    async with _callback() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(pki: Pki, callback: Callback, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Keycloak]:
    async with keycloak(pki, tmp_path_factory.mktemp("keycloak"), callback.url, STRUCTURE) as running:
        yield running


def settings_of(server: Keycloak) -> config.Psc:
    return config.Psc.model_validate(
        {"issuer": server.issuer, "client_id": CLIENT_ID, "redirect_url": server.redirect_uri, "timeout_s": 30}
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def psc(server: Keycloak, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Psc]:
    identity = PscIdentity(server.client.certificate, server.client.key, server.servers)
    async with Psc(settings_of(server), identity, tmp_path_factory.mktemp("psc")) as client:
        yield client


@pytest.mark.skipif(CHROMIUM is None or shutil.which("chromium") is None, reason="chromium is not installed")
async def test_a_person_signs_in_by_a_real_browser(psc: Psc, callback: Callback) -> None:
    request = await psc.begin_code()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = await (await browser.new_context(ignore_https_errors=True)).new_page()
        await page.goto(request.url)
        await page.fill("#username", MEDECIN)
        await page.fill("#password", PASSWORD)
        await page.click("#kc-login")
        await page.wait_for_selector("text=De retour")
        await browser.close()
    answer = await callback.answers.get()
    session = await psc.finish_code(request, answer)
    assert session.person.id_nat == MEDECIN
    assert session.person.family == "CARDAMOME"
    situation = choose_situation(usable_situations(session.person, {STRUCTURE}))
    assert situation is not None
    assert (situation.structure_id, situation.profession, situation.know_how) == (STRUCTURE, "10", "SM44")
    with pytest.raises(SignInError, match="state_used"):
        await psc.finish_code(request, answer)
    await session.end()


async def _by_phone(psc: Psc, server: Keycloak, login: str = SECOND, status: str = "SUCCEED") -> PscSession:
    request = await psc.begin_ciba(login)
    assert await server.telephone.asked(login) == request.binding_message
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(psc.finish_ciba(request))
        await asyncio.sleep(1.5)
        assert not waiting.done()
        await server.telephone.answer(login, status)
    return waiting.result()


async def test_a_person_signs_in_by_the_phone(psc: Psc, server: Keycloak) -> None:
    session = await _by_phone(psc, server)
    assert session.person.id_nat == SECOND
    assert len(usable_situations(session.person, {STRUCTURE})) == 2
    assert session.token.acr == "eidas1"


async def test_a_refusal_on_the_phone_and_an_unknown_person_are_told(psc: Psc, server: Keycloak) -> None:
    with pytest.raises(ExceptionGroup) as refused:
        await _by_phone(psc, server, status="CANCELLED")
    assert refused.group_contains(SignInError, match="access_denied")
    with pytest.raises(SignInError):
        await psc.begin_ciba("899700099999")


async def test_tokens_are_introspected_renewed_and_ended(psc: Psc, server: Keycloak, tmp_path: Path) -> None:
    session = await _by_phone(psc, server)
    token = await session.access_token()
    found = await psc.introspect(token)
    assert (found.id_nat, found.client_id) == (SECOND, CLIENT_ID)
    await session._renew(session._grant)
    renewed = await session.access_token()
    assert renewed != token
    await psc.introspect(renewed)
    await session.end()
    identity = PscIdentity(server.client.certificate, server.client.key, server.servers)
    async with Psc(settings_of(server), identity, tmp_path) as another:  # whose cache knows nothing
        for dead in (token, renewed, token[:-8] + "AAAAAAAA", "opaque"):
            with pytest.raises(SignInError, match="token_inactive"):
                await another.introspect(dead)


async def test_another_certificate_is_refused(server: Keycloak, pki: Pki, tmp_path: Path) -> None:
    other = pki.leaf(Family.ORG_AUTH_CLI, STRUCTURE, common_name="autre-boitier")
    async with Psc(settings_of(server), PscIdentity(other.certificate, other.key, servers_of(pki)), tmp_path) as psc:
        with pytest.raises(CredentialError) as refused:
            await psc.begin_ciba(MEDECIN)
        assert "psc.client_id" in refused.value.hint


async def test_a_token_is_bound_to_the_certificate_that_got_it(psc: Psc, server: Keycloak, pki: Pki) -> None:
    session = await _by_phone(psc, server)
    token = await session.access_token()
    url = (await psc._server.endpoints()).userinfo
    thief = pki.leaf(Family.ORG_AUTH_CLI, STRUCTURE, common_name="autre-boitier")
    identity = PscIdentity(thief.certificate, thief.key, servers_of(pki))
    await asyncio.to_thread(identity.load)
    connector = aiohttp.TCPConnector(ssl=identity.context(session.started_at))
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        http.get(url, headers={"Authorization": f"Bearer {token}"}) as response,
    ):
        assert response.status == 401
    await session.end()


async def test_keys_are_rotated_by_keycloak_and_followed(psc: Psc, server: Keycloak) -> None:
    session = await _by_phone(psc, server)
    keys = await psc._server._fetch_keys()
    assert {one["use"] for one in keys["keys"]} >= {"sig", "enc"}  # the encryption key is passed over
    await session.end()


async def test_a_box_set_to_another_family_of_algorithms_refuses_its_tokens(
    server: Keycloak, psc: Psc, tmp_path: Path
) -> None:
    identity = PscIdentity(server.client.certificate, server.client.key, server.servers)
    settings = settings_of(server).model_copy(update={"signature": "ES"})
    async with Psc(settings, identity, tmp_path) as strict:
        with pytest.raises(ExceptionGroup) as refused:
            await _by_phone(strict, server)
        assert refused.group_contains(TrustError)
