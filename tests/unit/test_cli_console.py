"""The box's screen as systemd shows it: from the files that the page leaves, true again after each change, with little
loaded.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from passevue.cli.console import CLEAR, CONFIG, FIRST_CERTIFICATE, console
from passevue.provision.console import fingerprint
from passevue.provision.first_certificate import first_certificate
from passevue.status.local_account import LocalAccount
from tests.unit.provision.test_machine_acts import TRIE

PROGRAM = """
import sys
import passevue.cli.console
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
ON_A_SCREEN = """
import sys
from pathlib import Path
from passevue.cli.console import console
box = Path(sys.argv[1])
sys.exit(console(box, box / "data", box / "net", look_s=60))
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
        ("net/fib_trie", TRIE),
    ]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    return tmp_path


def show(box: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert console(box, box / "data", box / "net", look_s=0) == 0
    return capsys.readouterr().out.removeprefix(CLEAR)


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
    assert console(tmp_path, tmp_path, tmp_path / "none", look_s=0) == 0
    assert "câble" in capsys.readouterr().out


class Terminal:
    """What a pseudo-terminal got, as it stands there now: since the screen was last cleared."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._got = b""

    def waits_for(self, seen: Callable[[str], bool], wait_s: float = 20) -> str:
        until = time.monotonic() + wait_s
        while not seen(shown := self._got.rpartition(CLEAR.encode())[2].decode("utf-8", "ignore")):
            assert time.monotonic() < until, shown
            with suppress(BlockingIOError):
                self._got += os.read(self._fd, 1 << 16)
            time.sleep(0.05)
        return shown


@pytest.fixture
def terminal(box: Path) -> Iterator[Terminal]:
    """The program runs on it."""
    ours, theirs = os.openpty()
    os.set_blocking(ours, False)
    started = subprocess.Popen([sys.executable, "-c", ON_A_SCREEN, str(box)], stdin=subprocess.DEVNULL, stdout=theirs)
    os.close(theirs)
    try:
        yield Terminal(ours)
        assert started.poll() is None, "it has ended"
    finally:
        started.kill()
        started.wait()
        os.close(ours)


def test_what_changes_while_it_looks_is_drawn_anew_and_nothing_of_before_stays(box: Path, terminal: Terminal) -> None:
    (box / "net/fib_trie").write_text("")
    first, _ = first_certificate(box / "data/page", "first")
    account = LocalAccount(box / "data")
    asyncio.run(account.start())
    code = account.code()
    shown = terminal.waits_for(lambda text: code in text and "câble" in text)
    assert fingerprint(first)[:4].upper() in shown
    (box / "net/fib_trie").write_text(TRIE)
    shown = terminal.waits_for(lambda text: "https://192.168.1.50/" in text)
    assert "câble" not in shown
    assert asyncio.run(account.claim(bytearray(code.encode()), bytearray(PASSWORD), datetime.now(UTC)))
    terminal.waits_for(lambda text: "https" in text and code not in text)
    own, _ = first_certificate(box / "data/config", "own")
    (box / "data" / CONFIG).write_text(f'[page.tls]\ncertificate = "{own.name}"\n')
    shown = terminal.waits_for(lambda text: fingerprint(own)[:4].upper() in text)
    assert fingerprint(first)[:4].upper() not in shown
    (box / "net/fib_trie").write_text("")
    terminal.waits_for(lambda text: "câble" in text and "https" not in text)


ROUTE = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
enp0s9\t00000000\t0203000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
enp0s3\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0
enp0s2\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""  # as Linux writes it


@pytest.mark.parametrize(("outside", "shown"), [("enp0s2", False), ("enp0s9", True), ("enp0s3", True), (None, True)])
def test_with_two_cables_the_outside_one_leads_to_no_page(
    box: Path, capsys: pytest.CaptureFixture[str], outside: str | None, shown: bool
) -> None:
    (box / "net/route").write_text(ROUTE)
    if outside:
        (box / "data/config").mkdir(parents=True)
        (box / "data" / CONFIG).write_text(f'[network.outside]\ninterface = "{outside}"\n')
    assert ("https://192.168.1.50/" in show(box, capsys)) == shown


def test_a_screen_that_is_true_is_left_alone(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert console(box, box / "data", box / "net", look_s=2.5) == 0
    assert capsys.readouterr().out.count(CLEAR) == 1


def test_what_runs_while_the_box_starts_loads_little() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True, timeout=60)
    loaded = set(done.stdout.split())
    assert "passevue" in loaded
    assert not loaded & NEVER
