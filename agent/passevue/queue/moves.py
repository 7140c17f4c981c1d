"""What the dispatcher writes: each function is one step of one entry, run inside one transaction (Q-09).

A worker holds a *turn*: the number that `take` gave it. Every write names the turn and the state it believes in, and
touches nothing when either has changed; the worker then learns that its turn is over (`Lost`) and lets go. So a box
that slept through its lease cannot undo what another did meanwhile.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from passevue.document.request import Action
from passevue.errors import Damaged, Refused, StoreError
from passevue.queue.archive import remember, write_published, write_withdrawn
from passevue.queue.connection import Connection, Row, Value
from passevue.queue.frozen import freeze, thaw
from passevue.queue.retry import Facts, Phase, Step, starting
from passevue.queue.seal import octets, sha256, verify
from passevue.queue.stamp import SECOND, moment
from passevue.queue.states import BLOCKING, FINAL, Mover, State, check
from passevue.queue.taking_in import entry_seal
from passevue.queue.work import Answer, Entry, Nothing, Submission, Transaction

__all__ = [
    "FACTS",
    "LEASE_S",
    "PHASES",
    "Lost",
    "Rank",
    "Taken",
    "facts_of",
    "first_due",
    "freeze_and_start",
    "leave",
    "move",
    "rank_of",
    "read_entry",
    "read_for_export",
    "renew",
    "settle",
    "settle_nothing",
    "take",
    "take_some",
]

LEASE_S = 900.0  # a box that has not renewed for so long is gone; it renews each minute

FACTS = 12  # columns of `statements.moves.FACTS`
PHASES = {
    State.WAITING: (State.BUILDING, Phase.BUILD),
    State.READY: (State.STARTED, Phase.SEND),
    State.IN_DOUBT: (State.CHECKING, Phase.LOOK_UP),
}


class Lost(StoreError):
    """The turn is over: another box, a restart or a person has moved the entry since."""


class Rank:
    """Three lines of due entries, taken from in turn; see `dispatcher`."""

    FRESH = 0  # never had to wait
    WAITED = 1  # has been through back-off: at most four a second after an outage
    SUSPECT = 2  # its last try did not end: never two at once, so that the innocent are cleared


@dataclass(frozen=True, slots=True)
class Taken:
    """One entry in a worker's hands: its turn, where it now stands, and what is needed to decide its next step."""

    number: int
    turn: int
    state: State
    action: Action
    study_uid: str
    submission_id: int | None
    facts: Facts


_RECORD = {Transaction.TD2_1A: "published", Transaction.TD2_1B: "replaced", Transaction.TD3_3C: "withdrawn"}


def take(conn: Connection, box: str, rank: int, most: int, allowed: frozenset[State], now: int) -> list[Taken]:
    """Up to `most` due entries of one rank, each the first of its examination, begun: BUILDING, STARTED or CHECKING.

    Of several boxes on one PostgreSQL, each gets others (SKIP LOCKED). The crash counters are raised here, before the
    work (Q-10), and the try is counted (Q-05).
    """
    barred = [state.value for state in PHASES if state not in allowed] + ["", ""]
    rows = conn.run("moves.DUE", of_rank=rank, now=now, but=barred[0], nor=barred[1], most=most)
    return [begun for row in rows if (begun := _begin(conn, row, box, now)) is not None]


def _begin(conn: Connection, row: Row, box: str, now: int) -> Taken | None:
    number, turn, state, action, study_uid, submission_id = row[:6]
    new_state, phase = PHASES[State(state)]
    check(State(state), new_state, Mover.DISPATCHER)
    facts = starting(phase, facts_of(row[6:]))
    begun = conn.one(
        "moves.TAKE", which=number, at_turn=turn, state=new_state.value, box=box,
        lease_until=now + int(LEASE_S * SECOND), tries=facts.tries, crashes=facts.crashes, checks=facts.checks,
        absences=facts.absences, changed_at=now,
    )  # fmt: skip
    if begun is None:
        return None
    return Taken(number, begun[0], new_state, Action(action), study_uid, submission_id, facts)


def take_some(
    conn: Connection, box: str, wanted: Sequence[tuple[int, int]], most: int, allowed: frozenset[State], now: int
) -> list[Taken]:
    """Of several ranks, in the given order, each up to its own number and `most` in all."""
    taken: list[Taken] = []
    for rank, count in wanted:
        taken += take(conn, box, rank, min(count, most - len(taken)), allowed, now)
    return taken


def first_due(conn: Connection) -> dict[int, int]:
    """By rank, when its first entry is due (stamp), be it blocked by an earlier one of its examination."""
    rows = {rank: conn.one("moves.FIRST_DUE", of_rank=rank) for rank in (Rank.FRESH, Rank.WAITED, Rank.SUSPECT)}
    return {rank: row[0] for rank, row in rows.items() if row is not None}


def read_for_export(conn: Connection, number: int) -> tuple[bytes, Submission | None]:
    """The received bytes (empty when purged) and what was frozen, both checked.

    Raises:
        Refused: there is no such entry. Damaged: not what was written.
    """
    row = conn.one("moves.EXPORT", which=number)
    if row is None:
        raise Refused("no-entry", f"there is no entry {number}", hint=f"La demande {number} n’existe pas.")
    digest, data, submission_id = row
    if data is not None:
        verify(octets(digest), sha256(octets(data)), "the content of an entry")
    return octets(data or b""), thaw(conn, submission_id)


def read_entry(conn: Connection, taken: Taken) -> Entry:
    """What `Work.build` gets, hashes verified.

    Raises:
        Damaged: the bytes, or the row, are not what was written, or the content is gone.
    """
    row = conn.one("moves.CONTENT", which=taken.number)
    if row is None or row[3] is None:
        raise Damaged("the content of an entry is missing")
    kind, received_at, digest, data, seal, tries = row
    data, digest = octets(data), octets(digest)
    verify(digest, sha256(data), "the content of an entry")
    expected = entry_seal(digest, kind, received_at, taken.action, taken.study_uid)
    verify(expected, octets(seal), "the row of an entry")
    return Entry(taken.number, taken.action, taken.study_uid, kind, data, moment(received_at), tries)


def freeze_and_start(conn: Connection, taken: Taken, made: Submission, now: int) -> Taken:
    """Keep what was built and begin its first try, in one commit."""
    submission_id = freeze(conn, taken.number, made, now)
    facts = starting(Phase.SEND, replace(taken.facts, crashes=0))
    step = Step(State.STARTED, None, facts)
    return move(conn, taken, step, Mover.DISPATCHER, now, submission_id=submission_id)


def leave(conn: Connection, taken: Taken, step: Step, now: int) -> Taken:
    """The step that `retry` decided.

    Raises:
        Lost: the turn is over.
    """
    return move(conn, taken, step, Mover.DISPATCHER, now, submission_id=taken.submission_id)


def settle(conn: Connection, taken: Taken, made: Submission, answer: Answer, how: str, now: int) -> Taken:
    """The registry has it: proof and archive in the same commit. `how` is `answer` or `look-up`."""
    if made.transaction is Transaction.TD3_3C:
        write_withdrawn(conn, taken.study_uid, made.record, now)
    else:
        assert taken.submission_id is not None  # noqa: S101 - started, therefore frozen
        write_published(conn, taken.study_uid, taken.submission_id, made.record, answer.entry_uuid, now)
    outcome = _RECORD[made.transaction]
    done = move(conn, taken, Step(State.SETTLED, None, _calm(taken.facts, outcome)), Mover.DISPATCHER, now,
                submission_id=taken.submission_id)  # fmt: skip
    write_proof(conn, taken.number, taken.submission_id, outcome, how, answer, taken.facts.tries, now)
    return done


def settle_nothing(conn: Connection, taken: Taken, nothing: Nothing, now: int) -> Taken:
    """Built, and there is nothing to send: the reason is the proof."""
    if nothing.record:
        remember(conn, taken.study_uid, nothing.record, now)
    done = move(conn, taken, Step(State.SETTLED, None, _calm(taken.facts, nothing.reason)), Mover.DISPATCHER, now,
                submission_id=None)  # fmt: skip
    write_proof(conn, taken.number, None, nothing.reason, "build", Answer(""), taken.facts.tries, now)
    return done


def renew(conn: Connection, held: tuple[Taken, ...], now: int) -> None:
    """This box is alive and still at these."""
    for taken in held:
        conn.run("moves.RENEW", which=taken.number, at_turn=taken.turn, lease_until=now + int(LEASE_S * SECOND))


def move(conn: Connection, taken: Taken, step: Step, mover: Mover, now: int, *, submission_id: int | None) -> Taken:
    """One guarded change of state.

    Raises:
        Lost: the turn is over. IllegalMove: a fault of the program.
    """
    check(taken.state, step.state, mover)
    facts, state = step.facts, step.state
    in_work = state in (State.BUILDING, State.STARTED, State.CHECKING)
    values: dict[str, Value] = {
        "state": state.value,
        "resume": facts.resume.value if facts.resume and state in (State.HELD, State.SET_ASIDE) else None,
        "lane": taken.study_uid if state in BLOCKING else None,
        "due_at": None if step.due_in_s is None else now + int(step.due_in_s * SECOND),
        "rank": rank_of(facts),
        "submission_id": submission_id,
        "tries": facts.tries,
        "crashes": facts.crashes,
        "checks": facts.checks,
        "absences": facts.absences,
        "failures": facts.failures,
        "repeats": facts.repeats,
        "waited_ms": int(facts.waited_s * 1000),
        "parked": int(facts.parked),
        "reason": facts.reason,
        "detail": facts.detail,
        "hint": facts.hint,
        "changed_at": now,
        "settled_at": now if state in FINAL else None,
    }
    if in_work:  # from one kind of work to the next: the lease goes on
        row = conn.one(
            "moves.MOVE_IN_WORK", which=taken.number, at_turn=taken.turn, from_state=taken.state.value, **values
        )
    else:
        values |= {"box": None, "lease_until": None}
        row = conn.one("moves.MOVE", which=taken.number, at_turn=taken.turn, from_state=taken.state.value, **values)
    if row is None:
        raise Lost(f"entry {taken.number} is no longer in turn {taken.turn}")
    return Taken(taken.number, taken.turn, state, taken.action, taken.study_uid, submission_id, facts)


def write_proof(
    conn: Connection, number: int, submission_id: int | None, outcome: str, how: str, answer: Answer, tries: int,
    now: int,
) -> None:  # fmt: skip
    """Ids, times, hashes and the answer: what stays when the content is purged (Q-18)."""
    row = conn.one("moves.PROVEN", which=number, submission=submission_id)
    assert row is not None  # noqa: S101 - the entry exists: it was just moved
    conn.run(
        "moves.ADD_PROOF", number=number, outcome=outcome, how=how, received_at=row[0], settled_at=now,
        content_sha256=bytes(row[1]), set_unique_id=row[2], document_unique_id=row[3], kos_sha256=row[4],
        metadata_sha256=row[5], status=answer.status, message_id=answer.message_id, entry_uuid=answer.entry_uuid,
        warnings=json.dumps(answer.warnings), tries=tries,
    )  # fmt: skip


def facts_of(columns: Row) -> Facts:
    """From the columns of `statements.moves.FACTS`, in their order."""
    resume, tries, crashes, checks, absences, failures, repeats, waited_ms, parked, reason, detail, hint = columns
    return Facts(
        State(resume) if resume else None, tries, crashes, checks, absences, failures, repeats, waited_ms / 1000,
        bool(parked), reason, detail, hint,
    )  # fmt: skip


def rank_of(facts: Facts) -> int:
    if facts.crashes or facts.checks:
        return Rank.SUSPECT
    return Rank.WAITED if facts.waited_s or facts.failures else Rank.FRESH


def _calm(facts: Facts, outcome: str) -> Facts:
    return Facts(tries=facts.tries, waited_s=facts.waited_s, reason=outcome)
