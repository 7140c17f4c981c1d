"""The page of what the box is made of, in a real browser: reached and taken from by keyboard, wide and on a phone."""

import json
import re
from pathlib import Path

import pytest

from tests.interop.test_page_in_browser import CHROMIUM, chromium
from tests.interop.test_sign_in_in_browser import PASSWORD, check, visiting
from tests.peers.front_desk import FrontDesk
from tests.peers.papers import LICENCES, SBOM, papers

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


async def test_the_two_files_are_reached_and_taken_by_keyboard(tmp_path: Path) -> None:
    folder = papers(tmp_path / "papers")
    async with (
        FrontDesk(tmp_path, serial="7F3A-90C1-22BE", papers=folder) as desk,
        chromium() as browser,
        visiting(desk, browser) as (page, complaints),
    ):
        await page.goto("/sign-in/site")
        code = (desk.folder / "box/page/claim-code").read_text().strip()
        await page.get_by_label("Code de première connexion").focus()
        for text in (code, PASSWORD, PASSWORD):
            await page.keyboard.type(text)
            await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.wait_for_url(re.compile(r"//[^/]+/site$"))
        await page.get_by_role("link", name="Ce que contient le boîtier").focus()
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/site/contents")
        assert await page.title() == "Ce que contient le boîtier · Cabinet des Tilleuls"
        await check(page, "contents")
        for name, content in (("la nomenclature", json.dumps(SBOM)), ("les licences", LICENCES)):
            await page.get_by_role("link", name=f"Télécharger {name}").focus()
            assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            async with page.expect_download() as taken:
                await page.keyboard.press("Enter")
            download = await taken.value
            assert download.suggested_filename.startswith("passevue-")
            assert (await download.path()).read_text() == content
        assert await page.get_by_role("heading", name="Nomenclature logicielle (SBOM)").count() == 1
        assert complaints == []
