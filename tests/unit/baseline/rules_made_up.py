"""Rules that tests make up, and a clock that they turn."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from passevue.baseline.machine import Machine
from passevue.baseline.remedies import RESTART
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, passed

START = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


def made_up(check: Callable[[Machine], Finding] = lambda _: passed("ok"), **given: Any) -> Rule:
    facts: dict[str, Any] = {
        "id": "TEST-01",
        "slug": "made_up",
        "level": Level.MUST,
        "effect": Effect.BLOCK,
        "when": frozenset({When.START, When.PERIODIC}),
        "title": Text("Tout va bien", "All is well"),
        "why": Text("Parce que.", "Because."),
        "expected": "all is well",
        "remedy": RESTART,
        "source": "",
        "check": check,
        "appliance_only": False,
    }
    return Rule(**{**facts, **given})


class Says:
    """A check that answers one finding after the other, the last one for ever."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self._findings = list(findings)
        self.asked = 0

    def __call__(self, _: Machine) -> Finding:
        self.asked += 1
        return self._findings.pop(0) if len(self._findings) > 1 else self._findings[0]


class Clock:
    """The wall clock and CLOCK_BOOTTIME; `set_wall` moves only the first."""

    def __init__(self) -> None:
        self.uptime = 4000.0
        self._wall = START - timedelta(seconds=4000)

    def now(self) -> datetime:
        return self._wall + timedelta(seconds=self.uptime)

    def uptime_s(self) -> float:
        return self.uptime

    def pass_by(self, seconds: float) -> None:
        self.uptime += seconds

    def set_wall(self, by: timedelta) -> None:
        self._wall += by
