"""passevue.update.gate, look and health: what speaks against a start of the machine, and when it is undone."""

import asyncio
import json
import os
import sqlite3
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue import config
from passevue.baseline.engine import REPORT
from passevue.baseline.places import RUNTIME
from passevue.config_example import example
from passevue.intake.tls import listener_context
from passevue.status.neighbours import CALLERS, Neighbour, Neighbours, write
from passevue.update import look
from passevue.update.bus import open_bus
from passevue.update.gate import Noted, Seen, Standing, Unit, Word, after, faults
from passevue.update.health import Gate, health_file, judge, noted_for, read_health
from passevue.update.journey import Row, State
from passevue.update.look import Place
from passevue.update.machine import Machine
from passevue.update.row_file import RowFile
from passevue.update.words import sentence
from passevue.zones.part import Part, user_of
from tests.peers.host_bus import HostBus
from tests.peers.pki import Pki

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
        ({"failing_rules": None, "configured": True}, "baseline"),
        ({"neighbours_down": {"DMP": NOW, "PACS": NOW}}, "neighbours"),
        ({"readers": 0}, "readers"),
        ({"memory_free": 0.01}, "memory"),
        ({"built_at": NOW + timedelta(days=1)}, "clock"),
        ({"now": NOW - timedelta(hours=1)}, "clock"),
        ({"writes": False}, "data"),
    ],
)
def test_each_check_speaks_for_itself(changes: dict[str, object], check: str) -> None:
    before = Noted((NOW - timedelta(minutes=3)).isoformat(), ("CERT-02",), ("DMP",), 1, 42, True)
    sound = {
        "neighbours_down": {"PACS": NOW, "DMP": NOW - timedelta(minutes=4)},
        "readers": 1,
        "last_entry": 42,
        "failing_rules": ("CERT-02",),
    }
    assert faults(seen(**sound), before) == ()
    assert [fault.check for fault in faults(seen(**{**sound, **changes}), before)] == [check]


def test_what_was_wrong_before_is_not_the_new_versions_fault() -> None:
    before = Noted(NOW.isoformat(), failing_rules=("BOOT-01",), neighbours_up=(), readers=0)
    down = {"DMP": NOW + timedelta(minutes=1)}
    assert faults(seen(failing_rules=("BOOT-01",), neighbours_down=down, readers=0), before) == ()


def test_a_version_whose_judge_never_speaks_is_not_kept() -> None:
    silent = seen(configured=True)
    (fault,) = found = faults(silent, Noted())
    assert (fault.check, fault.seen) == ("baseline", "has not looked")
    standing = after(Standing(NOW), found, NOW + timedelta(minutes=9), on_trial=True)
    assert standing.word is Word.LOOKING, "it is waited for"
    assert after(standing, found, NOW + timedelta(minutes=10), on_trial=True).word is Word.FAILED
    assert faults(silent, Noted(), on_trial=False) == ()
    assert faults(seen(configured=False), Noted()) == (), "nobody has claimed the box: there is nothing to look at"
    row = Row(State.UNDONE, version="1.5.0", version_before="1.4.2", detail=f"{fault.check}: {fault.seen}; x: y")
    assert "n’a rien dit" in sentence(row)


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


async def test_a_page_that_asks_for_certificates_is_well_when_it_speaks_tls(tmp_path: Path) -> None:
    """The gate has none: such a box would never be updated."""
    settings, tls = await asyncio.to_thread(_asking_page, tmp_path)
    context = await asyncio.to_thread(listener_context, tls)
    good = b"HTTP/1.1 200 OK\r\n\r\n"
    here = Place(tmp_path, settings, Machine(tmp_path), 1)
    assert here.page_asks_for_certificates
    assert not Place(tmp_path, None, Machine(tmp_path), 1).page_asks_for_certificates
    async with listener(good, context) as strict, listener(b"HTTP/1.1 400 No\r\n\r\n") as plain:
        assert await look.page_answers(strict, asks_for_certificates=True)
        assert not await look.page_answers(strict), "one that does not ask must say that it is well"
        assert not await look.page_answers(plain, asks_for_certificates=True)
        seen_there = await look.look(replace(here, page_port=strict), NOW, None)
        assert seen_there.page
        assert seen_there.configured
    assert not await look.page_answers(strict, asks_for_certificates=True)


def _asking_page(folder: Path) -> tuple[config.Config, config.Tls]:
    settings = config.parse(example(), folder / "passevue.toml")
    assert isinstance(settings, config.Config)
    pki = Pki(folder / "pki")
    paths = pki.server("box.test", ["127.0.0.1"])
    tls = config.Tls(certificate=paths.certificate, key=paths.key, client_authority=pki.authority)
    page = settings.page.model_copy(update={"tls": tls})
    shut = [getattr(settings, name).model_copy(update={"port": 1}) for name in ("ris", "modality")]
    return settings.model_copy(update={"page": page, "ris": shut[0], "modality": shut[1]}), tls


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
    up, down = _word("dmp", NOW, None), _word("pacs", NOW - timedelta(hours=1), NOW)
    _left(tmp_path, "national", up, down, 7)
    at = datetime(2026, 11, 22, 3, 59, tzinfo=UTC)
    assert look.neighbours_up(tmp_path, at) == ("dmp",)
    assert look.neighbours_up(tmp_path, at + timedelta(minutes=1)) == (), "an hour ago is long ago"
    assert look.neighbours_down(tmp_path, at) == {"pacs": datetime(2026, 11, 22, 3, tzinfo=UTC)}
    (tmp_path / "status/neighbours-national.json").write_text("}")
    assert look.neighbours_down(tmp_path, at) == {}


def _word(name: object, ok_at: datetime | None, failed_at: datetime | None) -> dict[str, object]:
    times = {"ok_at": ok_at, "failed_at": failed_at}
    return {"neighbour": name, **{key: at.isoformat() if at else None for key, at in times.items()}}


def _left(folder: Path, zone: str, *words: object) -> Path:
    """As a zone leaves it, whatever umask the tests run with: nobody else writes it."""
    path = folder / "status" / f"neighbours-{zone}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(words))
    path.chmod(0o640)
    return path


@pytest.mark.parametrize("zone", ["intake", "page", "host", "odd", "national2"])
def test_only_who_calls_a_neighbour_is_believed_about_it(tmp_path: Path, zone: str) -> None:
    """Whoever has taken intake would have the version undone that evicts it."""
    later = NOW + timedelta(minutes=5)
    _left(tmp_path, "national", _word("dmp", NOW, None), _word("x", NOW, None), _word(["dmp"], NOW, None))
    lie = [_word(name, None, later) for name in ("dmp", "pacs", "x", "psc")]
    _left(tmp_path, zone, *lie, _word("y", NOW, None))
    assert look.neighbours_up(tmp_path, NOW) == ("dmp",)
    assert look.neighbours_down(tmp_path, later) == {}


def test_a_word_that_has_not_come_yet_counts_for_nothing(tmp_path: Path) -> None:
    path = _left(tmp_path, "national", _word("dmp", NOW, NOW + timedelta(days=3650)))
    assert look.neighbours_down(tmp_path, NOW) == {}
    assert look.neighbours_up(tmp_path, NOW) == ("dmp",)
    path.chmod(0o660)
    assert look.neighbours_up(tmp_path, NOW) == (), "another zone can have written it"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_word_in_another_zones_name_counts_for_nothing(tmp_path: Path) -> None:
    path = _left(tmp_path, "national", _word("dmp", None, NOW))
    assert look.neighbours_down(tmp_path, NOW) == {"dmp": NOW}
    os.chown(path, 4321, -1)
    assert look.neighbours_down(tmp_path, NOW) == {}


def test_who_is_believed_is_who_calls() -> None:
    assert set(look.CALLED) == set(Neighbour) - CALLERS
    assert look.CALLS in look.ZONES
    assert set(look.ZONES) == set(Part)
    assert {look.user_of(part) for part in Part} == {user_of(part) for part in Part}


def test_a_neighbour_that_nobody_has_called_since_the_restart_undoes_nothing(tmp_path: Path) -> None:
    """Each zone begins its file anew with the first word that it hears."""

    (tmp_path / "status").mkdir()
    (tmp_path / "status").chmod(0o2770)  # as on the appliance: all zones write there
    later = NOW + timedelta(minutes=3)

    def told(*neighbours: Neighbour, bad: Neighbour | None = None) -> None:
        register = Neighbours(tmp_path / "status", "national")
        for neighbour in neighbours:
            register.heard(neighbour, "TD2.1a", NOW)
        if bad is not None:
            register.failed(bad, "NetworkError", later)
        write(tmp_path / "status/neighbours-national.json", register.words())

    def judged(before: Noted) -> list[str]:
        down = look.neighbours_down(tmp_path, later)
        return [fault.seen for fault in faults(seen(now=later, neighbours_down=down), before)]

    told(Neighbour.DMP, Neighbour.PACS, Neighbour.RIS)
    before = Noted(NOW.isoformat(), neighbours_up=look.neighbours_up(tmp_path, NOW))
    assert before.neighbours_up == ("dmp", "pacs"), "who calls us may be silent"
    told(Neighbour.PACS)
    assert judged(before) == []
    told(Neighbour.PACS, bad=Neighbour.RIS)
    assert judged(before) == [], "a message that was not understood"
    told(Neighbour.PACS, bad=Neighbour.DMP)
    assert judged(before) == ["dmp answered before the update"]
    assert judged(replace(before, at=later.isoformat())) == [], "it failed before the restart: the old version's word"


@pytest.mark.parametrize("name", ["status/neighbours-national.json", "run/passevue-baseline/report.json"])
def test_a_pipe_that_another_zone_has_left_holds_nobody_up(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True)
    os.mkfifo(tmp_path / name)
    assert look.failing_rules(tmp_path, "boot-1") is None
    assert look.neighbours_down(tmp_path, NOW) == {}


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


async def test_what_was_noted_holds_only_the_version_on_trial(tmp_path: Path) -> None:
    """A reader that was taken away months later is nobody's fault; what failed already stays excused."""
    noted = Noted(NOW.isoformat(), ("CERT-02",), ("pacs",), 2, 42, True)
    row = Row(State.DONE, version="1.5.0", noted=noted.to_json())
    await asyncio.to_thread(RowFile(tmp_path).write, row)
    trial = await asyncio.to_thread(place, tmp_path)
    assert await asyncio.to_thread(noted_for, tmp_path, trial.machine) == noted
    proved = await asyncio.to_thread(place, tmp_path, 1, "1.5.0", False)
    assert await asyncio.to_thread(noted_for, tmp_path, proved.machine) == Noted(failing_rules=("CERT-02",))
    other = await asyncio.to_thread(place, tmp_path, 1, "1.6.0")
    assert await asyncio.to_thread(noted_for, tmp_path, other.machine) == Noted()


async def test_a_machine_without_a_bus_is_not_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    async with listener(GOOD) as port:
        here = await asyncio.to_thread(place, tmp_path, port)
        assert await judge(gate(here)) == 1
    told = await asyncio.to_thread(read_health, tmp_path)
    assert [fault["check"] for fault in told["faults"]] == ["units"]


async def test_units_are_those_of_the_zones_that_should_run_and_what_they_stand_on(
    tmp_path: Path, host: HostBus
) -> None:
    settings = await asyncio.to_thread(config.parse, example(), tmp_path / "passevue.toml")
    assert isinstance(settings, config.Config)
    async with open_bus(host.address) as bus:
        few = await look.units(Place(tmp_path, None, Machine(), 1), bus)
        all_ = await look.units(Place(tmp_path, settings, Machine(), 1), bus)
    assert few is not None
    assert all_ is not None
    names = [[each.name for each in found] for found in (few, all_)]
    assert names[0] == ["passevue-host.service", "passevue-page.service", *look.BELOW]
    assert set(names[1]) - set(names[0]) == {"passevue-intake.service", "passevue-national.service"}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema":2}', b"[" * 9000])
def test_what_the_gate_left_is_read_or_nothing(tmp_path: Path, content: bytes) -> None:
    health_file(tmp_path).parent.mkdir()
    health_file(tmp_path).write_bytes(content)
    assert read_health(tmp_path) == {}
