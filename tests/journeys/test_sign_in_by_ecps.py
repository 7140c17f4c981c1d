"""A practitioner signs in by Pro Santé Connect: the phone that the box rings, or Pro Santé Connect's own site."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.peers.front_desk import Browser, FrontDesk
from tests.peers.psc import Fault
from tests.peers.ris_report import Doctor
from tests.unit.national.psc_browser import visit

MAUD = "899700000017"  # one situation, here
BASILE = "899700000025"  # two here: chooses
AUDE = "899700000033"  # elsewhere only


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[FrontDesk]:
    async with FrontDesk(tmp_path, psc=True) as desk:
        yield desk


@pytest.fixture
async def browser(desk: FrontDesk) -> AsyncIterator[Browser]:
    async with desk.browser() as browser:
        await browser.get("/sign-in")
        yield browser


def peer(desk: FrontDesk):  # type: ignore[no-untyped-def]
    assert desk.peer is not None
    return desk.peer


async def until(done: Callable[[], bool]) -> None:
    for _ in range(200):
        if done():
            return
        await asyncio.sleep(0.05)
    raise TimeoutError


async def test_the_number_on_the_screen_is_the_one_on_the_phone(desk: FrontDesk, browser: Browser) -> None:
    text = await browser.post("/sign-in/phone", id_nat=MAUD)
    assert browser.path == "/sign-in/phone"
    number = await peer(desk).asked(MAUD)
    assert f'<p class="binding">{number}</p>' in text
    async with browser.events("/sign-in/phone/events") as events:
        peer(desk).approve(MAUD)
        assert await anext(events) == ("go", "/sign-in/phone")
    text = await browser.get("/sign-in/phone")
    assert browser.path == "/me"
    assert "Maud CARDAMOME" in text
    assert "par e-CPS" in text
    trail = await desk.audited()
    assert f'UserID="{MAUD}"' in trail


async def test_refusing_on_the_phone_is_told(desk: FrontDesk, browser: Browser) -> None:
    await browser.post("/sign-in/phone", id_nat=MAUD)
    await peer(desk).asked(MAUD)
    async with browser.events("/sign-in/phone/events") as events:
        peer(desk).deny(MAUD)
        name, html = await anext(events)
    assert name == "part"
    assert "Demande refusée" in html
    await browser.get("/me")
    assert browser.path == "/sign-in"
    assert "access_denied" in await desk.audited()


async def test_nobody_answers_in_time(desk: FrontDesk, browser: Browser) -> None:
    peer(desk).phones.life_s = 1
    await browser.post("/sign-in/phone", id_nat=MAUD)
    await browser.until("/sign-in/phone", "Le temps est passé", 10)


async def test_another_browser_gets_nothing_of_an_approval(desk: FrontDesk, browser: Browser) -> None:
    await browser.post("/sign-in/phone", id_nat=MAUD)
    await peer(desk).asked(MAUD)
    peer(desk).approve(MAUD)
    async with desk.browser() as other:
        await other.get("/sign-in")
        for _ in range(20):
            await other.get("/sign-in/phone")
            assert other.path == "/sign-in"
            await asyncio.sleep(0.1)
    assert "Maud" in await browser.until("/sign-in/phone", "Maud")


async def test_giving_up_ends_what_is_approved_later(desk: FrontDesk, browser: Browser) -> None:
    await browser.post("/sign-in/phone", id_nat=MAUD)
    await peer(desk).asked(MAUD)
    await browser.post("/sign-in/phone/stop")
    assert browser.path == "/sign-in"
    peer(desk).approve(MAUD)
    await until(lambda: bool(peer(desk).sessions) and peer(desk).sessions[0].over)
    await browser.get("/me")
    assert browser.path == "/sign-in"


@pytest.mark.parametrize("id_nat", ["899799999999", "801", "abc", "", "8997 0000 0017", "<script>", "8" * 4000])
async def test_a_number_that_rings_nowhere_is_told_without_saying_why(browser: Browser, id_nat: str) -> None:
    text = await browser.post("/sign-in/phone", id_nat=id_nat)
    if browser.status == 413:  # longer than any form of ours
        return
    assert browser.path == "/sign-in"
    assert "n’a pas pu être envoyée" in text


async def test_phones_ring_at_a_pace(desk: FrontDesk, browser: Browser) -> None:
    texts = [await browser.post("/sign-in/phone", id_nat="899799999999") for _ in range(6)]
    assert "attendez dix minutes" in texts[-1]
    assert "attendez dix minutes" not in texts[-2]
    assert peer(desk).calls["ciba"] <= 5


async def test_a_second_request_to_the_same_phone_is_not_sent(desk: FrontDesk, browser: Browser) -> None:
    await browser.post("/sign-in/phone", id_nat=MAUD)
    await peer(desk).asked(MAUD)
    async with desk.browser() as other:
        await other.get("/sign-in")
        assert "déjà en cours" in await other.post("/sign-in/phone", id_nat=MAUD)


async def test_pro_sante_connect_away_is_told(desk: FrontDesk, browser: Browser) -> None:
    await browser.post("/sign-in/phone", id_nat="899799999999")  # the discovery document is held
    await peer(desk).cut()
    text = await browser.post("/sign-in/phone", id_nat=MAUD)
    assert "ne répond pas" in text
    await peer(desk).restore()


async def test_a_captive_portal_signs_nobody_in(desk: FrontDesk, browser: Browser) -> None:
    await browser.post("/sign-in/phone", id_nat="899799999999")
    peer(desk).fault = Fault.CAPTIVE_PORTAL
    await browser.post("/sign-in/phone", id_nat=MAUD)
    assert browser.path == "/sign-in"
    peer(desk).fault = None


# --- by Pro Santé Connect's own site -------------------------------------------------------------------------------


async def leave(browser: Browser) -> str:
    """Where the box sends the browser."""
    html = await browser.post("/sign-in/psc")
    assert browser.status == 200
    found = re.search(r'content="0;url=([^"]+)"', html)
    assert found
    return unescape(found[1])


async def come_back(desk: FrontDesk, url: str) -> str:
    query = await visit(url, desk.pki)
    return "/psc/retour?" + "&".join(f"{name}={value}" for name, value in query.items())


async def test_there_and_back(desk: FrontDesk, browser: Browser) -> None:
    peer(desk).auto_approve = MAUD
    url = await leave(browser)
    assert urlsplit(url).scheme == "https"
    back = await come_back(desk, url)
    html = await browser.get(back, **{"Sec-Fetch-Site": "cross-site"})
    assert "0;url=/me" in html  # a step of our own: strict cookies do not come with one from another site
    assert "Maud" in await browser.get("/me")
    cookies = {cookie.key: cookie for cookie in browser.session.cookie_jar}
    assert cookies["passevue"]["samesite"] == "Strict"
    assert "passevue-psc" not in cookies


async def test_the_state_cookie_is_the_only_lax_one(desk: FrontDesk, browser: Browser) -> None:
    await leave(browser)
    cookies = {cookie.key: cookie for cookie in browser.session.cookie_jar}
    assert {name: cookie["samesite"] for name, cookie in cookies.items()} == {
        "passevue-visit": "Strict", "passevue-psc": "Lax",
    }  # fmt: skip
    assert all(cookie["httponly"] for cookie in cookies.values())
    assert cookies["passevue-psc"]["max-age"] == "600"


async def test_an_answer_to_another_browsers_question_is_refused(desk: FrontDesk, browser: Browser) -> None:
    peer(desk).auto_approve = MAUD
    back = await come_back(desk, await leave(browser))
    async with desk.browser() as victim:
        await victim.get("/sign-in")
        text = await victim.get(back)
        assert victim.status == 403
        assert "n’est plus valable" in text
        await leave(victim)
        await victim.get(back)
        assert victim.status == 403
    assert len(desk.sign_in.sessions) == 0


async def test_an_answer_counts_once(desk: FrontDesk, browser: Browser) -> None:
    peer(desk).auto_approve = MAUD
    back = await come_back(desk, await leave(browser))
    await browser.get(back)
    await browser.get(back)
    assert browser.status == 403


async def test_an_answer_too_late_is_refused(desk: FrontDesk, browser: Browser) -> None:
    peer(desk).auto_approve = MAUD
    back = await come_back(desk, await leave(browser))
    desk.clock.pass_by(minutes=11)
    assert "n’est plus valable" in await browser.get(back)


@pytest.mark.parametrize("query", ["", "?code=x", "?error=access_denied&state=x", "?state=" + "a" * 4000, "?iss=evil"])
async def test_a_callback_that_nobody_asked_for_signs_nobody_in(browser: Browser, query: str) -> None:
    await browser.get("/psc/retour" + query)
    assert browser.status == 403


async def test_whoever_has_two_situations_chooses_and_whoever_has_none_here_is_told(
    desk: FrontDesk, browser: Browser
) -> None:
    number = await desk.set_aside()
    peer(desk).auto_approve = BASILE
    await browser.get(await come_back(desk, await leave(browser)))
    text = await browser.get("/me")
    assert "J’agis en tant que" in text
    assert f"/entries/{number}" in await browser.post("/me/situation", situation="0")
    async with desk.browser() as other:
        await other.get("/sign-in")
        peer(desk).auto_approve = AUDE
        await other.get(await come_back(desk, await leave(other)))
        assert "Aucune de vos situations" in await other.get("/me")


async def test_by_ecps_one_lets_it_go_in_the_structures_name_and_the_trail_says_who(
    desk: FrontDesk, browser: Browser
) -> None:
    number = await desk.set_aside(Doctor(MAUD, "CARDAMOME", "Maud"))
    peer(desk).auto_approve = MAUD
    await browser.get(await come_back(desk, await leave(browser)))
    text = await browser.get(f"/entries/{number}")
    assert "Publier en mon nom" not in text
    assert "en votre nom que par carte CPS" in text
    assert "que par carte CPS" in await browser.post(f"/entries/{number}/publish")
    assert desk.sign_in.in_person.of(number) is None
    await browser.get(f"/entries/{number}")
    assert "est relancée" in await browser.post(f"/entries/{number}/retry")
    shown = await desk.store.show(number)
    assert shown is not None
    assert [(act.act, act.by) for act in shown.acts] == [("retry", MAUD)]
    trail = await desk.audited()
    assert "queue-retry" in trail
    assert MAUD in trail
    await browser.post("/sign-out")
    await until(lambda: all(session.over for session in peer(desk).sessions))  # left there too


async def test_a_session_that_pro_sante_connect_ended_ends_here(desk: FrontDesk, browser: Browser) -> None:
    peer(desk).auto_approve = MAUD
    await browser.get(await come_back(desk, await leave(browser)))
    (session,) = desk.sign_in.sessions._open.values()
    signer = desk.sign_in._signers[id(session)]
    assert signer.psc is not None
    await signer.psc.end()
    await asyncio.sleep(0.7)
    text = await browser.get("/me")
    assert browser.path == "/sign-in"
    assert "Pro Santé Connect a fermé" in text
