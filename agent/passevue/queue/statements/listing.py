"""Statements of `queue.listing`: what the page and people see."""

from sqlalchemy import Integer, bindparam, func, literal_column, select

from passevue.queue.schema import act, entry, proof, received
from passevue.queue.statements.among import among
from passevue.queue.states import State

OPEN = (
    select(entry.c.state, entry.c.reason, func.count(), func.min(entry.c.received_at), func.sum(entry.c.parked))
    .where(entry.c.settled_at.is_(None))
    .group_by(entry.c.state, entry.c.reason)
)
TODAY = select(func.count(), func.count(entry.c.submission_id)).where(
    among(entry.c.purged, [0, 1]), entry.c.settled_at >= bindparam("midnight"), entry.c.state == State.SETTLED.value
)
CONFLICTS = select(func.count(received.c.id)).where(received.c.conflict == literal_column("1"))
LINE = (
    entry.c.number, received.c.kind, entry.c.action, entry.c.state, entry.c.reason, entry.c.hint, entry.c.tries,
    entry.c.parked, received.c.conflict, received.c.sender, entry.c.received_at, entry.c.changed_at, entry.c.due_at,
)  # fmt: skip
FROM = entry.join(received, received.c.id == entry.c.received_id)
ALL = (
    select(*LINE)
    .select_from(FROM)
    .where(entry.c.number < bindparam("below"))
    .order_by(entry.c.number.desc())
    .limit(bindparam("most", type_=Integer))
)
IN_STATE = (
    select(*LINE)
    .select_from(FROM)
    .where(entry.c.number < bindparam("below"), entry.c.state == bindparam("state"))
    .order_by(entry.c.number.desc())
    .limit(bindparam("most", type_=Integer))
)
IN_OPEN_STATE = IN_STATE.where(entry.c.settled_at.is_(None))
SHOWN = (
    select(*LINE, entry.c.detail, received.c.sha256, received.c.peer)
    .select_from(FROM)
    .where(entry.c.number == bindparam("which"))
)
ACTS = select(act.c.act, act.c.by, act.c.why, act.c.at).where(act.c.number == bindparam("which")).order_by(act.c.id)
PROOF = select(
    proof.c.outcome, proof.c.how, proof.c.settled_at, proof.c.content_sha256, proof.c.set_unique_id,
    proof.c.document_unique_id, proof.c.kos_sha256, proof.c.metadata_sha256, proof.c.status, proof.c.message_id,
    proof.c.entry_uuid, proof.c.warnings, proof.c.tries,
).where(proof.c.number == bindparam("which"))  # fmt: skip
OPEN_STUDIES = select(entry.c.study_uid).where(entry.c.settled_at.is_(None)).distinct()
STUDIES_OF = select(entry.c.study_uid).where(entry.c.report == bindparam("report")).distinct()
