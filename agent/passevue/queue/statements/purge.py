"""Statements of `queue.purge`: what time removes."""

from sqlalchemy import Integer, Select, bindparam, delete, select, update

from passevue.queue.schema import act, archive, content, entry, frozen, proof, received, submission


def settled_before(purged: int) -> Select[tuple[int, int, str]]:
    return (
        select(entry.c.number, entry.c.received_id, entry.c.study_uid)
        .where(entry.c.purged == purged, entry.c.settled_at < bindparam("before"), entry.c.settled_at.is_not(None))
        .order_by(entry.c.settled_at)
        .limit(bindparam("most", type_=Integer))
    )


EXPIRED = settled_before(0)
OLD = settled_before(1)
SIBLING_OPEN = select(entry.c.number).where(
    entry.c.received_id == bindparam("which"),
    (entry.c.settled_at.is_(None)) | (entry.c.settled_at >= bindparam("before")),
)
SIBLING = select(entry.c.number).where(entry.c.received_id == bindparam("which"))
DROP_CONTENT = delete(content).where(content.c.received_id == bindparam("which"))
DROP_FROZEN = delete(frozen).where(
    frozen.c.submission_id.in_(select(submission.c.id).where(submission.c.number == bindparam("which"))),
    ~select(archive.c.submission_id)
    .where(archive.c.study_uid == bindparam("study"), archive.c.submission_id == frozen.c.submission_id)
    .exists(),
)
MARK = update(entry).where(entry.c.number == bindparam("which")).values(purged=1)
DROP_PROOF = delete(proof).where(proof.c.number == bindparam("which"))
DROP_ACTS = delete(act).where(act.c.number == bindparam("which"))
DROP_ENTRY = delete(entry).where(entry.c.number == bindparam("which"))
DROP_RECEIVED = delete(received).where(received.c.id == bindparam("which"))
_kept = select(frozen.c.submission_id).where(frozen.c.submission_id == submission.c.id)
DROP_SUBMISSION = delete(submission).where(submission.c.number == bindparam("which"), ~_kept.exists())
ORPHAN = update(submission).where(submission.c.number == bindparam("which")).values(number=None)
