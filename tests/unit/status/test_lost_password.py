"""What the site's sign-in page says to who has no password or no code: a command on a laptop, what is left on a box."""

import asyncio
from pathlib import Path

import pytest

from passevue.status.claim_code import read_code
from tests.peers.front_desk import Browser, FrontDesk

PASSWORD = "le scanner est au sous-sol"
COMMANDS = ("passevue admin", "en root")


async def claimed(desk: FrontDesk, browser: Browser) -> str:
    code = await asyncio.to_thread((desk.folder / "box/page/claim-code").read_text)
    await browser.get("/sign-in/site")
    await browser.post("/sign-in/site/claim", code=code.strip(), password=PASSWORD, again=PASSWORD)
    await browser.post("/sign-out")
    return await browser.get("/sign-in/site")


async def test_an_appliance_tells_of_no_command_that_nobody_can_type(tmp_path: Path) -> None:
    async with FrontDesk(tmp_path, serial="7F3A-90C1-22BE") as desk, desk.browser() as browser:
        before = await browser.get("/sign-in/site")
        wrong = await browser.post("/sign-in/site/claim", code="AAAA", password=PASSWORD, again=PASSWORD)
        after = await claimed(desk, browser)
        english = await browser.get("/sign-in/site?lang=en")
    for text in (before, wrong, after, english):
        assert not any(command in text for command in (*COMMANDS, "as root"))
    assert "l’écran branché au boîtier" in before
    assert "Mot de passe perdu" not in before
    assert "Ce n’est pas le code" in wrong
    for told in ("Mot de passe perdu", "reçoit et publie sans lui", "clé de secours", "réécrit le disque"):
        assert told in after
    assert "write the image to the disk again" in english


@pytest.mark.parametrize(("lang", "where"), [("fr", "Sur ce poste, en root"), ("en", "On this machine, as root")])
async def test_a_laptop_tells_the_command(tmp_path: Path, lang: str, where: str) -> None:
    async with FrontDesk(tmp_path) as desk, desk.browser() as browser:
        assert "passevue admin code" in await browser.get("/sign-in/site")
        await claimed(desk, browser)
        after = await browser.get(f"/sign-in/site?lang={lang}")
    assert where in after
    assert "passevue admin reset" in after
    assert "Mot de passe perdu" not in after


async def test_a_password_taken_off_the_disk_is_followed_by_a_new_code(tmp_path: Path) -> None:
    """What provision/README.md has people do with the recovery key."""
    async with FrontDesk(tmp_path, serial="7F3A-90C1-22BE") as desk, desk.browser() as browser:
        await claimed(desk, browser)
    kept = tmp_path / "box/page/local-account.json"
    await asyncio.to_thread(kept.unlink)
    async with FrontDesk(tmp_path, serial="7F3A-90C1-22BE") as desk, desk.browser() as browser:
        assert await asyncio.to_thread(read_code, tmp_path / "box")
        text = await browser.get("/sign-in/site")
        assert "Prendre en main ce boîtier" in text
        await browser.post("/sign-in/site", password=PASSWORD)
        assert browser.path == "/sign-in/site"
        assert "Mot de passe perdu" in await claimed(desk, browser)
