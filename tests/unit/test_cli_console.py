"""The box's screen as systemd shows it: from the files that the page leaves, and with little loaded."""

import asyncio
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from passevue.cli.console import CONFIG, FIRST_CERTIFICATE, console
from passevue.provision.console import fingerprint
from passevue.provision.first_certificate import first_certificate
from passevue.status.local_account import LocalAccount
from tests.unit.provision.test_machine_acts import TRIE

PROGRAM = """
import sys
import passevue.cli.console
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
NEVER = {
    "aiohttp", "asyncio", "cryptography", "pydantic", "rich", "segno", "sqlalchemy", "ssl", "structlog", "typer",
}  # fmt: skip
PASSWORD = bytearray(b"correct horse battery")


@pytest.fixture
def box(tmp_path: Path) -> Path:
    for path, content in [
        ("etc/machine-id", "7f3a90c122be00000000000000000000\n"),
        ("usr/lib/os-release", "IMAGE_ID=passevue\nIMAGE_VERSION=1.4.2\n"),
        ("routes", TRIE),
    ]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    return tmp_path


def show(box: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert console(box, box / "data", box / "routes", wait_s=0) == 0
    return capsys.readouterr().out


def test_the_code_is_on_the_screen_until_somebody_has_the_box(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    account = LocalAccount(box / "data")
    asyncio.run(account.start())
    code = account.code()
    shown = show(box, capsys)
    assert code in shown
    assert "PASSEVUE 1.4.2   boîtier 7F3A-90C1-22BE" in shown
    assert "https://192.168.1.50/" in shown
    assert asyncio.run(account.claim(bytearray(code.encode()), bytearray(PASSWORD), datetime.now(UTC)))
    assert code not in show(box, capsys)


def test_the_print_is_that_of_the_certificate_in_use(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, _ = first_certificate(box / "data/page", "first")
    assert first == box / "data" / FIRST_CERTIFICATE
    assert fingerprint(first)[:4].upper() in show(box, capsys)
    own, _ = first_certificate(box / "data/config", "own")
    (box / "data" / CONFIG).write_text(f'[page.tls]\ncertificate = "{own.name}"\n')
    shown = show(box, capsys)
    assert " ".join(fingerprint(own)[at : at + 4].upper() for at in range(0, 32, 4)) in shown
    (box / "data" / CONFIG).write_text("[page.tls\n")
    assert fingerprint(first)[:4].upper() in show(box, capsys), "a configuration that is wrong is as none"


def test_a_box_without_anything_says_that_the_cable_is_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert console(tmp_path, tmp_path, tmp_path / "none", wait_s=0) == 0
    assert "câble" in capsys.readouterr().out


def test_what_runs_while_the_box_starts_loads_little() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True, timeout=60)
    loaded = set(done.stdout.split())
    assert "passevue" in loaded
    assert not loaded & NEVER
