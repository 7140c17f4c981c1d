"""What time removes (Q-18): the content of settled entries after some days, their proof after the controller's delay.

The KOS that the archive shows stays whatever its age: it is what replaces, withdraws and exports. Each call removes a
bounded number, so that no transaction is long; the caller repeats until nothing is left, and audits the sums.
"""

from dataclasses import dataclass

from sqlalchemy import Integer, Select, bindparam, delete, select, update

from passevue.queue.connection import Connection
from passevue.queue.schema import act, archive, content, entry, frozen, proof, received, submission

__all__ = ["Purged", "purge_content", "purge_proof"]

BATCH = 200


@dataclass(frozen=True, slots=True)
class Purged:
    """What one purge removed: for the audit trail."""

    contents: int = 0
    proofs: int = 0


def _settled_before(purged: int) -> Select[tuple[int, int, str]]:
    return (
        select(entry.c.number, entry.c.received_id, entry.c.study_uid)
        .where(entry.c.purged == purged, entry.c.settled_at < bindparam("before"), entry.c.settled_at.is_not(None))
        .order_by(entry.c.settled_at)
        .limit(bindparam("most", type_=Integer))
    )


_EXPIRED = _settled_before(0)
_OLD = _settled_before(1)
_SIBLING_OPEN = select(entry.c.number).where(
    entry.c.received_id == bindparam("which"),
    (entry.c.settled_at.is_(None)) | (entry.c.settled_at >= bindparam("before")),
)
_SIBLING = select(entry.c.number).where(entry.c.received_id == bindparam("which"))
_DROP_CONTENT = delete(content).where(content.c.received_id == bindparam("which"))
_DROP_FROZEN = delete(frozen).where(
    frozen.c.submission_id.in_(select(submission.c.id).where(submission.c.number == bindparam("which"))),
    ~select(archive.c.submission_id)
    .where(archive.c.study_uid == bindparam("study"), archive.c.submission_id == frozen.c.submission_id)
    .exists(),
)
_MARK = update(entry).where(entry.c.number == bindparam("which")).values(purged=1)
_DROP_PROOF = delete(proof).where(proof.c.number == bindparam("which"))
_DROP_ACTS = delete(act).where(act.c.number == bindparam("which"))
_DROP_ENTRY = delete(entry).where(entry.c.number == bindparam("which"))
_DROP_RECEIVED = delete(received).where(received.c.id == bindparam("which"))
_KEPT = select(frozen.c.submission_id).where(frozen.c.submission_id == submission.c.id)
_DROP_SUBMISSION = delete(submission).where(submission.c.number == bindparam("which"), ~_KEPT.exists())
_ORPHAN = update(submission).where(submission.c.number == bindparam("which")).values(number=None)


def purge_content(conn: Connection, before: int) -> int:
    """Remove the bytes of entries settled before the stamp; gives how many entries. Runs in a transaction."""
    rows = conn.run(_EXPIRED, before=before, most=BATCH)
    for number, received_id, study_uid in rows:
        conn.run(_DROP_FROZEN, which=number, study=study_uid)
        if not conn.run(_SIBLING_OPEN, which=received_id, before=before):
            conn.run(_DROP_CONTENT, which=received_id)
        conn.run(_MARK, which=number)
    return len(rows)


def purge_proof(conn: Connection, before: int) -> int:
    """Remove all trace of entries settled before the stamp, whose content went earlier; gives how many."""
    rows = conn.run(_OLD, before=before, most=BATCH)
    for number, received_id, _study_uid in rows:
        for statement in (_DROP_PROOF, _DROP_ACTS, _DROP_SUBMISSION, _ORPHAN, _DROP_ENTRY):
            conn.run(statement, which=number)
        if not conn.run(_SIBLING, which=received_id):
            conn.run(_DROP_CONTENT, which=received_id)
            conn.run(_DROP_RECEIVED, which=received_id)
    return len(rows)
