"""`passevue update`, typed in a process of its own beside a host zone that carries it out."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from passevue.config_example import example
from passevue.update.journey import State, begun
from passevue.update.row_file import RowFile
from tests.peers.host_bus import HostBus
from tests.unit.update.test_updater import Desk

BOX = "data"


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    text = example()
    line = next(line for line in text.splitlines() if line.startswith("data_dir"))
    (tmp_path / BOX).mkdir()
    (tmp_path / "box.toml").write_text(text.replace(line, f'data_dir = "{tmp_path / BOX}"'))
    (tmp_path / "next.raucb").write_bytes(b"a bundle" * 1000)
    return tmp_path / "box.toml"


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[HostBus]:
    async with HostBus.start(tmp_path) as started:
        yield started


async def typed(settings: Path, *argv: str) -> tuple[int, str, str]:
    made = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "passevue", "update", *argv, "--config", str(settings)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await made.communicate()
    return made.returncode or 0, out.decode(), err.decode()


async def test_a_file_is_installed_and_the_command_looks_on(settings: Path, tmp_path: Path, host: HostBus) -> None:
    desk = await asyncio.to_thread(Desk, tmp_path / BOX, host, datetime.now(UTC))
    box = asyncio.create_task(desk.updater.run())
    try:
        code, out, err = await typed(settings, "install", str(tmp_path / "next.raucb"), "--now", "--json")
        assert code == 0, err
        assert json.loads(out)["version"] == "1.5.0"
        assert json.loads(out)["state"] in ("rebooting", "written")
        assert host.rauc.installed[0][0].startswith(str(tmp_path / BOX / "orders"))
        assert desk.told[0] == "update-ordered"
        code, out, _ = await typed(settings, "status")
        assert (code, "1.5.0" in out) == (0, True)
    finally:
        box.cancel()
        await asyncio.wait([box])


async def test_a_bundle_that_is_refused_leaves_with_one_and_says_why(
    settings: Path, tmp_path: Path, host: HostBus
) -> None:
    host.rauc.faults.inspect = "signature verification failed: Verify error: self-signed certificate"
    desk = await asyncio.to_thread(Desk, tmp_path / BOX, host, datetime.now(UTC))
    box = asyncio.create_task(desk.updater.run())
    try:
        code, out, _ = await typed(settings, "install", str(tmp_path / "next.raucb"))
        assert code == 1
        assert "n’est pas signé" in " ".join(out.split())
    finally:
        box.cancel()
        await asyncio.wait([box])


@pytest.mark.parametrize("name", ["none.raucb", ".", "empty"])
async def test_what_is_no_file_to_install_is_told(settings: Path, tmp_path: Path, name: str) -> None:
    await asyncio.to_thread((tmp_path / "empty").touch)
    code, _, err = await typed(settings, "install", str(tmp_path / name))
    assert code == 5
    assert "ne se lit pas" in err or "n'est pas une mise à jour" in " ".join(err.split())
    assert not await asyncio.to_thread(lambda: list((tmp_path / BOX / "orders").glob("*.raucb")))


async def test_where_it_is_is_told_in_words_and_in_json(settings: Path, tmp_path: Path) -> None:
    code, out, _ = await typed(settings, "status")
    assert (code, out.strip()) == (0, "Aucune mise à jour en cours.")
    row = begun("1", "b", "1.5.0", "1.4.2", "x", datetime.now(UTC), kind="security", now=False)
    await asyncio.to_thread(RowFile(tmp_path / BOX).write, row.at(State.UNDONE, datetime.now(UTC)))
    code, out, _ = await typed(settings, "status", "--json")
    assert (code, json.loads(out)["state"]) == (1, "undone")
    for act in ("postpone", "cancel"):
        code, _, err = await typed(settings, act)
        assert code == 1
        assert "Aucune mise à jour n'attend" in err
