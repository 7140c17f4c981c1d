"""The health gate: whether this start of the machine is one to keep. What is asked, and what follows; no file, no
bus, no socket here.

The list of fleet.md § 6 as far as it needs no fleet, but for three: Pro Santé Connect and the liste blanche are not
asked, no entry is sent through the queue to nowhere, DICOM is not echoed. Each check says yes, no with a reason, or
that it does not apply. Rules:

- Only what has changed is the image's fault: what was already so before the update (`Noted`, written before the
  restart) is told and not held against it: a rule of the baseline that failed, a reader that was not there, a
  neighbour that did not answer. Nor is a neighbour that nobody has called since: at night it may be hours.
- A start has ten minutes to come up well, and on trial must then be well for ten minutes on end: what is found in the
  first ten minutes may pass, what is found later fails the gate at the first look. A start that is not on trial is
  done with at the first look that is well, and never restarted for.
- On trial the baseline must have spoken: a version whose judge says nothing would never publish again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

WITHIN = timedelta(minutes=10)
STEADY = timedelta(minutes=10)
MOST_RESTARTS = 2
LEAST_MEMORY = 0.08
CLOCK_BACK = timedelta(minutes=2)


class Word(StrEnum):
    """What the gate says."""

    LOOKING = "looking"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Noted:
    """What was so before the restart."""

    at: str = ""
    failing_rules: tuple[str, ...] = ()  # of the baseline, effect block
    neighbours_up: tuple[str, ...] = ()  # answered within the hour before: `dmp`, `pacs`
    readers: int = 0
    last_entry: int = 0  # highest number in the queue
    configured: bool = False

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, text: str) -> "Noted":
        """Nothing noted when it is not ours."""
        try:
            told = json.loads(text)
            return cls(
                str(told["at"]),
                tuple(map(str, told["failing_rules"])),
                tuple(map(str, told["neighbours_up"])),
                int(told["readers"]),
                int(told["last_entry"]),
                bool(told["configured"]),
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            return cls()


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as systemd tells it."""

    name: str
    state: str  # ActiveState
    wanted: bool = True  # its conditions hold
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """One look. None: could not be looked at."""

    now: datetime
    units: tuple[Unit, ...] | None = None
    page: bool = False  # answers
    listeners: Mapping[str, bool] = field(default_factory=dict)  # ris, modality: answers
    store: str = ""  # "" opens; else why not
    last_entry: int | None = None
    configured: bool = False  # the baseline is looked at
    failing_rules: tuple[str, ...] | None = None  # None: not since this start
    neighbours_down: Mapping[str, datetime] = field(default_factory=dict)  # were called and did not answer well: when
    readers: int | None = None
    memory_free: float = 1.0
    built_at: datetime | None = None
    writes: bool = True  # the data folder takes a file


@dataclass(frozen=True, slots=True)
class Fault:
    """A check that says no: its stable code, and what was seen."""

    check: str
    seen: str


def faults(seen: Seen, before: Noted, *, on_trial: bool = True) -> tuple[Fault, ...]:
    """Everything that speaks against keeping this version."""
    found: list[Fault] = []
    if seen.units is None:
        found.append(Fault("units", "systemd does not say"))
    for unit in seen.units or ():
        if unit.wanted and unit.state != "active":
            found.append(Fault("units", f"{unit.name} is {unit.state}"))
        elif unit.restarts > MOST_RESTARTS:
            found.append(Fault("units", f"{unit.name} was restarted {unit.restarts} times"))
    if not seen.writes:
        found.append(Fault("data", "the data folder takes nothing"))
    if seen.store:
        found.append(Fault("store", seen.store))
    if seen.last_entry is not None and seen.last_entry < before.last_entry:
        found.append(Fault("store", f"last entry {seen.last_entry}, was {before.last_entry}"))
    if not seen.page:
        found.append(Fault("page", "does not answer"))
    found += [Fault("listeners", f"{name} does not answer") for name, alive in seen.listeners.items() if not alive]
    found += _rules(seen, before, on_trial=on_trial)
    found += [Fault("neighbours", f"{name} answered before the update") for name in _gone(seen, before)]
    if seen.readers is not None and seen.readers < before.readers:
        found.append(Fault("readers", f"{seen.readers} card readers, {before.readers} before"))
    if seen.built_at is not None and seen.now < seen.built_at:
        found.append(Fault("clock", "before this image was built"))
    if before.at and seen.now < datetime.fromisoformat(before.at) - CLOCK_BACK:
        found.append(Fault("clock", "before the restart"))
    if seen.memory_free < LEAST_MEMORY:
        found.append(Fault("memory", f"{seen.memory_free:.0%} free"))
    return tuple(found)


def _rules(seen: Seen, before: Noted, *, on_trial: bool) -> list[Fault]:
    if seen.failing_rules is None:
        return [Fault("baseline", "has not looked")] if on_trial and seen.configured else []
    return [Fault("baseline", rule) for rule in seen.failing_rules if rule not in before.failing_rules]


def _gone(seen: Seen, before: Noted) -> list[str]:
    """Neighbours that answered before the restart, and since did not."""
    if not before.at:
        return []
    since, down = datetime.fromisoformat(before.at), seen.neighbours_down
    return [name for name in before.neighbours_up if name in down and down[name] > since]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the gate stands after some looks."""

    began: datetime
    well_since: datetime | None = None
    word: Word = Word.LOOKING
    faults: tuple[Fault, ...] = ()


def after(
    standing: Standing,
    found: Sequence[Fault],
    now: datetime,
    *,
    on_trial: bool,
    within: timedelta = WITHIN,
    steady: timedelta = STEADY,
) -> Standing:
    """The standing after one more look.

    Times are those of a clock that does not jump (`now` of the caller).
    """
    if found:
        word = Word.FAILED if now - standing.began >= within else Word.LOOKING
        return Standing(standing.began, None, word, tuple(found))
    well_since = standing.well_since or now
    enough = not on_trial or now - well_since >= steady
    return Standing(standing.began, well_since, Word.PASSED if enough else Word.LOOKING)
