"""A damaged SQLite store: noticed at start, kept aside, and what is readable goes on in a new one (Q-17).

`sound` checks the structure of the database and every page of the tables of rows. The two tables of large bytes are
left out: gigabytes would have to be read; each of their rows has its hash, verified when it is read.

The rows are copied one by one, since one unreadable page must not take its neighbours along; of the large ones never
two are in memory, for a backlog is gigabytes. An entry whose content cannot be had is set aside for a person;
everything else keeps its number, its state and its turn.

A cut at any moment costs nothing: the new store grows beside the damaged one, which leaves its place only once the new
one is whole. Cut before that, it begins anew; after it, the new one is put in its place at the next start.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from passevue.durable import sync_folder
from passevue.errors import StoreError
from passevue.queue.retry import HINTS
from passevue.queue.seal import sha256
from passevue.queue.states import FINAL, State

__all__ = ["Salvaged", "growing", "put_aside", "put_in_place", "salvage", "sound"]

ROWS = ("received", "entry", "submission", "archive", "proof", "act", "mark")
BYTES = ("content", "frozen")
READ_AT_ONCE = {**dict.fromkeys(ROWS, 500), **dict.fromkeys(BYTES, 1)}
FILES = ("", "-wal", "-shm")
GIVE_UP_AFTER = 100_000  # numbers in a row without a row: beyond the last one


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What came over, and where the damaged store lies.

    Attributes:
        kept_aside: folder of the damaged files; they are never deleted by the box.
        rows: copied rows of all tables. entries: of which entries. set_aside: entries whose content is lost.
        lost: rows that are known to have been there and cannot be read.
    """

    kept_aside: Path
    rows: int
    entries: int
    set_aside: int
    lost: int


def growing(path: Path) -> Path:
    """Where the new store is until it takes the place of the damaged one."""
    return path.with_name(f"{path.name}.new")


def sound(path: Path) -> bool:
    """Whether the store's rows and indexes are whole. A missing or empty file is sound: it will be made; but not one
    whose successor waits to be put in its place."""
    if not path.exists() and growing(path).exists():
        return False
    if not path.exists() or (path.stat().st_size == 0 and not path.with_name(path.name + "-wal").exists()):
        return True
    try:
        conn = sqlite3.connect(path, isolation_level=None, timeout=20)
        try:
            names = {row[0] for row in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            return all(_whole(conn, table) for table in ROWS if table in names)
        finally:
            conn.close()
    except sqlite3.OperationalError as err:
        if err.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR):
            raise StoreError(f"the store cannot be opened: {type(err).__name__} {err.sqlite_errorcode}") from err
        return False
    except sqlite3.DatabaseError:
        return False


def put_aside(path: Path, name: str) -> Path:
    """Move the database and its log into a folder beside it, called `name`. Raises: OSError."""
    folder = path.with_name(name)
    folder.mkdir(exist_ok=True)
    for suffix in FILES:  # the database first: what is left without it is its log, never a new one's
        file = path.with_name(path.name + suffix)
        if file.exists():
            file.rename(folder / file.name)
    return folder


def put_in_place(path: Path, name: str) -> Salvaged:
    """Put the damaged store aside, as `put_aside`, and the new one where it was.

    Raises:
        StoreError: they cannot be moved.
    """
    try:
        if any(path.with_name(path.name + suffix).exists() for suffix in FILES):  # not moved before a cut
            put_aside(path, name)
        growing(path).rename(path)
        sync_folder(path.parent)
    except OSError as err:
        raise StoreError(f"the damaged store cannot be kept aside: {err.strerror}") from err
    return _told(path, max(path.parent.glob("damaged-*")))


def salvage(damaged: Path, fresh: Path, now: int) -> None:
    """Copy what can be read from one database into the other, which has today's schema and is empty.

    Raises:
        StoreError: the new one cannot be written.
    """
    try:
        source = sqlite3.connect(damaged, isolation_level=None)
        target = sqlite3.connect(fresh, isolation_level=None)
        try:
            _copy_all(source, target, now)
            target.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # one file is what is put in its place
        finally:
            source.close()
            target.close()
    except sqlite3.Error as err:
        raise StoreError(f"the damaged store could not be carried over: {type(err).__name__}") from err


def _told(path: Path, folder: Path) -> Salvaged:
    with contextlib.closing(sqlite3.connect(path)) as conn:
        rows = {table: conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in (*ROWS, *BYTES)}  # noqa: S608
        without = conn.execute(
            "SELECT count(*) FROM entry WHERE state = ? AND reason = 'damaged'", (State.SET_ASIDE,)
        ).fetchone()[0]
        given = conn.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entry'").fetchone()[0]
    return Salvaged(folder, sum(rows.values()), rows["entry"], without, given - rows["entry"])


def _copy_all(source: sqlite3.Connection, target: sqlite3.Connection, now: int) -> None:
    target.execute("PRAGMA synchronous=FULL")
    target.execute("BEGIN IMMEDIATE")
    for table in (*ROWS, *BYTES):
        _copy(source, target, table)
    _number_on(source, target)
    _drop_torn(target)
    _set_aside_without_content(target, now)
    target.execute("COMMIT")


def _whole(conn: sqlite3.Connection, name: str) -> bool:
    return bool(conn.execute(f"PRAGMA integrity_check('{name}')").fetchone()[0] == "ok")


def _columns(conn: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in conn.execute(f"PRAGMA table_info('{table}')")]


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> None:
    """All readable rows of a table, by what both sides have of its columns."""
    try:
        present = set(_columns(source, table))
    except sqlite3.DatabaseError:
        return
    columns = [column for column in _columns(target, table) if column in present]
    if not columns:
        return
    names = ", ".join(f'"{name}"' for name in columns)
    marks = ", ".join("?" for _ in columns)
    into = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - names of ours
    for row in _readable(source, table, names):
        target.execute(into, row)


def _readable(source: sqlite3.Connection, name: str, columns: str) -> Iterator[tuple[object, ...]]:
    """Rows in the order of their row numbers; after one that cannot be read, number by number."""
    rowid = 0
    missed = 0
    while missed < GIVE_UP_AFTER:
        try:
            query = f"SELECT rowid, {columns} FROM {name} WHERE rowid > ? ORDER BY rowid LIMIT ?"  # noqa: S608
            rows = source.execute(query, (rowid, READ_AT_ONCE[name])).fetchall()
        except sqlite3.DatabaseError:
            found = _single(source, name, columns, rowid + 1)
            rowid += 1
            missed = 0 if found else missed + 1
            if found:
                yield found
            continue
        if not rows:
            return
        for row in rows:
            rowid = row[0]
            yield row[1:]
        missed = 0


def _single(source: sqlite3.Connection, name: str, columns: str, rowid: int) -> tuple[object, ...] | None:
    try:
        row = source.execute(f"SELECT {columns} FROM {name} WHERE rowid = ?", (rowid,)).fetchone()  # noqa: S608
    except sqlite3.DatabaseError:
        return None
    return None if row is None else tuple(row)


def _number_on(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """The next entry's number is beyond all that were given, those whose row is lost too."""
    try:
        last = source.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entry'").fetchone()
    except sqlite3.DatabaseError:
        last = None
    highest = target.execute("SELECT coalesce(max(number), 0) FROM entry").fetchone()[0]
    target.execute("DELETE FROM sqlite_sequence WHERE name = 'entry'")
    given = max(int(last[0]) if last else 0, int(highest))
    target.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('entry', ?)", (given,))


def _drop_torn(target: sqlite3.Connection) -> None:
    """Bytes that are not what was written are no better than none."""
    kept = target.execute("SELECT c.received_id, r.sha256 FROM content c JOIN received r ON r.id = c.received_id")
    for number, digest in kept.fetchall():
        data = target.execute("SELECT bytes FROM content WHERE received_id = ?", (number,)).fetchone()[0]
        if not isinstance(data, bytes) or sha256(data) != digest:  # a flipped bit may make text of bytes
            target.execute("DELETE FROM content WHERE received_id = ?", (number,))


def _set_aside_without_content(target: sqlite3.Connection, now: int) -> None:
    """Entries that still had to be built and have lost their bytes: a person must have them sent again."""
    final = ", ".join(f"'{state}'" for state in FINAL)
    target.execute(
        f"UPDATE entry SET state = '{State.SET_ASIDE}', lane = NULL, due_at = NULL, resume = '{State.WAITING}', "  # noqa: S608
        "box = NULL, lease_until = NULL, reason = 'damaged', hint = ?, changed_at = ?, turn = turn + 1 "
        f"WHERE state NOT IN ({final}) AND (received_id NOT IN (SELECT received_id FROM content) "
        "AND (submission_id IS NULL OR submission_id NOT IN (SELECT submission_id FROM frozen)))",
        (HINTS["damaged"], now),
    )
