"""The store as it was before an update changed its schema (fleet.md § 6): one copy beside it, whole or not at all.

The first start of a release with a newer schema takes it, before the first step. It lies beside the store, on the same
encrypted volume, with the same rights; it goes when the update has proved itself (`drop`), or after `KEPT`. What the
release before does with it is in `going_back`.

Facts:
- the copy is page by page (SQLite's backup), with nobody else in the store: what it holds is what was committed;
- it is written under another name, synced, then renamed: a cut leaves a file that counts for nothing, and the schema
  as it was.
"""

import os
import sqlite3
import time
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path

from passevue.durable import sync_folder
from passevue.errors import NoRoom, StoreError
from passevue.queue.room import Level, Limits, Volume, level_of, measure
from passevue.queue.version import schema_in
from passevue.shared import open_shared

__all__ = ["KEPT", "drop", "drop_old", "snapshot_of", "take", "under_way"]

KEPT = timedelta(days=30)  # where nobody says that the update is done: a laptop, a box that fell back for good
PIECE_PAGES = 4096  # of 8 KiB
STILL_S = 30.0  # a copy that grew this long ago is somebody's who is at it


def snapshot_of(path: Path) -> Path:
    """Where the snapshot of this database lies, if there is one."""
    return path.with_name(f"{path.stem}.before-update{path.suffix}")


def take(path: Path, limits: Limits) -> Path:
    """The database at `path` as it is now, in place of an earlier snapshot. The caller is alone in the store. Blocks.

    Raises:
        NoRoom: the volume has none for it. StoreError: it cannot be written.
    """
    place, fresh = snapshot_of(path), _fresh(path)
    try:
        for old in (*_files(fresh), *_files(place)):  # what it was of has gone on since
            old.unlink(missing_ok=True)
        with closing(sqlite3.connect(path, isolation_level=None, timeout=20)) as source:
            _admit(path.parent, _size(source), limits)
            os.close(open_shared(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
            with closing(sqlite3.connect(fresh, isolation_level=None)) as target:
                for each in ("journal_mode=OFF", "synchronous=OFF"):  # it counts from its name on, and that comes last
                    target.execute(f"PRAGMA {each}")
                source.backup(target, pages=PIECE_PAGES)
        _sync(fresh)
        if schema_in(fresh) != schema_in(path):
            raise StoreError("the snapshot of the store is not what was copied")
        fresh.replace(place)
        sync_folder(path.parent)
    except (OSError, sqlite3.Error) as err:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise _ours(err) from err
    return place


def drop(path: Path) -> None:
    """The update has proved itself. Raises: OSError."""
    for each in _files(snapshot_of(path)):
        each.unlink(missing_ok=True)


def drop_old(path: Path, now: datetime) -> None:
    """Nobody said that the update is done, and it is long ago."""
    with suppress(OSError):
        if now.timestamp() - snapshot_of(path).stat().st_mtime > KEPT.total_seconds():
            drop(path)


def under_way(path: Path) -> bool:
    """Whether another process takes a snapshot at this moment: a large store takes longer than people wait."""
    try:
        return time.time() - _fresh(path).stat().st_mtime < STILL_S
    except OSError:
        return False


def _fresh(path: Path) -> Path:
    return path.with_name(f"{path.stem}.before-update.new")


def _files(database: Path) -> tuple[Path, ...]:
    return tuple(database.with_name(database.name + suffix) for suffix in ("", "-wal", "-shm"))


def _size(conn: sqlite3.Connection) -> int:
    pages, size = (int(conn.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "page_size"))
    return pages * size


def _admit(folder: Path, size: int, limits: Limits) -> None:
    """It must leave the box room to go on taking in. Raises: NoRoom, OSError."""
    volume = measure(folder)
    after = Volume(volume.used_bytes + size, volume.free_bytes - size)
    if after.free_bytes < 0 or level_of(after, False, limits) is Level.STOP:
        raise _no_room(f"{size >> 20} MiB for a snapshot, {volume.free_bytes >> 20} MiB free")


def _no_room(what: str) -> NoRoom:
    return NoRoom(
        f"no room: {what}",
        hint="Pas assez de place pour garder une copie de la file d’attente avant la mise à jour : libérez du disque.",
    )


def _sync(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _ours(err: OSError | sqlite3.Error) -> StoreError:
    full = getattr(err, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
    if full or (isinstance(err, OSError) and err.errno in (28, 122)):  # ENOSPC, EDQUOT
        return _no_room("the snapshot of the store does not fit")
    return StoreError(
        f"the snapshot of the store cannot be taken: {type(err).__name__}",
        hint="La copie de la file d’attente avant la mise à jour ne s’écrit pas. Vérifiez le disque.",
    )
