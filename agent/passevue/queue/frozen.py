"""Submissions on the disk: written once with the hash of each part, read back only if each hash agrees (Q-04, Q-17)."""

from passevue.queue.connection import Connection
from passevue.queue.seal import octets, sha256, verify
from passevue.queue.work import Submission, Transaction

__all__ = ["PARTS", "freeze", "thaw"]

PARTS = ("kos", "metadata", "signature", "vihf", "record")

IDS = ("transaction_name", "set_unique_id", "document_unique_id", "replaces_unique_id", "structure")


def freeze(conn: Connection, number: int | None, made: Submission, now: int) -> int:
    """Write it, and give its id. `number` is the entry it was made for; None for an import.

    Raises:
        Clash: its set uniqueId is known already.
    """
    parts = {part: bytes(getattr(made, part)) for part in PARTS}
    row = conn.one(
        "frozen.ADD",
        number=number,
        transaction_name=made.transaction.value,
        set_unique_id=made.set_unique_id,
        document_unique_id=made.document_unique_id,
        replaces_unique_id=made.replaces_unique_id,
        structure=made.structure,
        frozen_at=now,
        **{f"{part}_sha256": sha256(data) for part, data in parts.items()},
    )
    assert row is not None  # noqa: S101 - RETURNING
    conn.run("frozen.ADD_PARTS", submission_id=row[0], **parts)
    return int(row[0])


def thaw(conn: Connection, submission_id: int | None) -> Submission | None:
    """Read it back; None when it does not exist or its content has been purged.

    Raises:
        Damaged: a part is not what was written.
    """
    row = conn.one("frozen.READ", which=submission_id)
    if row is None:
        return None
    count = len(IDS)
    hashes, parts = row[count : count + len(PARTS)], row[count + len(PARTS) :]
    for name, digest, data in zip(PARTS, hashes, parts, strict=True):
        verify(octets(digest), sha256(octets(data)), f"the {name} of a submission")
    transaction, set_unique_id, document_unique_id, replaces_unique_id, structure = row[:count]
    return Submission(
        transaction=Transaction(transaction),
        set_unique_id=set_unique_id,
        document_unique_id=document_unique_id,
        replaces_unique_id=replaces_unique_id,
        structure=structure,
        **{name: bytes(data) for name, data in zip(PARTS, parts, strict=True)},
    )
