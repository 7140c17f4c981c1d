"""passevue.provision: the screen, the first certificate, the recovery key, and an erasure that leaves no key (real
cryptsetup).
"""

import fcntl
import json
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import pytest

from passevue.errors import Refused, StoreError
from passevue.provision import erase, recovery
from passevue.provision.configure import Trace
from passevue.provision.console import Screen, addresses, fingerprint, text, url
from passevue.provision.first_certificate import context, first_certificate
from passevue.status.audit_trail import AuditTrail
from passevue.update.machine import Machine
from passevue.update.orders import Orders, Wish

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


def said(tmp_path: Path) -> str:
    """What the page shows of the last order."""
    told = json.loads((tmp_path / "config/done-recovery.json").read_text())
    return f"{told['code']}: {told['hint']}"


def test_the_recovery_key_is_shown_until_it_is_noted_and_then_nowhere(tmp_path: Path, kept: Path) -> None:
    for _ in range(2):
        assert asked(tmp_path, kept, "show") == 0
        assert (tmp_path / recovery.SHOWN).read_text() == KEY
        assert (tmp_path / recovery.SHOWN).stat().st_mode & 0o777 == 0o440
    assert asked(tmp_path, kept, "noted") == 0
    assert not kept.exists()
    assert kept.parent.is_dir(), "the first boot makes no other"
    assert not (tmp_path / recovery.SHOWN).exists()
    for act in ("show", "noted"):
        assert asked(tmp_path, kept, act) == 1
        assert "déjà été notée" in said(tmp_path)


def test_a_key_that_nobody_was_shown_is_not_forgotten(tmp_path: Path, kept: Path) -> None:
    assert asked(tmp_path, kept, "noted") == 1
    assert said(tmp_path).startswith("not-shown: Personne n’a encore vu")
    assert kept.read_text() == KEY
    assert asked(tmp_path, kept, "show") == 0
    assert asked(tmp_path, kept, "noted") == 0
    assert not kept.exists()


def test_a_key_that_could_not_be_wiped_is_not_said_to_be_forgotten(tmp_path: Path, kept: Path) -> None:
    assert asked(tmp_path, kept, "show") == 0
    kept.rename(tmp_path / "elsewhere")
    kept.mkdir()  # opens for nobody to write
    assert asked(tmp_path, kept, "noted") == 1
    assert "n’a pas pu être oubliée" in said(tmp_path)
    kept.rmdir()
    (tmp_path / "elsewhere").rename(kept)
    assert asked(tmp_path, kept, "noted") == 0, "asked again"
    assert not kept.exists()
    assert not (tmp_path / recovery.SHOWN).exists()


def test_a_key_that_the_first_boot_did_not_make_is_not_said_to_be_noted(tmp_path: Path, kept: Path) -> None:
    kept.unlink()
    kept.parent.rmdir()
    for act in ("show", "noted"):
        assert asked(tmp_path, kept, act) == 1
        assert said(tmp_path).startswith("none-made: ")
        assert "Redémarrez" in said(tmp_path)


@pytest.mark.parametrize("content", ["", "root:x:0:0", KEY + "more", "a" * 1000])
def test_what_is_no_recovery_key_is_not_handed_out(tmp_path: Path, kept: Path, content: str) -> None:
    kept.write_text(content)
    assert asked(tmp_path, kept, "show") == 1
    assert not (tmp_path / recovery.SHOWN).exists()
    assert asked(tmp_path, kept, "else") == 1


def test_a_key_that_is_not_shown_is_not_said_to_have_been(tmp_path: Path, kept: Path) -> None:
    kept.unlink()
    Orders(tmp_path).put(Wish.RECOVERY, "site-admin", NOW, {"act": "show"})
    records: list[tuple[str, str, str]] = []
    assert recovery.work(tmp_path, kept, 0, lambda *record: records.append(record), NOW) == 1
    assert records == [("recovery-key-refused", "site-admin", "Refused noted: the recovery key is no longer here")]


def test_an_order_that_somebody_else_may_have_written_shows_no_key_and_is_audited(tmp_path: Path, kept: Path) -> None:
    Orders(tmp_path).put(Wish.RECOVERY, "site-admin", NOW, {"act": "show"})
    (tmp_path / "orders/recovery.json").chmod(0o666)
    records: list[tuple[str, str, str]] = []
    assert recovery.work(tmp_path, kept, 0, lambda *record: records.append(record), NOW) == 1
    assert not (tmp_path / recovery.SHOWN).exists()
    words = "order recovery: TrustError an order that was not put there by the page or by root"
    assert records == [("recovery-key-refused", "", words)], "whoever it names has not asked"


def test_a_link_in_place_of_the_key_leads_nowhere(tmp_path: Path, kept: Path) -> None:
    kept.rename(tmp_path / "elsewhere")
    kept.symlink_to(tmp_path / "elsewhere")
    assert asked(tmp_path, kept, "show") == 1
    (tmp_path / recovery.SHOWN).write_text(KEY)
    assert asked(tmp_path, kept, "noted") == 1
    assert (tmp_path / "elsewhere").read_text() == KEY


# --- the erasure ----------------------------------------------------------------------------------------------------


class Removed:
    """A partition table that says what it was asked for, and what the disk held then."""

    def __init__(self) -> None:
        self.partitions: list[Path] = []
        self.found = b""
        self.is_held = False

    @contextmanager
    def held(self, partition: Path) -> Iterator[None]:
        self.is_held = True
        yield
        self.is_held = False

    def remove(self, partition: Path) -> None:
        assert self.is_held
        self.partitions.append(partition)
        self.found = partition.read_bytes()


class Broken:
    """One that can be neither held nor changed."""

    def held(self, partition: Path) -> AbstractContextManager[None]:
        raise RuntimeError("no disk")

    def remove(self, partition: Path) -> None:
        raise RuntimeError("no table")


def ordered(folder: Path) -> None:
    Orders(folder).put(Wish.ERASE, "site-admin", NOW, {"serial": "7F3A-90C1-22BE"})


@pytest.mark.parametrize("typed", ["", "7F3A", "0000-0000-0000", "7F3A-90C1-22BF", "-"])
def test_another_serial_erases_nothing(tmp_path: Path, typed: str) -> None:
    with pytest.raises(Refused, match="serial"):
        erase.check(typed, machine(tmp_path).serial)


@pytest.mark.parametrize("typed", ["7F3A-90C1-22BE", "7f3a90c122be", " 7f3a 90c1 22be "])
def test_the_serial_is_taken_as_people_type_it(tmp_path: Path, typed: str) -> None:
    erase.check(typed, machine(tmp_path).serial)


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
    ordered(tmp_path)
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
    assert table.found[: 16 << 20] == before, (
        "the entry goes before the keys: what is cut then finishes at the next start"
    )
    opened = subprocess.run(["cryptsetup", "open", "--test-passphrase", "-d", secret, disk], capture_output=True)
    assert opened.returncode != 0
    assert not any(disk.read_bytes()[: 16 << 20])
    assert b"LUKS" in before


def erased(tmp_path: Path, trace: Trace, trace_s: float = erase.TRACE_S) -> Removed:
    """What the table was asked, by an erasure that went through to its end."""
    disk, table = tmp_path / "var.img", Removed()
    disk.write_bytes(b"LUKS" * 1000)
    ordered(tmp_path)
    tools = erase.Tools("/bin/true", "/bin/true", "/bin/true")
    code = erase.work(
        tmp_path, 0, trace, NOW, table, machine=machine(tmp_path), partition=disk, tools=tools,
        trace_s=trace_s,
    )  # fmt: skip
    assert (code, table.partitions) == (0, [disk])
    assert not any(disk.read_bytes())
    return table


@pytest.mark.parametrize("error", [StoreError("the audit trail takes nothing"), OSError(), MemoryError(), ValueError()])
def test_an_audit_trail_that_takes_nothing_stops_no_erasure(tmp_path: Path, error: Exception) -> None:
    def full(what: str, by: str, said: str) -> None:
        raise error

    erased(tmp_path, full)


def traced(folder: Path) -> Trace:
    """As on the machine (cli.root)."""

    def trace(what: str, by: str, said: str) -> None:
        AuditTrail(folder, "box").append([b"<erase/>"])

    return trace


def test_an_audit_trail_that_another_zone_holds_stops_no_erasure(tmp_path: Path) -> None:
    AuditTrail(tmp_path / "audit", "box").append([b"<before/>"])
    with (tmp_path / "audit/lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        erased(tmp_path, traced(tmp_path / "audit"))


def test_a_huge_file_among_those_of_the_trail_stops_no_erasure(tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir()
    with (tmp_path / "audit/audit-9999999999.log").open("wb") as file:
        file.truncate(1 << 40)
    erased(tmp_path, traced(tmp_path / "audit"))


def stuck_on(event: Event) -> Trace:
    def trace(what: str, by: str, said: str) -> None:
        event.wait()

    return trace


def test_a_trail_that_never_answers_is_not_waited_for(tmp_path: Path) -> None:
    stuck = Event()
    try:
        erased(tmp_path, stuck_on(stuck), trace_s=0.2)
    finally:
        stuck.set()


def test_the_entry_goes_first_and_the_disk_is_held_until_the_restart(tmp_path: Path) -> None:
    """What is cut after the first write is made anew by the next start; udev learns nothing that stops this program."""
    disk, table = tmp_path / "var.img", Removed()
    disk.write_bytes(b"LUKS" * 1000)
    (tmp_path / "by-partlabel").symlink_to(disk)
    steps = erase.steps(tmp_path / "by-partlabel", table, erase.Tools("/bin/true", "/bin/true", "/bin/true"))
    assert next(steps) == "hold on the disk: done"
    assert table.partitions == []
    assert next(steps) == "partition entry: done"
    (tmp_path / "by-partlabel").unlink()  # as udev would
    assert (table.partitions, table.found) == ([disk], b"LUKS" * 1000)
    told = [(said, table.is_held) for said in steps]
    assert told == [(f"{what}: done", True) for what in ("key slots", "headers", "TPM", "disks", "restart")]
    assert not any(disk.read_bytes())
    assert not table.is_held


def test_a_table_that_cannot_be_changed_does_not_stop_the_rest(tmp_path: Path) -> None:
    disk = tmp_path / "var.img"
    disk.write_bytes(b"LUKS" * 1000)
    told = list(erase.steps(disk, Broken(), erase.Tools("/bin/true", "/bin/true", "/bin/true")))
    assert told[:2] == ["hold on the disk: RuntimeError", "partition entry: RuntimeError"]
    assert told[-2:] == [f"not all is done: {', '.join(told[:2])}", "restart: done"]
    assert not any(disk.read_bytes())


def test_a_tool_that_is_missing_does_not_stop_the_rest(tmp_path: Path) -> None:
    tools, table = erase.Tools("/none/cryptsetup", "/bin/false", "/bin/true"), Removed()
    told = list(erase.steps(tmp_path / "none", table, tools))
    failed = ["partition entry: FileNotFoundError", "key slots: FileNotFoundError", "headers: FileNotFoundError",
              "TPM: left with 1"]  # fmt: skip
    assert told[1:5] == failed
    assert told[5:] == ["disks: done", f"not all is done: {', '.join(failed)}", "restart: done"]


def test_nothing_is_erased_without_an_order(tmp_path: Path) -> None:
    assert (
        erase.work(tmp_path, 0, lambda *told: None, NOW, Removed(), machine=machine(tmp_path), partition=tmp_path / "x")
        == 0
    )
