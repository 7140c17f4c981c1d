"""Statements of `queue.moves`: what the dispatcher writes."""

from sqlalchemy import Integer, bindparam, insert, literal, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from passevue.queue.schema import content, entry, proof, received, submission

FACTS = (
    entry.c.resume,
    entry.c.tries,
    entry.c.crashes,
    entry.c.checks,
    entry.c.absences,
    entry.c.failures,
    entry.c.repeats,
    entry.c.waited_ms,
    entry.c.parked,
    entry.c.reason,
    entry.c.detail,
    entry.c.hint,
)
earlier = entry.alias("earlier")
DUE = (
    select(entry.c.number, entry.c.turn, entry.c.state, entry.c.action, entry.c.study_uid, entry.c.submission_id,
           *FACTS)
    .where(
        entry.c.rank == bindparam("of_rank", type_=Integer),
        entry.c.due_at <= bindparam("now"),
        entry.c.state != bindparam("but"),
        entry.c.state != bindparam("nor"),
        ~select(earlier.c.number).where(earlier.c.lane == entry.c.lane, earlier.c.number < entry.c.number).exists(),
    )
    .order_by(entry.c.due_at, entry.c.number)
    .limit(bindparam("most", type_=Integer))
    .with_for_update(skip_locked=True)
)  # fmt: skip
TAKE = (
    update(entry)
    .where(entry.c.number == bindparam("which"), entry.c.turn == bindparam("at_turn"))
    .values(
        state=bindparam("state"),
        due_at=None,
        turn=entry.c.turn + 1,
        box=bindparam("box"),
        lease_until=bindparam("lease_until"),
        tries=bindparam("tries"),
        crashes=bindparam("crashes"),
        checks=bindparam("checks"),
        absences=bindparam("absences"),
        changed_at=bindparam("changed_at"),
    )
    .returning(entry.c.turn)
)
MOVED = (
    "state", "resume", "lane", "due_at", "rank", "box", "lease_until", "submission_id", "tries", "crashes", "checks",
    "absences", "failures", "repeats", "waited_ms", "parked", "reason", "detail", "hint", "changed_at", "settled_at",
)  # fmt: skip


def _move(*names: str) -> ReturningUpdate[tuple[int]]:
    """Writes these columns of an entry that is still where it was found."""
    return (
        update(entry)
        .where(
            entry.c.number == bindparam("which"),
            entry.c.turn == bindparam("at_turn"),
            entry.c.state == bindparam("from_state"),
        )
        .values({name: bindparam(name) for name in names})
        .returning(entry.c.number)
    )


MOVE = _move(*MOVED)
MOVE_IN_WORK = _move(*(name for name in MOVED if name not in ("box", "lease_until")))
RENEW = update(entry).where(
    entry.c.number == bindparam("which"), entry.c.turn == bindparam("at_turn"), entry.c.lease_until.is_not(None)
).values(lease_until=bindparam("lease_until"))  # fmt: skip
CONTENT = (
    select(received.c.kind, received.c.received_at, received.c.sha256, content.c.bytes, entry.c.seal, entry.c.tries)
    .join_from(entry, received, received.c.id == entry.c.received_id)
    .outerjoin(content, content.c.received_id == received.c.id)
    .where(entry.c.number == bindparam("which"))
)
EXPORT = (
    select(received.c.sha256, content.c.bytes, entry.c.submission_id)
    .join_from(entry, received, received.c.id == entry.c.received_id)
    .outerjoin(content, content.c.received_id == received.c.id)
    .where(entry.c.number == bindparam("which"))
)
FIRST_DUE = (
    select(entry.c.due_at)
    .where(entry.c.rank == bindparam("of_rank", type_=Integer), entry.c.due_at.is_not(None))
    .order_by(entry.c.due_at)
    .limit(literal(1, Integer))
)
PROVEN = (
    select(entry.c.received_at, received.c.sha256, submission.c.set_unique_id, submission.c.document_unique_id,
           submission.c.kos_sha256, submission.c.metadata_sha256, submission.c.transaction_name)
    .join_from(entry, received, received.c.id == entry.c.received_id)
    .outerjoin(submission, submission.c.id == bindparam("submission", type_=Integer))
    .where(entry.c.number == bindparam("which"))
)  # fmt: skip
PROOF = (
    "number", "outcome", "how", "received_at", "settled_at", "content_sha256", "set_unique_id", "document_unique_id",
    "kos_sha256", "metadata_sha256", "status", "message_id", "entry_uuid", "warnings", "tries",
)  # fmt: skip
ADD_PROOF = insert(proof).values({name: bindparam(name) for name in PROOF})
