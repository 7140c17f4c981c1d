"""The way of one update, as a row that is written before each step, and what follows from it. No file, no bus, no
clock here.

    IDLE ──order──▶ WAITING ──window──▶ WRITING ──▶ WRITTEN ──quiet──▶ REBOOTING ──▶ PROVING ──▶ DONE
                       │ ▲                 │           │                    │            │
                       │ └─power cut───────┘           └──────── the box restarted ──────┴─────▶ UNDONE
                       └──cancel, refused──▶ IDLE / FAILED

Rules (fleet.md § 6):
- Any step may be cut by power and run again: WRITING starts over, three times at most.
- Writing waits for the window, or for nobody (`now`), or for its deadline. Restarting waits for the quiet moment as
  well: intake paused, nothing under way. After three attempts in vain it restarts all the same: what is acknowledged
  is on the disk.
- Which version runs after a restart says everything: the new one must prove itself, the old one means that it was
  undone.
- Postponed at most three times by a day, never past the deadline. Cancelled only before anything is written.
- RAUC is another service: what was cut, or failed at its last step, may start all the same. Then it is on its way
  again, and must prove itself.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from passevue.errors import Refused
from passevue.update.window import Window

DEADLINE = {"security": timedelta(days=7), "feature": timedelta(days=30)}
POSTPONE = timedelta(hours=24)
MOST_POSTPONED = 3
MOST_WRITES = 3
MOST_UNQUIET = 3
WRITE_AGAIN = timedelta(seconds=30)
QUIET_WITHIN = timedelta(minutes=5)
QUIET_AGAIN = timedelta(minutes=15)
REBOOT_AGAIN = timedelta(minutes=2)


class State(StrEnum):
    """Where an update is."""

    IDLE = "idle"  # nothing to do
    WAITING = "waiting"  # for its window
    WRITING = "writing"  # RAUC writes the other slot
    WRITTEN = "written"  # the other slot is the next to start; waits for a quiet moment
    REBOOTING = "rebooting"
    PROVING = "proving"  # the new version runs; the health gate looks
    DONE = "done"
    UNDONE = "undone"  # the old version came back
    FAILED = "failed"  # refused, or could not be written: the old version goes on


OVER = frozenset({State.IDLE, State.DONE, State.UNDONE, State.FAILED})


class Act(StrEnum):
    """What is to be done now."""

    STAY = "stay"
    WRITE = "write"
    PAUSE = "pause"  # ask intake to pause, and look whether it is quiet
    RESUME = "resume"  # it was not: intake goes on for a while
    REBOOT = "reboot"
    PROVE = "prove"
    FINISH = "finish"
    UNDO = "undo"
    START_OVER = "start-over"


@dataclass(frozen=True, slots=True)
class Row:
    """The one row. Times are aware UTC."""

    state: State = State.IDLE
    order: str = ""  # id of the order that began it
    bundle: str = ""  # name of its file among the orders
    version: str = ""  # of the bundle
    version_before: str = ""
    kind: str = "feature"  # or security
    by: str = ""
    now: bool = False
    ordered_at: datetime | None = None
    since: datetime | None = None
    deadline: datetime | None = None
    not_before: datetime | None = None  # postponed until
    postponed: int = 0
    writes: int = 0
    unquiet: int = 0
    pausing_since: datetime | None = None
    quiet_again_at: datetime | None = None
    boot_id: str = ""  # in which it was written
    percent: int = 0
    step: str = ""  # RAUC's own word for what it does
    code: str = ""
    detail: str = ""
    noted: str = ""  # what the gate compares with, as JSON (`gate.Noted`)

    def at(self, state: State, now: datetime) -> "Row":
        return replace(self, state=state, since=now)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is so at this moment."""

    now: datetime
    boot_id: str
    running: str  # version
    quiet: bool = False
    gate: str = ""  # of this boot: passed, failed, "" while it looks


def begun(order: str, bundle: str, version: str, running: str, by: str, at: datetime, *, kind: str, now: bool) -> Row:
    """A row for an order whose bundle was looked at and is one to install."""
    return Row(
        State.WAITING,
        order,
        bundle,
        version,
        running,
        kind,
        by,
        now,
        at,
        at,
        at + DEADLINE.get(kind, DEADLINE["feature"]),
    )


def next_act(row: Row, facts: Facts, window: Window) -> Act:
    """What to do now."""
    if _runs_unawaited(row, facts):
        return Act.PROVE
    match row.state:
        case State.WAITING:
            return Act.WRITE if _may_write(row, facts.now, window) else Act.STAY
        case State.WRITING:
            return Act.START_OVER  # asked only by who is not writing: it was cut
        case State.WRITTEN | State.REBOOTING:
            return _restart(row, facts, window)
        case State.PROVING:
            if facts.running != row.version:
                return Act.UNDO
            return Act.FINISH if facts.gate == "passed" else Act.STAY
        case State.DONE if row.version != row.version_before and facts.running == row.version_before:
            return Act.UNDO  # its slot has rotted since: the loader has taken the other one
        case _:
            return Act.STAY


def _runs_unawaited(row: Row, facts: Facts) -> bool:
    """Whether the new version runs although no restart into it was announced: RAUC came to its end, our row did not."""
    if not row.version or facts.running != row.version:
        return False
    if row.state in (State.IDLE, State.FAILED):
        return row.version != row.version_before
    return row.state in (State.WAITING, State.WRITING)


def _may_write(row: Row, now: datetime, window: Window) -> bool:
    if row.deadline is not None and now >= row.deadline:
        return True
    if row.not_before is not None and now < row.not_before:
        return False
    return row.now or window.is_open(now)


def _restart(row: Row, facts: Facts, window: Window) -> Act:
    if facts.boot_id != row.boot_id:
        return Act.PROVE if facts.running == row.version else Act.UNDO
    if row.state is State.REBOOTING:
        return Act.REBOOT if row.since is None or facts.now - row.since >= REBOOT_AGAIN else Act.STAY
    if row.pausing_since is not None:
        if facts.quiet:
            return Act.REBOOT
        if facts.now - row.pausing_since < QUIET_WITHIN:
            return Act.PAUSE
        return Act.REBOOT if row.unquiet + 1 >= MOST_UNQUIET else Act.RESUME
    if row.quiet_again_at is not None and facts.now < row.quiet_again_at:
        return Act.STAY
    overdue = row.deadline is not None and facts.now >= row.deadline
    return Act.PAUSE if row.now or overdue or window.is_open(facts.now) else Act.STAY


def resumed(row: Row, now: datetime) -> Row:
    """The quiet moment did not come."""
    return replace(row, pausing_since=None, unquiet=row.unquiet + 1, quiet_again_at=now + QUIET_AGAIN)


def postponed(row: Row, now: datetime) -> Row:
    """
    Raises:
        Refused: `not-waiting`, `postponed-enough`, `past-deadline`.
    """
    if row.state is not State.WAITING:
        raise Refused("not-waiting", f"the update is {row.state}", hint="Aucune mise à jour n’attend.")
    if row.postponed >= MOST_POSTPONED:
        hint = f"Cette mise à jour a déjà été reportée {MOST_POSTPONED} fois."
        raise Refused("postponed-enough", "three times is enough", hint=hint)
    until = max(row.not_before or now, now) + POSTPONE
    if row.deadline is not None and until >= row.deadline:
        raise Refused(
            "past-deadline", "later than the deadline", hint="La date limite de cette mise à jour est trop proche."
        )
    return replace(
        row, not_before=until, postponed=row.postponed + 1, now=False, code="601", detail="postponed by a person"
    )


def cancelled(row: Row, now: datetime) -> Row:
    """
    Raises:
        Refused: `not-waiting`: nothing waits, or writing has begun, were it only to be cut: RAUC may go on alone.
    """
    if row.state is not State.WAITING or row.writes:
        hint = "Il n’y a rien à annuler : aucune mise à jour n’attend."
        if row.state not in OVER:
            hint = "Trop tard pour annuler : la mise à jour a commencé."
        raise Refused("not-waiting", f"the update is {row.state}, written {row.writes} times", hint=hint)
    return Row(
        State.IDLE, row.order, since=now, code="602", detail="cancelled by a person",
        version=row.version, version_before=row.version_before, by=row.by,
    )  # fmt: skip
