"""passevue.status.first_page over https: a box is claimed, configured and gives its recovery key, and nobody else's
way in works.
"""

import asyncio
import contextlib
import io
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from passevue.config_example import example
from passevue.provision import configure, package, recovery
from passevue.provision.configure import Desk
from passevue.provision.console import fingerprint
from passevue.provision.first_certificate import context, first_certificate
from passevue.status.audit_trail import trail_files
from passevue.status.first_page import Box, FirstPage
from passevue.update.machine import Machine
from passevue.update.orders import Order, Orders, Wish
from passevue.zones.first import telling
from tests.peers.stick import Stick, formatted, reader

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PEM = package.key_pem(KEY.public_key()).decode()
PASSWORD = "une phrase bien longue"
SECRET = "-".join(["cbdefghi"] * 8)


@dataclass
class Site:
    """A browser at the page, and the root programs that systemd would start."""

    folder: Path
    port: int
    browser: aiohttp.ClientSession
    code: str

    def url(self, path: str) -> str:
        return f"https://127.0.0.1:{self.port}{path}"

    async def post(self, path: str, origin: str | None = None, **fields: object) -> str:
        headers = {"Origin": origin or self.url("").rstrip("/")}
        async with self.browser.post(self.url(path), data=fields, headers=headers, ssl=False) as answer:
            return f"{answer.status} {await answer.text()}"

    async def get(self, path: str = "/") -> str:
        async with self.browser.get(self.url(path), ssl=False) as answer:
            return await answer.text()

    async def claim(self, **changes: str) -> str:
        return await self.post(
            "/claim", **{"code": self.code, "password": PASSWORD, "again": PASSWORD, "key": PEM, **changes}
        )

    async def configure(self, content: bytes, signature: bytes, password: str = PASSWORD) -> str:
        form = aiohttp.FormData()
        form.add_field("password", password)
        form.add_field("document", io.BytesIO(content), filename="d.toml")
        form.add_field("signature", signature, filename="d.sig")
        headers = {"Origin": self.url("").rstrip("/")}
        async with self.browser.post(self.url("/configuration"), data=form, headers=headers, ssl=False) as answer:
            return f"{answer.status} {await answer.text()}"


async def _root(folder: Path) -> None:
    """What the path units do: look again and again."""
    desk = Desk(folder, Machine(folder / "root"), lambda *told: None, lambda *key: None)
    while True:
        now = datetime.now(UTC)
        await asyncio.to_thread(configure.work, folder, desk, (), now)
        await asyncio.to_thread(recovery.work, folder, folder / "kept/key", os.geteuid(), lambda *told: None, now)
        await asyncio.sleep(0.05)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    def prepared() -> Box:
        (tmp_path / "kept").mkdir()
        (tmp_path / "kept/key").write_text(SECRET + "\n")
        certificate, _ = first_certificate(tmp_path / "page", "S")
        return Box(tmp_path, "7F3A-90C1-22BE", fingerprint(certificate), stick=tmp_path / "stick.sock")

    box = await asyncio.to_thread(prepared)
    tls = await asyncio.to_thread(context, tmp_path / "page", "S")
    page = FirstPage(box, tls, lambda: datetime.now(UTC), telling(tmp_path), answer_s=5)
    tasks = [asyncio.create_task(page.run()), asyncio.create_task(_root(tmp_path))]
    await page.started()
    code = await asyncio.to_thread((tmp_path / "page/claim-code").read_text)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as browser:
        yield Site(tmp_path, page.port, browser, code.strip())
    for task in tasks:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks)


def document(number: int = 1) -> bytes:
    return f"schema = 1\nnumber = {number}\nconfiguration = '''\n{example()}'''\n".encode()


async def test_a_box_is_claimed_configured_and_hands_out_its_recovery_key(site: Site) -> None:
    shown = await site.get()
    assert "7F3A-90C1-22BE" in shown
    assert "Prendre en main" in shown
    assert "est à vous" in await site.claim()
    assert "Fichier de configuration" in await site.get()
    content = document()
    assert "Configuration en place" in await site.configure(content, KEY.sign(content))
    assert await asyncio.to_thread((site.folder / "config/passevue.toml").exists)
    told = await site.post("/recovery", password=PASSWORD, act="show")
    assert SECRET in told
    assert "oubliée" in await site.post("/recovery", password=PASSWORD, act="noted")
    assert SECRET not in await site.post("/recovery", password=PASSWORD, act="show")
    assert not await asyncio.to_thread((site.folder / "kept/key").exists)


async def test_a_box_is_configured_from_a_stick_when_somebody_with_the_password_asks(site: Site) -> None:
    await site.claim()
    content = document()
    files = {"7f3a-90c1-22be.toml": content, "7f3a-90c1-22be.toml.sig": KEY.sign(content), "other.toml": b"x"}
    image = await asyncio.to_thread(formatted, site.folder, files)
    assert "ne répond pas" in await site.post("/configuration/stick", password=PASSWORD)
    with reader(site.folder / "stick.sock", Stick(image)) as asked:
        assert "mot de passe" in await site.post("/configuration/stick", password="un autre, faux")
        assert asked == []
        assert await refused(site) == ["stick stick-away 127.0.0.1"], "nothing of who does not know the password"
        assert "Configuration en place" in await site.post("/configuration/stick", password=PASSWORD)
        assert len(asked) == 1
    assert await asyncio.to_thread((site.folder / "config/passevue.toml").exists)


async def test_a_forged_configuration_on_a_stick_is_told_and_gone(site: Site) -> None:
    await site.claim()
    image = await asyncio.to_thread(formatted, site.folder, {"box.toml": document(), "box.toml.sig": bytes(64)})
    with reader(site.folder / "stick.sock", Stick(image)):
        assert "La signature n’est pas celle" in await site.post("/configuration/stick", password=PASSWORD)
    left = await asyncio.to_thread(lambda: [path.suffix for path in (site.folder / "orders").iterdir()])
    assert not {".toml", ".sig"} & set(left)


async def test_a_pasted_key_may_have_lost_its_lines(site: Site) -> None:
    assert "est à vous" in await site.claim(key=PEM.replace("\n", " "))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"code": "AAAA-BBBB-CCCC-DDDD"}, "n’est pas celui de l’écran"),
        ({"again": "autre chose bien longue"}, "diffèrent"),
        ({"password": "court", "again": "court"}, "12 caractères"),
        ({"key": "pas une clé"}, "clé publique"),
    ],
)
async def test_a_wrong_claim_is_told_and_leaves_the_box_nobodys(
    site: Site, changes: dict[str, str], words: str
) -> None:
    assert words in await site.claim(**changes)
    assert "Prendre en main" in await site.get()
    assert "est à vous" in await site.claim()


async def test_five_wrong_codes_pause_an_address(site: Site) -> None:
    for _ in range(5):
        await site.claim(code="AAAA-BBBB-CCCC-DDDD")
    assert "Trop d’essais" in await site.claim()


async def test_many_wrong_codes_at_once_are_not_more_tries(site: Site) -> None:
    told = await asyncio.gather(*(site.claim(code="AAAA-BBBB-CCCC-DDDD") for _ in range(12)))
    assert sum("n’est pas celui de l’écran" in each for each in told) == 5
    assert sum("Trop d’essais" in each for each in told) == 7


async def test_power_that_went_before_the_key_was_trusted_costs_nothing(site: Site) -> None:
    await site.claim()
    await asyncio.to_thread((site.folder / "config/provisioning.pub").unlink)
    shown = await site.get()
    assert "redonnez-la" in shown
    assert "Fichier de configuration" not in shown
    assert "mot de passe du site" in await site.post("/key", password="un autre mot de passe", key=PEM)
    assert "est à vous" in await site.post("/key", password=PASSWORD, key=PEM)
    content = document()
    assert "Configuration en place" in await site.configure(content, KEY.sign(content))


async def test_without_the_password_nothing_is_taken(site: Site) -> None:
    await site.claim()
    content = document()
    assert "mot de passe" in await site.configure(content, KEY.sign(content), "un autre mot de passe")
    assert "mot de passe" in await site.configure(b"x" * (2 << 20), b"x", "un autre mot de passe")
    assert await refused(site) == []
    assert SECRET not in await site.post("/recovery", password="un autre mot de passe", act="show")
    assert not await asyncio.to_thread((site.folder / "config/passevue.toml").exists)
    assert not await asyncio.to_thread(lambda: list((site.folder / "orders").glob("*.toml")))


async def test_what_is_wrong_with_a_configuration_is_told(site: Site) -> None:
    await site.claim()
    content = document()
    assert "signature" in await site.configure(content, bytes(64))
    broken = content.replace(b"[ris]", b"[rys]")
    assert "rys" in await site.configure(broken, KEY.sign(broken))
    assert await refused(site) == [], "root tells what becomes of an order"
    assert "trop gros" in await site.configure(b"x" * (2 << 20), bytes(64))
    assert await refused(site) == ["upload too-large 127.0.0.1"]
    assert "Configuration en place" in await site.configure(content, KEY.sign(content))


async def refused(site: Site) -> list[str]:
    """What the audit trail has of configurations refused before they were ordered."""

    def read() -> str:
        return "".join(path.read_text("utf-8") for path in trail_files(site.folder / "audit"))

    records = (await asyncio.to_thread(read)).splitlines()
    assert all('UserID="site-admin"' in each for each in records[1:])
    said = r'"configuration-refused".*<EventOutcomeDescription>(.*)</EventOutcomeDescription>'
    return [found for each in records for found in re.findall(said, each)]


async def ordered(site: Site) -> Order | None:
    return await asyncio.to_thread(Orders(site.folder).take, Wish.ERASE, datetime.now(UTC), ())


SERIAL = "7F3A-90C1-22BE"


async def test_who_gave_a_wrong_key_has_the_box_erased(site: Site) -> None:
    assert 'action="/erase' not in await site.get()
    assert "n’est pas le mot de passe" in await site.post("/erase", serial=SERIAL, password=PASSWORD)  # it is nobody's
    await site.claim()
    assert 'action="/erase' in await site.get()
    assert "n’est pas le mot de passe" in await site.post("/erase", serial=SERIAL, password="un autre mot de passe")
    refused = await site.post("/erase", serial="0000-0000-0000", password=PASSWORD)
    assert "rien n’a été effacé" in refused
    assert '<details id="erase" open>' in refused
    assert (await site.post("/erase", origin="https://example.org", serial=SERIAL, password=PASSWORD)).startswith("403")
    assert await ordered(site) is None
    assert "s’efface et redémarre" in await site.post("/erase", serial=SERIAL.lower(), password=PASSWORD)
    order = await ordered(site)
    assert order is not None
    assert (order.by, order.text("serial")) == ("site-admin", SERIAL.lower())


async def test_before_the_key_is_trusted_the_box_can_be_erased_too(site: Site) -> None:
    await site.claim()
    await asyncio.to_thread((site.folder / "config/provisioning.pub").unlink)
    assert 'action="/erase' in await site.get()
    assert "s’efface et redémarre" in await site.post("/erase", serial=SERIAL, password=PASSWORD)
    assert await ordered(site) is not None


async def test_erasing_is_no_place_to_guess_the_password_at(site: Site) -> None:
    await site.claim()
    guess = partial(site.post, "/erase", serial=SERIAL, password="un autre mot de passe")
    told = await asyncio.gather(*(guess() for _ in range(12)))
    assert sum("n’est pas le mot de passe" in each for each in told) == 5
    assert sum("Trop d’essais" in each for each in told) == 7
    assert "Trop d’essais" in await site.post("/erase", serial=SERIAL, password=PASSWORD)
    assert await ordered(site) is None


async def test_a_key_that_nobody_saw_is_not_forgotten(site: Site) -> None:
    await site.claim()
    assert "Personne n’a encore vu" in await site.post("/recovery", password=PASSWORD, act="noted")
    assert SECRET in await site.post("/recovery", password=PASSWORD, act="show")


async def test_forms_of_other_pages_are_refused(site: Site) -> None:
    for path in ("/claim", "/key", "/configuration", "/recovery", "/erase"):
        assert (await site.post(path, origin="https://example.org", code=site.code)).startswith("403")
    assert (await site.post("/recovery", act="show")).startswith("200")  # no password: told, not done


async def test_it_says_that_it_lives_and_shows_no_other_page(site: Site) -> None:
    assert await site.get("/health") == "ok\n"
    assert "404" in await site.get("/status.json")


def _part(name: str, value: str) -> str:
    return f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'


@pytest.mark.parametrize(
    ("last", "why"),
    [
        ("--B\r\nContent-Type: text/plain\r\n\r\ny\r\n--B--\r\n", "malformed"),
        ("--B\r\nContent-Type: multipart/mixed; boundary=C\r\n\r\n--C--\r\n--B--\r\n", "malformed"),
        ("--B\r\n\0:bad\r\n\r\ny\r\n--B--\r\n", "broken-off"),
    ],
    ids=["a part of no name", "a form in a form", "a header that is none"],
)
@pytest.mark.parametrize("password", [PASSWORD, "a wrong one, as long"])
async def test_a_form_that_breaks_after_the_password_is_told_and_audited_and_a_stranger_s_only_told(
    site: Site, last: str, why: str, password: str
) -> None:
    await site.claim()
    form = _part("password", password) + _part("document", "x") + last
    headers = {"Origin": site.url("").rstrip("/"), "Content-Type": "multipart/form-data; boundary=B"}
    async with site.browser.post(site.url("/configuration"), data=form.encode(), headers=headers, ssl=False) as answer:
        assert answer.status < 500
    expected = [f"upload {why} 127.0.0.1"] if password == PASSWORD else []
    assert await refused(site) == expected
    left = await asyncio.to_thread(lambda: list((site.folder / "orders").iterdir()))
    assert left == []
