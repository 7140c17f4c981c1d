"""What the engine of the baseline left, told for people: its report in the catalogue's words, as `status` shows it."""

import os
from datetime import UTC, datetime
from pathlib import Path

from passevue.baseline.engine import REPORT
from passevue.baseline.machine import Machine
from passevue.baseline.places import ROOT, live_folder
from passevue.baseline.report import Report, Result, read_report
from passevue.baseline.rule import Effect, Rule, Status, Text
from passevue.baseline.rules import BY_ID, CATALOGUE
from passevue.baseline.verdict import Leave
from passevue.config import Config
from passevue.errors import Unreadable
from passevue.status.protections import Grade, Pair, Protection, Protections

_GRADES = {Status.PASS: Grade.WELL, Status.UNKNOWN: Grade.UNSURE, Status.NOT_APPLICABLE: Grade.APART}
_FAILING = {Effect.BLOCK: Grade.BLOCK, Effect.HOLD: Grade.HOLD, Effect.WARN: Grade.WARN}


class EngineWord:
    """Reads the engine's report for one process, again only when it is another. Blocks."""

    def __init__(self, config: Config, leave: Leave | None = None, root: Path = ROOT) -> None:
        self._path = live_folder(config, root) / REPORT
        self._leave = leave
        self._seen: tuple[int, int] | None = None
        self._report: Report | None = None
        self._on_box = Machine(root, now=datetime.now(UTC)).appliance

    def __call__(self) -> Protections | None:
        """None when no engine has left anything yet, and nothing waits for it."""
        self._read()
        if self._report is not None:
            return protections(self._report, on_box=self._on_box, leave=self._leave)
        waits = self._on_box and (self._leave is None or bool(self._leave.closed))
        return Protections(None, (), on_box=True, closed=True, proved=_proved()) if waits else None

    def _read(self) -> None:
        try:
            seen = os.stat(self._path)
            if (seen.st_ino, seen.st_mtime_ns) == self._seen:
                return
            self._report = read_report(self._path.read_bytes())
            self._seen = (seen.st_ino, seen.st_mtime_ns)
        except (OSError, Unreadable):
            self._report, self._seen = None, None


def protections(report: Report, *, on_box: bool, leave: Leave | None = None) -> Protections:
    """`leave` None: the report alone says whether the national side is shut."""
    shown = tuple(_shown(result, BY_ID[result.id]) for result in report.results if result.id in BY_ID)
    blocked = any(rule.grade is Grade.BLOCK for rule in shown)
    closed = bool(leave.closed) if leave is not None else blocked
    return Protections(report.at, shown, on_box, closed, _proved())


def _proved() -> tuple[tuple[str, Pair], ...]:
    return tuple((rule.id, _pair(rule.title)) for rule in CATALOGUE if rule.check is None)


def _shown(result: Result, rule: Rule) -> Protection:
    return Protection(
        id=rule.id,
        grade=_grade(result, rule),
        title=_pair(rule.title),
        why=_pair(rule.why),
        remedy=_pair(rule.remedy.text),
        observed=result.observed,
        since=result.since,
    )


def _grade(result: Result, rule: Rule) -> Grade:
    """An unknown that counts as a failure is shown as one; a failure that does not count yet is not."""
    if not result.fires:
        return Grade.UNSURE if result.status is Status.FAIL else _GRADES[result.status]
    grade = _FAILING[result.effect]
    return Grade.HOLD if rule.narrow and grade is Grade.BLOCK else grade


def _pair(text: Text) -> Pair:
    return text.fr, text.en
