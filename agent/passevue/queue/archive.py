"""What the box has published: one row per StudyInstanceUID, for replacement, withdrawal, export and consultation.

A row is written in the same transaction that settles the entry (kos.md § 8). A withdrawn KOS is marked, not erased
(spec § 4.5.8.1). `record` is the work's own memory of the study, opaque here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, TypeVar

from passevue.queue.connection import Connection, Row, Value
from passevue.queue.frozen import PARTS, freeze
from passevue.queue.seal import octets, sha256, verify
from passevue.queue.stamp import moment, stamp
from passevue.queue.work import Submission, Transaction

__all__ = ["Archive",
    "ArchiveState", "Archived", "archived", "import_published", "published_at", "remember", "studies",
           "write_published", "write_withdrawn"]  # fmt: skip


T = TypeVar("T")


class ArchiveState(StrEnum):
    """What the registry holds of a study, as far as this box knows."""

    PUBLISHED = "published"  # its KOS is there
    WITHDRAWN = "withdrawn"  # it was there; the box withdrew it ("dépublié")
    UNPUBLISHED = "unpublished"  # never was; only `record` is kept


@dataclass(frozen=True, slots=True)
class Archived:
    """One study of the archive. The KOS and its set are those last accepted; all empty when UNPUBLISHED.

    `entry_uuid` is known only when the registry's answer or a look-up gave it.
    """

    study_uid: str
    state: ArchiveState
    record: bytes
    changed_at: datetime
    document_unique_id: str = ""
    set_unique_id: str = ""
    structure: str = ""
    entry_uuid: str | None = None
    kos: bytes = b""
    metadata: bytes = b""
    signature: bytes = b""
    vihf: bytes = b""


SUBMISSION = ("document_unique_id", "set_unique_id", "structure")
SHOWN = ("kos", "metadata", "signature", "vihf")


def archived(conn: Connection, study_uid: str) -> Archived | None:
    """The study, every part checked.

    Raises:
        Damaged: a part is not what was written.
    """
    row = conn.one("archive.READ", study=study_uid)
    return None if row is None else _checked(study_uid, row)


def write_published(
    conn: Connection, study_uid: str, submission_id: int, record: bytes, entry_uuid: str | None, now: int
) -> None:
    """The study's published KOS is now that of this submission."""
    values: dict[str, Value] = {
        "state": ArchiveState.PUBLISHED.value,
        "submission_id": submission_id,
        "entry_uuid": entry_uuid,
        "record": record,
        "record_sha256": sha256(record),
        "changed_at": now,
    }
    held = conn.one("archive.HELD", study=study_uid)
    if held is None:
        conn.run("archive.ADD", study_uid=study_uid, **values)
        return
    conn.run("archive.REPLACE", study=study_uid, **values)
    if held[0] not in (None, submission_id) and conn.one("archive.OWNER_PURGED", which=held[0]):
        conn.run("archive.DROP_PARTS", which=held[0])


def write_withdrawn(conn: Connection, study_uid: str, record: bytes, now: int) -> None:
    """The study's KOS is no longer in the registry; what it was stays."""
    digest = sha256(record)
    state = ArchiveState.WITHDRAWN.value
    if conn.one("archive.HELD", study=study_uid):
        conn.run("archive.MARK", study=study_uid, state=state, record=record, record_sha256=digest, changed_at=now)
        return
    conn.run("archive.ADD", study_uid=study_uid, state=state, submission_id=None, entry_uuid=None, record=record,
             record_sha256=digest, changed_at=now)  # fmt: skip


def remember(conn: Connection, study_uid: str, record: bytes, now: int) -> None:
    """Keep the work's memory of a study of which nothing was sent this time."""
    digest = sha256(record)
    if conn.one("archive.HELD", study=study_uid):
        conn.run("archive.REMEMBER", study=study_uid, record=record, record_sha256=digest, changed_at=now)
        return
    conn.run(
        "archive.ADD", study_uid=study_uid, state=ArchiveState.UNPUBLISHED.value, submission_id=None, entry_uuid=None,
        record=record, record_sha256=digest, changed_at=now,
    )  # fmt: skip


def import_published(conn: Connection, study: Archived, now: int) -> bool:
    """Take in what another software published (XDM). False, and nothing written, when the study is known already.

    Raises:
        Clash: its set uniqueId belongs to another study of the archive.
    """
    if conn.one("archive.HELD", study=study.study_uid):
        return False
    made = Submission(
        transaction=Transaction.TD2_1A,
        set_unique_id=study.set_unique_id,
        document_unique_id=study.document_unique_id,
        metadata=study.metadata,
        structure=study.structure,
        vihf=study.vihf,
        record=study.record,
        kos=study.kos,
        signature=study.signature,
    )
    write_published(conn, study.study_uid, freeze(conn, None, made, now), study.record, study.entry_uuid, now)
    return True


def published_at(conn: Connection, unique_id: str) -> datetime | None:
    """When what is published under `unique_id` was last written here; None: nothing is."""
    row = conn.one("archive.PUBLISHED_AT", unique_id=unique_id)
    return None if row is None else moment(row[0])


def studies(conn: Connection, after: str, most: int) -> list[str]:
    """Up to `most` published StudyInstanceUIDs that sort after `after`."""
    return [row[0] for row in conn.run("archive.STUDIES", beyond=after, most=most)]


def _checked(study_uid: str, row: Row) -> Archived:
    state, record, record_sha256, changed_at, entry_uuid, submission_id = row[:6]
    verify(octets(record_sha256), sha256(octets(record)), "the record of an archived study")
    ids, hashes, parts = row[6:9], row[9:13], row[13:17]
    if submission_id is None:
        return Archived(study_uid, ArchiveState(state), bytes(record), moment(changed_at))
    for name, digest, data in zip(SHOWN, hashes, parts, strict=True):
        verify(octets(digest or b""), sha256(octets(data or b"")), f"the {name} of an archived study")
    kos, facts, signature, vihf = (bytes(data or b"") for data in parts)
    return Archived(study_uid, ArchiveState(state), bytes(record), moment(changed_at), ids[0], ids[1], ids[2],
                    entry_uuid, kos, facts, signature, vihf)  # fmt: skip


assert set(SHOWN) < set(PARTS)  # noqa: S101 - the two lists belong together


class Desk(Protocol):
    """What the archive needs of the store."""

    async def read(self, function: Callable[[Connection], T]) -> T: ...

    async def write(self, operation: Callable[[Connection], T], weight: int = 0) -> T: ...


class Archive:
    """The published studies, one per StudyInstanceUID."""

    def __init__(self, store: Desk) -> None:
        self._store = store

    async def get(self, study_uid: str) -> Archived | None:
        """
        Raises:
            Damaged: a part is not what was written.
        """
        return await self._store.read(lambda conn: archived(conn, study_uid))

    async def published_at(self, unique_id: str) -> datetime | None:
        """Since when a document is published, or later: when its study was last written; None when it is not."""
        return await self._store.read(lambda conn: published_at(conn, unique_id))

    async def studies(self, after: str = "", most: int = 1000) -> list[str]:
        """The published StudyInstanceUIDs in order, a page at a time: `after` is the last of the page before."""
        return await self._store.read(lambda conn: studies(conn, after, most))

    async def add(self, study: Archived) -> bool:
        """Take in a study that other software published (XDM import). False: it is known, nothing was changed."""
        now = stamp(study.changed_at)
        weight = len(study.kos) + len(study.metadata)
        return await self._store.write(lambda conn: import_published(conn, study, now), weight=weight)
