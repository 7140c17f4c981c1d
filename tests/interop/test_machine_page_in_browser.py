"""The machine's page in a real browser while a stick is read and an update written: how far, and what comes of it."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import BrowserContext

from passevue.stick import wire
from passevue.stick.wire import Kind
from passevue.update.journey import State, begun
from passevue.update.row_file import RowFile
from tests.interop.test_page_in_browser import CHROMIUM, chromium
from tests.interop.test_sign_in_in_browser import check
from tests.journeys.test_machine_page import admin, box, desk
from tests.peers.front_desk import Browser, FrontDesk

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
__all__ = ["admin", "desk"]


async def signed_in(browser: Chromium, desk: FrontDesk, admin: Browser, *, scripts: bool = True) -> BrowserContext:
    """A visitor who goes on with the admin's session."""
    visitor = await browser.new_context(base_url=desk.url, locale="fr-FR", java_script_enabled=scripts)
    await visitor.add_cookies(
        [{"name": each.key, "value": each.value, "url": desk.url} for each in admin.session.cookie_jar]
    )
    return visitor


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
async def test_the_stick_is_followed_to_its_end(desk: FrontDesk, admin: Browser, scripts: bool, tmp_path: Path) -> None:
    begins, more, goes_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await begins.wait()
        writer.write(wire.frame(Kind.FILE, {"field": "bundle", "size": 8}) + wire.frame(Kind.DATA, b"half"))
        await more.wait()
        writer.write(wire.frame(Kind.DATA, b"re"))
        await goes_on.wait()
        writer.write(wire.frame(Kind.DATA, b"st") + wire.frame(Kind.DONE))
        writer.close()

    async with chromium() as browser, await asyncio.start_unix_server(slow, str(desk.folder / "stick.sock")):
        visitor = await signed_in(browser, desk, admin, scripts=scripts)
        page = await visitor.new_page()
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        await page.goto("/site/machine")
        await page.locator("#update").get_by_role("button", name="Lire la clé USB").click()
        await page.get_by_text("0 % · laissez-la branchée.", exact=True).wait_for()
        begins.set()
        await page.get_by_text("50 % · laissez-la branchée.", exact=True).wait_for()
        if scripts:
            await check(page, "reading")
            more.set()
            await page.locator("#announce", has_text="Lecture de la clé : 75 %").wait_for(state="attached")
        more.set()
        goes_on.set()
        await page.locator("#notice", has_text="C’est demandé").wait_for()
        if scripts:
            await check(page, "read")
        assert complaints == []
        await visitor.close()


async def test_an_update_is_followed_while_it_is_written(desk: FrontDesk, admin: Browser) -> None:
    rows = RowFile(box(desk))
    asked = begun("1", "b.raucb", "1.5.0", "1.4.2", "site-admin", desk.clock(), kind="feature", now=True)
    await asyncio.to_thread(rows.write, replace(asked, state=State.WRITING, percent=10))
    async with chromium() as browser:
        visitor = await signed_in(browser, desk, admin)
        page = await visitor.new_page()
        await page.goto("/site/machine")
        await page.locator("#update-state progress[value='10']").wait_for()
        await asyncio.to_thread(rows.write, replace(asked, state=State.WRITING, percent=60))
        await page.get_by_text("(60 %)").wait_for()
        await page.locator("#announce", has_text="Mise à jour : 50 %").wait_for(state="attached")
        await check(page, "writing")
        await asyncio.to_thread(rows.write, replace(asked, state=State.DONE, percent=100))
        await page.get_by_text("La version 1.5.0 est installée.").wait_for()
        await page.get_by_label("Fichier de mise à jour (.raucb)").wait_for()
        await visitor.close()
