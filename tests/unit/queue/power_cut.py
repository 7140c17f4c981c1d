"""A disk that loses what was not synced: an SQLite VFS (APSW) under the store's own connection and statements.

Files live in memory twice: as the operating system shows them, and as the platter has them. Each write and truncate
goes to the first and is noted; a sync carries the notes over. `cut` ends the power at the n-th operation; what the
platter then holds is the synced part plus, for a torn pattern, some of the noted sectors in any order. `fail` makes the
n-th operation raise instead: a full disk, or an I/O error (F-02, F-05, F-06).
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import apsw

from passevue.queue.connection import Connection
from passevue.queue.sqlite_settings import prepare_sqlite

SECTOR = 512
_names = iter(range(1 << 62))


class PowerCut(Exception):
    """The lights are out."""


@dataclass
class File:
    """One file: as it is shown, as the platter has it, and what lies between."""

    shown: bytearray = field(default_factory=bytearray)
    synced: bytearray = field(default_factory=bytearray)
    notes: list[tuple[int, bytes | None]] = field(default_factory=list)  # offset and bytes; None: cut to this length

    def after_cut(self, torn: random.Random | None) -> bytes:
        """What the platter holds: nothing unsynced, or a random half of its sectors, each whole."""
        data = bytearray(self.synced)
        if torn is not None:
            sectors = [note for note in self._in_sectors() if torn.random() < 0.5]
            for offset, piece in sectors:
                _apply(data, offset, piece)
        return bytes(data)

    def _in_sectors(self) -> list[tuple[int, bytes | None]]:
        pieces: list[tuple[int, bytes | None]] = []
        for offset, data in self.notes:
            if data is None:
                pieces.append((offset, None))
                continue
            at = 0
            while at < len(data):
                size = SECTOR - (offset + at) % SECTOR
                pieces.append((offset + at, data[at : at + size]))
                at += size
        return pieces


@dataclass
class Disk:
    """All files of one machine, and when its power goes or an operation fails."""

    files: dict[str, File] = field(default_factory=dict)
    operations: int = 0
    cut_at: int | None = None
    fail: Callable[[int, str], type[Exception] | None] = lambda _number, _kind: None
    dead: bool = False
    over: bool = False

    def step(self, kind: str) -> bool:
        """One operation begins; False: the story is over, and what a forgotten connection does at its end is nothing.

        Raises:
            PowerCut, or what `fail` says.
        """
        if self.over:
            return False
        if self.dead:
            raise PowerCut
        self.operations += 1
        if self.operations == self.cut_at:
            self.dead = True
            raise PowerCut
        if error := self.fail(self.operations, kind):
            raise error
        return True

    def after_cut(self, torn: random.Random | None) -> "Disk":
        """The same machine, switched on again."""
        again = Disk()
        for name, file in self.files.items():
            left = file.after_cut(torn)
            again.files[name] = File(bytearray(left), bytearray(left))
        return again


def connect(disk: Disk) -> tuple[Connection, apsw.VFS]:
    """The store's connection to `queue.sqlite` on this disk. Keep the VFS as long as the connection."""
    vfs = _Vfs(disk)
    raw = apsw.Connection("queue.sqlite", vfs=vfs.name)
    prepare_sqlite(lambda sql: list(raw.execute(sql)))
    raw.execute("PRAGMA locking_mode=EXCLUSIVE")  # no shared memory: one process, as in the kernel's view after a cut
    return Connection(_Driver(raw)), vfs


class _Driver:
    """What the store asks of a DB-API connection, over APSW's."""

    def __init__(self, raw: apsw.Connection) -> None:
        self.raw = raw
        self.execute = raw.execute
        self.close = raw.close

    def cursor(self) -> "_Cursor":
        return _Cursor(self.raw.cursor())


class _Cursor:
    description = ()  # rows may always be asked for: APSW gives none when there are none

    def __init__(self, cursor: apsw.Cursor) -> None:
        self.execute = cursor.execute
        self.fetchall = cursor.fetchall


class _Vfs(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        self.name = f"power-cut-{next(_names)}"
        self.disk = disk
        super().__init__(self.name, "")

    def xOpen(self, name, flags):  # type: ignore[no-untyped-def]
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        return _VfsFile(self.disk, path, flags)

    def xDelete(self, name, sync_dir):  # type: ignore[no-untyped-def]
        if self.disk.step("delete"):
            self.disk.files.pop(name, None)

    def xAccess(self, name, flags):  # type: ignore[no-untyped-def]
        return name in self.disk.files and bool(self.disk.files[name].shown)

    def xFullPathname(self, name):  # type: ignore[no-untyped-def]
        return name


class _VfsFile:
    def __init__(self, disk: Disk, path: str, flags: list[int]) -> None:
        self.disk = disk
        self.file = disk.files.setdefault(path, File())
        flags[1] = flags[0]
        self.level = 0

    def xRead(self, amount, offset):  # type: ignore[no-untyped-def]
        if error := self.disk.fail(self.disk.operations, "read"):
            raise error
        return bytes(self.file.shown[offset : offset + amount])

    def xWrite(self, data, offset):  # type: ignore[no-untyped-def]
        if self.disk.step("write"):
            _apply(self.file.shown, offset, data)
            self.file.notes.append((offset, bytes(data)))

    def xTruncate(self, size):  # type: ignore[no-untyped-def]
        if self.disk.step("truncate"):
            del self.file.shown[size:]
            self.file.notes.append((size, None))

    def xSync(self, flags):  # type: ignore[no-untyped-def]
        if self.disk.step("sync"):
            self.file.synced = bytearray(self.file.shown)
            self.file.notes.clear()

    def xFileSize(self):  # type: ignore[no-untyped-def]
        return len(self.file.shown)

    def xLock(self, level):  # type: ignore[no-untyped-def]
        self.level = level

    def xUnlock(self, level):  # type: ignore[no-untyped-def]
        self.level = level

    def xCheckReservedLock(self):  # type: ignore[no-untyped-def]
        return self.level >= 2

    def xFileControl(self, op, pointer):  # type: ignore[no-untyped-def]
        return False

    def xSectorSize(self):  # type: ignore[no-untyped-def]
        return SECTOR

    def xDeviceCharacteristics(self):  # type: ignore[no-untyped-def]
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE

    def xClose(self):  # type: ignore[no-untyped-def]
        return


def _apply(data: bytearray, offset: int, piece: bytes | None) -> None:
    if piece is None:
        del data[offset:]
        return
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(piece)] = piece
