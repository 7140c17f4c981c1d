"""Statements of `queue.frozen`: what was frozen before the first try."""

from sqlalchemy import bindparam, insert, select

from passevue.queue.frozen import IDS, PARTS
from passevue.queue.schema import frozen, submission

ADD = (
    insert(submission)
    .values({name: bindparam(name) for name in ("number", *IDS, "frozen_at", *(f"{part}_sha256" for part in PARTS))})
    .returning(submission.c.id)
)
ADD_PARTS = insert(frozen).values({name: bindparam(name) for name in ("submission_id", *PARTS)})
READ = (
    select(
        *(submission.c[name] for name in IDS),
        *(submission.c[f"{part}_sha256"] for part in PARTS),
        *(frozen.c[part] for part in PARTS),
    )
    .join_from(submission, frozen, frozen.c.submission_id == submission.c.id)
    .where(submission.c.id == bindparam("which"))
)
