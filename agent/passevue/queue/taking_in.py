"""Keeping what came in: one received thing becomes one row, its bytes, and one entry per task, in one transaction.

Knows nothing of the content: its hash, its sender and its control id are enough to tell a copy (Q-08):
- same sender, control id and hash: the first receipt again, nothing new; but where the first one's bytes were lost by
  the disk, these take their place, or they would be acknowledged and not kept (Q-01);
- same sender and control id, other hash: a new row, flagged as a conflict.
A thing that asks for nothing is kept too, as an entry settled at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from passevue.document.request import Task
from passevue.intake.received import Receipt, Received
from passevue.queue.connection import Connection
from passevue.queue.seal import sealed
from passevue.queue.stamp import stamp
from passevue.queue.states import State

__all__ = ["NOTHING_ASKED", "Keep", "entry_seal", "keep"]

NOTHING_ASKED = "nothing-asked"
LONGEST_KEY = 250  # MSH-10 has 20 to 199 characters by the standard's versions, a UID 64


@dataclass(frozen=True, slots=True)
class Keep:
    """What one put asks: the thing, its SHA-256 (made outside the transaction), its tasks, and the time (stamp)."""

    thing: Received
    sha256: bytes
    tasks: Sequence[Task]
    now: int


def keep(conn: Connection, asked: Keep) -> Receipt:
    """Runs inside the caller's transaction."""
    thing = asked.thing
    sender, control_id = storable(thing.sender), storable(thing.control_id)
    same = conn.one("taking_in.SAME", sender=sender, control_id=control_id, digest=asked.sha256)
    if same is not None:
        _make_good(conn, sender, control_id, asked)
        return Receipt(same[0], duplicate=True, conflict=bool(same[1]))
    conflict = conn.one("taking_in.NAMESAKE", sender=sender, control_id=control_id) is not None
    row = conn.one(
        "taking_in.ADD_RECEIVED",
        kind=thing.kind.value,
        sender=sender,
        peer=storable(thing.peer),
        control_id=control_id,
        sha256=asked.sha256,
        received_at=stamp(thing.received_at),
        conflict=int(conflict),
    )
    assert row is not None  # noqa: S101 - RETURNING
    conn.run("taking_in.ADD_CONTENT", received_id=row[0], bytes=thing.content)
    if not asked.tasks:
        return Receipt(_nothing_asked(conn, row[0], asked), conflict=conflict)
    numbers = [_add(conn, row[0], asked, task) for task in asked.tasks]
    return Receipt(numbers[0], conflict=conflict)


def _make_good(conn: Connection, sender: str, control_id: str, asked: Keep) -> None:
    """Of an entry that is set aside for its damaged content: it can be tried again."""
    lost = conn.one("taking_in.LOST", sender=sender, control_id=control_id, digest=asked.sha256)
    if lost is not None:
        conn.run("taking_in.DROP_CONTENT", which=lost[0])
        conn.run("taking_in.ADD_CONTENT", received_id=lost[0], bytes=asked.thing.content)


def entry_seal(digest: bytes, kind: str, received_at: int, action: str, study_uid: str) -> bytes:
    """Over all that the work is given, so that a flipped bit in any of it is seen before it goes out."""
    return sealed(digest, kind, received_at, action, study_uid)


def storable(text: str) -> str:
    """What a neighbour may send, as both engines keep it in an index.

    PostgreSQL takes no NUL and no key above 2,704 bytes, and no engine takes a lone surrogate: these are escaped, and
    what is longer than any honest name or id is kept as its hash.
    """
    if len(text) > LONGEST_KEY:
        return "sha256:" + sealed(text).hex()
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


def _add(conn: Connection, received_id: int, asked: Keep, task: Task) -> int:
    received_at = stamp(asked.thing.received_at)
    row = conn.one(
        "taking_in.ADD_ENTRY",
        received_id=received_id,
        action=task.action.value,
        study_uid=task.study_uid,
        report=storable(task.report),
        seal=entry_seal(asked.sha256, asked.thing.kind, received_at, task.action, task.study_uid),
        state=State.WAITING.value,
        lane=task.study_uid,
        due_at=asked.now,
        reason="",
        received_at=received_at,
        changed_at=asked.now,
        settled_at=None,
    )
    assert row is not None  # noqa: S101 - RETURNING
    return int(row[0])


def _nothing_asked(conn: Connection, received_id: int, asked: Keep) -> int:
    received_at = stamp(asked.thing.received_at)
    row = conn.one(
        "taking_in.ADD_ENTRY",
        received_id=received_id,
        action="",
        study_uid="",
        report="",
        seal=entry_seal(asked.sha256, asked.thing.kind, received_at, "", ""),
        state=State.SETTLED.value,
        lane=None,
        due_at=None,
        reason=NOTHING_ASKED,
        received_at=received_at,
        changed_at=asked.now,
        settled_at=asked.now,
    )
    assert row is not None  # noqa: S101 - RETURNING
    conn.run(
        "taking_in.ADD_PROOF",
        number=row[0],
        outcome=NOTHING_ASKED,
        received_at=received_at,
        settled_at=asked.now,
        content_sha256=asked.sha256,
    )
    return int(row[0])
