"""What a person may do to an entry: let it go now, try it again, close it, confirm a restored box.

Each is one transaction with a row in `act` that says who and why. What may not be done is refused with a `Refused`
whose hint is the sentence to show. Nothing here sends: the dispatcher picks the entry up.
"""

from dataclasses import replace

from passevue.document.request import Action
from passevue.errors import Refused
from passevue.queue.connection import Connection
from passevue.queue.frozen import thaw
from passevue.queue.marks import RELEASED, RESTORED, bump, write_mark
from passevue.queue.moves import Taken, facts_of, move, write_proof
from passevue.queue.retry import Facts, Step
from passevue.queue.states import IN_WORK, PICKED, Mover, State
from passevue.queue.work import Answer, Submission

__all__ = ["any_held", "close", "confirm_restored", "probe_held", "release", "release_all", "release_held", "retry"]


def release(conn: Connection, number: int, by: str, why: str, now: int) -> bool:
    """What waits, or is held, is tried now. False when it has nothing to wait for (in work, set aside, settled).

    Raises:
        Refused: there is no such entry.
    """
    taken = _read(conn, number)
    if taken.state in PICKED:
        conn.run("persons.NOW_DUE", which=number, due_at=now)
    elif taken.state is State.HELD:
        _let_go(conn, taken, now, Mover.PERSON)
    else:
        return False
    _write(conn, number, "release", by, why, now)
    bump(conn, RELEASED)
    return True


def release_all(conn: Connection, by: str, why: str, now: int) -> int:
    """Everything that waits or is held is due now; gives how many."""
    numbers = [row[0] for row in conn.run("persons.LET_GO")]
    for number in numbers:
        taken = _read(conn, number)
        if taken.state is State.HELD:
            _let_go(conn, taken, now, Mover.PERSON)
        elif taken.state in PICKED:
            conn.run("persons.NOW_DUE", which=number, due_at=now)
    _write(conn, None, "release", by, why, now)
    bump(conn, RELEASED)
    return len(numbers)


def release_held(conn: Connection, reason: str, detail: str, now: int) -> int:
    """What all of these were held for is there again: an entry held for the same has just got through."""
    rows = conn.run("persons.HELD_FOR", reason=reason, detail=detail)
    for row in rows:
        _let_go(conn, _read(conn, row[0]), now, Mover.DISPATCHER)
    return len(rows)


def probe_held(conn: Connection, now: int) -> int:
    """The oldest entry held for each thing that is missing is tried: one asks for all."""
    count = 0
    for reason, detail in conn.run("persons.ONE_OF_EACH"):
        oldest = conn.run("persons.HELD_FOR", reason=reason, detail=detail)[0][0]
        _let_go(conn, _read(conn, oldest), now, Mover.DISPATCHER)
        count += 1
    return count


def any_held(conn: Connection) -> bool:
    return conn.one("persons.ONE_OF_EACH") is not None


def retry(conn: Connection, number: int, by: str, why: str, now: int) -> None:
    """What was set aside goes again, from where it can: looked up first if it may have left, built anew if refused.

    Raises:
        Refused: `no-entry`, `not-set-aside`, `later-settled`, `later-under-way`, `later-prepared`, `later-withdrawal`.
    """
    taken = _read(conn, number)
    if taken.state is not State.SET_ASIDE:
        raise Refused("not-set-aside", f"entry {number} is {taken.state}",
                      hint="Cette demande n’est pas mise de côté : il n’y a rien à relancer.")  # fmt: skip
    _refuse_if_overtaken(conn, taken)
    resume = taken.facts.resume or State.WAITING
    fresh = Facts(tries=taken.facts.tries, reason="", hint="")
    step = Step(resume, 0.0, fresh)
    submission_id = None if resume is State.WAITING else taken.submission_id
    move(conn, taken, step, Mover.PERSON, now, submission_id=submission_id)
    _write(conn, number, "retry", by, why, now)
    bump(conn, RELEASED)


def prepared(conn: Connection, number: int) -> Submission | None:
    """What goes as it was frozen when a person lets the entry go; None: it is built anew.

    Raises:
        Refused: there is no such entry. Damaged: not what was frozen.
    """
    taken = _read(conn, number)
    stopped = taken.state in (State.HELD, State.SET_ASIDE)
    next_state = (taken.facts.resume or State.WAITING) if stopped else taken.state
    return None if next_state is State.WAITING else thaw(conn, taken.submission_id)


def close(conn: Connection, number: int, by: str, why: str, now: int) -> None:
    """A person decides that it shall not go; final.

    Raises:
        Refused: `no-entry`, `no-reason`, `not-closable` (in work, in doubt, or done).
    """
    taken = _read(conn, number)
    if not why.strip():
        raise Refused("no-reason", "closing needs a reason", hint="Donnez la raison de la clôture.")
    if taken.state not in (State.WAITING, State.READY, State.HELD, State.SET_ASIDE):
        raise Refused(
            "not-closable",
            f"entry {number} is {taken.state}",
            hint="Cette demande est en cours, en vérification ou terminée : elle ne peut pas être close.",
        )
    facts = replace(taken.facts, resume=None)
    move(conn, taken, Step(State.CLOSED, None, facts), Mover.PERSON, now, submission_id=taken.submission_id)
    write_proof(conn, number, taken.submission_id, "closed", "person", Answer(""), facts.tries, now)
    _write(conn, number, "close", by, why, now)


def confirm_restored(conn: Connection, by: str, why: str, now: int) -> None:
    """A person says that this restored copy is the one that shall send from now on (F-37)."""
    write_mark(conn, RESTORED, "")
    _write(conn, None, "confirm-restored", by, why, now)


def _refuse_if_overtaken(conn: Connection, taken: Taken) -> None:
    rows = conn.run("persons.LATER", study=taken.study_uid, which=taken.number)
    for later, state, resume, action, outcome in rows:
        if State(state) in IN_WORK | {State.IN_DOUBT}:
            raise Refused(
                "later-under-way",
                f"entry {later} of the same examination is {state}",
                hint=f"La demande {later}, plus récente, est en cours pour le même examen. Réessayez après.",
            )
        # It was built when nothing of this one was published, goes as it was frozen, and would replace nothing.
        if State.READY in (state, resume) or resume == State.IN_DOUBT:
            raise Refused("later-prepared", f"entry {later} of the same examination is made ready",
                          hint=f"La demande {later}, plus récente, est déjà prête pour le même examen. "
                               "Faites-la partir, ou clôturez-la d’abord.")  # fmt: skip
        # A refresh that had nothing to do changes nothing for an earlier publication; anything else has replaced it.
        done = state == State.SETTLED and (
            action != Action.REFRESH or outcome in ("published", "replaced", "withdrawn")
        )
        if done:
            raise Refused("later-settled", f"entry {later} of the same examination is settled",
                          hint=f"La demande {later}, plus récente, est déjà passée pour le même examen. "
                               "Relancer celle-ci remettrait une version périmée.")  # fmt: skip
        if state == State.SET_ASIDE and action == Action.WITHDRAW:
            raise Refused("later-withdrawal", f"entry {later} asks to withdraw and is set aside",
                          hint=f"La demande {later}, plus récente, retire ce compte rendu. "
                               "Clôturez-la d’abord s’il doit être publié malgré tout.")  # fmt: skip


def _let_go(conn: Connection, taken: Taken, now: int, mover: Mover) -> None:
    resume = taken.facts.resume or State.WAITING
    facts = replace(taken.facts, resume=None)
    move(conn, taken, Step(resume, 0.0, facts), mover, now, submission_id=taken.submission_id)


def _read(conn: Connection, number: int) -> Taken:
    row = conn.one("persons.READ", which=number)
    if row is None or not row[3]:
        raise Refused("no-entry", f"there is no entry {number} to act on", hint=f"La demande {number} n’existe pas.")
    return Taken(row[0], row[1], State(row[2]), Action(row[3]), row[4], row[5], facts_of(row[6:]))


def _write(conn: Connection, number: int | None, what: str, by: str, why: str, now: int) -> None:
    conn.run("persons.ADD_ACT", number=number, act=what, by=by, why=why, at=now)
