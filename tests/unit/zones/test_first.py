"""passevue.zones.first: an appliance whose page cannot serve with its configuration takes another one all the same."""

import asyncio
import fcntl
import io
import os
import re
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from passevue.config import parse
from passevue.errors import ConfigError
from passevue.status.local_account import LocalAccount
from passevue.update.machine import Machine
from passevue.zones import page
from tests.peers.pki import Pki
from tests.unit.provision.centre import SIGNER, Appliance, Prepared, machine, prepared

PASSWORD = "le scanner est au sous-sol"
LAUNCH = """
import os, sys
from pathlib import Path
from passevue.cli.start import live
from passevue.cli.words import Wanted
from passevue.update.machine import Machine
from passevue.zones.first import Appliance
from passevue.zones.part import Part
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="page")
folder = Path(sys.argv[2])
parts = tuple(map(Part, sys.argv[3].split()))
wanted = Wanted(folder / "config/passevue.toml", parts, folder / "run")
sys.exit(live(wanted, Appliance(Machine(folder / "root"), folder)))
"""


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def right(pki: Pki, tmp_path: Path) -> Prepared:
    found = prepared(pki, tmp_path, pki.server("127.0.0.1"))
    return replace(found, page='names = ["boitier.example"]\n' + found.page)


@pytest.fixture
def box(tmp_path: Path, right: Prepared) -> Appliance:
    """Claimed and configured, its keys where systemd would hand them over."""

    async def account() -> None:
        local = LocalAccount(tmp_path)
        await local.start()
        code = await asyncio.to_thread((tmp_path / "page/claim-code").read_text)
        assert await local.claim(bytearray(code.strip().encode()), bytearray(PASSWORD.encode()), datetime.now(UTC))

    box = Appliance(tmp_path)
    box.claim()
    asyncio.run(account())
    assert box.give(right.document(7)) == 0
    return box


@asynccontextmanager
async def started(box: Appliance, parts: str = "page") -> AsyncIterator[tuple[Process, str]]:
    """The process, and the page's address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        high = fcntl.fcntl(listening, fcntl.F_DUPFD, 50)
        environ = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "CREDENTIALS_DIRECTORY": str(box.data_dir / "handed")}
        words = [sys.executable, "-c", LAUNCH, str(high), str(box.data_dir), parts]
        process = await asyncio.create_subprocess_exec(
            *words, env=environ, pass_fds=[high], stderr=asyncio.subprocess.PIPE
        )
        os.close(high)
        try:
            yield process, f"https://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()


async def said(process: Process, event: str) -> None:
    assert process.stderr is not None
    heard = b""
    async with asyncio.timeout(30):
        async for line in process.stderr:
            heard += line
            if f"event={event}" in line.decode():
                return
    raise AssertionError(f"{event} was never said, but: {heard.decode()}")


def _hand_over(box: Appliance) -> None:
    """As systemd: each credential of the page, under its name."""
    (box.data_dir / "handed").mkdir()
    for path in (box.data_dir / "credentials/page").iterdir():
        (box.data_dir / "handed" / f"key_{path.name}").write_bytes(path.read_bytes())


def _cut(text: str) -> str:
    return text[: len(text) // 2] + "["


def _without_registry(text: str) -> str:
    return text.replace("[registry]", "[rejistry]")


def _other_certificate(text: str) -> str:
    return text.replace('certificate = "page.pem"', 'certificate = "auth.pem"')


def _no_certificate(text: str) -> str:
    return text.replace('certificate = "page.pem"', 'certificate = "gone.pem"')


@pytest.mark.parametrize("broken", [_cut, _without_registry, _other_certificate, _no_certificate])
async def test_a_page_that_cannot_serve_takes_another_configuration(
    box: Appliance, right: Prepared, broken: Callable[[str], str]
) -> None:
    def breaks() -> None:
        _hand_over(box)
        path = box.data_dir / "config/passevue.toml"
        path.write_text(broken(path.read_text()))

    await asyncio.to_thread(breaks)
    async with started(box) as (process, url), aiohttp.ClientSession() as browser:
        await said(process, "box_without_usable_configuration")
        async with browser.get(url, ssl=False) as answer:
            assert "ne peut pas servir" in await answer.text()
        async with browser.get(url, ssl=False, headers={"Host": "boitier.example"}) as answer:
            assert (answer.status == 421) == (broken in (_cut, _without_registry)), "the name is the configuration's"
        async with browser.get(url + "/health", ssl=False) as answer:
            assert answer.status == 503, "an update is not kept that brought this about"
        document = right.document(8)
        form = aiohttp.FormData()
        form.add_field("password", PASSWORD)
        form.add_field("document", io.BytesIO(document), filename="d.toml")
        form.add_field("signature", io.BytesIO(SIGNER.sign(document)), filename="d.sig")
        sent = asyncio.create_task(browser.post(url + "/configuration", data=form, headers={"Origin": url}, ssl=False))
        async with asyncio.timeout(20):
            while not await asyncio.to_thread((box.data_dir / "orders/configure.json").exists):  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.05)
        assert await asyncio.to_thread(box.work) == 0
        answer = await sent
        assert "Configuration en place" in await answer.text()
    assert await asyncio.to_thread((box.data_dir / "config/passevue.toml").read_text) == right.configuration


async def test_with_a_right_configuration_the_page_is_the_page(box: Appliance) -> None:
    await asyncio.to_thread(_hand_over, box)
    async with started(box) as (process, url), aiohttp.ClientSession() as browser:
        await said(process, "box_ready")
        async with browser.get(url + "/health", ssl=False) as answer:
            assert answer.status == 200


@pytest.mark.parametrize("parts", ["host", "intake"])
async def test_other_zones_leave_and_say_why(box: Appliance, parts: str) -> None:
    await asyncio.to_thread((box.data_dir / "config/passevue.toml").write_text, "not toml [")
    async with started(box, parts) as (process, _):
        _, heard = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode
    assert re.search("TOML|ligne", heard.decode())


def test_a_page_without_a_certificate_is_no_page_of_an_appliance(tmp_path: Path, right: Prepared) -> None:
    found = [parse(each.configuration, tmp_path / "c.toml", {}) for each in (right, replace(right, page="port = 443"))]
    (with_tls, without) = (each for each in found if not isinstance(each, list))
    page.check(with_tls, machine(tmp_path / "root"))
    page.check(without, Machine(tmp_path / "laptop"))
    with pytest.raises(ConfigError) as caught:
        page.check(without, machine(tmp_path / "root"))
    assert caught.value.key == "page.tls"
