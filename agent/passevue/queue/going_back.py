"""Going back: an update was undone, and the store is of a schema that this release cannot use (fleet.md § 6).

One schema ahead is used as it is. Beyond that, the snapshot from before the update takes its place, with everything
that happened since carried over from the newer store: what was taken in, what was sent, what people did. What both
know is as the newer one has it. The newer store is put aside, never deleted by the box.

Where a row cannot be carried over (this release wants a value that the newer one no longer keeps), nothing is sent
until a person confirms: what is lost might have been sent.

Every step may be cut and done again: the copy is filled in one transaction, takes the name `back` when it is whole, and
from then on there is one way, the same at each start.
"""

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

from passevue.durable import sync_folder
from passevue.errors import StoreError
from passevue.queue.marks import RESTORED
from passevue.queue.salvage import BYTES, FILES, ROWS, Salvaged, put_aside, sound
from passevue.queue.snapshot import snapshot_of
from passevue.queue.version import THIS, Release, schema_in, usable

__all__ = ["go_back", "needed", "tidy"]


def needed(path: Path, release: Release = THIS) -> bool:
    """Whether the store at `path` is too new and there is one to go back to, or the way back was begun.

    Raises:
        StoreError: the database cannot be read.
    """
    if not _there(path):
        return _back(path).exists()
    return (_back(path).exists() or snapshot_of(path).exists()) and schema_in(path) > release.newest


def tidy(path: Path, release: Release = THIS) -> None:
    """A way back that was begun and then not gone: a release that can use the store has it again.

    Raises:
        OSError, StoreError.
    """
    if _back(path).exists() and _there(path) and schema_in(path) <= release.newest:
        back, kept = _back(path), snapshot_of(path)
        for suffix in (*FILES[1:], ""):  # its log before it: cut between the two, they meet again at the next start
            file = back.with_name(back.name + suffix)
            if file.exists():
                file.replace(kept.with_name(kept.name + suffix))


def go_back(path: Path, now: datetime, release: Release = THIS) -> Salvaged | None:
    """The snapshot in place of the store, with what happened since. The caller is alone in the store. Blocks.

    Gives what could not be carried over; None when everything was.

    Raises:
        StoreError: there is none that this release can use; the disk fails.
    """
    lost = rows = entries = 0
    aside = path
    try:
        if _there(path):
            copy = _back(path) if _back(path).exists() else snapshot_of(path)
            if not sound(copy) or not usable(schema_in(copy), release):
                raise StoreError("the snapshot from before the update cannot be used")
            rows, entries, lost = _carry_over(path, copy)
            copy.replace(_back(path))
            sync_folder(path.parent)
            aside = put_aside(path, f"newer-{now:%Y%m%dT%H%M%S%f}")
        for suffix in FILES[1:]:  # of a database that is gone: empty, and SQLite would take it for the next one's
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        _back(path).replace(path)
        sync_folder(path.parent)
    except (OSError, sqlite3.Error) as err:
        raise StoreError(f"the store from before the update cannot be put in place: {type(err).__name__}") from err
    return Salvaged(aside, rows, entries, 0, lost) if lost else None


def _back(path: Path) -> Path:
    return path.with_name(f"{path.stem}.back{path.suffix}")


def _there(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _carry_over(newer: Path, copy: Path) -> tuple[int, int, int]:
    """Rows and entries that are in the copy then, and rows that could not be had. Both logs are empty afterwards.

    Raises:
        sqlite3.Error.
    """
    with closing(sqlite3.connect(copy, isolation_level=None, timeout=20)) as conn:
        conn.execute("PRAGMA synchronous=FULL")
        conn.execute("ATTACH ? AS newer", (str(newer),))
        conn.execute("BEGIN IMMEDIATE")
        lost = sum(_table(conn, table, grows_only=table in BYTES) for table in (*ROWS, *BYTES))
        _numbers(conn)
        if lost:
            conn.execute("INSERT OR REPLACE INTO mark (name, value) VALUES (?, 'older-copy')", (RESTORED,))
        rows = sum(conn.execute(f"SELECT count(*) FROM main.{each}").fetchone()[0] for each in ROWS)  # noqa: S608
        entries = conn.execute("SELECT count(*) FROM main.entry").fetchone()[0]
        conn.execute("COMMIT")
        for name in ("main", "newer"):
            conn.execute(f"PRAGMA {name}.wal_checkpoint(TRUNCATE)")
    return rows, entries, lost


def _table(conn: sqlite3.Connection, table: str, *, grows_only: bool) -> int:
    """Bring one table to what the newer store has of it; how many rows could not be."""
    own, theirs = _columns(conn, "main", table), _columns(conn, "newer", table)
    shared = [name for name in own if name in theirs]
    key = [name for name, place in own.items() if place]
    if not theirs:
        return 0  # the newer release keeps no such table any more: what was in it stays
    if not set(key) <= set(shared):
        return int(conn.execute(f"SELECT count(*) FROM newer.{table}").fetchone()[0])  # noqa: S608 - names of ours
    same = " AND ".join(f'n."{name}" = m."{name}"' for name in key)
    if conn.execute(f"SELECT 1 FROM newer.{table} LIMIT 1").fetchone():  # noqa: S608 - an empty one says nothing
        conn.execute(f"DELETE FROM main.{table} AS m WHERE NOT EXISTS (SELECT 1 FROM newer.{table} AS n WHERE {same})")  # noqa: S608
    rest = [name for name in shared if name not in key]
    if rest and not grows_only:
        pairs, values = (", ".join(f'{of}"{name}"' for name in rest) for of in ("", "n."))
        found = f"FROM newer.{table} AS n WHERE {same}"
        conn.execute(
            f"UPDATE main.{table} AS m SET ({pairs}) = (SELECT {values} {found}) WHERE EXISTS (SELECT 1 {found})"  # noqa: S608
        )
    names = ", ".join(f'"{name}"' for name in shared)
    missing = f"FROM newer.{table} AS n WHERE NOT EXISTS (SELECT 1 FROM main.{table} AS m WHERE {same})"  # noqa: S608
    conn.execute(f"INSERT OR IGNORE INTO main.{table} ({names}) SELECT {names} {missing}")
    return int(conn.execute(f"SELECT count(*) {missing}").fetchone()[0])


def _columns(conn: sqlite3.Connection, database: str, table: str) -> dict[str, int]:
    """Name = place in the primary key, 0 outside of it."""
    return {row[1]: row[5] for row in conn.execute(f"PRAGMA {database}.table_info('{table}')")}


def _numbers(conn: sqlite3.Connection) -> None:
    """A number that people have seen is never given twice, whichever release gave it."""
    for name, last in conn.execute("SELECT name, seq FROM newer.sqlite_sequence").fetchall():
        if not _columns(conn, "main", name):
            continue
        done = conn.execute("UPDATE main.sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (last, name))
        if not done.rowcount:
            conn.execute("INSERT INTO main.sqlite_sequence (name, seq) VALUES (?, ?)", (name, last))
