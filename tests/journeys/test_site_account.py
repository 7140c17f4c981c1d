"""The site admin: takes the box with its claim code, acts on entries without seeing patients; failures pause."""

import asyncio
import re
import stat
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from passevue.queue.states import State
from passevue.status import sign_in as sign_in_module
from passevue.status.audit import Event
from passevue.status.local_account import LocalAccount
from passevue.status.session import Ended
from passevue.status.sign_in import SWEEP_EVERY_S, SignIn
from passevue.status.visitor import Place
from tests.peers.front_desk import Browser, FrontDesk

PASSWORD = "le scanner est au sous-sol"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[FrontDesk]:
    async with FrontDesk(tmp_path) as desk:
        yield desk


@pytest.fixture
async def browser(desk: FrontDesk) -> AsyncIterator[Browser]:
    async with desk.browser() as browser:
        await browser.get("/sign-in/site")
        yield browser


def claim_code(desk: FrontDesk) -> str:
    return (desk.folder / "box" / "page" / "claim-code").read_text().strip()


async def claim(desk: FrontDesk, browser: Browser, password: str = PASSWORD, code: str = "") -> str:
    code = code or await asyncio.to_thread(claim_code, desk)
    await browser.get("/sign-in/site")
    return await browser.post("/sign-in/site/claim", code=code, password=password, again=password)


async def test_the_claim_code_is_random_and_for_its_owner_alone(desk: FrontDesk, tmp_path: Path) -> None:
    path = desk.folder / "box" / "page" / "claim-code"
    found = await asyncio.to_thread(path.stat)
    assert stat.S_IMODE(found.st_mode) == 0o600
    code = await asyncio.to_thread(claim_code, desk)
    assert re.fullmatch(r"([A-Z2-7]{4}-){3}[A-Z2-7]{4}", code)
    async with FrontDesk(tmp_path / "another") as other:
        assert await asyncio.to_thread(claim_code, other) != code


async def test_the_first_sign_in_takes_the_box(desk: FrontDesk, browser: Browser) -> None:
    assert "Prendre en main ce boîtier" in await browser.get("/sign-in/site")
    text = await claim(desk, browser)
    assert browser.path == "/site"
    assert "Le boîtier du site" in text
    assert not (desk.folder / "box" / "page" / "claim-code").exists()
    trail = await desk.audited()
    assert "account-claimed" in trail
    assert 'UserID="site-admin"' in trail
    await browser.post("/sign-out")
    await browser.get("/sign-in/site")
    assert "Le boîtier du site" in await browser.post("/sign-in/site", password=PASSWORD)


async def test_lower_case_and_blanks_in_the_code_do_not_matter(desk: FrontDesk, browser: Browser) -> None:
    code = (await asyncio.to_thread(claim_code, desk)).lower().replace("-", " ")
    await claim(desk, browser, code=code)
    assert browser.path == "/site"


async def test_the_code_works_once(desk: FrontDesk, browser: Browser) -> None:
    code = await asyncio.to_thread(claim_code, desk)
    await claim(desk, browser)
    async with desk.browser() as other:
        await claim(desk, other, "un tout autre secret", code)
        assert other.path == "/sign-in/site"


@pytest.mark.parametrize("code", ["AAAA-AAAA-AAAA-AAAA", "", "x" * 40, "-", "\x00"])
async def test_a_wrong_code_takes_nothing(desk: FrontDesk, browser: Browser, code: str) -> None:
    await browser.get("/sign-in/site")
    text = await browser.post("/sign-in/site/claim", code=code, password=PASSWORD, again=PASSWORD)
    assert "Ce n’est pas le code" in text
    assert not await desk.sign_in.account.claimed()


@pytest.mark.parametrize(
    ("password", "words"),
    [("court", "trop court"), ("aaaaaaaaaaaaaaaa", "se devine"), ("passevue-passevue", "se devine")],
)
async def test_a_password_that_will_not_do_is_told_and_the_code_stays(
    desk: FrontDesk, browser: Browser, password: str, words: str
) -> None:
    assert words in await claim(desk, browser, password)
    await claim(desk, browser)
    assert browser.path == "/site"


async def test_two_different_passwords_are_told(desk: FrontDesk, browser: Browser) -> None:
    code = await asyncio.to_thread(claim_code, desk)
    text = await browser.post("/sign-in/site/claim", code=code, password=PASSWORD, again=PASSWORD + "!")
    assert "ne sont pas les mêmes" in text


async def test_there_is_no_password_before_somebody_chose_one(browser: Browser) -> None:
    for password in ("", "admin", "passevue", "0" * 32):
        await browser.post("/sign-in/site", password=password)
        assert browser.path == "/sign-in/site"


async def test_five_failures_pause_and_even_the_right_password_waits(
    desk: FrontDesk, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    await claim(desk, browser)
    await browser.post("/sign-out")
    await browser.get("/sign-in/site")
    texts = [await browser.post("/sign-in/site", password=f"faux mot de passe {n}") for n in range(5)]
    assert all("Ce n’est pas le mot de passe" in text for text in texts)
    assert "attendez un quart d’heure" in await browser.post("/sign-in/site", password=PASSWORD)
    later = sign_in_module.monotonic() + 901
    monkeypatch.setattr(sign_in_module, "monotonic", lambda: later)  # the clock, nothing of ours
    await browser.post("/sign-in/site", password=PASSWORD)
    assert browser.path == "/site"


async def test_many_guesses_at_once_are_no_more_than_one_after_the_other(desk: FrontDesk, browser: Browser) -> None:
    await claim(desk, browser)
    await browser.post("/sign-out")
    await browser.get("/sign-in/site")
    guesses = [browser.post("/sign-in/site", password=f"faux mot de passe {n}") for n in range(11)]
    await asyncio.gather(*guesses, browser.post("/sign-in/site", password=PASSWORD))
    assert len(desk.sign_in.sessions) == 0


async def test_the_admin_sees_no_patient_and_closes_with_a_reason(desk: FrontDesk, browser: Browser) -> None:
    number = await desk.set_aside()
    text = await claim(desk, browser)
    assert f"/entries/{number}" in text
    text = await browser.get(f"/entries/{number}")
    assert "PAT-TROIS" not in text
    assert "Publier en mon nom" not in text
    assert "Donnez la raison" in await browser.post(f"/entries/{number}/close", why="  ")
    text = await browser.post(f"/entries/{number}/close", why="Examen annulé")
    assert f"La demande {number} est close" in text
    shown = await desk.store.show(number)
    assert shown is not None
    assert shown.line.state is State.CLOSED
    assert [(act.act, act.by, act.why) for act in shown.acts] == [("close", "site-admin", "Examen annulé")]
    trail = await desk.audited()
    assert "queue-close" in trail
    assert "279035121518989" not in trail


async def test_the_admin_publishes_in_nobodys_name_and_has_no_page_of_a_practitioner(
    desk: FrontDesk, browser: Browser
) -> None:
    number = await desk.set_aside()
    await claim(desk, browser)
    await browser.get(f"/entries/{number}")
    assert "pas ouvert" in await browser.post(f"/entries/{number}/publish")
    await browser.get("/me")
    assert browser.path == "/site"


async def test_what_is_wrong_with_the_settings_is_shown_without_secrets(desk: FrontDesk, browser: Browser) -> None:
    (structure,) = desk.config.structures
    await asyncio.to_thread(structure.sign_key.chmod, 0o644)
    text = await claim(desk, browser)
    assert "chmod 600" in text
    assert "structures.0.sign_key" in text
    assert "PRIVATE KEY" not in text


async def test_an_act_that_cannot_be_audited_does_not_happen(desk: FrontDesk, browser: Browser) -> None:
    number = await desk.set_aside()
    await claim(desk, browser)
    await browser.get(f"/entries/{number}")
    desk.trail._closed = True  # as when the disk has stopped: it takes no more records
    assert "rien n’a été fait" in await browser.post(f"/entries/{number}/retry")
    shown = await desk.store.show(number)
    assert shown is not None
    assert shown.line.state is State.SET_ASIDE
    desk.trail._closed = False


async def test_changing_the_password_ends_the_other_sessions(desk: FrontDesk, browser: Browser) -> None:
    await claim(desk, browser)
    async with desk.browser() as other:
        await other.get("/sign-in/site")
        await other.post("/sign-in/site", password=PASSWORD)
        assert other.path == "/site"
        new = "le scanner est au premier"
        assert "pas le mot de passe" in await browser.post("/site/password", old="faux mot", password=new, again=new)
        assert "est changé" in await browser.post("/site/password", old=PASSWORD, password=new, again=new)
        text = await other.get("/site")
        assert other.path == "/sign-in"
        assert "mot de passe du site a été changé" in text
    await browser.get("/site")
    assert browser.path == "/site"


class SlowDisk:
    """An audit trail that takes its time over a change of the password: longer than the sessions are not looked at."""

    async def record(self, event: Event) -> None:
        await asyncio.sleep(3 * SWEEP_EVERY_S if event.type.value == "account-password" else 0)

    def note(self, event: Event) -> None:
        """Not asked for here."""


async def test_who_changes_the_password_stays_signed_in_on_a_slow_disk_too(tmp_path: Path) -> None:
    account = LocalAccount(tmp_path)
    await account.start()
    sign_in = SignIn(account, SlowDisk(), (), lambda: datetime.now(UTC))
    running = asyncio.create_task(sign_in.run())
    code = await asyncio.to_thread(account.code_file.read_bytes)
    _, session = await sign_in.claim(bytearray(code), bytearray(PASSWORD.encode()), Place.AT_BOX, "127.0.0.1")
    _, other = await sign_in.by_password(bytearray(PASSWORD.encode()), Place.AT_BOX, "127.0.0.1")
    old, new = bytearray(PASSWORD.encode()), bytearray(b"le scanner est au premier")
    await sign_in.change_password(session, old, new, Place.AT_BOX, "127.0.0.1")
    assert session.ended is None
    assert other.ended is Ended.PASSWORD_CHANGED
    running.cancel()
    await asyncio.wait([running])


async def test_fifteen_idle_minutes_lock(desk: FrontDesk, browser: Browser) -> None:
    await claim(desk, browser)
    desk.clock.pass_by(minutes=14.9)
    await browser.get("/site")
    assert browser.path == "/site"
    desk.clock.pass_by(minutes=15.1)
    await browser.get("/site")
    assert browser.path == "/sign-in"


async def command(desk: FrontDesk, *arguments: str) -> str:
    """`passevue …` as root types it at the box."""
    settings = desk.folder / "passevue.toml"
    structure = desk.config.structures[0]
    settings.write_text(
        f"""
[box]
name = "Boîtier"
data_dir = "{desk.config.box.data_dir}"
oid = "1.2.250.1.999.1.1.8121"
realm = "test"
retrieve_url = "https://db.essai.example/wado"
[registry]
url = "https://dmp.essai.example"
authority = "{desk.config.registry.authority}"
lps_homologation = "ESSAI-0001"
[[structures]]
id = "{structure.id}"
name = "Centre"
auth_certificate = "{structure.auth_certificate}"
auth_key = "{structure.auth_key}"
sign_certificate = "{structure.sign_certificate}"
sign_key = "{structure.sign_key}"
""",
        encoding="utf-8",
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "passevue", *arguments, "--config", str(settings), stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_only_presence_at_the_box_gets_a_lost_password_back(desk: FrontDesk, browser: Browser) -> None:
    assert await asyncio.to_thread(claim_code, desk) in await command(desk, "admin", "code")
    await claim(desk, browser)
    assert "déjà son mot de passe" in await command(desk, "admin", "code")
    said = await command(desk, "admin", "reset")
    code = await asyncio.to_thread(claim_code, desk)
    assert code in said
    await asyncio.sleep(0.7)
    text = await browser.get("/site")
    assert browser.path == "/sign-in"  # its session ended with the password
    assert "mot de passe du site a été changé" in text
    await browser.get("/sign-in/site")
    await browser.post("/sign-in/site", password=PASSWORD)
    assert browser.path == "/sign-in/site"
    await claim(desk, browser, "un nouveau mot de passe", code)
    assert browser.path == "/site"
    assert "account-reset" in await desk.audited()
