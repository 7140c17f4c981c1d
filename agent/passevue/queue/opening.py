"""Making a store ready at start: whole, of today's schema, and claimed by the box that sends from it."""

import os
from datetime import datetime
from pathlib import Path

from passevue.errors import StoreError
from passevue.queue import going_back, snapshot
from passevue.queue.connection import Connection, is_sqlite, sqlite_file
from passevue.queue.lock import Locks
from passevue.queue.machine_id import read_machine_id
from passevue.queue.marks import RESTORED, claim, read_mark, write_marker
from passevue.queue.migrating import migrate_apart
from passevue.queue.room import Limits
from passevue.queue.salvage import Salvaged, growing, put_in_place, salvage, sound
from passevue.queue.seal import sealed
from passevue.queue.stamp import stamp
from passevue.queue.version import THIS, Release, schema_in, usable
from passevue.shared import open_shared

__all__ = ["claim_for_sending", "machine_name", "make_ready", "who_may_send"]


def make_ready(
    url: str,
    locks: Locks,
    now: datetime,
    limits: Limits | None = None,
    release: Release = THIS,
    *,
    apart: bool = False,
) -> Salvaged | None:
    """A sound store of today's schema, whatever was there; what had to be carried over from a damaged one.

    `locks` is shared at entry and at exit, and held alone for what changes the store as a whole. `limits` are those of
    the store's volume. `apart`: what changes the schema is another process, which ends.

    Raises:
        StoreError: a schema too far ahead; another process does not let go; the disk fails.
        NoRoom: none for the snapshot that is taken before the schema changes.
    """
    salvaged = _made_whole(sqlite_file(url), locks, now, release) if is_sqlite(url) else None
    _begin(url)
    if not _up_to_date(url, release):
        if locks.alone(lambda: _up_to_date(url, release)):
            _migrate(url, limits or Limits(), release, apart=apart)
        locks.share()
    if is_sqlite(url):
        snapshot.drop_old(sqlite_file(url), now)
    return salvaged


def _made_whole(path: Path, locks: Locks, now: datetime, release: Release) -> Salvaged | None:
    """What a failing disk, or an undone update, has left of an SQLite store; in this order: what is damaged does not
    say its schema."""
    salvaged = None
    if not sound(path):
        alone = locks.alone(lambda: sound(path))
        if alone and not sound(path):  # nobody else has done it meanwhile
            salvaged = _replace(f"sqlite:///{path}", now, release)
        locks.share()
    try:
        going_back.tidy(path, release)
    except OSError as err:
        raise StoreError(f"the data folder cannot be written: {err.strerror}") from err
    if going_back.needed(path, release):
        alone = locks.alone(lambda: not going_back.needed(path, release))
        if alone and going_back.needed(path, release):
            salvaged = going_back.go_back(path, now, release)
        locks.share()
    return salvaged


def _up_to_date(url: str, release: Release) -> bool:
    if is_sqlite(url):
        return usable(schema_in(sqlite_file(url)), release)
    from passevue.queue.migrate import engine_for, up_to_date

    return up_to_date(engine_for(url))


def _migrate(url: str, limits: Limits, release: Release, *, apart: bool) -> None:
    if is_sqlite(url) and schema_in(sqlite_file(url)):  # there is something to come back to
        snapshot.take(sqlite_file(url), limits)
    if apart:
        migrate_apart(url, release.steps)
        return
    from passevue.queue.migrate import engine_for, migrate

    migrate(engine_for(url), *release.steps)


def _begin(url: str) -> None:
    """An empty database where there is none, for its folder's users: SQLite gives its log the same mode."""
    if is_sqlite(url):
        try:
            os.close(open_shared(sqlite_file(url), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC))
        except OSError as err:
            raise StoreError(f"the database cannot be opened: {err.strerror}") from err


def claim_for_sending(conn: Connection, box: str, marker: Path) -> str:
    """This process sends from now on; gives why it may not, or nothing (F-37)."""
    conn.begin()
    restored = claim(conn, box, marker)
    conn.commit()
    write_marker(conn, box, marker)
    return restored


def who_may_send(conn: Connection) -> str:
    """For a process that does not send: why nobody does, or nothing."""
    return read_mark(conn, RESTORED)


def machine_name(data_dir: Path) -> str:
    """A fingerprint of this machine and folder that tells nothing of either, as machine-id(5) asks."""
    return sealed("passevue queue", read_machine_id() or os.uname().nodename, str(data_dir.resolve())).hex()[:16]


def _replace(url: str, now: datetime, release: Release) -> Salvaged:
    path = sqlite_file(url)
    if path.exists():  # else all was carried over when the box was cut
        fresh = growing(path)
        for leftover in path.parent.glob(f"{fresh.name}*"):
            leftover.unlink()
        _begin(f"sqlite:///{fresh}")
        _migrate(f"sqlite:///{fresh}", Limits(), release, apart=False)
        salvage(path, fresh, stamp(now))
    return put_in_place(path, f"damaged-{now:%Y%m%dT%H%M%S%f}")
