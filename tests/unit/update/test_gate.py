"""passevue.update.gate, look and health: what speaks against a start of the machine, and when it is undone."""

import asyncio
import json
import os
import sqlite3
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue import config
from passevue.baseline.engine import REPORT
from passevue.baseline.places import RUNTIME
from passevue.config_example import example
from passevue.status.neighbours import Neighbour, Neighbours, write
from passevue.update import look
from passevue.update.bus import open_bus
from passevue.update.gate import Noted, Seen, Standing, Unit, Word, after, faults
from passevue.update.health import Gate, health_file, judge, read_health
from passevue.update.look import Place
from passevue.update.machine import Machine
from tests.peers.host_bus import HostBus

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
WELL = {"now": NOW, "units": (Unit("passevue-page.service", "active"),), "page": True}


def seen(**changes: object) -> Seen:
    return Seen(**{**WELL, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"units": None}, "units"),
        ({"units": (Unit("a.service", "failed"),)}, "units"),
        ({"units": (Unit("a.service", "active", restarts=3),)}, "units"),
        ({"page": False}, "page"),
        ({"listeners": {"ris": False}}, "listeners"),
        ({"store": "the queue does not open"}, "store"),
        ({"last_entry": 41}, "store"),
        ({"failing_rules": ("BOOT-01", "CERT-02")}, "baseline"),
        ({"neighbours_down": ("DMP", "PACS")}, "neighbours"),
        ({"readers": 0}, "readers"),
        ({"memory_free": 0.01}, "memory"),
        ({"built_at": NOW + timedelta(days=1)}, "clock"),
        ({"now": NOW - timedelta(hours=1)}, "clock"),
        ({"writes": False}, "data"),
    ],
)
def test_each_check_speaks_for_itself(changes: dict[str, object], check: str) -> None:
    before = Noted((NOW - timedelta(minutes=3)).isoformat(), ("CERT-02",), ("DMP",), 1, 42, True)
    sound = {"neighbours_down": ("PACS",), "readers": 1, "last_entry": 42, "failing_rules": ("CERT-02",)}
    assert faults(seen(**sound), before) == ()
    assert [fault.check for fault in faults(seen(**{**sound, **changes}), before)] == [check]


def test_what_was_wrong_before_is_not_the_new_versions_fault() -> None:
    before = Noted(failing_rules=("BOOT-01",), neighbours_up=(), readers=0)
    assert faults(seen(failing_rules=("BOOT-01",), neighbours_down=("DMP",), readers=0), before) == ()


def _stand(looks: list[tuple[int, bool]], *, on_trial: bool) -> list[Word]:
    standing = Standing(NOW)
    found = faults(seen(page=False), Noted())
    words = []
    for minute, well in looks:
        standing = after(standing, () if well else found, NOW + timedelta(minutes=minute), on_trial=on_trial)
        words.append(standing.word)
    return words


def test_a_start_on_trial_must_stay_well_for_ten_minutes() -> None:
    assert _stand([(1, False), (3, True), (12, True), (13, True)], on_trial=True) == [
        Word.LOOKING, Word.LOOKING, Word.LOOKING, Word.PASSED]  # fmt: skip


def test_a_start_that_is_not_well_in_ten_minutes_fails_and_so_does_a_late_fault() -> None:
    assert _stand([(1, False), (9, False), (10, False)], on_trial=True)[-1] is Word.FAILED
    assert _stand([(1, True), (9, True), (10, False)], on_trial=True)[-1] is Word.FAILED
    assert _stand([(1, True), (5, False), (6, True), (15, True), (16, True)], on_trial=True)[-2:] == [
        Word.LOOKING, Word.PASSED]  # fmt: skip


def test_a_start_that_has_proved_itself_passes_at_once() -> None:
    assert _stand([(0, True)], on_trial=False) == [Word.PASSED]


@given(st.text(max_size=200))
def test_any_text_is_noted_or_nothing(text: str) -> None:
    assert isinstance(Noted.of(text), Noted)
    told = Noted("x", ("a",), ("b",), 1, 2, True)
    assert Noted.of(told.to_json()) == told


# --- looking ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def listener(answer: bytes | None, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Answers once it has heard something; None: takes connections and never looks at them."""
    held = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is None:
            await held.wait()
        await reader.read(100)
        writer.write(answer or b"")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        held.set()
        server.close()


async def test_a_page_is_well_when_it_says_so(tmp_path: Path) -> None:
    from passevue.provision.first_certificate import context

    tls = await asyncio.to_thread(context, tmp_path, "S")
    good, bad = b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 503 No\r\n\r\n"
    async with (
        listener(good) as plain,
        listener(good, tls) as secret,
        listener(bad) as ill,
        listener(b"\xff" * 99) as odd,
    ):
        assert await look.page_answers(plain)
        assert await look.page_answers(secret)
        assert not await look.page_answers(ill)
        assert not await look.page_answers(odd)
    assert not await look.page_answers(plain)


async def test_a_listener_lives_when_it_hangs_up_too() -> None:
    async with listener(b"") as alive:
        assert await look.answers(alive)
    assert not await look.answers(alive)
    async with listener(None) as asleep:  # a socket of systemd with nobody behind it
        assert not await look.answers(asleep, within_s=0.2)


MANIFEST = json.dumps({"built_at": "2026-11-01T00:00:00+00:00", "security_floor": "1.2"})


def place(folder: Path, port: int = 1, version: str = "1.5.0", trial: bool = True) -> Place:
    root = folder / "root"
    for name, content in {
        "usr/lib/os-release": f"IMAGE_ID=passevue\nIMAGE_VERSION={version}\n",
        "proc/sys/kernel/random/boot_id": "boot-1\n",
        "proc/meminfo": "MemTotal: 1000 kB\nMemAvailable: 500 kB\n",
        "usr/share/passevue/manifest.json": json.dumps(
            {"built_at": "2026-11-01T00:00:00+00:00", "security_floor": "1.2"}
        ),
        "sys/bus/usb/devices/1-1:1.0/bInterfaceClass": "0b\n",
        "sys/bus/usb/devices/1-2:1.0/bInterfaceClass": "03\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    counted = root / "sys/firmware/efi/efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
    counted.parent.mkdir(parents=True, exist_ok=True)
    counted.unlink(missing_ok=True)
    if trial:
        counted.touch()
    return Place(folder, None, Machine(root), port)


def test_the_machine_is_read_from_its_files(tmp_path: Path) -> None:
    here = place(tmp_path)
    assert (here.machine.version, here.machine.boot_id, here.machine.on_trial) == ("1.5.0", "boot-1", True)
    assert look.readers(here.machine.root) == 1
    assert look.built_at(here.machine.root) == datetime(2026, 11, 1, tzinfo=UTC)
    assert look.security_floor(here.machine.root) == "1.2"
    bare = Machine(tmp_path / "none")
    assert (bare.version, bare.boot_id, bare.on_trial, bare.is_appliance) == ("", "", False, False)
    assert (look.readers(tmp_path / "none"), look.built_at(tmp_path), look.security_floor(tmp_path)) == (0, None, "0.0")


def test_the_queue_is_opened_and_its_last_number_known(tmp_path: Path) -> None:
    settings = config.parse(example(), tmp_path / "passevue.toml")
    assert isinstance(settings, config.Config)
    here = Place(tmp_path, settings, Machine(tmp_path), 1)
    assert (look.store_fault(here), look.last_entry(here)) == ("", None)
    with sqlite3.connect(tmp_path / "queue.sqlite") as made:
        made.execute("create table entry (number integer primary key)")
        made.execute("insert into entry values (41), (42)")
    made.close()
    assert (look.store_fault(here), look.last_entry(here)) == ("", 42)
    (tmp_path / "queue.sqlite").write_bytes(b"not a database" * 400)
    assert "does not open" in look.store_fault(here)
    assert look.last_entry(here) is None


def test_the_report_is_looked_for_where_the_engine_leaves_it() -> None:
    assert f"/{look.REPORT}" == f"{RUNTIME}/{REPORT}"


def test_rules_and_neighbours_are_read_from_what_others_left(tmp_path: Path) -> None:
    assert look.failing_rules(tmp_path, "boot-1") is None
    report = tmp_path / "run/passevue-baseline/report.json"
    report.parent.mkdir(parents=True)
    rules = [
        {"id": "BOOT-01", "effect": "block", "status": "fail", "fires": True},
        {"id": "TIME-01", "effect": "hold", "status": "fail", "fires": True},
        {"id": "TLS-04", "effect": "block", "status": "fail", "fires": True},
        {"id": "BOOT-02", "effect": "block", "status": "fail", "fires": False},
        {"id": "STOR-01", "effect": "block", "status": "pass"},
        "odd",
    ]
    report.write_text(json.dumps({"boot_id": "boot-1", "rules": rules}))
    assert look.failing_rules(tmp_path, "boot-1") == ("BOOT-01",)
    assert look.failing_rules(tmp_path, "boot-2") is None
    report.write_text("[" * 9000)
    assert look.failing_rules(tmp_path, "boot-1") is None
    (tmp_path / "status").mkdir()
    words = [
        {"neighbour": "dmp", "ok_at": "2026-11-22T03:00:00+00:00", "failed_at": None},
        {"neighbour": "pacs", "ok_at": "2026-11-22T02:00:00+00:00", "failed_at": "2026-11-22T03:00:00+00:00"},
        7,
    ]
    (tmp_path / "status/neighbours-national.json").write_text(json.dumps(words))
    (tmp_path / "status/neighbours-intake.json").write_text("}")
    at = datetime(2026, 11, 22, 3, 59, tzinfo=UTC)
    assert look.neighbours_up(tmp_path, at) == ("dmp",)
    assert look.neighbours_up(tmp_path, at + timedelta(minutes=1)) == (), "an hour ago is long ago"
    assert look.neighbours_down(tmp_path) == ("pacs",)


def test_a_neighbour_that_nobody_has_called_since_the_restart_undoes_nothing(tmp_path: Path) -> None:
    """Each zone begins its file anew with the first word that it hears."""

    def told(*neighbours: Neighbour, bad: Neighbour | None = None) -> None:
        register = Neighbours(tmp_path / "status", "national")
        for neighbour in neighbours:
            register.heard(neighbour, "TD2.1a", NOW)
        if bad is not None:
            register.failed(bad, "NetworkError", NOW)
        write(tmp_path / "status/neighbours-national.json", register.words())

    def judged(before: Noted) -> list[str]:
        return [fault.seen for fault in faults(seen(neighbours_down=look.neighbours_down(tmp_path)), before)]

    told(Neighbour.DMP, Neighbour.PACS, Neighbour.RIS)
    before = Noted(neighbours_up=look.neighbours_up(tmp_path, NOW))
    assert before.neighbours_up == ("dmp", "pacs", "ris")
    told(Neighbour.PACS)
    assert judged(before) == []
    told(Neighbour.PACS, bad=Neighbour.RIS)
    assert judged(before) == [], "a message that was not understood"
    told(Neighbour.PACS, bad=Neighbour.DMP)
    assert judged(before) == ["dmp answered before the update"]


@pytest.mark.parametrize("name", ["status/neighbours-odd.json", "run/passevue-baseline/report.json"])
def test_a_pipe_that_another_zone_has_left_holds_nobody_up(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True)
    os.mkfifo(tmp_path / name)
    assert look.failing_rules(tmp_path, "boot-1") is None
    assert look.neighbours_down(tmp_path) == ()


# --- the whole gate --------------------------------------------------------------------------------------------------


@pytest.fixture
async def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HostBus]:
    async with HostBus.start(tmp_path) as started:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", started.address)
        yield started


def gate(here: Place, *, on_trial: bool = True) -> Gate:
    within, steady = timedelta(seconds=0.4), timedelta(seconds=0.2)
    return Gate(here, Noted(), on_trial=on_trial, within=within, steady=steady, again_s=0.05)


GOOD = b"HTTP/1.1 200 OK\r\n\r\n"


async def test_a_good_start_passes_and_is_kept(tmp_path: Path, host: HostBus) -> None:
    async with listener(GOOD) as port:
        here = await asyncio.to_thread(place, tmp_path, port)
        assert await judge(gate(here)) == 0
    told = await asyncio.to_thread(read_health, tmp_path)
    assert (told["word"], told["version"], told["boot_id"]) == ("passed", "1.5.0", "boot-1")


async def test_a_bad_start_on_trial_is_undone_when_something_would_start_instead(tmp_path: Path, host: HostBus) -> None:
    here = await asyncio.to_thread(place, tmp_path)
    host.systemd.unit("passevue-page.service")[0].state = "failed"
    assert await judge(gate(here)) == 1
    told = await asyncio.to_thread(read_health, tmp_path)
    assert told["word"] == "failed"
    assert {fault["check"] for fault in told["faults"]} == {"units", "page"}
    host.rauc.other_good = False
    assert await judge(gate(here)) == 0, "nothing to go back to: a page with a sentence is worth more"
    proved = await asyncio.to_thread(place, tmp_path, 1, "1.5.0", False)
    assert await judge(gate(proved, on_trial=False)) == 0


async def test_a_machine_without_a_bus_is_not_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    async with listener(GOOD) as port:
        here = await asyncio.to_thread(place, tmp_path, port)
        assert await judge(gate(here)) == 1
    told = await asyncio.to_thread(read_health, tmp_path)
    assert [fault["check"] for fault in told["faults"]] == ["units"]


async def test_units_of_a_claimed_box_are_all_four(tmp_path: Path, host: HostBus) -> None:
    settings = await asyncio.to_thread(config.parse, example(), tmp_path / "passevue.toml")
    assert isinstance(settings, config.Config)
    async with open_bus(host.address) as bus:
        few = await look.units(Place(tmp_path, None, Machine(), 1), bus)
        all_ = await look.units(Place(tmp_path, settings, Machine(), 1), bus)
    assert few is not None
    assert all_ is not None
    assert (len(few), len(all_)) == (2, 4)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema":2}', b"[" * 9000])
def test_what_the_gate_left_is_read_or_nothing(tmp_path: Path, content: bytes) -> None:
    health_file(tmp_path).parent.mkdir()
    health_file(tmp_path).write_bytes(content)
    assert read_health(tmp_path) == {}
