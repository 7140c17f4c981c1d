"""Putting back what nobody works on any more: at start, after a lease ran out, and after the clock jumped.

Rules (reliability § 4): an entry found STARTED is in doubt, never new (Q-05); found BUILDING it waits again; three
crashes set it aside (Q-10). After any jump of the clock no entry waits longer than the cap (Q-11).
"""

from collections.abc import Collection
from dataclasses import dataclass

from passevue.document.request import Action
from passevue.queue.connection import Connection, Row
from passevue.queue.moves import FACTS, Taken, facts_of, move
from passevue.queue.retry import Phase, Policy, interrupted, recovered
from passevue.queue.stamp import SECOND
from passevue.queue.states import Mover, State

__all__ = ["Recovered", "hand_back", "put_back", "rebase", "recover"]


_NEVER = 0  # no lease ran out before 1970
_PHASE = {State.BUILDING: Phase.BUILD, State.STARTED: Phase.SEND, State.CHECKING: Phase.LOOK_UP}


@dataclass(frozen=True, slots=True)
class Recovered:
    """How many entries were found in work and put back, by where they went."""

    waiting: int = 0
    in_doubt: int = 0
    set_aside: int = 0


def recover(conn: Connection, box: str, busy: Collection[int], policy: Policy, now: int) -> Recovered:
    """Put back `box`'s entries, and those of any box whose lease has run out, but never those in `busy`.

    A dispatcher that is running says "" for `box`: what it has just taken may not be in `busy` yet.
    """
    counts = dict.fromkeys((State.WAITING, State.IN_DOUBT, State.SET_ASIDE), 0)
    for row in conn.run("recovery.LEFT", box=box, now=now):
        if row[0] not in busy:
            counts[_put_back(conn, row, policy, now)] += 1
    return Recovered(counts[State.WAITING], counts[State.IN_DOUBT], counts[State.SET_ASIDE])


def put_back(conn: Connection, lost: Taken, policy: Policy, now: int) -> State | None:
    """One entry whose outcome could not be written, wherever in work it stands; None when its turn is over."""
    row = conn.one("recovery.ONE", which=lost.number, at_turn=lost.turn)
    return None if row is None else _put_back(conn, row, policy, now)


def hand_back(conn: Connection, box: str, now: int) -> int:
    """The box is stopping and nothing of it is at work any more: no crash is counted. Gives how many were in work."""
    rows = conn.run("recovery.LEFT", box=box, now=_NEVER)
    for row in rows:
        taken = _taken(row)
        step = interrupted(_PHASE[taken.state], taken.facts)
        move(conn, taken, step, Mover.RECOVERY, now, submission_id=taken.submission_id)
    return len(rows)


def rebase(conn: Connection, policy: Policy, now: int) -> int:
    """The clock went back: what is due later than any wait allows is due one cap from now. Gives how many."""
    return len(conn.run("recovery.REBASE", latest=now + int(policy.cap_s * SECOND)))


def _put_back(conn: Connection, row: Row, policy: Policy, now: int) -> State:
    taken = _taken(row)
    step = recovered(taken.state, taken.facts, policy)
    return move(conn, taken, step, Mover.RECOVERY, now, submission_id=taken.submission_id).state


def _taken(row: Row) -> Taken:
    number, turn, state, action, study_uid, submission_id = row[:6]
    facts = facts_of(row[6 : 6 + FACTS])
    return Taken(number, turn, State(state), Action(action), study_uid, submission_id, facts)
