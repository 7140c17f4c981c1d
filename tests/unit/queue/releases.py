"""The releases after this one, for tests: their schemas, and what they do with a store that this one cannot open.

older = THIS                      # schema N
newer = next_releases(folder)     # N + 1 adds a column and a table; N + 2 adds one more and drops what few read
bring(url, folder, newer)         # its first start
take_in(url, "9", 9)              # it takes in one more, as its store would
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from passevue.queue.connection import connector
from passevue.queue.lock import Locks
from passevue.queue.opening import make_ready
from passevue.queue.salvage import Salvaged
from passevue.queue.seal import sha256
from passevue.queue.stamp import stamp
from passevue.queue.taking_in import Keep, keep
from passevue.queue.version import SCHEMA, THIS, Release
from tests.peers.disk import ROOMY
from tests.unit.queue.far_end import NOON, message, publish

FIRST = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "{0}", "{1}"
def upgrade():
    op.add_column("entry", sa.Column("priority", sa.Integer))
    op.create_table("later", sa.Column("id", sa.Integer, primary_key=True))
"""
SECOND = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "{0}", "{1}"
def upgrade():
    op.add_column("entry", sa.Column("asked_by", sa.Text))
    {2}
"""


def next_releases(folder: Path, and_then: str = "") -> Release:
    """Two schemas ahead of this release; `and_then` is one more statement of the last step."""
    steps = folder / "steps"
    steps.mkdir(exist_ok=True)
    (steps / "v9998.py").write_text(FIRST.format(SCHEMA + 1, SCHEMA), encoding="utf-8")
    (steps / "v9999.py").write_text(SECOND.format(SCHEMA + 2, SCHEMA + 1, and_then), encoding="utf-8")
    return Release(SCHEMA + 2, (steps,))


def bring(path: Path, release: Release = THIS) -> Salvaged | None:
    """What the start of a release does with the store, before it opens it."""
    locks = Locks(path.parent, patience_s=5)
    try:
        locks.share()
        return make_ready(f"sqlite:///{path}", locks, NOON, ROOMY, release)
    finally:
        locks.release()


def take_in(path: Path, name: str, study: int) -> int:
    """One more message, taken in by the release that has the store; its number."""
    thing = message(name)
    conn = connector(f"sqlite:///{path}")()
    try:
        conn.begin()
        receipt = keep(conn, Keep(thing, sha256(thing.content), [publish(study)], stamp(NOON)))
        conn.commit()
    finally:
        conn.close()
    return receipt.number


def change(path: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute(sql, values)


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        return conn.execute(sql).fetchall()
