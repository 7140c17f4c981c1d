"""People at the page who mean harm, hurry, or leave half way: codes sent once, cards never blocked from afar, no way
in that stays open behind somebody's back.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from passevue.status.visitor import Place
from tests.peers.card import VirtualCard
from tests.peers.front_desk import Browser, FrontDesk

MAUD = "899700000017"
PASSWORD = "le scanner est au sous-sol"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[FrontDesk]:
    async with FrontDesk(tmp_path) as desk:
        yield desk


@pytest.fixture
async def browser(desk: FrontDesk) -> AsyncIterator[Browser]:
    async with desk.browser() as browser:
        yield browser


def codes_sent(card: VirtualCard) -> int:
    return sum(one.command[1] == 0x20 and len(one.command) > 5 for one in card.trace)


async def until(done: Callable[[], bool]) -> None:
    for _ in range(200):
        if done():
            return
        await asyncio.sleep(0.05)
    raise TimeoutError


# --- the code of a card ----------------------------------------------------------------------------------------------


async def test_a_form_that_was_sent_twice_in_haste_sends_one_code(desk: FrontDesk, browser: Browser) -> None:
    card = desk.card()
    desk.hand.put_in(card)
    text = await browser.card_shown()
    found = re.search(r'name="insertion" value="(\d+)"', text)
    assert found
    await asyncio.gather(
        *(browser.post("/sign-in/card", insertion=found[1], pin="9999", last_try="yes") for _ in range(3))
    )
    assert codes_sent(card) == 1


async def test_a_card_just_put_in_cannot_be_blocked_from_the_network(tmp_path: Path) -> None:
    async with FrontDesk(tmp_path, tls=True) as desk, desk.browser() as browser:
        card = desk.card()
        desk.hand.put_in(card)
        browser.session.headers["Via"] = "1.1 elsewhere"  # as from another machine
        text = await browser.card_shown()
        found = re.search(r'name="insertion" value="(\d+)"', text)
        assert found
        for _ in range(4):
            text = await browser.post("/sign-in/card", insertion=found[1], pin="9999", last_try="yes")
        assert codes_sent(card) == 2
        assert "que sur le boîtier" in text
        assert 'name="pin"' not in text
        del browser.session.headers["Via"]
        await browser.sign_in_by_card("1234", last_try="yes")
        assert browser.path == "/me"


async def test_codes_that_were_right_in_between_are_no_reason_for_a_pause(desk: FrontDesk, browser: Browser) -> None:
    card = desk.card()
    desk.hand.put_in(card)
    for _ in range(7):
        await browser.sign_in_by_card("9999")
        await browser.sign_in_by_card()
        assert browser.path == "/me"
        await browser.post("/sign-out")


async def test_a_card_whose_signatures_are_somebody_elses_signs_nobody_in(desk: FrontDesk, browser: Browser) -> None:
    card = desk.card()
    other = replace(card.profile, holder=replace(card.profile.holder, family="AUTRE"), number="99213852")
    keys = desk.persons.card_keys(card.profile)
    card = VirtualCard(card.profile, replace(keys, signature=desk.persons.card_keys(other).signature))
    desk.hand.put_in(card)
    await browser.until("/sign-in", "Carte refusée")
    assert codes_sent(card) == 0


# --- the site's account ----------------------------------------------------------------------------------------------


async def test_an_admin_who_is_right_every_day_is_never_locked_out(desk: FrontDesk) -> None:
    code = (await asyncio.to_thread(desk.sign_in.account.code)).encode()
    await desk.sign_in.claim(bytearray(code), bytearray(PASSWORD.encode()), Place.PRIVATE, "10.0.0.9")
    for _ in range(45):
        await desk.sign_in.by_password(bytearray(PASSWORD.encode()), Place.PRIVATE, "10.0.0.9")


async def test_a_password_that_will_not_do_is_no_failure_of_the_code(desk: FrontDesk, browser: Browser) -> None:
    code = await asyncio.to_thread(desk.sign_in.account.code)
    for _ in range(6):
        await browser.get("/sign-in/site")
        await browser.post("/sign-in/site/claim", code=code, password="aaaaaaaaaaaa", again="aaaaaaaaaaaa")
    await browser.get("/sign-in/site")
    await browser.post("/sign-in/site/claim", code=code, password=PASSWORD, again=PASSWORD)
    assert browser.path == "/site"


# --- the phone -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["signs in otherwise", "asks again", "does not come back"])
async def test_an_approval_that_nobody_fetches_is_ended(tmp_path: Path, how: str) -> None:
    async with FrontDesk(tmp_path, psc=True) as desk, desk.browser() as browser:
        peer = desk.peer
        assert peer is not None
        await browser.get("/sign-in")
        await browser.post("/sign-in/phone", id_nat=MAUD)
        await peer.asked(MAUD)
        peer.approve(MAUD)
        await until(lambda: bool(peer.sessions))
        await asyncio.sleep(1)
        assert not peer.sessions[0].over
        if how == "signs in otherwise":
            desk.hand.put_in(desk.card())
            await browser.sign_in_by_card()
        elif how == "asks again":
            await browser.get("/sign-in")
            await browser.post("/sign-in/phone", id_nat="899700000025")
        else:
            desk.clock.pass_by(minutes=16)
        await until(lambda: peer.sessions[0].over)


async def test_one_address_does_not_ask_without_end(tmp_path: Path) -> None:
    async with FrontDesk(tmp_path, psc=True) as desk, desk.browser() as browser:
        await browser.get("/sign-in")
        for _ in range(60):
            async with browser.session.post(
                desk.url + "/sign-in/psc", data={"token": browser.token}, headers={"Origin": desk.url}
            ) as answer:
                assert answer.status == 200
        await browser.post("/sign-in/psc")
        assert browser.path == "/sign-in"
