"""What the page of people refuses, whoever asks: forged forms, planted cookies, floods, other sites (N-22)."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from passevue.queue.states import State
from passevue.status.door import Limits
from tests.peers.front_desk import Browser, FrontDesk

PAGES = ["/sign-in", "/sign-in/site"]
PERSONAL = ["/me", "/entries/1", "/site", "/sign-in/phone"]
FORMS = [
    "/sign-in/card", "/sign-in/phone", "/sign-in/phone/stop", "/sign-in/psc", "/sign-in/site", "/sign-in/site/claim",
    "/sign-out", "/me/situation", "/site/password", "/entries/1/publish", "/entries/1/retry", "/entries/1/release",
    "/entries/1/close",
]  # fmt: skip


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[FrontDesk]:
    async with FrontDesk(tmp_path, psc=True) as desk:
        yield desk


@pytest.fixture
async def browser(desk: FrontDesk) -> AsyncIterator[Browser]:
    """Signed in by card."""
    async with desk.browser() as browser:
        desk.hand.put_in(desk.card())
        await browser.sign_in_by_card()
        assert browser.path == "/me"
        yield browser


# --- forged forms ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1"},  # another port of this machine: another origin
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Referer": "http://127.0.0.1/"},
    ],
)
async def test_a_form_from_elsewhere_does_nothing(desk: FrontDesk, browser: Browser, headers: dict[str, str]) -> None:
    number = await desk.set_aside()
    await browser.get("/me")
    origin = {"Origin": desk.url} if "Sec-Fetch-Site" in headers else {}
    for path in (f"/entries/{number}/retry", "/sign-out", "/me/situation"):
        async with browser.session.post(
            desk.url + path, data={"token": browser.token, "situation": "0"}, headers={**origin, **headers}
        ) as answer:
            assert answer.status == 403
    shown = await desk.store.show(number)
    assert shown is not None
    assert shown.line.state is State.SET_ASIDE
    assert len(desk.sign_in.sessions) == 1


@pytest.mark.parametrize("token", ["", "0" * 64, "x", "é", "a" * 3000])
async def test_a_form_without_its_token_does_nothing(desk: FrontDesk, browser: Browser, token: str) -> None:
    number = await desk.set_aside()
    browser.token = token
    text = await browser.post(f"/entries/{number}/retry")
    assert "avait vieilli" in text
    shown = await desk.store.show(number)
    assert shown is not None
    assert shown.line.state is State.SET_ASIDE


async def test_a_token_of_another_browser_or_of_before_the_sign_in_does_nothing(
    desk: FrontDesk, browser: Browser
) -> None:
    number = await desk.set_aside()
    async with desk.browser() as other:
        await other.get("/sign-in")
        stolen = other.token
    await browser.get("/me")
    assert stolen != browser.token
    browser.token = stolen
    assert "avait vieilli" in await browser.post(f"/entries/{number}/retry")


@pytest.mark.parametrize("path", FORMS)
async def test_no_form_works_by_get_or_without_a_session(desk: FrontDesk, path: str) -> None:
    async with desk.browser() as stranger:
        await stranger.get("/sign-in")
        answer = await stranger.session.get(desk.url + path, allow_redirects=False)
        assert answer.status in (200, 303, 404, 405)  # 200: a page of the same path
        await stranger.post(path)
        assert stranger.path in ("/sign-in", "/sign-in/site", "/sign-in/psc")  # the last leaves for Pro Santé Connect
        assert len(desk.sign_in.sessions) == 0


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n--x--", 415),
        ("text/plain", b"token=x", 415),
        ("application/x-www-form-urlencoded", b"token=" + b"a" * 5000, 413),
        ("application/x-www-form-urlencoded", b"token=a&token=b", 400),
        ("application/x-www-form-urlencoded", b"\xff\xfe=\x00", 400),
    ],
)
async def test_a_body_that_is_no_form_of_ours_is_refused(
    desk: FrontDesk, browser: Browser, content_type: str, body: bytes, status: int
) -> None:
    headers = {"Origin": desk.url, "Content-Type": content_type}
    async with browser.session.post(desk.url + "/sign-out", data=body, headers=headers) as answer:
        assert answer.status == status
    assert len(desk.sign_in.sessions) == 1


async def test_a_body_that_never_ends_is_cut(desk: FrontDesk, browser: Browser) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(10_000):
            yield b"a" * 1000

    headers = {"Origin": desk.url, "Content-Type": "application/x-www-form-urlencoded"}
    try:
        async with browser.session.post(desk.url + "/sign-out", data=endless(), headers=headers) as answer:
            assert answer.status == 413
    except OSError:
        pass  # cut while it was still sending
    await browser.get("/me")
    assert browser.path == "/me"


# --- cookies ---------------------------------------------------------------------------------------------------------


async def test_the_session_is_a_new_one_at_each_sign_in_and_the_old_one_ends(desk: FrontDesk) -> None:
    async with desk.browser() as browser:
        browser.plant("A" * 43)
        desk.hand.put_in(desk.card())
        await browser.sign_in_by_card()
        first = _cookie(browser)
        assert first != "A" * 43
        assert len(first) == 43
        await browser.post("/sign-out")
        await browser.sign_in_by_card()
        assert _cookie(browser) != first
        assert len(desk.sign_in.sessions) == 1
    async with desk.browser() as thief:
        thief.plant(first)
        await thief.get("/me")
        assert thief.path == "/sign-in"


async def test_the_cookie_is_unreadable_strict_and_ends_with_the_browser(browser: Browser) -> None:
    cookies = {cookie.key: cookie for cookie in browser.session.cookie_jar}
    session = cookies["passevue"]
    assert (session["httponly"], session["samesite"], session["path"]) == (True, "Strict", "/")
    assert not session["max-age"]
    assert not session["expires"]
    assert "passevue-visit" not in cookies


async def test_under_tls_cookies_are_bound_to_the_host_and_secure(tmp_path: Path) -> None:
    async with FrontDesk(tmp_path, tls=True) as desk, desk.browser() as browser:
        desk.hand.put_in(desk.card())
        await browser.sign_in_by_card()
        cookies = {cookie.key: cookie for cookie in browser.session.cookie_jar}
        assert set(cookies) == {"__Host-passevue"}
        assert cookies["__Host-passevue"]["secure"]
        assert browser.answer is not None
        assert browser.answer.headers["Strict-Transport-Security"]


@pytest.mark.parametrize("cookie", ["", "x", "A" * 43, "A" * 4000, "../../etc/passwd", '"><script>'])
async def test_any_other_cookie_is_nobody(desk: FrontDesk, cookie: str) -> None:
    async with desk.browser() as stranger:
        for name in ("passevue", "passevue-visit", "passevue-psc"):
            stranger.plant(cookie, name)
        for path in PERSONAL:
            await stranger.get(path)
            assert stranger.path == "/sign-in"


# --- where from ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
async def test_behind_a_proxy_nobody_is_at_the_box(desk: FrontDesk, header: str) -> None:
    """Without TLS of ours, what a proxy brings may come from anywhere: no code is asked, no name is shown."""
    async with desk.browser() as browser:
        desk.hand.put_in(desk.card())
        await browser.card_shown()
        text = await browser.get("/sign-in", **{header: "127.0.0.1"})
        assert "Pas depuis cette adresse" in text
        assert "CAMILLE" not in text
        assert 'name="pin"' not in text
        data = {"token": browser.token, "insertion": "1", "pin": "1234"}
        headers = {"Origin": desk.url, header: "127.0.0.1"}
        async with browser.session.post(desk.url + "/sign-in/card", data=data, headers=headers) as answer:
            assert answer.status == 403


async def test_from_another_machine_a_name_is_not_shown_and_an_old_insertion_takes_no_code(tmp_path: Path) -> None:
    async with FrontDesk(tmp_path, tls=True) as desk, desk.browser() as browser:
        card = desk.card()
        desk.hand.put_in(card)
        browser.session.headers["Via"] = "1.1 elsewhere"  # as from another machine
        text = await browser.card_shown()
        assert "CAMILLE" not in text
        assert "99213845" not in text
        desk.clock.pass_by(minutes=3)
        assert "retirez la carte" in await browser.sign_in_by_card()
        assert not any(one.command[1] == 0x20 and len(one.command) > 5 for one in card.trace)
        desk.hand.put_in(card)
        assert "CAMILLE" in await browser.sign_in_by_card()


async def test_a_card_left_in_its_reader_cannot_be_blocked_from_the_network(tmp_path: Path) -> None:
    async with FrontDesk(tmp_path, tls=True) as desk, desk.browser() as browser:
        card = desk.card()
        desk.hand.put_in(card)
        browser.session.headers["Via"] = "1.1 elsewhere"
        await browser.card_shown()
        desk.clock.pass_by(minutes=3)
        for _ in range(5):
            await browser.sign_in_by_card("9999", last_try="yes")
        assert not any(one.command[1] == 0x20 and len(one.command) > 5 for one in card.trace)


# --- headers, addresses, floods --------------------------------------------------------------------------------------


async def test_personal_pages_are_kept_nowhere_and_framed_nowhere(desk: FrontDesk, browser: Browser) -> None:
    number = await desk.set_aside()
    for path in ("/me", f"/entries/{number}"):
        html = await browser.get(path)
        assert browser.answer is not None
        headers = browser.answer.headers
        assert headers["Cache-Control"] == "no-store"
        assert "Cookie" in headers["Vary"]
        assert headers["X-Frame-Options"] == "DENY"
        policy = headers["Content-Security-Policy"]
        assert "form-action 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]* src=)|javascript:", html)


@pytest.mark.parametrize(
    "query", ["?lang=//evil.example", "?lang=en%0d%0aSet-Cookie:x=y", "?next=https://evil.example", "?lang=en"]
)
async def test_nobody_is_sent_elsewhere(desk: FrontDesk, query: str) -> None:
    async with desk.browser() as browser:
        answer = await browser.session.get(desk.url + "/me" + query, allow_redirects=False)
        assert answer.status == 303
        assert answer.headers["Location"] in ("/sign-in", "/sign-in?lang=en")
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("path", ["/entries/0", "/entries/99999999999999999", "/entries/-1", "/entries/1/export",
                                  "/entries/1/retry/x", "/entries/%31%00"])  # fmt: skip
async def test_addresses_that_are_none(desk: FrontDesk, browser: Browser, path: str) -> None:
    async with browser.session.post(
        desk.url + path, data={"token": browser.token}, headers={"Origin": desk.url}
    ) as answer:
        assert answer.status in (400, 404, 405)


async def test_hostile_words_from_a_form_or_a_card_stay_words(desk: FrontDesk) -> None:
    bad = "<script>alert(1)</script>"
    from dataclasses import replace

    from tests.peers.card import Profile

    holder = replace(Profile().holder, family=bad, given="\"'><img src=x>", situations=())
    number = await desk.set_aside()
    async with desk.browser() as browser:
        card = desk.card()
        desk.hand.put_in(card)
        text = await browser.sign_in_by_card()
        await browser.get(f"/entries/{number}")
        await browser.post(f"/entries/{number}/retry", why=bad)
        text += await browser.get(f"/entries/{number}")
        assert "<script>alert" not in text
        assert "&lt;script&gt;" in text
        await browser.post("/sign-out")
        profile = replace(card.profile, holder=holder)
        from tests.peers.card import VirtualCard

        desk.hand.put_in(VirtualCard(profile, await asyncio.to_thread(desk.persons.card_keys, profile)))
        text = await browser.card_shown("Carte n°")
        assert "<script>alert" not in text
        assert "<img" not in text


async def test_a_flood_of_sign_ins_is_slowed_and_keeps_nothing(tmp_path: Path) -> None:
    async with FrontDesk(tmp_path, limits=Limits(requests_per_s=0.01, burst=10)) as desk, desk.browser() as browser:
        statuses = []
        for _ in range(14):
            await browser.get("/sign-in")
            statuses.append(browser.status)
            browser.session.cookie_jar.clear()
        assert statuses == [200] * 10 + [429] * 4
        assert len(desk.sign_in.visits._kept) == 0


async def test_what_is_told_of_a_wrong_password_is_the_same_whether_somebody_claimed_the_box(desk: FrontDesk) -> None:
    async with desk.browser() as browser:
        await browser.get("/sign-in/site")
        unclaimed = await browser.post("/sign-in/site", password="un mot de passe faux")
        notice = re.search(r'id="notice"[^>]*>([^<]+)<', unclaimed)
        assert notice
        assert "pas le mot de passe" in notice[1]


async def test_a_trail_that_does_not_write_lets_nobody_in(desk: FrontDesk) -> None:
    async with desk.browser() as browser:
        desk.hand.put_in(desk.card())
        await browser.card_shown()
        desk.trail._closed = True  # as when the disk has stopped
        assert "rien n’a été fait" in await browser.sign_in_by_card()
        assert len(desk.sign_in.sessions) == 0
        await browser.card_shown()
        assert desk.hand.opened == 0
        desk.trail._closed = False


async def test_signing_out_ends_it_on_the_server(desk: FrontDesk, browser: Browser) -> None:
    cookie = _cookie(browser)
    await browser.post("/sign-out")
    browser.plant(cookie)
    await browser.get("/me")
    assert browser.path == "/sign-in"


def _cookie(browser: Browser) -> str:
    return next(cookie.value for cookie in browser.session.cookie_jar if cookie.key == "passevue")
