"""Statements of `queue.archive`: the archive: what the registry holds of each study."""

from sqlalchemy import Integer, bindparam, delete, insert, select, update

from passevue.queue.archive import SHOWN, SUBMISSION, ArchiveState
from passevue.queue.schema import archive, entry, frozen, submission

READ = (
    select(
        archive.c.state,
        archive.c.record,
        archive.c.record_sha256,
        archive.c.changed_at,
        archive.c.entry_uuid,
        archive.c.submission_id,
        *(submission.c[name] for name in SUBMISSION),
        *(submission.c[f"{name}_sha256"] for name in SHOWN),
        *(frozen.c[name] for name in SHOWN),
    )
    .select_from(archive)
    .outerjoin(submission, submission.c.id == archive.c.submission_id)
    .outerjoin(frozen, frozen.c.submission_id == archive.c.submission_id)
    .where(archive.c.study_uid == bindparam("study"))
)
PUBLISHED_AT = (
    select(archive.c.changed_at)
    .join_from(archive, submission, submission.c.id == archive.c.submission_id)
    .where(submission.c.document_unique_id == bindparam("unique_id"), archive.c.state == ArchiveState.PUBLISHED.value)
)
HELD = select(archive.c.submission_id).where(archive.c.study_uid == bindparam("study"))
FIELDS = ("state", "submission_id", "entry_uuid", "record", "record_sha256", "changed_at")
ADD = insert(archive).values({name: bindparam(name) for name in ("study_uid", *FIELDS)})
REPLACE = (
    update(archive).where(archive.c.study_uid == bindparam("study")).values({name: bindparam(name) for name in FIELDS})
)
MARK = (
    update(archive)
    .where(archive.c.study_uid == bindparam("study"))
    .values({name: bindparam(name) for name in ("state", "record", "record_sha256", "changed_at")})
)
REMEMBER = (
    update(archive)
    .where(archive.c.study_uid == bindparam("study"))
    .values({name: bindparam(name) for name in ("record", "record_sha256", "changed_at")})
)
STUDIES = (
    select(archive.c.study_uid)
    .where(archive.c.study_uid > bindparam("beyond"), archive.c.state == ArchiveState.PUBLISHED.value)
    .order_by(archive.c.study_uid)
    .limit(bindparam("most", type_=Integer))
)
# What a replaced archive row leads to may go at once, if its own entry's content has been purged, or it was imported.
OWNER_PURGED = (
    select(submission.c.id)
    .select_from(submission)
    .outerjoin(entry, entry.c.number == submission.c.number)
    .where(submission.c.id == bindparam("which"), (submission.c.number.is_(None)) | (entry.c.purged == 1))
)
DROP_PARTS = delete(frozen).where(frozen.c.submission_id == bindparam("which"))
