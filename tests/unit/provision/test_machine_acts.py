"""passevue.provision: the screen, the first certificate, the recovery key, and an erasure that leaves no key (real
cryptsetup).
"""

import shutil
import ssl
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from passevue.errors import Refused, StoreError
from passevue.provision import erase, recovery
from passevue.provision.console import Screen, addresses, fingerprint, text, url
from passevue.provision.first_certificate import context, first_certificate
from passevue.update.machine import Machine
from passevue.update.orders import Order, Orders, Wish

NOW = datetime.now(UTC)
TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
     +-- 192.168.1.0/24 2 0 2
        |-- 192.168.1.50
           /32 host LOCAL
        |-- 192.168.1.255
           /32 link BROADCAST
"""


def machine(root: Path) -> Machine:
    (root / "etc").mkdir(parents=True, exist_ok=True)
    (root / "etc/machine-id").write_text("7f3a90c122be00000000000000000000\n")
    return Machine(root)


# --- the screen -----------------------------------------------------------------------------------------------------


def test_the_screen_shows_address_print_and_code_and_fits(tmp_path: Path) -> None:
    certificate, _ = first_certificate(tmp_path, "7F3A-90C1-22BE")
    print_ = fingerprint(certificate)
    shown = text(Screen("7F3A-90C1-22BE", "1.4.2", addresses(TRIE), 443, print_, "K7QF-2M4A-AAAA-BBBB"))
    assert "https://192.168.1.50/" in shown
    assert "K7QF-2M4A-AAAA-BBBB" in shown
    assert " ".join(print_[at : at + 4].upper() for at in range(0, 32, 4)) in shown
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("█" in line or "▀" in line or "▄" in line for line in lines) > 15, "a QR code"


def test_once_claimed_the_screen_keeps_no_code() -> None:
    shown = text(Screen("X", "1.4.2", (), 8443, "", ""))
    assert "Code" not in shown
    assert "câble" in shown
    assert url("fd00::1", 8443) == "https://[fd00::1]:8443/"


@pytest.mark.parametrize("trie", ["", "|--", "   |-- x\n /32 host LOCAL", "|-- 127.9.9.9\n/32 host LOCAL\n"])
def test_odd_routes_give_no_address(trie: str) -> None:
    assert addresses(trie) == ()


def test_the_first_certificate_is_made_once_and_serves(tmp_path: Path) -> None:
    made = context(tmp_path / "page", "S")
    assert made.minimum_version == ssl.TLSVersion.TLSv1_2
    certificate, key = first_certificate(tmp_path / "page", "S")
    before = certificate.read_bytes()
    assert first_certificate(tmp_path / "page", "other")[0].read_bytes() == before
    assert key.stat().st_mode & 0o777 == 0o600
    assert fingerprint(tmp_path / "none") == ""


# --- the recovery key -----------------------------------------------------------------------------------------------

KEY = "-".join(["cbdefghi"] * 8) + "\n"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    (tmp_path / "page").mkdir()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/key").write_text(KEY)
    return tmp_path / "kept/key"


def asked(tmp_path: Path, kept: Path, act: str) -> int:
    Orders(tmp_path).put(Wish.RECOVERY, "site-admin", NOW, {"act": act})
    return recovery.work(tmp_path, kept, 0, lambda *told: None, NOW)


def test_the_recovery_key_is_shown_until_it_is_noted_and_then_nowhere(tmp_path: Path, kept: Path) -> None:
    for _ in range(2):
        assert asked(tmp_path, kept, "show") == 0
        assert (tmp_path / recovery.SHOWN).read_text() == KEY
        assert (tmp_path / recovery.SHOWN).stat().st_mode & 0o777 == 0o400
    assert asked(tmp_path, kept, "noted") == 0
    assert not kept.exists()
    assert kept.parent.is_dir(), "the first boot makes no other"
    assert not (tmp_path / recovery.SHOWN).exists()
    assert asked(tmp_path, kept, "show") == 1
    assert asked(tmp_path, kept, "noted") == 0


@pytest.mark.parametrize("content", ["", "root:x:0:0", KEY + "more", "a" * 1000])
def test_what_is_no_recovery_key_is_not_handed_out(tmp_path: Path, kept: Path, content: str) -> None:
    kept.write_text(content)
    assert asked(tmp_path, kept, "show") == 1
    assert not (tmp_path / recovery.SHOWN).exists()
    assert asked(tmp_path, kept, "else") == 1


def test_a_link_in_place_of_the_key_leads_nowhere(tmp_path: Path, kept: Path) -> None:
    kept.rename(tmp_path / "elsewhere")
    kept.symlink_to(tmp_path / "elsewhere")
    assert asked(tmp_path, kept, "show") == 1
    assert asked(tmp_path, kept, "noted") == 0
    assert (tmp_path / "elsewhere").read_text() == KEY


# --- the erasure ----------------------------------------------------------------------------------------------------


class Removed:
    def __init__(self) -> None:
        self.partitions: list[Path] = []

    def remove(self, partition: Path) -> None:
        self.partitions.append(partition)


@pytest.mark.parametrize("typed", ["", "7F3A", "0000-0000-0000", "7F3A-90C1-22BF", "-"])
def test_another_serial_erases_nothing(tmp_path: Path, typed: str) -> None:
    order = Order(Wish.ERASE, "1", NOW, "site-admin", {"serial": typed})
    with pytest.raises(Refused, match="serial"):
        erase.check(order, machine(tmp_path))


@pytest.mark.parametrize("typed", ["7F3A-90C1-22BE", "7f3a90c122be", " 7f3a 90c1 22be "])
def test_the_serial_is_taken_as_people_type_it(tmp_path: Path, typed: str) -> None:
    erase.check(Order(Wish.ERASE, "1", NOW, "x", {"serial": typed}), machine(tmp_path))


@pytest.mark.skipif(not shutil.which("cryptsetup"), reason="cryptsetup is missing")
def test_an_erased_partition_opens_with_no_key(tmp_path: Path) -> None:
    disk, secret = tmp_path / "var.img", tmp_path / "secret"
    secret.write_bytes(b"the recovery key")
    with disk.open("wb") as file:
        file.truncate(24 << 20)
    fast = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--type", "luks2"]
    subprocess.run(["cryptsetup", "luksFormat", "-q", *fast, disk, secret], check=True, capture_output=True)
    before = disk.read_bytes()[: 16 << 20]
    assert subprocess.run(["cryptsetup", "open", "--test-passphrase", "-d", secret, disk]).returncode == 0
    table, told = Removed(), []
    tools = erase.Tools(shutil.which("cryptsetup") or "", "/bin/false", "/bin/true")
    Orders(tmp_path).put(Wish.ERASE, "site-admin", NOW, {"serial": "7F3A-90C1-22BE"})
    code = erase.work(
        tmp_path,
        0,
        lambda what, by, said: told.append(what),
        NOW,
        table,
        machine=machine(tmp_path),
        partition=disk,
        tools=tools,
    )
    assert (code, told, table.partitions) == (0, ["erase"], [disk])
    opened = subprocess.run(["cryptsetup", "open", "--test-passphrase", "-d", secret, disk], capture_output=True)
    assert opened.returncode != 0
    assert not any(disk.read_bytes()[: 16 << 20])
    assert b"LUKS" in before


def test_an_audit_trail_that_takes_nothing_stops_no_erasure(tmp_path: Path) -> None:
    def full(what: str, by: str, said: str) -> None:
        raise StoreError("the audit trail takes nothing")

    disk, table = tmp_path / "var.img", Removed()
    disk.write_bytes(b"LUKS" * 1000)
    Orders(tmp_path).put(Wish.ERASE, "site-admin", NOW, {"serial": "7F3A-90C1-22BE"})
    tools = erase.Tools("/bin/true", "/bin/true", "/bin/true")
    code = erase.work(
        tmp_path, 0, full, NOW, table, machine=machine(tmp_path), partition=disk, tools=tools,
    )  # fmt: skip
    assert (code, table.partitions) == (0, [disk])
    assert not any(disk.read_bytes())


def test_a_tool_that_is_missing_does_not_stop_the_rest(tmp_path: Path) -> None:
    disk = tmp_path / "var.img"
    disk.write_bytes(b"LUKS" * 1000)

    class Broken:
        def remove(self, partition: Path) -> None:
            raise RuntimeError("no table")

    tools = erase.Tools("/none/cryptsetup", "/none/tpm2_clear", "/bin/true")
    told = list(erase.steps(disk, Broken(), tools))
    missing, broken = "FileNotFoundError", "RuntimeError"
    assert told[:3] == [f"key slots: {missing}", "headers: done", f"TPM: {missing}"]
    assert told[3:] == [f"partition entry: {broken}", "restart: done"]
    assert not any(disk.read_bytes())


def test_nothing_is_erased_without_an_order(tmp_path: Path) -> None:
    assert (
        erase.work(tmp_path, 0, lambda *told: None, NOW, Removed(), machine=machine(tmp_path), partition=tmp_path / "x")
        == 0
    )
