"""TIME-01: the clock is right to a second; one that never was, or is wrong by more than a minute, closes national.

Chrony says how far off it believes the clock to be, as of its last measurement. A clock that was set since then shows
by CLOCK_BOOTTIME: until chrony has measured anew, its word is not taken. Nor is it for ever where no server answers any
more: chrony's own bound of what the clock may be off by grows, and past a second nobody knows that it is right.
"""

from datetime import UTC, datetime, timedelta

from passevue.baseline.last_right import LastRight, read_last_right
from passevue.baseline.machine import Machine
from passevue.baseline.reading.chrony import read_tracking
from passevue.baseline.remedies import TIME_SOURCE
from passevue.baseline.rule import Effect, Event, Finding, Function, Level, Rule, Text, When, failed, passed

MAX_OFFSET_S = 1.0
FAR_OFF_S = 60.0
MEASURED_WITHIN = timedelta(hours=2)  # chrony measures every 17 min at most


def check(machine: Machine) -> Finding:
    tracking = read_tracking(machine.facts.text("chrony_tracking"))
    if not tracking.synchronised:
        return failed("never synchronised since the box started", Effect.BLOCK)
    measured = datetime.fromtimestamp(tracking.measured_at, UTC)
    known = read_last_right(machine)
    moved_s = _set_since(known, machine)
    if known is not None and moved_s and not _is_since(known, moved_s, measured, machine):
        return failed(f"the clock was set by {moved_s:+.0f} s and not measured since", _effect(moved_s))
    if abs(tracking.offset_s) > MAX_OFFSET_S:
        return failed(f"offset {abs(tracking.offset_s):.2f} s", _effect(tracking.offset_s))
    age = machine.now - measured
    if age > MEASURED_WITHIN and tracking.dispersion_s > MAX_OFFSET_S:
        hours = age.total_seconds() / 3600
        told = f"not measured for {hours:.0f} h, may be off by {tracking.dispersion_s:.1f} s"
        return failed(told, _effect(tracking.dispersion_s))
    return passed(f"offset {abs(tracking.offset_s):.3f} s, stratum {tracking.stratum}")


def _effect(off_s: float) -> Effect | None:
    return Effect.BLOCK if abs(off_s) > FAR_OFF_S else None


def _set_since(known: LastRight | None, machine: Machine) -> float:
    """By how many seconds the clock was set since it was last known to be right; 0 for what slewing does."""
    moved = known.set_since(machine) if known is not None else None
    return moved.total_seconds() if moved is not None and abs(moved.total_seconds()) > MAX_OFFSET_S else 0.0


def _is_since(known: LastRight, moved_s: float, measured: datetime, machine: Machine) -> bool:
    """Whether that measurement was made after the clock was set: it is told in the new clock's time, and lies after
    what was known then and not after what is now. (The facts may be some seconds younger than `machine.now`.)"""
    late = timedelta(seconds=machine.uptime_s - machine.now_s + 1)
    return known.at + timedelta(seconds=moved_s) <= measured <= machine.now + late


RULE = Rule(
    id="TIME-01",
    slug="time_synchronised",
    level=Level.MUST,
    effect=Effect.HOLD,
    worse=Effect.BLOCK,
    when=frozenset({When.START, When.PERIODIC}),
    title=Text("L’horloge est à l’heure", "The clock is right"),
    why=Text(
        "Une signature datée d’une mauvaise heure est refusée par le DMP, et une trace fausse ne prouve rien.",
        "The DMP refuses a signature of the wrong time, and a record of the wrong time proves nothing.",
    ),
    expected="|offset| <= 1 s, or known to be; beyond 60 s or never synchronised since boot: block",
    remedy=TIME_SOURCE,
    source="ITI-1, LOG R5, PG 7.2.2.3",
    check=check,
    holds=frozenset({Function.PUBLICATION, Function.CONSULTATION, Function.SIGN_IN}),
    on=frozenset({Event.CLOCK}),
    can_flap=True,
)
