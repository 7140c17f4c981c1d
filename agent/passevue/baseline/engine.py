"""The engine: looks at every rule in its time, keeps how it stands, and leaves report, verdict and heartbeat.

    engine = Engine(CATALOGUE, see, folder, Name(box, image), told=…, canary=…)
    await engine.run()                      # until cancelled

Rules (security-baseline.md § 1):
- block rules first, and the verdict is left as soon as they are known: `national` waits for it;
- what blocks is looked at every ten minutes, also where the catalogue says at start only: `national` opens on results
  younger than thirty. The other rules of start are looked at once a day, and so are the daily ones;
- what is unknown, or waits for its second failure, is looked at again after a minute; what fails, every ten minutes
  and whenever root has collected new facts;
- events are seen by the engine itself, every five seconds: the clock was set, the configuration or a USB device
  changed;
- the audit trail is asked to take a record at start and every ten minutes (at most 110 KiB a day); LOG-01 fails when it
  would not, and reads it back;
- each change of state is told once, for the audit trail.

Nothing that goes wrong here ends the process: what cannot be written is tried again, and the verdict that was left runs
out by itself.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

import structlog

from passevue.baseline import facts
from passevue.baseline.audit_head import write_head
from passevue.baseline.heartbeat import Heartbeat, put, write_heartbeat
from passevue.baseline.judge import NOT_LOOKED_AT, Standing, closing, good_until_s, holding, judge, opens_on
from passevue.baseline.last_right import note_right
from passevue.baseline.looking import Looking
from passevue.baseline.machine import Machine, Unmeasurable
from passevue.baseline.places import audit_folder
from passevue.baseline.report import Report, Result, read_report
from passevue.baseline.rule import Effect, Event, Finding, Rule, Status, When
from passevue.baseline.verdict import Verdict, write_verdict
from passevue.errors import BoxError, Unreadable

REPORT: Final = "report.json"
TICK_S: Final = 5.0
EVERY_S: Final = 600.0
DAILY_S: Final = 86_400.0
AGAIN_S: Final = 60.0
BEAT_EVERY_S: Final = 60.0
JUMP_S: Final = 5.0  # NTP slews below half a second; more than this between two ticks is a clock that was set
KNOWS_TIME: Final = "TIME-01"  # its pass is kept: the clock is right now
KNOWS_TRAIL: Final = "LOG-03"  # and its: the trail is whole, so far
CANARY_WITHIN_S: Final = 10.0
LEAST_ROOM: Final = 1 << 20  # bytes for the audit trail; a record takes 2 KiB

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Name:
    """Which box the report is of, and which image it runs."""

    box: str
    image: str


@dataclass(frozen=True, slots=True)
class Change:
    """A rule whose state is another now: what goes to the audit trail. `before` is "" at the first look."""

    rule: Rule
    before: str
    status: Status
    effect: Effect
    fires: bool
    observed: str
    at: datetime


T = TypeVar("T")
Told = Callable[[Change], None]
Canary = Callable[[], Awaitable[None]]


async def _no_canary() -> None:
    return


def boot_time_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Engine:
    """A part of the box (`name`, `run`).

    Args:
        see: gives the machine as it is now; asked before each round.
        folder: what it keeps beyond a restart.
        live: where report, verdict and heartbeat are left for the others, when that is another (`places.live_folder`).
        told: each change of state.
        canary: has the audit trail take a record; raises BoxError when it does not.
        clock, uptime_s: the wall clock, and CLOCK_BOOTTIME.
    """

    name = "baseline"

    def __init__(
        self,
        rules: Sequence[Rule],
        see: Callable[[], Machine],
        folder: Path,
        name: Name,
        *,
        clock: Callable[[], datetime],
        told: Told = lambda _: None,
        canary: Canary = _no_canary,
        uptime_s: Callable[[], float] = boot_time_s,
        tick_s: float = TICK_S,
        looking: Looking | None = None,
        live: Path | None = None,
    ) -> None:
        self._rules = tuple(rule for rule in rules if rule.check is not None)
        self._see = see
        self._folder = folder
        self._live = live or folder
        self._named = name
        self._clock = clock
        self._told = told
        self._canary = canary
        self._uptime_s = uptime_s
        self._tick_s = tick_s
        self._looking = looking or Looking()
        self._standings: dict[str, Standing] = {}
        self._last_told: dict[str, _State] = {}
        self._due_s = {rule.id: 0.0 for rule in self._rules}
        self._started_at = clock()
        self._senses: _Senses | None = None
        self._beat_s = -BEAT_EVERY_S
        self._asked_s = -EVERY_S
        self._boot_id = ""
        self._appliance = True

    async def run(self) -> None:
        await self.begin()
        while True:
            await self.step()
            await asyncio.sleep(self._tick_s)

    async def begin(self) -> None:
        """Take up what an engine before this one has left."""
        self._last_told = await asyncio.to_thread(self._take_up)
        await self._beat()

    async def step(self) -> None:
        """Look at everything that is due now."""
        machine = self._see()
        events, news = await self._notice(machine)
        now_s = self._uptime_s()
        due = [rule for rule in self._rules if self._is_due(rule, now_s, events, news=news)]
        if due:
            if self._is_trail_s_turn(due, now_s):
                machine.trail_refused, self._asked_s = await self._ask_trail(), now_s
            first = [rule for rule in due if opens_on(rule)]
            rest = [rule for rule in due if not opens_on(rule)]
            for group in filter(None, (first, rest)):
                await self._look_at(group, machine)
                await self._leave_results()
        await self._beat()

    @property
    def report(self) -> Report:
        """Every rule as it was last looked at."""
        results = tuple(self._result(rule) for rule in self._rules)
        return Report(self._named.box, self._named.image, self._boot_id, self._clock(), results)

    @property
    def verdict(self) -> Verdict:
        return Verdict(
            boot_id=self._boot_id,
            good_until_s=good_until_s(self._rules, self._standings),
            closed=closing(self._rules, self._standings, appliance=self._appliance),
            held=holding(self._rules, self._standings),
        )

    # What is due

    async def _notice(self, machine: Machine) -> tuple[frozenset[Event], bool]:
        """What happened since the last tick, and whether there are new facts."""
        now = await asyncio.to_thread(_sense, machine, self._clock().timestamp() - self._uptime_s())
        before, self._senses = self._senses, now
        if before is None:
            return frozenset(), False
        happened = {
            Event.CLOCK: abs(now.clock_s - before.clock_s) > JUMP_S,
            Event.CONFIG: now.config != before.config,
            Event.USB: now.usb != before.usb,
            Event.AUDIT: now.audit_room != before.audit_room,
        }
        return frozenset(event for event, so in happened.items() if so), now.facts != before.facts

    def _is_due(self, rule: Rule, now_s: float, events: frozenset[Event], *, news: bool) -> bool:
        if self._due_s[rule.id] <= now_s or rule.on & events:
            return True
        standing = self._standings.get(rule.id)
        return news and standing is not None and standing.finding.status in (Status.FAIL, Status.UNKNOWN)

    def _next_s(self, rule: Rule, standing: Standing, now_s: float) -> float:
        waits = standing.finding.status is Status.UNKNOWN or (
            standing.finding.status is Status.FAIL and (rule.can_flap or not standing.fires)
        )
        if waits:
            return now_s + AGAIN_S
        often = rule.when & {When.PERIODIC, When.EVENT} or opens_on(rule) or standing.finding.status is Status.FAIL
        return now_s + (EVERY_S if often else DAILY_S)

    # Looking

    async def _look_at(self, rules: Iterable[Rule], machine: Machine) -> None:
        self._appliance = await asyncio.to_thread(lambda: machine.appliance)
        async with asyncio.TaskGroup() as group:
            for rule in rules:
                group.create_task(self._look(rule, machine.glance()), name=f"rule-{rule.id}")

    async def _look(self, rule: Rule, machine: Machine) -> None:
        finding = await self._looking.look(rule, machine)
        now_s, before = self._uptime_s(), self._standings.get(rule.id)
        standing = judge(
            rule, before, finding, self._clock(), now_s, appliance=self._appliance, evidence_s=machine.evidence_s
        )
        self._standings[rule.id] = standing
        self._due_s[rule.id] = self._next_s(rule, standing, now_s)
        self._tell(rule, standing)
        if rule.id == KNOWS_TIME and finding.status is Status.PASS and self._appliance:
            await self._keep(note_right, machine)
        if rule.id == KNOWS_TRAIL and finding.status is Status.PASS:
            await self._keep(write_head, machine)

    async def _keep(self, write: Callable[[Path, T], None], what: T) -> None:
        try:
            await asyncio.to_thread(write, self._folder, what)
        except (OSError, Unreadable, Unmeasurable) as err:
            log.error("baseline_not_written", error_class=type(err).__name__)

    def _tell(self, rule: Rule, now: Standing) -> None:
        """Each change of state, once: also one that came while no engine ran. At the first look only what is wrong."""
        state, was = _state(rule, now.finding, now.effect, fires=now.fires), self._last_told.get(rule.id)
        if state == was:
            return
        status = now.finding.status
        if was is None and not now.fires and status is not Status.FAIL:
            if status is not Status.UNKNOWN:
                self._last_told[rule.id] = state
            return
        self._last_told[rule.id] = state
        if now.fires:
            log.warning("baseline_changed", rule=rule.id, state=status, effect=now.effect)
        else:
            log.info("baseline_changed", rule=rule.id, state=status)
        before = was.status.value if was is not None else ""
        self._told(Change(rule, before, status, now.effect, now.fires, now.finding.observed, now.checked))

    def _is_trail_s_turn(self, due: Iterable[Rule], now_s: float) -> bool:
        """With LOG-01, and every ten minutes; not with a rule that fails for weeks and is looked at each minute."""
        if any(Event.AUDIT in rule.on for rule in due):
            return True
        return now_s - self._asked_s >= EVERY_S and any(When.PERIODIC in rule.when for rule in due)

    async def _ask_trail(self) -> Exception | None:
        """Why it took no record; None when it did."""
        try:
            async with asyncio.timeout(CANARY_WITHIN_S):
                await self._canary()
        except (BoxError, OSError, TimeoutError) as err:
            log.error("audit_not_written", records=1, error_class=type(err).__name__)
            return err
        return None

    def _result(self, rule: Rule) -> Result:
        standing = self._standings.get(rule.id)
        finding = standing.finding if standing else NOT_LOOKED_AT
        at = self._started_at
        return Result(
            id=rule.id,
            rule=rule.slug,
            level=rule.level,
            effect=standing.effect if standing else rule.effect,
            status=finding.status,
            observed=finding.observed,
            expected=rule.expected,
            remedy=rule.remedy.key,
            since=standing.since if standing else at,
            checked=standing.checked if standing else at,
            fires=standing.fires if standing else False,
        )

    # Files

    def _take_up(self) -> dict[str, "_State"]:
        self._boot_id = _boot_id(self._see())
        self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        report = first_report(self._live, self._folder)
        if report is None:
            return {}
        by_id = {rule.id: rule for rule in self._rules}
        found = {}
        for result in report.results:
            if result.id in by_id and (result.fires or result.status is not Status.UNKNOWN):
                finding = Finding(result.status, result.observed)
                found[result.id] = _state(by_id[result.id], finding, result.effect, fires=result.fires)
        return found

    async def _leave_results(self) -> None:
        report, verdict = self.report.to_json(), self.verdict

        def leave() -> None:
            write_verdict(self._live, verdict)
            for folder in dict.fromkeys((self._live, self._folder)):  # the disk last: it may be full
                put(folder / REPORT, report)

        try:
            await asyncio.to_thread(leave)
        except OSError as err:
            log.error("baseline_not_written", error_class=type(err).__name__)

    async def _beat(self) -> None:
        now_s = self._uptime_s()
        if now_s - self._beat_s < BEAT_EVERY_S:
            return
        try:
            await asyncio.to_thread(write_heartbeat, self._live, Heartbeat(self._boot_id, now_s))
        except OSError as err:
            log.error("baseline_not_written", error_class=type(err).__name__)
        else:
            self._beat_s = now_s


@dataclass(frozen=True, slots=True)
class _State:
    """What is told when it changes; `effect` while it is in force, `observed` of the rules that tell it."""

    status: Status
    effect: Effect | None
    observed: str


def _state(rule: Rule, finding: Finding, effect: Effect, *, fires: bool) -> _State:
    return _State(finding.status, effect if fires else None, finding.observed if rule.tells_observed else "")


# --- what the engine itself sees -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Senses:
    """Fingerprints: equal as long as nothing happened. `clock_s` is the wall clock's distance from CLOCK_BOOTTIME."""

    clock_s: float
    config: tuple[int, int]
    usb: tuple[str, ...]
    audit_room: bool
    facts: tuple[int, int]


def _sense(machine: Machine, clock_s: float) -> _Senses:
    return _Senses(
        clock_s,
        _stamp_of(machine.config_path),
        _usb_devices(machine),
        _audit_has_room(machine),
        _stamp_of(machine.path(facts.PLACE)),
    )


def first_report(*folders: Path) -> Report | None:
    """Of the first folder that has one that can be read: a disk that was full has an older one than memory. Blocks."""
    for folder in folders:
        try:
            return read_report((folder / REPORT).read_bytes())
        except (OSError, Unreadable):
            continue
    return None


def _boot_id(machine: Machine) -> str:
    """Empty where the kernel does not say, as in some containers: no verdict of such a machine is ever believed."""
    try:
        return machine.boot_id
    except (OSError, Unmeasurable):
        return ""


def _audit_has_room(machine: Machine) -> bool:
    try:
        volume = machine.statvfs(audit_folder(machine.config))
    except (OSError, Unmeasurable):
        return False
    return volume.f_bavail * volume.f_frsize >= LEAST_ROOM and (volume.f_favail > 0 or volume.f_files == 0)


def _stamp_of(path: Path | None) -> tuple[int, int]:
    try:
        seen = os.stat(path) if path is not None else None
    except OSError:
        return 0, 0
    return (seen.st_ino, seen.st_mtime_ns) if seen is not None else (0, 0)


def _usb_devices(machine: Machine) -> tuple[str, ...]:
    try:
        return tuple(name for name in machine.names("/sys/bus/usb/devices") if ":" not in name)
    except OSError:
        return ()
