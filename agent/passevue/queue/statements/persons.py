"""Statements of `queue.persons`: what a person does to an entry."""

from sqlalchemy import bindparam, insert, select, update

from passevue.queue.schema import act, entry, proof
from passevue.queue.statements.among import among
from passevue.queue.statements.moves import FACTS
from passevue.queue.states import PICKED, State

READ = (
    select(entry.c.number, entry.c.turn, entry.c.state, entry.c.action, entry.c.study_uid, entry.c.submission_id,
           *FACTS)
    .where(entry.c.number == bindparam("which"))
    .with_for_update()
)  # fmt: skip
LATER = (
    select(entry.c.number, entry.c.state, entry.c.resume, entry.c.action, proof.c.outcome)
    .select_from(entry)
    .outerjoin(proof, proof.c.number == entry.c.number)
    .where(entry.c.study_uid == bindparam("study"), entry.c.number > bindparam("which"))
    .order_by(entry.c.number)
)
STATES = [state.value for state in sorted(PICKED | {State.HELD})]
LET_GO = select(entry.c.number).where(
    among(entry.c.state, STATES), entry.c.settled_at.is_(None), entry.c.action != ""
).order_by(entry.c.number)  # fmt: skip
HELD_FOR = select(entry.c.number).where(
    entry.c.state == State.HELD.value, entry.c.settled_at.is_(None), entry.c.reason == bindparam("reason"),
    entry.c.detail == bindparam("detail"),
).order_by(entry.c.number)  # fmt: skip
ONE_OF_EACH = (
    select(entry.c.reason, entry.c.detail)
    .where(entry.c.state == State.HELD.value, entry.c.settled_at.is_(None))
    .distinct()
)
NOW_DUE = (
    update(entry)
    .where(entry.c.number == bindparam("which"), entry.c.due_at.is_not(None))
    .values(due_at=bindparam("due_at"))
)
ADD_ACT = insert(act).values({name: bindparam(name) for name in ("number", "act", "by", "why", "at")})
