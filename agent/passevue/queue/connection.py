"""One connection to the store's database, SQLite or PostgreSQL, and the only module that meets their drivers' errors.

Statements go by name, and are handed to the driver as its engine's SQL (`statements`) with plain positional or named
parameters: the execution of an ORM, or of SQLAlchemy's Core, would cost a tenth of a millisecond each, which is as much
as the disk's sync. No value needs conversion (see `schema`). Anything that has `cursor()` with the DB-API's
`execute` and `fetchall` will do as a driver: the power-cut test hands in SQLite under a simulated disk.

Facts:
- SQLite in WAL with `synchronous=FULL` syncs the WAL once a commit; with NORMAL it loses acknowledged rows at a power
  cut (831 of 1,575 trials, reliability § 3).
- 8 KiB pages: a 325 kB message goes to the WAL in 40 frames instead of 80, and the ten pages of rows and indexes that
  change beside it stay small; measured 0.61 ms a commit, against 0.86 (4 KiB), 0.75 (16 KiB) and 0.94 (32 KiB).
- The driver's own transaction handling is off (`isolation_level=None`, `autocommit`): BEGIN and COMMIT are ours.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from passevue.errors import BoxError, Damaged, NoRoom, StoreError
from passevue.queue.sqlite_settings import prepare_sqlite
from passevue.queue.statements import statements_of

__all__ = ["Busy", "Clash", "Connection", "Row", "Value", "connector", "is_sqlite", "sqlite_file"]

Value = int | str | bytes | None
Row = tuple[Any, ...]

FILE_NAME = "queue.sqlite"  # of the embedded store, in the data folder
BUSY_TIMEOUT_S = 20.0  # another unit of the box holds the write lock for milliseconds; a checkpoint may add seconds


class Clash(StoreError):
    """A unique key was taken by another connection in the meantime: the operation may simply be run again."""


class Busy(StoreError):
    """Another process held the lock for longer than anyone should: nothing was written."""


class Connection:
    """A driver's connection with the store's statements. Used by one thread at a time.

    `engine` is `sqlite` (parameters by `?`) or `postgresql` (psycopg).
    """

    def __init__(self, raw: Any, engine: str = "sqlite") -> None:
        self.raw = raw
        self.engine = engine
        self._cursor = raw.cursor()
        self._statements = statements_of(engine)
        self.broken = False  # a write or read failed: what is in memory is not to be trusted (a full disk is no lie)
        self._begin = "BEGIN IMMEDIATE" if engine == "sqlite" else "BEGIN"

    def run(self, statement: str, **values: Value) -> list[Row]:
        """Execute the statement of that name, and give all rows (none for one that returns none).

        Raises:
            NoRoom, Damaged, Clash, StoreError.
        """
        known = self._statements[statement]
        try:
            cursor = self._cursor
            cursor.execute(known.sql, known.parameters(values))
            rows: list[Row] = cursor.fetchall() if cursor.description is not None else []
        except Exception as err:
            raise self._ours(err) from err
        return rows

    def one(self, statement: str, **values: Value) -> Row | None:
        rows = self.run(statement, **values)
        return rows[0] if rows else None

    def plain(self, sql: str) -> list[Row]:
        """Execute a command of the engine's own, such as BEGIN or a pragma."""
        try:
            self._cursor.execute(sql)
            return list(self._cursor.fetchall()) if self._cursor.description is not None else []
        except Exception as err:
            raise self._ours(err) from err

    def begin(self) -> None:
        self.plain(self._begin)

    def commit(self) -> None:
        self.plain("COMMIT")

    def roll_back(self) -> None:
        self.plain("ROLLBACK")

    def close(self) -> None:
        self.raw.close()

    def _ours(self, err: Exception) -> Exception:
        ours = _ours(err)
        self.broken = self.broken or not isinstance(ours, Clash | Busy | NoRoom)
        return ours


def is_sqlite(url: str) -> bool:
    return url.partition(":")[0].partition("+")[0] == "sqlite"


def sqlite_file(url: str) -> Path:
    """The database file of an SQLite address."""
    return Path(url.partition("///")[2].partition("?")[0])


def connector(url: str) -> Callable[[], Connection]:
    """What opens one more connection to `url`. Calling it may block.

    Raises (the connector):
        StoreError: the database cannot be reached or is not one.
    """
    if is_sqlite(url):
        path = sqlite_file(url)
        return lambda: _open_sqlite(path)
    from sqlalchemy import make_url

    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return lambda: _open_postgresql(address)


def _open_sqlite(path: Path) -> Connection:
    try:
        raw = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            prepare_sqlite(raw.execute)
        except BaseException:
            raw.close()
            raise
    except sqlite3.Error as err:
        raise _ours(err) from err
    return Connection(raw)


def _open_postgresql(address: str) -> Connection:
    from passevue.queue.postgresql import open_postgresql

    try:
        return Connection(open_postgresql(address), "postgresql")
    except Exception as err:
        raise _ours(err) from err


_FULL = {sqlite3.SQLITE_FULL}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_TORN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_TAKEN = {"23505", "40001"}  # unique_violation, serialization_failure
_DISK_FULL = "53100"
_CORRUPTED = {"XX001", "XX002"}  # data_corrupted, index_corrupted


def _ours(err: Exception) -> Exception:
    """The driver's error as one of ours. Its text is not kept: it may quote values."""
    if isinstance(err, BoxError):
        return err
    name = type(err).__name__
    code = getattr(err, "sqlite_errorcode", None) or getattr(err, "extendedresult", None)
    if isinstance(code, int):
        name = f"{name} {code}"
        if code & 0xFF in _FULL:
            return NoRoom(f"the database has no room: {name}", hint="Le disque est plein. Libérez de la place.")
        if code & 0xFF in _TORN:
            return Damaged(f"the database is damaged: {name}", hint="La base de la file d’attente est abîmée.")
        if code & 0xFF in _BUSY:
            return Busy(f"the database is busy: {name}", hint="La base de la file d’attente est occupée.")
        if code & 0xFF == sqlite3.SQLITE_CONSTRAINT:
            return Clash(f"a key is taken: {name}")
    state = getattr(err, "sqlstate", None)  # of PostgreSQL, appendix A of its manual
    if state in _TAKEN:
        return Clash(f"a key is taken: {name}")
    if state == _DISK_FULL:
        return NoRoom(f"the database has no room: {name}", hint="Le serveur de base de données n’a plus de place.")
    if state in _CORRUPTED:
        return Damaged(f"the database is damaged: {name}", hint="La base de la file d’attente est abîmée.")
    return StoreError(f"the database failed: {name}", hint="La base de la file d’attente ne répond pas.")
