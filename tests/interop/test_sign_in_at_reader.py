"""Sign-in through a real pcscd, its driver and its reader: put in, code, pulled, swapped, the service killed."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from passevue.card.reader import Readers
from tests.peers.card import Kind
from tests.peers.front_desk import Browser, FrontDesk
from tests.peers.pcsc import Pcscd, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


@pytest.fixture
def pcscd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pcscd]:
    with Pcscd(tmp_path / "pcscd") as daemon:
        for name, value in daemon.environment.items():
            monkeypatch.setenv(name, value)
        yield daemon


@pytest.fixture
async def desk(tmp_path: Path, pcscd: Pcscd) -> AsyncIterator[FrontDesk]:
    async with FrontDesk(tmp_path, readers=Readers()) as desk:
        yield desk


@pytest.fixture
async def browser(desk: FrontDesk) -> AsyncIterator[Browser]:
    async with desk.browser() as browser:
        yield browser


@pytest.mark.parametrize("kind", [Kind.CPS3, Kind.CPS4])
async def test_a_card_signs_in_and_pulling_it_closes_the_session_within_a_second(
    desk: FrontDesk, browser: Browser, pcscd: Pcscd, kind: Kind
) -> None:
    slot = pcscd.slots[0]
    await browser.until("/sign-in", "Insérez votre carte", 15)
    await asyncio.to_thread(slot.link.insert, desk.card(kind=kind))
    await browser.until("/sign-in", 'name="pin"', 15)
    assert "CAMILLE" in await browser.sign_in_by_card()
    async with browser.events("/session/events") as events:
        pulled = time.monotonic()
        await asyncio.to_thread(slot.link.remove)
        async with asyncio.timeout(5):
            assert await anext(events) == ("go", "/sign-in")
    assert time.monotonic() - pulled < 2.0  # CARD-02; vpcd itself looks every 400 ms
    await browser.get("/me")
    assert browser.path == "/sign-in"


async def test_a_swap_within_ten_milliseconds_closes_it_too(desk: FrontDesk, browser: Browser, pcscd: Pcscd) -> None:
    slot = pcscd.slots[0]
    await asyncio.to_thread(slot.link.insert, desk.card())
    await browser.until("/sign-in", 'name="pin"', 15)
    await browser.sign_in_by_card()
    await asyncio.to_thread(slot.link.swap, desk.card(number="99213800"), 0.01)
    async with browser.events("/session/events") as events, asyncio.timeout(10):
        assert await anext(events) == ("go", "/sign-in")
    assert "99213800" in await browser.until("/sign-in", "Carte n°", 15)


async def test_the_card_service_killed_closes_it_and_is_told_and_comes_back(
    desk: FrontDesk, browser: Browser, pcscd: Pcscd
) -> None:
    slot = pcscd.slots[0]
    await asyncio.to_thread(slot.link.insert, desk.card())
    await browser.until("/sign-in", 'name="pin"', 15)
    await browser.sign_in_by_card()
    await asyncio.to_thread(pcscd.kill)
    async with browser.events("/session/events") as events, asyncio.timeout(10):
        assert await anext(events) == ("go", "/sign-in")
    assert "Les lecteurs ne répondent pas" in await browser.until("/sign-in", "ne répondent pas", 15)
    await asyncio.to_thread(pcscd.start)
    await browser.until("/sign-in", 'name="pin"', 20)
    assert "CAMILLE" in await browser.sign_in_by_card()
