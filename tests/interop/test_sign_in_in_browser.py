"""People sign in in a real browser: by a keyboard, on a phone, with a screen reader's eyes, with and without scripts.

Contrast, structure, names, reflow and focus are those of WCAG 2.2, computed by the browser itself.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from passevue.queue.states import State
from tests.interop.test_page_in_browser import CHECKS, CHROMIUM, chromium
from tests.peers.front_desk import HERE, FrontDesk

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
MAUD = "899700000017"
PASSWORD = "le scanner est au sous-sol"
FORM_CHECK = """() => {
  const wrong = [];
  const seen = (e) => e.checkVisibility() && e.type !== 'hidden';
  for (const field of [...document.querySelectorAll('input')].filter(seen)) {
    if (!field.labels.length || !field.labels[0].textContent.trim()) wrong.push(`no label: ${field.id}`);
    for (const id of (field.getAttribute('aria-describedby') ?? '').split(' ').filter(Boolean))
      if (!document.getElementById(id)) wrong.push(`described by nothing: ${id}`);
  }
  for (const one of [...document.querySelectorAll('a, button, input')].filter(seen)) {
    const box = one.getBoundingClientRect();
    if (!one.closest('.skip') && box.height < 24 && !one.labels?.length) wrong.push(`too small: ${one.outerHTML}`);
  }
  return wrong;
}"""


@asynccontextmanager
async def visiting(desk: FrontDesk, browser: Browser, **context: Any) -> AsyncIterator[tuple[Page, list[str]]]:
    visitor = await browser.new_context(base_url=desk.url, locale="fr-FR", **context)
    page = await visitor.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page, complaints
    await visitor.close()


async def check(page: Page, where: str) -> None:
    """Both schemes, wide and on a small phone."""
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        for width in (1200, 320):
            await page.set_viewport_size({"width": width, "height": 800})
            contrast = await page.evaluate(f"() => {{ {CHECKS}; return contrast(); }}")
            assert contrast["wrong"] == [], (where, scheme)
            assert contrast["count"] > 5, where
            assert await page.evaluate(f"() => {{ {CHECKS}; return structure(); }}") == [], where
            assert await page.evaluate(FORM_CHECK) == [], where
            assert await page.evaluate("document.documentElement.scrollWidth") <= width, (where, width)


async def test_the_whole_story_by_card_can_be_read_and_typed(tmp_path: Path) -> None:
    async with FrontDesk(tmp_path) as desk, chromium() as browser, visiting(desk, browser) as (page, complaints):
        number = await desk.set_aside()
        await desk.set_aside(state=State.WAITING)
        await page.goto("/")
        await page.get_by_role("link", name="Se connecter").click()
        await page.get_by_role("heading", name="Insérez votre carte").wait_for()
        await check(page, "no card")
        await page.evaluate("window.untouched = true")
        desk.hand.put_in(desk.card())
        pin = page.get_by_label("Code de la carte")
        await pin.wait_for()
        assert await page.evaluate("window.untouched")  # shown as it happens, without a reload
        assert await page.evaluate("document.activeElement.name") == "pin"  # whoever put the card in may type
        assert "Carte reconnue" in (await page.locator("#announce").text_content() or "")
        await check(page, "card")
        for wrong, words in (("9999", "il reste 2 essais"), ("8888", "il ne reste qu’un essai")):
            await pin.fill(wrong)
            await page.keyboard.press("Enter")
            await page.locator("#notice", has_text=words.replace(" :", "\N{NO-BREAK SPACE}:")).wait_for()
            assert await page.evaluate("document.activeElement.id") == "notice"  # focus goes to what went wrong
            await page.locator("input.pin").wait_for()
            await check(page, wrong)
        await pin.fill("1234")
        await page.get_by_role("button", name="Se connecter").click()
        assert await page.evaluate("document.activeElement.type") == "checkbox"  # the browser itself asks for it
        await page.get_by_label("Je suis sûr de mon code").check()
        await pin.fill("1234")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/me?lang=fr")
        await check(page, "me")
        await page.get_by_role("link", name=f"n° {number}").click()
        await page.get_by_text("PAT-TROIS").wait_for()
        await check(page, "entry")
        await page.get_by_role("button", name="Publier en mon nom").click()
        await page.locator("#notice", has_text="part en votre nom").wait_for()
        await check(page, "published")
        assert complaints == []


async def test_pulling_the_card_clears_the_screen_within_a_second(tmp_path: Path) -> None:
    async with FrontDesk(tmp_path) as desk, chromium() as browser, visiting(desk, browser) as (page, complaints):
        number = await desk.set_aside()
        await page.goto("/sign-in")
        desk.hand.put_in(desk.card())
        await page.get_by_label("Code de la carte").fill("1234")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/me")
        await page.goto(f"/entries/{number}")
        await page.get_by_text("PAT-TROIS").wait_for()
        desk.hand.pull()
        await page.get_by_text("PAT-TROIS").wait_for(state="detached", timeout=1000)
        await page.locator("#notice", has_text="Carte retirée").wait_for()
        await check(page, "pulled")
        await page.go_back()
        await page.wait_for_url("**/sign-in")
        assert await page.get_by_text("PAT-TROIS").count() == 0  # nothing was kept to go back to
        assert complaints == []


async def test_every_other_state_of_a_card_can_be_read(tmp_path: Path) -> None:
    async with FrontDesk(tmp_path) as desk, chromium() as browser, visiting(desk, browser) as (page, _):
        from tests.peers.card import Kind, Update

        profiles: dict[str, dict[str, Any]] = {
            "Carte sans contact": {"kind": Kind.CPS3_CONTACTLESS},
            "Carte inconnue": {"kind": Kind.FOREIGN},
            "Mise à jour interrompue": {"update": Update.HALF},
        }
        await page.goto("/sign-in")
        for title, profile in profiles.items():
            desk.hand.put_in(desk.card(**profile))
            await page.get_by_role("heading", name=title).wait_for()
            await check(page, title)
        desk.clock.pass_by(days=4 * 365)
        desk.hand.put_in(desk.card())
        await page.get_by_role("heading", name="Carte expirée").wait_for()
        await check(page, "expired")
        desk.hand.unplug()
        await page.get_by_role("heading", name="Aucun lecteur de carte").wait_for()
        await check(page, "no reader")


async def test_by_phone_with_the_number_in_front_of_the_person(tmp_path: Path) -> None:
    async with (
        FrontDesk(tmp_path, psc=True) as desk,
        chromium() as browser,
        visiting(desk, browser) as (page, complaints),
    ):
        assert desk.peer is not None
        await page.goto("/sign-in?lang=en")
        await check(page, "ways")
        for agreed in (False, True):
            await page.get_by_label("National identifier").fill(MAUD)
            await page.keyboard.press("Enter")
            await page.wait_for_url("**/sign-in/phone?lang=en")
            number = await desk.peer.asked(MAUD)
            assert await page.locator(".binding").text_content() == number
            await check(page, "waiting")
            if agreed:
                desk.peer.approve(MAUD)
                await page.wait_for_url("**/me?lang=en")
                await page.get_by_role("heading", name="Maud CARDAMOME").wait_for()
                await check(page, "me")
            else:
                desk.peer.deny(MAUD)
                await page.get_by_role("heading", name="Request refused").wait_for()
                assert "Request refused" in (await page.locator("#announce").text_content() or "")
                await check(page, "refused")
                await page.get_by_role("link", name="Start again").click()
        await page.get_by_role("button", name="Sign out").click()
        await page.locator("#notice", has_text="You are signed out").wait_for()
        assert complaints == []


async def test_the_site_is_taken_and_acted_on_by_keyboard_alone(tmp_path: Path) -> None:
    async with FrontDesk(tmp_path) as desk, chromium() as browser, visiting(desk, browser) as (page, complaints):
        number = await desk.set_aside()
        code = (desk.folder / "box" / "page" / "claim-code").read_text().strip()
        await page.goto("/sign-in/site")
        await check(page, "claim")
        await page.get_by_label("Code de première connexion").focus()
        for text in (code, PASSWORD, PASSWORD):
            await page.keyboard.type(text)
            await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.wait_for_url(re.compile(r"//[^/]+/site$"))  # not yet /sign-in/site
        await check(page, "site")
        await page.get_by_role("link", name=f"n° {number}").focus()
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"**/entries/{number}")
        await check(page, "entry")
        await page.locator("#why-close").focus()
        assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        await page.keyboard.type("Examen annulé")
        await page.keyboard.press("Enter")
        await page.locator("#notice", has_text="est close").wait_for()
        assert complaints == []


async def test_without_scripts_everything_works_by_reloading(tmp_path: Path) -> None:
    async with (
        FrontDesk(tmp_path, psc=True) as desk,
        chromium() as browser,
        visiting(desk, browser, java_script_enabled=False) as (page, _),
    ):
        assert desk.peer is not None
        desk.hand.put_in(desk.card(HERE, replace(HERE, sector="SA05")))
        while await page.get_by_label("Code de la carte").count() == 0:
            await page.goto("/sign-in")
        await page.get_by_label("Code de la carte").fill("1234")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/me")
        await page.get_by_label("centre de santé").check()
        await page.get_by_role("button", name="Choisir").click()
        await page.locator("#notice", has_text="Situation choisie").wait_for()
        await page.get_by_role("button", name="Se déconnecter").click()
        await page.wait_for_url("**/sign-in")
        await page.get_by_label("Identifiant national").fill(MAUD)
        await page.keyboard.press("Enter")
        await desk.peer.asked(MAUD)
        desk.peer.approve(MAUD)
        await page.wait_for_url("**/me", timeout=15_000)


async def test_by_pro_sante_connects_own_site_and_back(tmp_path: Path) -> None:
    """The redirects, the strict and the lax cookie, as a browser really treats them."""
    async with FrontDesk(tmp_path, psc=True) as desk, chromium() as browser:
        assert desk.peer is not None
        desk.peer.auto_approve = MAUD
        async with visiting(desk, browser, ignore_https_errors=True) as (page, complaints):
            await page.goto("/sign-in")
            await page.get_by_role("button", name="Passer par le site Pro Santé Connect").click()
            await page.wait_for_url("**/me")
            await page.get_by_role("heading", name="Maud CARDAMOME").wait_for()
            assert complaints == []
