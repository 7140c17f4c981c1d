"""The page as people meet it: in Chromium, on a phone, in the dark, by keyboard, by screen reader, without scripts.

Accessibility is checked on what the browser computed: contrast of every text against what lies behind it (WCAG 2.2
1.4.3), structure, names, focus, reflow at 320 px (1.4.10), and the announcement of a change (4.1.3).
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

from passevue.status.door import Limits
from tests.unit.status import protected, states
from tests.unit.status.test_page import Scene, serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
MANY = Limits(requests_per_s=1000, burst=1000)

CHECKS = (Path(__file__).parent / "page_checks.js").read_text(encoding="utf-8")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@asynccontextmanager
async def visiting(scene: Scene, **context: Any) -> AsyncIterator[tuple[Page, list[str]]]:
    """A visitor of the page, and everything that the browser complained about."""
    async with serving(scene, MANY) as (server, _), chromium() as browser:
        address = f"http://127.0.0.1:{server.port}"
        visitor = await browser.new_context(base_url=address, locale="fr-FR", **context)
        page = await visitor.new_page()
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: _note(complaints, str(request.failure), request.url))
        await page.goto("/")
        yield page, complaints
        await visitor.close()


def _note(complaints: list[str], failure: str, url: str) -> None:
    if "ERR_ABORTED" not in failure:  # the visitor left before it was loaded
        complaints.append(f"{url}: {failure}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 320])
async def test_every_text_can_be_read_and_everything_has_its_place(scheme: str, width: int) -> None:
    scene = Scene(states.empty())
    size = {"width": width, "height": 800}
    async with visiting(scene, color_scheme=scheme, viewport=size) as (page, complaints):
        for name, make in states.ALL.items():
            for lang in ("fr", "en"):
                scene.summary = make()
                await page.goto(f"/?lang={lang}")
                contrast = await page.evaluate(f"() => {{ {CHECKS}; return contrast(); }}")
                assert contrast["count"] > 20
                assert contrast["wrong"] == [], (name, lang)
                assert await page.evaluate(f"() => {{ {CHECKS}; return structure(); }}") == [], (name, lang)
                assert await page.evaluate("document.documentElement.scrollWidth") <= width, (name, lang)
        assert complaints == []


async def test_a_change_is_shown_and_announced_without_a_reload() -> None:
    scene = Scene(states.calm())
    async with visiting(scene) as (page, complaints):
        await page.get_by_text("en direct").wait_for()
        await page.evaluate("window.untouched = true")
        assert await page.get_by_role("status").text_content() == ""  # nothing is announced before something changes
        scene.summary = states.trouble()
        await page.get_by_role("heading", name="Une action est attendue").wait_for()
        announced = await page.get_by_role("status").text_content()
        assert announced is not None
        assert announced.startswith("Une action est attendue. Le disque est plein")
        assert await page.get_by_role("heading", name="Ce qui attend quelqu’un").is_visible()
        assert await page.title() == "Une action est attendue · Cabinet des Tilleuls"
        assert await page.evaluate("window.untouched")
        assert complaints == []


async def test_a_lost_connection_is_told() -> None:
    scene = Scene(states.calm())
    async with chromium() as browser:
        async with serving(scene, MANY) as (server, _):
            page = await browser.new_page(locale="fr-FR")
            await page.goto(f"http://127.0.0.1:{server.port}/")
            await page.get_by_text("en direct").wait_for()
        await page.get_by_text("connexion perdue").wait_for()


async def test_the_keyboard_reaches_everything_in_order_and_shows_where_it_is() -> None:
    async with visiting(Scene(states.calm())) as (page, _):
        where = "document.activeElement.textContent.trim()"
        seen = []
        for _step in range(2):
            await page.keyboard.press("Tab")
            seen.append(await page.evaluate(where))
            assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            assert await page.evaluate("document.activeElement.getBoundingClientRect().height") >= 24
        assert seen == ["Aller au contenu", "English"]
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/?lang=en")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        assert await page.evaluate("document.activeElement.id") == "main"


async def test_without_scripts_everything_is_there_and_renews_itself() -> None:
    async with visiting(Scene(states.trouble()), java_script_enabled=False) as (page, complaints):
        assert await page.get_by_role("heading", name="Une action est attendue").is_visible()
        assert await page.locator("li.trouble").count() == 3
        assert await page.locator('meta[http-equiv="refresh"]').count() == 1
        assert complaints == []


async def test_many_windows_can_stay_open() -> None:
    scene = Scene(states.calm())
    async with visiting(scene) as (page, _):
        others = [await page.context.new_page() for _ in range(3)]
        await asyncio.gather(*(other.goto("/") for other in others))
        scene.summary = states.busy()
        for each in (page, *others):
            await each.get_by_role("heading", name="À surveiller").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 320])
async def test_the_security_page_can_be_read_and_everything_has_its_place(scheme: str, width: int) -> None:
    scene = Scene(states.calm())
    size = {"width": width, "height": 800}
    async with visiting(scene, color_scheme=scheme, viewport=size) as (page, complaints):
        for found in (protected.BLOCKED, protected.PENDING, protected.JUST_STARTED, protected.LAPTOP, None):
            scene.summary = protected.summary(found)
            for lang in ("fr", "en"):
                await page.goto(f"/security?lang={lang}")
                contrast = await page.evaluate(f"() => {{ {CHECKS}; return contrast(); }}")
                assert contrast["wrong"] == [], lang
                assert await page.evaluate(f"() => {{ {CHECKS}; return structure(); }}") == [], lang
                assert await page.evaluate("document.documentElement.scrollWidth") <= width, lang
        assert complaints == []
