"""The page of a box without a configuration in a real browser: read, folded out and sent by keyboard alone."""

import asyncio
from pathlib import Path

import pytest

from tests.interop.test_page_in_browser import CHROMIUM, chromium
from tests.interop.test_sign_in_in_browser import check
from tests.peers.stick import Stick, formatted, reader
from tests.unit.status.test_first_page import KEY, PASSWORD, PEM, SERIAL, Site, document, ordered, site

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
__all__ = ["site"]


async def test_a_box_is_claimed_and_erased_by_keyboard(site: Site, tmp_path: Path) -> None:
    async with chromium() as browser:
        visitor = await browser.new_context(base_url=site.url(""), locale="fr-FR", ignore_https_errors=True)
        page = await visitor.new_page()
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        await page.goto("/")
        await check(page, "nobody's")
        await page.get_by_label("Code de première connexion").fill(site.code)
        await page.get_by_label("Mot de passe choisi").fill(PASSWORD)
        await page.get_by_label("Le même, encore").fill(PASSWORD)
        await page.get_by_label("Clé publique").fill(PEM)
        await page.get_by_role("button", name="Prendre en main").click()
        await page.locator("#notice", has_text="est à vous").wait_for()
        await check(page, "claimed")
        form = page.locator("form[action^='/erase']")
        assert not await form.is_visible()
        await page.locator("#erase summary").focus()
        assert await page.evaluate("document.activeElement.getBoundingClientRect().height") >= 24
        await page.keyboard.press("Enter")
        await form.wait_for()
        await check(page, "folded out")
        await page.keyboard.press("Tab")
        await page.keyboard.type("0000")
        await page.keyboard.press("Tab")
        await page.keyboard.type(PASSWORD)
        await page.keyboard.press("Enter")
        await page.locator("#notice", has_text="rien n’a été effacé").wait_for()
        assert await form.is_visible(), "it stays open for another try"
        await check(page, "refused")
        await form.get_by_label("Recopiez le numéro du boîtier").fill(SERIAL)
        await form.get_by_label("Mot de passe du site").fill(PASSWORD)
        await page.keyboard.press("Enter")
        await page.locator("#notice", has_text="s’efface et redémarre").wait_for()
        assert await ordered(site) is not None
        assert complaints == []
        await visitor.close()


async def test_a_stick_is_asked_for_by_keyboard(site: Site, tmp_path: Path) -> None:
    await site.claim()
    content = document()
    image = await asyncio.to_thread(formatted, tmp_path, {"box.toml": content, "box.toml.sig": KEY.sign(content)})
    async with chromium() as browser:
        visitor = await browser.new_context(base_url=site.url(""), locale="fr-FR", ignore_https_errors=True)
        page = await visitor.new_page()
        await page.goto("/")
        await page.locator("#stick summary").focus()
        await page.keyboard.press("Enter")
        await check(page, "folded out")
        await page.keyboard.press("Tab")
        await page.keyboard.type(PASSWORD)
        with reader(site.folder / "stick.sock", Stick(image)):
            await page.keyboard.press("Enter")
            await page.locator("#notice", has_text="Configuration en place").wait_for()
        await visitor.close()
