"""Where each object is: a SQLite file that is only ever derived from the segments.

It may lose its last seconds in a power cut, or the whole of itself: what is missing is read again from the segments
(`scanned_to` says how far each one is in). It never decides whether an object exists; the segments do.

One connection writes, on the thread of the writer. Readers open their own: WAL lets them read while it writes, from
another process too.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path

from passevue.intake.retention import Holding
from passevue.intake.stored import Row, Stored

EDITION = 1
COLUMNS = tuple(each.name for each in fields(Stored))
VALUES = attrgetter(*COLUMNS)
SCHEMA = """
CREATE TABLE segment (number INTEGER PRIMARY KEY, scanned_to INTEGER NOT NULL);
CREATE TABLE object (
    sop_uid TEXT NOT NULL, sop_class TEXT NOT NULL, study_uid TEXT NOT NULL, series_uid TEXT NOT NULL,
    transfer_syntax TEXT NOT NULL, segment INTEGER NOT NULL, record INTEGER NOT NULL, offset INTEGER NOT NULL,
    length INTEGER NOT NULL, crc INTEGER NOT NULL, meta_bytes INTEGER NOT NULL, received_at REAL NOT NULL,
    file TEXT NOT NULL, conflict INTEGER NOT NULL, attributes TEXT NOT NULL,
    PRIMARY KEY (segment, record)
) WITHOUT ROWID;
CREATE INDEX object_sop ON object (sop_uid);
CREATE INDEX object_study ON object (study_uid);
"""
SELECT = f"SELECT {', '.join(COLUMNS)} FROM object"  # noqa: S608 - names of our own fields
INSERT = f"INSERT OR REPLACE INTO object VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - the same


class ImageIndex:
    """One connection to the index. `fresh` when the file had to be made: everything is to be read again."""

    def __init__(self, path: Path) -> None:
        self.fresh = False
        try:
            self._db = self._opened(path)
        except sqlite3.DatabaseError:
            for leftover in path.parent.glob(path.name + "*"):
                leftover.unlink()
            self._db = self._opened(path)

    def _opened(self, path: Path) -> sqlite3.Connection:
        db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("index is damaged")
            edition = db.execute("PRAGMA user_version").fetchone()[0]
            if edition != EDITION:
                if edition:
                    raise sqlite3.DatabaseError("index of another edition")
                db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {EDITION}; COMMIT;")
                self.fresh = True
        except sqlite3.Error:
            db.close()
            raise
        return db

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def close(self) -> None:
        self._db.close()

    def add(self, objects: Iterable[Stored], scanned_to: dict[int, int]) -> None:
        """Objects and how far their segments are read, in one transaction."""
        with self._transaction() as db:
            db.executemany(INSERT, map(VALUES, objects))
            db.executemany("INSERT OR REPLACE INTO segment VALUES (?, ?)", scanned_to.items())

    def forget_segments(self, numbers: Iterable[int]) -> None:
        with self._transaction() as db:
            for number in numbers:
                db.execute("DELETE FROM object WHERE segment = ?", (number,))
                db.execute("DELETE FROM segment WHERE number = ?", (number,))

    def forget(self, objects: Iterable[Stored]) -> None:
        with self._transaction() as db:
            db.executemany(
                "DELETE FROM object WHERE segment = ? AND record = ?", ((each.segment, each.record) for each in objects)
            )

    def scanned_to(self) -> dict[int, int]:
        return dict(self._db.execute("SELECT number, scanned_to FROM segment"))

    def versions(self, sop_uid: str) -> list[Stored]:
        """Every object that came with this UID; the one that counts first."""
        return list(self._objects("WHERE sop_uid = ? ORDER BY conflict, segment, record", sop_uid))

    def of_study(self, study_uid: str) -> list[Stored]:
        return list(self._objects("WHERE study_uid = ? ORDER BY segment, record", study_uid))

    def rows(self, study_uid: str) -> list[Row]:
        """What a study is made of; conflicts left out."""
        found = self._db.execute(
            "SELECT sop_uid, sop_class, series_uid, attributes FROM object WHERE study_uid = ? AND NOT conflict",
            (study_uid,),
        )
        return [Row(uid, sop_class, series, json.loads(attributes)) for uid, sop_class, series, attributes in found]

    def holdings(self) -> list[Holding]:
        found = self._db.execute("SELECT study_uid, sum(length), max(received_at) FROM object GROUP BY study_uid")
        return [Holding(uid, size, datetime.fromtimestamp(last, UTC)) for uid, size, last in found]

    def live_segments(self) -> set[int]:
        return {number for (number,) in self._db.execute("SELECT DISTINCT segment FROM object")}

    def files(self) -> set[str]:
        return {name for (name,) in self._db.execute("SELECT file FROM object WHERE file != ''")}

    def totals(self) -> tuple[int, int]:
        """Objects and bytes."""
        count, size = self._db.execute("SELECT count(*), coalesce(sum(length), 0) FROM object").fetchone()
        return count, size

    def _objects(self, where: str, *values: str) -> Iterator[Stored]:
        for row in self._db.execute(f"{SELECT} {where}", values):
            made = dict(zip(COLUMNS, row, strict=True))
            yield Stored(**{**made, "conflict": bool(made["conflict"])})
