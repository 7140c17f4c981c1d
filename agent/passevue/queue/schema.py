"""The tables of the store, as they are today. `migrations/` leads there from any earlier store; a test proves it.

Indexes over part of a table are in `indexes`.

Rules:
- times are whole microseconds since 1970 (UTC), so that both engines keep the same value and no driver converts;
- what is large (`content`, `frozen`) has a table of its own: listing and checking the rest stays quick;
- large bytes are never updated, only inserted and purged; each has its SHA-256 beside it, in a row that stays (Q-17);
- `entry.lane` is the examination while the entry blocks later ones, else null; `entry.due_at` is when a lane may pick
  it, else null. Both indexes hold open entries only: their size follows the backlog, not the history (Q-12);
- expand only: a new release adds nullable columns and tables; the one after may drop what nobody reads (Q-16).
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
)
from sqlalchemy.types import TypeEngine

__all__ = [
    "act",
    "archive",
    "content",
    "entry",
    "frozen",
    "mark",
    "metadata",
    "proof",
    "received",
    "submission",
]

metadata = MetaData()


def _key() -> TypeEngine[int]:
    return BigInteger().with_variant(Integer, "sqlite")  # INTEGER alone is SQLite's row number


def _time(name: str, *, nullable: bool = True) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default="0")


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def _bytes(name: str, *, nullable: bool = True) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=nullable)


# What came in: who, when, which bytes. A row outlives its content, so that a late copy is still known as one.
received = Table(
    "received",
    metadata,
    Column("id", _key(), primary_key=True),
    _text("kind"),
    _text("sender"),
    _text("peer"),
    _text("control_id"),
    _bytes("sha256", nullable=False),
    _time("received_at", nullable=False),
    _count("conflict"),
    Index("received_known", "sender", "control_id", "sha256", unique=True),
)

content = Table(
    "content",
    metadata,
    Column("received_id", _key(), ForeignKey("received.id"), primary_key=True),
    _bytes("bytes", nullable=False),
)

# One thing to do for one examination. `turn` grows each time a worker takes it: a worker whose turn is over writes
# nothing any more (leases, Q-09). `seal` is a hash over what must never change in the row.
entry = Table(
    "entry",
    metadata,
    Column("number", _key(), primary_key=True),
    Column("received_id", _key(), ForeignKey("received.id"), nullable=False),
    _text("action"),
    _text("study_uid"),
    _text("report"),
    _bytes("seal", nullable=False),
    _text("state"),
    Column("resume", Text),
    Column("lane", Text),
    _time("due_at"),
    Column("rank", SmallInteger, nullable=False, server_default="0"),
    _count("turn"),
    Column("box", Text),
    _time("lease_until"),
    Column("submission_id", BigInteger),
    _count("tries"),
    _count("crashes"),
    _count("checks"),
    _count("absences"),
    _count("failures"),
    _count("repeats"),
    Column("waited_ms", BigInteger, nullable=False, server_default="0"),
    _count("parked"),
    _text("reason"),
    _text("detail"),
    _text("hint"),
    _time("received_at", nullable=False),
    _time("changed_at", nullable=False),
    _time("settled_at"),
    _count("purged"),
    sqlite_autoincrement=True,  # a number that people have seen is never given twice, even after a purge
)
Index("entry_received", entry.c.received_id)
Index("entry_report", entry.c.report)

# What was frozen before the first try, with the hash of each part. `number` is null for an import.
submission = Table(
    "submission",
    metadata,
    Column("id", _key(), primary_key=True),
    Column("number", BigInteger),
    Column("transaction_name", Text, nullable=False),
    Column("set_unique_id", Text, nullable=False, unique=True),
    Column("document_unique_id", Text, nullable=False),
    Column("replaces_unique_id", Text),
    _text("structure"),
    _time("frozen_at", nullable=False),
    _bytes("kos_sha256", nullable=False),
    _bytes("metadata_sha256", nullable=False),
    _bytes("signature_sha256", nullable=False),
    _bytes("vihf_sha256", nullable=False),
    _bytes("record_sha256", nullable=False),
    Index("submission_number", "number"),
    sqlite_autoincrement=True,
)

frozen = Table(
    "frozen",
    metadata,
    Column("submission_id", _key(), ForeignKey("submission.id"), primary_key=True),
    _bytes("kos", nullable=False),
    _bytes("metadata", nullable=False),
    _bytes("signature", nullable=False),
    _bytes("vihf", nullable=False),
    _bytes("record", nullable=False),
)

# What the box has published, one row per StudyInstanceUID (kos.md § 8); `submission_id` leads to the KOS and its set.
archive = Table(
    "archive",
    metadata,
    Column("study_uid", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("submission_id", BigInteger),
    Column("entry_uuid", Text),
    _bytes("record", nullable=False),
    _bytes("record_sha256", nullable=False),
    _time("changed_at", nullable=False),
)

# Ids, times, hashes and the registry's answer, for the controller's delay. Nothing of a patient but ids.
proof = Table(
    "proof",
    metadata,
    Column("number", _key(), ForeignKey("entry.number"), primary_key=True),
    Column("outcome", Text, nullable=False),
    _text("how"),
    _time("received_at", nullable=False),
    _time("settled_at", nullable=False),
    _bytes("content_sha256", nullable=False),
    Column("set_unique_id", Text),
    Column("document_unique_id", Text),
    _bytes("kos_sha256"),
    _bytes("metadata_sha256"),
    _text("status"),
    _text("message_id"),
    Column("entry_uuid", Text),
    _text("warnings"),
    _count("tries"),
)

# What a person did: let go, try again, close.
act = Table(
    "act",
    metadata,
    Column("id", _key(), primary_key=True),
    Column("number", BigInteger),
    Column("act", Text, nullable=False),
    _text("by"),
    _text("why"),
    _time("at", nullable=False),
    Index("act_number", "number"),
)

# A few values of the store itself: whose it is, how often it was opened, whether it is a restored copy (F-37).
mark = Table("mark", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))
