"""The images that the box keeps itself: put durably, found by study, read back, and let go when their time is over.

`put` returns once the object is on the disk (Q-01); `find_study` answers as a PACS would; nothing grows in memory with
the number of objects. How objects lie on the disk is `segment`'s matter, who writes them `writer`'s.

Folder: `segments/` (objects), `files/` (those too large for a segment), `spool/` (on their way), `index.sqlite`
(derived), `lock` (one box at a time).

    images = Images(config.images, data_dir / "images")
    await images.start()
    async with images.receive(identity, "CT1") as incoming: ...
    study = await images.find_study("1.2.3")
    await images.stop()
"""

import asyncio
import fcntl
import json
import mmap
import os
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, TypeVar

import structlog

from passevue import config
from passevue.errors import Damaged, StoreError, Unreadable
from passevue.intake import part10, shelf
from passevue.intake.data_set import Buffer
from passevue.intake.disk import Disk
from passevue.intake.image_jobs import Kept
from passevue.intake.incoming import PIECE_BYTES, Incoming
from passevue.intake.key_object import read_aside
from passevue.intake.retention import Holding, leaving
from passevue.intake.room import Level, Thresholds
from passevue.intake.stored import KEY_OBJECT_CLASS, Row, Stored, study_of
from passevue.intake.study import KeyObject, Study
from passevue.intake.writer import Writer

UPKEEP_S = 5.0
PURGE_EVERY_S = 3600.0
MAX_READ_BYTES = 256 << 20

log = structlog.get_logger()
T = TypeVar("T")
Protected = Callable[[], Awaitable[Collection[str]]]


@dataclass(frozen=True, slots=True)
class Identity:
    """What an object is, as its command and presentation context said. The UIDs are already checked."""

    sop_uid: str
    sop_class: str
    transfer_syntax: str


async def nothing_protected() -> Collection[str]:
    return ()


class Images:
    """The box's own images. `level` says whether more are taken."""

    def __init__(
        self,
        settings: config.Images,
        folder: Path,
        *,
        disk: Disk | None = None,
        thresholds: Thresholds | None = None,
        segment_bytes: int = shelf.SEGMENT_BYTES,
    ) -> None:
        self._settings = settings
        self.folder = folder
        self._disk = disk or Disk()
        self._thresholds = thresholds or Thresholds()
        self._segment_bytes = segment_bytes
        self._lock: IO[bytes] | None = None
        self._writer: Writer | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Take the folder, and find out what is in it. Harmless the second time.

        Raises:
            StoreError: it cannot be used, or another box uses it.
        """
        async with self._starting:
            if self._writer is None:
                await self._start()

    async def _start(self) -> None:
        self._lock = await asyncio.to_thread(locked, self.folder)
        writer = Writer(
            self.folder,
            self._disk,
            segment_bytes=self._segment_bytes,
            budget_bytes=self._settings.budget_bytes,
            thresholds=self._thresholds,
        )
        try:
            await writer.start()
        except BaseException:
            self._lock.close()
            raise
        self._writer = writer

    async def stop(self) -> None:
        """What was put is on the disk and in the index; the folder is free."""
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.stop()
        if self._lock is not None:
            self._lock.close()

    async def run(self, protected: Protected = nothing_protected) -> None:
        """Start, keep an eye on the disk, let go of what retention and budget say; stop when cancelled.

        `protected` answers the studies that must stay: published, or waiting in the queue.
        """
        await self.start()
        try:
            last_purge = 0.0
            while True:
                await self.refresh()
                now = asyncio.get_running_loop().time()
                full = self._running.image_bytes >= self._settings.budget_bytes
                if now - last_purge > (PURGE_EVERY_S if not full else 60):
                    last_purge = now
                    try:
                        await self.purge(datetime.now(UTC), await protected())
                    except StoreError as err:
                        log.error("images_not_purged", error=err.message)
                await asyncio.sleep(UPKEEP_S)
        finally:
            await self.stop()

    @property
    def _running(self) -> Writer:
        if self._writer is None:
            raise StoreError("images are not open")
        return self._writer

    @property
    def level(self) -> Level:
        return self._writer.level if self._writer else Level.STOP

    async def refresh(self) -> None:
        """Measure the volume now, probe the disk if it has failed."""
        await self._running.call(self._running.refresh)

    # Taking in

    def receive(self, identity: Identity, source_ae: str, max_bytes: int = 4 << 30) -> Incoming:
        """Begin an object. Use with `async with`: what was not put is discarded."""
        head = part10.write_meta(identity.sop_class, identity.sop_uid, identity.transfer_syntax, source_ae)
        return Incoming(self.folder / "spool", self._disk, head, max_bytes)

    async def put(
        self, incoming: Incoming, identity: Identity, series: tuple[str, str], attributes: dict[str, str], now: datetime
    ) -> Kept:
        """Keep the object that `incoming` holds whole. `series` is its study and series UID.

        Raises:
            NoRoom, StoreError: it is not kept.
        """
        facts: dict[str, Any] = {
            "sop_uid": identity.sop_uid,
            "sop_class": identity.sop_class,
            "study_uid": series[0],
            "series_uid": series[1],
            "transfer_syntax": identity.transfer_syntax,
            "meta_bytes": incoming.head_bytes,
            "received_at": now.timestamp(),
            "attributes": json.dumps(attributes, separators=(",", ":")),
        }
        if incoming.path is None:
            return await self._running.put(facts, incoming.buffer, incoming.crc)
        await incoming.finish()
        facts.update(length=incoming.length, crc=incoming.crc)
        return await self._running.put(facts, b"", 0, incoming.path)

    async def look_into(self, incoming: Incoming, look: Callable[[Buffer], T]) -> T:
        """`look` at the data set: on the loop when it is small, on a thread when it is in a file."""
        if incoming.path is None:
            with memoryview(incoming.buffer) as view:
                return look(view[incoming.head_bytes :])
        await incoming.spill()
        return await asyncio.to_thread(look_into_file, incoming.path, incoming.head_bytes, look)

    # Finding

    async def find_study(self, study_uid: str) -> Study | None:
        """The study as a PACS would describe it, its key objects read whole; None when nothing of it is here.

        Raises:
            StoreError: the index or an object cannot be read.
        """
        rows: list[Row] = await self._running.call(lambda: self._running.index.rows(study_uid))
        notes = [row for row in rows if row.sop_class == KEY_OBJECT_CLASS]
        key_objects = [note for note in [await self._key_object(row.sop_uid) for row in notes] if note]
        return await asyncio.to_thread(study_of, study_uid, rows, tuple(key_objects))

    async def _key_object(self, sop_uid: str) -> KeyObject | None:
        try:
            return await read_aside(await self.open(sop_uid))
        except Unreadable as err:
            log.warning("key_object_unreadable", error=err.message)
            return None

    async def find(self, sop_uid: str) -> Stored | None:
        """Where the object is that counts for this UID."""
        versions = await self.versions(sop_uid)
        return versions[0] if versions else None

    async def versions(self, sop_uid: str) -> list[Stored]:
        """Every object that came with this UID, the one that counts first; more than one is a conflict."""
        found: list[Stored] = await self._running.call(lambda: self._running.versions(sop_uid))
        return found

    async def classes(self, sop_uids: Collection[str]) -> dict[str, str]:
        """SOP class of each of these objects that is here."""
        writer = self._running

        def look_up() -> dict[str, str]:
            return {uid: versions[0].sop_class for uid in sop_uids if (versions := writer.versions(uid))}

        found: dict[str, str] = await writer.call(look_up)
        return found

    async def objects(self, study_uid: str) -> list[Stored]:
        """Every object of a study, conflicts included."""
        found: list[Stored] = await self._running.call(lambda: self._running.index.of_study(study_uid))
        return found

    async def holdings(self) -> list[Holding]:
        """The studies that are here."""
        found: list[Holding] = await self._running.call(lambda: self._running.index.holdings())
        return found

    async def totals(self) -> tuple[int, int]:
        """Objects and bytes."""
        found: tuple[int, int] = await self._running.call(lambda: self._running.index.totals())
        return found

    # Reading

    async def open(self, sop_uid: str) -> bytes:
        """The object as a DICOM file, checked against what was written.

        Raises:
            KeyError: it is not here.
            Damaged: it is not what was written.
            StoreError: it is too large to be read whole: use `pieces`.
        """
        stored = await self.find(sop_uid)
        if stored is None:
            raise KeyError(sop_uid)
        return await self.read(stored)

    async def read(self, stored: Stored) -> bytes:
        """As `open`, for an object already found."""
        if stored.length > MAX_READ_BYTES:
            raise StoreError(f"object of {stored.length} bytes is not read whole")
        return b"".join([piece async for piece in self.pieces(stored)])

    async def pieces(self, stored: Stored) -> AsyncIterator[bytes]:
        """The object as a DICOM file in pieces; Damaged comes after the last one when it was not what was written."""
        path = self._running.file_of(stored)
        try:
            fd = await asyncio.to_thread(os.open, path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as err:
            raise Damaged("an object's file is gone") from err
        try:
            crc, at, end = 0, stored.offset, stored.offset + stored.length
            while at < end:
                piece = await asyncio.to_thread(os.pread, fd, min(PIECE_BYTES, end - at), at)
                if not piece:
                    raise Damaged("an object ends before its length")
                crc, at = zlib.crc32(piece, crc), at + len(piece)
                yield piece
            if crc != stored.crc:
                raise Damaged("an object is not what was written")
        finally:
            os.close(fd)

    # Letting go

    async def delete_study(self, study_uid: str, as_of: datetime | None = None) -> int:
        """Take a study off the disk; the number of objects that went. The caller audits.

        `as_of`: when its last object came, as far as the caller knows; nothing goes when more has come since.

        Raises:
            StoreError: not everything is gone; may be called again.
        """
        writer = self._running

        def delete() -> int:  # on the writer's thread, where nothing comes in between
            objects = writer.index.of_study(study_uid)
            if as_of is not None and any(datetime.fromtimestamp(each.received_at, UTC) > as_of for each in objects):
                return 0
            writer.delete(objects)
            return len(objects)

        gone: int = await writer.call(delete)
        return gone

    async def purge(self, now: datetime, protected: Collection[str]) -> list[Holding]:
        """Delete what retention and budget say, oldest first; what went, for the caller's audit.

        A study of which more has come meanwhile stays whole: it is not what was judged. One that cannot be deleted
        keeps none of the others.
        """
        judged = leaving(
            await self.holdings(),
            protected,
            now,
            retention_days=self._settings.retention_days,
            budget_bytes=self._settings.budget_bytes,
        )
        gone: list[Holding] = []
        for each in judged:
            try:
                if await self.delete_study(each.study_uid, each.last_received_at):
                    gone.append(each)
            except StoreError as err:
                log.error("study_not_deleted", error=err.message)
        if gone:
            log.info("images_purged", studies=len(gone), bytes=sum(each.size_bytes for each in gone))
        return gone


def locked(folder: Path) -> IO[bytes]:
    """The folder, made if it has to be, for us alone (F-38)."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (folder / "lock").open("ab")
    except OSError as err:
        raise StoreError(f"folder of images cannot be used: {err.strerror}") from err
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as err:
        lock.close()
        raise StoreError("another box uses this folder of images", hint="Une autre instance est déjà lancée.") from err
    return lock


def look_into_file(path: Path, start: int, look: Callable[[Buffer], T]) -> T:
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as view,
        view[start:] as data,
    ):
        return look(data)
