"""The first schema: what came in, entries, submissions, archive, proofs, acts, marks."""

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "act",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=True),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), server_default="", nullable=False),
        sa.Column("why", sa.Text(), server_default="", nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("act_number", "act", ["number"], unique=False)
    op.create_table(
        "archive",
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("submission_id", sa.BigInteger(), nullable=True),
        sa.Column("entry_uuid", sa.Text(), nullable=True),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("record_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("study_uid"),
    )
    op.create_table(
        "mark",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "received",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.Text(), server_default="", nullable=False),
        sa.Column("sender", sa.Text(), server_default="", nullable=False),
        sa.Column("peer", sa.Text(), server_default="", nullable=False),
        sa.Column("control_id", sa.Text(), server_default="", nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("conflict", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "received_conflict",
        "received",
        ["id"],
        unique=False,
        sqlite_where=sa.text("conflict = 1"),
        postgresql_where=sa.text("conflict = 1"),
    )
    op.create_index("received_known", "received", ["sender", "control_id", "sha256"], unique=True)
    op.create_table(
        "submission",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=True),
        sa.Column("transaction_name", sa.Text(), nullable=False),
        sa.Column("set_unique_id", sa.Text(), nullable=False),
        sa.Column("document_unique_id", sa.Text(), nullable=False),
        sa.Column("replaces_unique_id", sa.Text(), nullable=True),
        sa.Column("structure", sa.Text(), server_default="", nullable=False),
        sa.Column("frozen_at", sa.BigInteger(), nullable=False),
        sa.Column("kos_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("metadata_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("signature_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("vihf_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("record_sha256", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("set_unique_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("submission_number", "submission", ["number"], unique=False)
    op.create_table(
        "content",
        sa.Column("received_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("bytes", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["received_id"],
            ["received.id"],
        ),
        sa.PrimaryKeyConstraint("received_id"),
    )
    op.create_table(
        "entry",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("received_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("action", sa.Text(), server_default="", nullable=False),
        sa.Column("study_uid", sa.Text(), server_default="", nullable=False),
        sa.Column("report", sa.Text(), server_default="", nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), server_default="", nullable=False),
        sa.Column("resume", sa.Text(), nullable=True),
        sa.Column("lane", sa.Text(), nullable=True),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("rank", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("turn", sa.Integer(), server_default="0", nullable=False),
        sa.Column("box", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("submission_id", sa.BigInteger(), nullable=True),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("crashes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("checks", sa.Integer(), server_default="0", nullable=False),
        sa.Column("absences", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("repeats", sa.Integer(), server_default="0", nullable=False),
        sa.Column("waited_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("parked", sa.Integer(), server_default="0", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("hint", sa.Text(), server_default="", nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.Column("purged", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["received_id"],
            ["received.id"],
        ),
        sa.PrimaryKeyConstraint("number"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "entry_due",
        "entry",
        ["rank", "due_at", "number", "state"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(
        "entry_lane",
        "entry",
        ["lane", "number"],
        unique=False,
        sqlite_where=sa.text("lane IS NOT NULL"),
        postgresql_where=sa.text("lane IS NOT NULL"),
    )
    op.create_index(
        "entry_open",
        "entry",
        ["state", "reason", "received_at", "parked"],
        unique=False,
        sqlite_where=sa.text("settled_at IS NULL"),
        postgresql_where=sa.text("settled_at IS NULL"),
    )
    op.create_index("entry_received", "entry", ["received_id"], unique=False)
    op.create_index("entry_report", "entry", ["report"], unique=False)
    op.create_index(
        "entry_settled",
        "entry",
        ["purged", "settled_at"],
        unique=False,
        sqlite_where=sa.text("settled_at IS NOT NULL"),
        postgresql_where=sa.text("settled_at IS NOT NULL"),
    )
    op.create_table(
        "frozen",
        sa.Column("submission_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kos", sa.LargeBinary(), nullable=False),
        sa.Column("metadata", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("vihf", sa.LargeBinary(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["submission_id"],
            ["submission.id"],
        ),
        sa.PrimaryKeyConstraint("submission_id"),
    )
    op.create_table(
        "proof",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("how", sa.Text(), server_default="", nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("settled_at", sa.BigInteger(), nullable=False),
        sa.Column("content_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("set_unique_id", sa.Text(), nullable=True),
        sa.Column("document_unique_id", sa.Text(), nullable=True),
        sa.Column("kos_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("metadata_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("status", sa.Text(), server_default="", nullable=False),
        sa.Column("message_id", sa.Text(), server_default="", nullable=False),
        sa.Column("entry_uuid", sa.Text(), nullable=True),
        sa.Column("warnings", sa.Text(), server_default="", nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["number"],
            ["entry.number"],
        ),
        sa.PrimaryKeyConstraint("number"),
    )
