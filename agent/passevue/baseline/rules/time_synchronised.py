"""TIME-01: the clock is right to a second; one that never was, or is wrong by more than a minute, closes national.

Chrony says how far off it believes the clock to be, as of its last measurement. A clock that was set since then shows
by CLOCK_BOOTTIME: until chrony has measured anew, its word is not taken.
"""

from datetime import UTC, datetime, timedelta

from passevue.baseline.last_right import read_last_right
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
    age = machine.now - datetime.fromtimestamp(tracking.measured_at, UTC)
    known = read_last_right(machine)
    moved = known.set_since(machine) if known is not None else None
    if moved is not None and abs(moved.total_seconds()) > FAR_OFF_S and not timedelta() <= age <= MEASURED_WITHIN:
        return failed(f"the clock was set by {moved.total_seconds():+.0f} s and not measured since", Effect.BLOCK)
    offset_s = abs(tracking.offset_s)
    if offset_s > MAX_OFFSET_S:
        return failed(f"offset {offset_s:.2f} s", Effect.BLOCK if offset_s > FAR_OFF_S else None)
    return passed(f"offset {offset_s:.3f} s, stratum {tracking.stratum}")


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
    expected="|offset| <= 1 s; beyond 60 s or never synchronised since boot: block",
    remedy=TIME_SOURCE,
    source="ITI-1, LOG R5, PG 7.2.2.3",
    check=check,
    holds=frozenset({Function.PUBLICATION, Function.CONSULTATION, Function.SIGN_IN}),
    on=frozenset({Event.CLOCK}),
    can_flap=True,
)
