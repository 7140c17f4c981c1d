"""Statements of `queue.recovery`: putting back what nobody works on any more."""

from sqlalchemy import bindparam, select, update

from passevue.queue.schema import entry
from passevue.queue.statements.among import among
from passevue.queue.statements.moves import FACTS
from passevue.queue.states import IN_WORK

_IN_WORK = [state.value for state in sorted(IN_WORK)]
LEFT = (
    select(entry.c.number, entry.c.turn, entry.c.state, entry.c.action, entry.c.study_uid, entry.c.submission_id,
           *FACTS, entry.c.box)
    .where(among(entry.c.state, _IN_WORK), entry.c.settled_at.is_(None),
           (entry.c.box == bindparam("box")) | (entry.c.lease_until < bindparam("now")))
    .order_by(entry.c.number)
    .with_for_update(skip_locked=True)
)  # fmt: skip
ONE = (
    select(entry.c.number, entry.c.turn, entry.c.state, entry.c.action, entry.c.study_uid, entry.c.submission_id,
           *FACTS)
    .where(entry.c.number == bindparam("which"), entry.c.turn == bindparam("at_turn"),
           among(entry.c.state, _IN_WORK))
    .with_for_update()
)  # fmt: skip
REBASE = (
    update(entry)
    .where(among(entry.c.rank, [0, 1, 2]), entry.c.due_at > bindparam("latest"))
    .values(due_at=bindparam("latest"))
    .returning(entry.c.number)
)
