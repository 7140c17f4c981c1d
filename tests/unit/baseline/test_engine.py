import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from passevue.baseline.audit_head import NAME as HEAD
from passevue.baseline.engine import Change, Engine, Name
from passevue.baseline.looking import Looking
from passevue.baseline.machine import Machine, Unmeasurable
from passevue.baseline.report import read_report
from passevue.baseline.rule import Effect, Event, Finding, Function, Level, Rule, Status, When, failed, passed, unknown
from passevue.baseline.rules.audit_chained import RULE as AUDIT_CHAINED
from passevue.baseline.rules.audit_writes import RULE as AUDIT_WRITES
from passevue.baseline.verdict import Leave
from passevue.errors import StoreError
from tests.unit.baseline.machines import BOOT_ID, Recorded
from tests.unit.baseline.rules_made_up import Clock, Says, made_up
from tests.unit.baseline.test_rules_log import written


class Bench:
    """An engine over a recorded box, and everything it tells."""

    def __init__(self, tmp_path: Path, *rules: Rule, appliance: bool = True, live: Path | None = None) -> None:
        self.box = Recorded(tmp_path / "root")
        if appliance:
            self.box.manifest()
        self.clock = Clock()
        self.changes: list[Change] = []
        self.asked = 0
        self.folder = tmp_path / "baseline"
        self.live = live
        self.engine = self.another(*rules)

    def another(self, *rules: Rule) -> Engine:
        return Engine(
            rules,
            self._see,
            self.folder,
            Name("1.2.3", "1.4.2"),
            clock=self.clock.now,
            told=self.changes.append,
            canary=self.canary,
            uptime_s=self.clock.uptime_s,
            looking=Looking(),
            live=self.live,
        )

    def _see(self) -> Machine:
        self.box.now = self.clock.now()
        return self.box.machine()

    async def canary(self) -> None:
        self.asked += 1

    async def later(self, seconds: float) -> None:
        self.clock.pass_by(seconds)
        await self.engine.step()

    def status(self, rule_id: str = "TEST-01") -> Status:
        return next(each.status for each in self.engine.report.results if each.id == rule_id)


async def test_each_rule_is_looked_at_in_its_time(tmp_path: Path) -> None:
    periodic, daily, start = (Says([passed("")]) for _ in range(3))
    bench = Bench(
        tmp_path,
        made_up(periodic, id="A-01"),
        made_up(daily, id="A-02", effect=Effect.WARN, when=frozenset({When.DAILY})),
        made_up(start, id="A-03", effect=Effect.WARN, when=frozenset({When.START})),
    )
    await bench.engine.begin()
    await bench.engine.step()
    assert (periodic.asked, daily.asked, start.asked) == (1, 1, 1)
    await bench.later(599)
    assert periodic.asked == 1
    await bench.later(1)
    assert (periodic.asked, daily.asked, start.asked) == (2, 1, 1)
    await bench.later(86_400)
    assert (periodic.asked, daily.asked, start.asked) == (3, 2, 2)


async def test_a_block_rule_of_the_start_stays_fresh(tmp_path: Path) -> None:
    check = Says([passed("")])
    bench = Bench(tmp_path, made_up(check, when=frozenset({When.START})))
    await bench.engine.begin()
    await bench.engine.step()
    await bench.later(600)
    assert check.asked == 2


async def test_what_is_unknown_is_asked_again_after_a_minute(tmp_path: Path) -> None:
    check = Says([unknown("not yet"), passed("")])
    bench = Bench(tmp_path, made_up(check))
    await bench.engine.begin()
    await bench.engine.step()
    assert bench.engine.verdict.closed == ("TEST-01",)
    await bench.later(60)
    assert check.asked == 2
    assert bench.engine.verdict.closed == ()


async def test_gate_rules_are_not_looked_at(tmp_path: Path) -> None:
    bench = Bench(tmp_path, made_up(None, effect=Effect.GATE))  # type: ignore[arg-type]
    await bench.engine.begin()
    await bench.engine.step()
    assert bench.engine.report.results == ()


async def test_a_check_that_hangs_is_unknown_and_stops_nothing(tmp_path: Path) -> None:
    let_go = threading.Event()

    def hangs(_: Machine) -> Finding:
        let_go.wait(30)
        return passed("late")

    quick = Says([passed("")])
    bench = Bench(tmp_path, made_up(hangs, timeout_s=0.2), made_up(quick, id="TEST-02"))
    await bench.engine.begin()
    await bench.engine.step()
    assert bench.status() is Status.UNKNOWN
    assert bench.status("TEST-02") is Status.PASS
    await bench.later(60)
    assert [thread.name for thread in threading.enumerate()].count("rule-TEST-01") == 1  # not begun again
    assert "hangs" in bench.engine.report.results[0].observed
    let_go.set()
    async with asyncio.timeout(20):
        while bench.status() is not Status.PASS:
            await asyncio.sleep(0.02)
            await bench.later(600)


@pytest.mark.parametrize("error", [Unmeasurable("no"), OSError(5, "Input/output error"), ValueError("x"), KeyError()])
async def test_what_a_check_raises_is_unknown(tmp_path: Path, error: Exception) -> None:
    def raises(_: Machine) -> Finding:
        raise error

    bench = Bench(tmp_path, made_up(raises))
    await bench.engine.begin()
    await bench.engine.step()
    assert bench.status() is Status.UNKNOWN


async def test_only_the_appliance_is_asked_what_only_it_has(tmp_path: Path) -> None:
    check = Says([failed("")])
    bench = Bench(tmp_path, made_up(check, appliance_only=True), appliance=False)
    await bench.engine.begin()
    await bench.engine.step()
    result = bench.engine.report.results[0]
    assert result.status is Status.NOT_APPLICABLE
    assert result.observed == "ce poste n’est pas le boîtier"
    assert check.asked == 0


async def test_a_manifest_that_is_gone_makes_no_laptop_of_the_box(tmp_path: Path) -> None:
    bench = Bench(tmp_path, made_up(Says([failed("")])), appliance=False)
    bench.box.file("/usr/lib/os-release", "ID=debian\nIMAGE_ID=passevue\n")
    await bench.engine.begin()
    await bench.engine.step()
    assert bench.engine.verdict.closed == ("TEST-01",)


async def test_each_change_is_told_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, made_up(Says([passed(""), failed("broken"), failed("broken"), passed("")])))
    await bench.engine.begin()
    await bench.engine.step()
    for _ in range(4):
        await bench.later(600)
    told = [(change.before, change.status, change.fires) for change in bench.changes]
    assert told == [("pass", Status.FAIL, True), ("fail", Status.PASS, False)]
    assert bench.changes[0].observed == "broken"


async def test_a_failure_at_the_first_look_is_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path, made_up(Says([failed("broken")])))
    await bench.engine.begin()
    await bench.engine.step()
    assert [(change.before, change.status) for change in bench.changes] == [("", Status.FAIL)]


async def test_what_could_not_be_measured_at_first_and_then_passes_is_no_change(tmp_path: Path) -> None:
    bench = Bench(tmp_path, made_up(Says([unknown("not yet"), passed(""), unknown("away"), passed("")])))
    await bench.engine.begin()
    await bench.engine.step()
    await bench.later(60)
    assert bench.changes == []
    await bench.later(600)
    assert [(change.before, change.status) for change in bench.changes] == [("pass", Status.UNKNOWN)]


async def test_another_finding_of_a_rule_that_tells_it_is_a_change(tmp_path: Path) -> None:
    rule = made_up(Says([passed("SHA-256 a"), passed("SHA-256 a"), passed("SHA-256 b")]), tells_observed=True)
    bench = Bench(tmp_path, rule)
    await bench.engine.begin()
    await bench.engine.step()
    await bench.later(600)
    assert bench.changes == []
    await bench.later(600)
    assert [(change.status, change.observed) for change in bench.changes] == [(Status.PASS, "SHA-256 b")]
    bench.engine = bench.another(made_up(Says([passed("SHA-256 c")]), tells_observed=True))
    await bench.engine.begin()
    await bench.later(5)
    assert bench.changes[-1].observed == "SHA-256 c"


async def test_what_an_earlier_engine_told_is_not_told_again(tmp_path: Path) -> None:
    rules = made_up(Says([failed("broken")])), made_up(Says([passed("")]), id="TEST-02")
    bench = Bench(tmp_path, *rules)
    await bench.engine.begin()
    await bench.engine.step()
    bench.engine = bench.another(*rules)
    await bench.engine.begin()
    await bench.later(10)
    assert len(bench.changes) == 1


async def test_what_changed_while_no_engine_ran_is_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path, made_up(Says([failed("broken")])))
    await bench.engine.begin()
    await bench.engine.step()
    bench.engine = bench.another(made_up(Says([passed("")])))
    await bench.engine.begin()
    await bench.later(10)
    assert [(change.before, change.status) for change in bench.changes] == [
        ("", Status.FAIL),
        ("fail", Status.PASS),
    ]


@pytest.fixture
def units_umask() -> Iterator[None]:
    """That of passevue-host.service."""
    before = os.umask(0o007)
    yield
    os.umask(before)


@pytest.mark.usefixtures("units_umask")
async def test_the_report_is_left_whole_for_the_others(tmp_path: Path) -> None:
    bench = Bench(tmp_path, made_up(Says([failed("broken")])))
    await bench.engine.begin()
    await bench.engine.step()
    data = (bench.folder / "report.json").read_bytes()
    report = read_report(data)
    assert report.results == bench.engine.report.results
    tree = json.loads(data)
    assert {key: tree[key] for key in ("schema", "box", "image", "boot_id", "at", "worst", "counts")} == {
        "schema": 1,
        "box": "1.2.3",
        "image": "1.4.2",
        "boot_id": BOOT_ID,
        "at": "2026-11-21T10:00:00Z",
        "worst": "block",
        "counts": {"pass": 0, "fail": 1, "unknown": 0, "not_applicable": 0},
    }
    assert (bench.folder / "report.json").stat().st_mode & 0o777 == 0o640


async def test_a_disk_that_takes_nothing_more_keeps_no_old_report_on_show(tmp_path: Path) -> None:
    live = tmp_path / "run"
    await asyncio.to_thread(live.mkdir)
    rule = made_up(Says([passed(""), failed("broken"), failed("broken")]))
    bench = Bench(tmp_path, rule, live=live)
    await bench.engine.begin()
    await bench.engine.step()
    kept = bench.folder / "report.json"
    assert await asyncio.to_thread(kept.read_bytes) == await asyncio.to_thread((live / "report.json").read_bytes)
    await asyncio.to_thread((bench.folder / "report.new").mkdir)  # what it writes aside is refused from now on
    await bench.later(600)
    shown = read_report(await asyncio.to_thread((live / "report.json").read_bytes))
    assert (shown.worst, read_report(await asyncio.to_thread(kept.read_bytes)).worst) == ("block", "none")
    assert json.loads(await asyncio.to_thread((live / "verdict.json").read_text))["closed"] == ["TEST-01"]
    beat = json.loads(await asyncio.to_thread((live / "heartbeat.json").read_text))
    assert beat["uptime_s"] == bench.clock.uptime_s()
    told = len(bench.changes)
    assert told
    bench.engine = bench.another(rule)
    await bench.engine.begin()
    await bench.engine.step()
    assert len(bench.changes) == told, "what was told before its restart is told again"


async def test_after_a_restart_of_the_machine_nothing_is_told_twice(tmp_path: Path) -> None:
    live = tmp_path / "run"
    await asyncio.to_thread(live.mkdir)
    rule = made_up(Says([failed("broken")]))
    bench = Bench(tmp_path, rule, live=live)
    await bench.engine.begin()
    await bench.engine.step()
    assert len(bench.changes) == 1
    for file in list(live.iterdir()):
        await asyncio.to_thread(file.unlink)
    bench.engine = bench.another(rule)
    await bench.engine.begin()
    await bench.engine.step()
    assert len(bench.changes) == 1


async def test_a_clock_that_was_set_is_seen_at_the_next_tick(tmp_path: Path) -> None:
    check = Says([passed("")])
    bench = Bench(tmp_path, made_up(check, on=frozenset({Event.CLOCK})))
    await bench.engine.begin()
    await bench.engine.step()
    await bench.later(5)
    assert check.asked == 1
    bench.clock.set_wall(timedelta(days=365))
    await bench.later(5)
    assert check.asked == 2


async def test_a_setting_of_the_clock_does_not_age_the_verdict(tmp_path: Path) -> None:
    bench = Bench(tmp_path, made_up())
    await bench.engine.begin()
    await bench.engine.step()
    before = bench.engine.verdict.good_until_s
    bench.clock.set_wall(timedelta(days=-365))
    await bench.later(5)
    assert bench.engine.verdict.good_until_s == before == 4000.0 + 1800.0


async def test_a_usb_device_is_seen_at_the_next_tick(tmp_path: Path) -> None:
    check = Says([passed("")])
    bench = Bench(tmp_path, made_up(check, on=frozenset({Event.USB})))
    bench.box.file("/sys/bus/usb/devices/usb1/idVendor")
    await bench.engine.begin()
    await bench.engine.step()
    bench.box.file("/sys/bus/usb/devices/1-1/idVendor")
    await bench.later(5)
    assert check.asked == 2


async def test_new_facts_are_asked_about_what_fails(tmp_path: Path) -> None:
    check, fine = Says([failed("")]), Says([passed("")])
    bench = Bench(tmp_path, made_up(check), made_up(fine, id="TEST-02"))
    await bench.engine.begin()
    await bench.engine.step()
    bench.box.file("/run/passevue/facts.json", "{}")
    await bench.later(5)
    assert (check.asked, fine.asked) == (2, 1)


async def test_the_trail_is_asked_at_start_and_every_ten_minutes(tmp_path: Path) -> None:
    bench = Bench(tmp_path, made_up())
    await bench.engine.begin()
    await bench.engine.step()
    await bench.later(300)
    await bench.later(300)
    assert bench.asked == 2


async def test_a_rule_that_fails_for_weeks_does_not_fill_the_trail(tmp_path: Path) -> None:
    """It is looked at each minute; the trail is asked every ten all the same, and whenever it is its own turn."""
    flaps = Says([failed("offset 1.84 s")])
    own = made_up(Says([unknown("not yet")]), id="LOG-01", when=frozenset({When.START}), on=frozenset({Event.AUDIT}))
    bench = Bench(tmp_path, made_up(flaps, can_flap=True))
    await bench.engine.begin()
    await bench.engine.step()
    for _ in range(60):
        await bench.later(60)
    assert flaps.asked == 61
    assert bench.asked == 7
    bench.engine, bench.asked = bench.another(own), 0
    await bench.engine.begin()
    await bench.engine.step()
    await bench.later(60)
    assert bench.asked == 2


async def test_a_trail_that_takes_nothing_stops_no_engine(tmp_path: Path) -> None:
    async def full() -> None:
        raise StoreError("the audit trail cannot be written")

    bench = Bench(tmp_path)
    bench.canary = full  # type: ignore[method-assign]
    check = Says([passed("")])
    bench.engine = bench.another(made_up(check))
    await bench.engine.begin()
    await bench.engine.step()
    assert check.asked == 1


async def test_a_trail_that_refuses_a_record_closes_national_at_once(tmp_path: Path) -> None:
    """However young the last record is that it took."""

    async def full() -> None:
        raise StoreError("the audit trail cannot be written")

    bench = Bench(tmp_path, AUDIT_WRITES)
    await asyncio.to_thread(bench.box.configured)
    await asyncio.to_thread(written, bench.box, 5)
    await bench.engine.begin()
    await bench.engine.step()
    assert bench.engine.verdict.closed == ()
    bench.canary = full  # type: ignore[method-assign]
    bench.engine = bench.another(AUDIT_WRITES)
    await bench.engine.begin()
    await bench.engine.step()
    assert bench.engine.verdict.closed == ("LOG-01",)
    assert bench.engine.report.results[0].observed == "a record was refused just now: StoreError"


def leave_of(bench: Bench, *, strict: bool = True) -> Leave:
    return Leave(bench.folder, strict=strict, uptime_s=bench.clock.uptime_s, boot_id=lambda: BOOT_ID)


async def _after_one_step(tmp_path: Path, *findings: Finding, **rule: object) -> Bench:
    bench = Bench(tmp_path, made_up(Says(findings), **rule), made_up(id="TEST-02"))
    await bench.engine.begin()
    await bench.engine.step()
    return bench


async def test_national_opens_on_a_fresh_verdict_and_shuts_when_it_is_old(tmp_path: Path) -> None:
    bench = await _after_one_step(tmp_path, passed(""))
    leave = leave_of(bench)
    assert leave.closed == ("APP-01",)
    await leave.ask()
    assert leave.closed == ()
    bench.clock.pass_by(1801)  # the engine is dead
    assert leave.closed == ("APP-01",)
    await leave.ask()
    assert leave.closed == ("APP-01",)


async def test_a_failing_block_rule_shuts_national(tmp_path: Path) -> None:
    bench = await _after_one_step(tmp_path, failed(""))
    leave = leave_of(bench)
    await leave.ask()
    assert leave.closed == ("TEST-01",)


async def test_a_failing_hold_rule_stops_its_function_alone(tmp_path: Path) -> None:
    holds = frozenset({Function.SIGN_IN})
    bench = await _after_one_step(tmp_path, failed(""), effect=Effect.HOLD, holds=holds)
    leave = leave_of(bench)
    await leave.ask()
    assert leave.closed == ()
    assert leave.held(Function.SIGN_IN) == ("TEST-01",)
    assert leave.held(Function.UPDATE) == ()


async def test_what_leads_to_a_shut_national_side_is_held_with_it(tmp_path: Path) -> None:
    bench = await _after_one_step(tmp_path, failed(""))
    leave = leave_of(bench)
    assert leave.held(Function.SIGN_IN) == ("APP-01",)
    await leave.ask()
    assert leave.held(Function.SIGN_IN) == leave.held(Function.PUBLICATION) == ("TEST-01",)
    assert leave.held(Function.UPDATE) == leave.held(Function.IMAGES) == ()


async def test_a_failing_warn_rule_stops_nothing(tmp_path: Path) -> None:
    bench = await _after_one_step(tmp_path, failed(""), effect=Effect.WARN, level=Level.SHOULD)
    assert bench.engine.report.worst == "warn"
    assert bench.engine.verdict.held == {}
    assert bench.engine.verdict.closed == ()


def _other_boot(path: Path) -> None:
    path.write_text(path.read_text().replace(BOOT_ID, "another"))


def _open_to_all(path: Path) -> None:
    path.chmod(0o666)


def _a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def _torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


@pytest.mark.parametrize("harm", [Path.unlink, _other_boot, _open_to_all, _a_link, _torn])
async def test_a_verdict_that_cannot_be_believed_shuts_national(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    bench = await _after_one_step(tmp_path, passed(""))
    harm(bench.folder / "verdict.json")
    leave = leave_of(bench)
    await leave.ask()
    assert leave.closed == ("APP-01",)


async def test_in_a_folder_of_this_boot_nobody_asks_which_boot_it_is(tmp_path: Path) -> None:
    def hidden() -> str:
        raise FileNotFoundError  # ProcSubset=pid

    bench = await _after_one_step(tmp_path, passed(""))
    leave = Leave(bench.folder, strict=True, uptime_s=bench.clock.uptime_s, boot_id=hidden, of_this_boot=True)
    await leave.ask()
    assert leave.closed == ()
    leave = Leave(bench.folder, strict=True, uptime_s=bench.clock.uptime_s, boot_id=hidden)
    await leave.ask()
    assert leave.closed == ("APP-01",)


async def test_on_a_laptop_nothing_is_ever_shut(tmp_path: Path) -> None:
    bench = await _after_one_step(tmp_path, failed(""))
    leave = leave_of(bench, strict=False)
    await leave.ask()
    assert leave.closed == ()
    assert leave.held(Function.SIGN_IN) == ()


async def test_the_engine_runs_until_cancelled(tmp_path: Path) -> None:
    bench = Bench(tmp_path, made_up())
    task = asyncio.create_task(bench.engine.run())
    for _ in range(200):
        await asyncio.sleep(0.01)
        if await asyncio.to_thread((bench.folder / "verdict.json").exists):
            break
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread((bench.folder / "heartbeat.json").exists)


async def test_how_far_a_whole_trail_had_come_is_noted_each_day(tmp_path: Path) -> None:
    bench = Bench(tmp_path, AUDIT_CHAINED)
    await asyncio.to_thread(bench.folder.mkdir)
    await asyncio.to_thread(bench.box.configured)
    await asyncio.to_thread(written, bench.box, 5)
    await asyncio.to_thread(bench.box.file, "/proc/uptime", "600.00 1200.00\n")  # the first signed head is yet to come
    await bench.engine.step()
    assert bench.status("LOG-03") is Status.PASS
    head = tmp_path / "baseline" / HEAD
    first = await asyncio.to_thread(head.read_text)
    assert json.loads(first)["number"] == 5
    await asyncio.to_thread(written, bench.box, 2)
    await bench.later(25 * 3600.0)
    assert json.loads(await asyncio.to_thread(head.read_text))["number"] == 7
