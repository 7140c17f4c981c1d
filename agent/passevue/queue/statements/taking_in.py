"""Statements of `queue.taking_in`: keeping what came in."""

from sqlalchemy import Integer, bindparam, delete, insert, literal, select

from passevue.queue.schema import content, entry, proof, received
from passevue.queue.states import State

SAME = (
    select(entry.c.number, received.c.conflict)
    .join_from(received, entry, entry.c.received_id == received.c.id)
    .where(
        received.c.sender == bindparam("sender"),
        received.c.control_id == bindparam("control_id"),
        received.c.sha256 == bindparam("digest"),
    )
    .order_by(entry.c.number)
    .limit(literal(1, Integer))
)
LOST = (
    select(received.c.id)
    .join_from(received, entry, entry.c.received_id == received.c.id)
    .where(
        received.c.sender == bindparam("sender"),
        received.c.control_id == bindparam("control_id"),
        received.c.sha256 == bindparam("digest"),
        entry.c.state == State.SET_ASIDE.value,
        entry.c.reason == "damaged",
    )
    .limit(literal(1, Integer))
)
DROP_CONTENT = delete(content).where(content.c.received_id == bindparam("which"))
NAMESAKE = (
    select(received.c.id)
    .where(received.c.sender == bindparam("sender"), received.c.control_id == bindparam("control_id"))
    .limit(literal(1, Integer))
)
ADD_RECEIVED = (
    insert(received)
    .values(
        {
            name: bindparam(name)
            for name in ("kind", "sender", "peer", "control_id", "sha256", "received_at", "conflict")
        }
    )
    .returning(received.c.id)
)
ADD_CONTENT = insert(content).values(received_id=bindparam("received_id"), bytes=bindparam("bytes"))
ADD_ENTRY = (
    insert(entry)
    .values(
        {
            name: bindparam(name)
            for name in (
                "received_id",
                "action",
                "study_uid",
                "report",
                "seal",
                "state",
                "lane",
                "due_at",
                "reason",
                "received_at",
                "changed_at",
                "settled_at",
            )
        }
    )
    .returning(entry.c.number)
)
ADD_PROOF = insert(proof).values(
    number=bindparam("number"),
    outcome=bindparam("outcome"),
    received_at=bindparam("received_at"),
    settled_at=bindparam("settled_at"),
    content_sha256=bindparam("content_sha256"),
)
