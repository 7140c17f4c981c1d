"""The one thread that writes images: it takes what waits, writes it as one batch, syncs once, and lets all know.

While a batch is on its way to the disk the next one gathers, so that many associations share a sync (group commit) and
one association alone waits for no timer. The index follows behind, when nothing waits: an acknowledgement never waits
for it, and until it has caught up `_unindexed` answers in its place.

Rules:
- The same SOP Instance UID with the same data set and transfer syntax is not written again (F-17: folded).
- The same with another data set is written and flagged; the first one stays the one that counts (F-17: conflict).
- After a failed write, nothing is taken until a probe of the disk has been written and synced (reliability F-06).
"""

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import structlog

from passevue.errors import BoxError, NoRoom, StoreError
from passevue.intake import segment
from passevue.intake.disk import Disk
from passevue.intake.image_index import ImageIndex
from passevue.intake.image_jobs import Call, Kept, Put, Settled, index_behind, outcome, settle
from passevue.intake.incoming import store_error
from passevue.intake.room import Level, Room, Thresholds, level
from passevue.intake.same_object import same_object
from passevue.intake.segment import BLOCK
from passevue.intake.shelf import STAGING_BYTES, Shelf, stored_of
from passevue.intake.stored import Stored

INDEX_DELAY_S = 0.05  # of silence before the index is written
INDEX_MOST = 4096  # rows that may wait for it
QUIET_S = 1.0  # without a batch, before a spare segment is prepared
SPARE_PAUSE_S = 0.004  # after each MiB of it: some 200 MB/s at most
PROBE_AFTER_S = 1.0  # from a failed write to the next probe

log = structlog.get_logger()


class Writer:
    """Owns the shelf, the writing side of the index, and the thread."""

    def __init__(
        self, folder: Path, disk: Disk, *, segment_bytes: int, budget_bytes: int, thresholds: Thresholds
    ) -> None:
        self.level = Level.STOP
        self.image_bytes = 0
        self._folder = folder
        self._disk = disk
        self._budget_bytes = budget_bytes
        self._thresholds = thresholds
        self._shelf = Shelf(folder / "segments", disk, segment_bytes)
        self._jobs: queue.SimpleQueue[Put | Call | None] = queue.SimpleQueue()
        self._unindexed: dict[str, list[Stored]] = {}
        self._ends: dict[int, int] = {}
        self._waiting_rows = 0
        self._failed_at: float | None = None
        self._measured_at = 0.0
        self._last_batch_at = 0.0
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="images", daemon=True)
        self._index: ImageIndex
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._in_hand: list[Put | Call | None] = []  # taken off the queue and not yet settled
        self._spare_taken = threading.Event()
        self._preparer = threading.Thread(target=self._prepare, name="images spare", daemon=True)

    # From the loop

    async def start(self) -> None:
        """Raises: StoreError: the folder cannot be used."""
        try:
            await asyncio.to_thread(self._recover)
        except OSError as err:
            raise store_error(err) from err
        self._thread.start()
        self._preparer.start()

    def put(
        self, facts: dict[str, Any], data: bytes | bytearray, crc: int, file: Path | None = None
    ) -> asyncio.Future[Kept]:
        answer: asyncio.Future[Kept] = self._loop.create_future()
        self._jobs.put(Put(facts, data, crc, answer, file))
        self._check_running()
        return answer

    async def call(self, work: Callable[[], Any]) -> Any:
        """Run `work` on the thread, after what was put before; the index is up to date when it runs."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.put(Call(work, answer))
        self._check_running()
        return await answer

    def _check_running(self) -> None:
        if self._ended.is_set():
            raise StoreError("the writer of images has ended")

    async def stop(self) -> None:
        """Everything that was put is settled, the index is up to date, the thread has ended."""
        self._jobs.put(None)
        self._stopping.set()
        self._spare_taken.set()
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._preparer.join)

    def _prepare(self) -> None:
        """Keep a spare segment ready, as long as there is room."""
        while not self._stopping.is_set():
            self._spare_taken.clear()
            if self._quiet() and self.level < Level.HOLD:
                self._shelf.prepare(self._quiet)
            self._spare_taken.wait()

    def _quiet(self) -> bool:
        """Return when nothing has come for a moment; False when the writer stops."""
        stopping = self._stopping.wait(SPARE_PAUSE_S)
        while not stopping and time.monotonic() - self._last_batch_at < QUIET_S:
            stopping = self._stopping.wait(QUIET_S)
        return not stopping

    # On the thread

    def _recover(self) -> None:
        for name in ("segments", "files", "spool"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        for leftover in (self._folder / "spool").iterdir():
            leftover.unlink()
        self._index = ImageIndex(self._folder / "index.sqlite")
        sound = self._shelf.recover(self._index)
        if sound:
            self._remove_orphans()
        self.image_bytes = self._index.totals()[1]
        self.measure()

    def _remove_orphans(self) -> None:
        """Files whose record never reached the disk: they were not acknowledged."""
        known = self._index.files()
        for path in (self._folder / "files").iterdir():
            if path.name not in known:
                path.unlink()

    def _run(self) -> None:
        """Until stopped. Whatever goes wrong that nobody foresaw, those who wait are told."""
        try:
            self._work()
        except Exception:
            log.exception("image_writer_failed")
        finally:
            self.level = Level.STOP
            self._ended.set()
            self._dismiss()

    def _dismiss(self) -> None:
        waiting = self._in_hand
        with contextlib.suppress(queue.Empty):
            while True:
                waiting.append(self._jobs.get_nowait())
        self._tell([(job.answer, StoreError("the writer of images has ended")) for job in waiting if job is not None])
        self._index.close()

    def _work(self) -> None:
        running = True
        while running:
            try:
                job = self._jobs.get(timeout=self._patience)
            except queue.Empty:
                self._write_index()
                continue
            settled: list[Settled] = []
            puts, job = self._gather(job)
            self._in_hand = [*puts, job]
            for batch in self._batches(puts):
                settled += self._keep(batch)
            if isinstance(job, Call):
                self._write_index()
                settled.append((job.answer, outcome(job.work) if not self._waiting_rows else index_behind()))
            self._tell(settled)
            self._in_hand = []
            if self._waiting_rows > INDEX_MOST:
                self._write_index()
            running = bool(puts) or job is not None
        self._write_index()
        self._shelf.seal()

    @property
    def _patience(self) -> float | None:
        """How long to wait for a job before the index is written."""
        if not self._waiting_rows:
            return None
        return INDEX_DELAY_S if self._failed_at is None else PROBE_AFTER_S

    def _gather(self, job: Put | Call | None) -> tuple[list[Put], Put | Call | None]:
        """The puts that wait now, and the first job that is none (the last put when there is no such)."""
        puts: list[Put] = []
        while isinstance(job, Put):
            puts.append(job)
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
        if job is None and puts:
            self._jobs.put(None)  # stop comes after them, once more
        return puts, job

    def _batches(self, puts: list[Put]) -> Iterator[list[Put]]:
        """Cut where the staging memory ends, and before a UID that is already in the batch."""
        batch: list[Put] = []
        room = 0
        for put in puts:
            size = len(put.data) + segment.MAX_FACTS_BYTES + BLOCK
            if batch and (room + size > STAGING_BYTES or any(each.sop_uid == put.sop_uid for each in batch)):
                yield batch
                batch, room = [], 0
            batch.append(put)
            room += size
        if batch:
            yield batch

    def _keep(self, batch: list[Put]) -> list[Settled]:
        """Settle one batch: known ones are folded, the others written and synced."""
        self._last_batch_at = time.monotonic()
        try:
            self._check_room()
            settled: list[Settled] = []
            fresh: list[tuple[Put, bool]] = []
            for put in batch:
                versions = self.versions(put.sop_uid)
                if put.answer.cancelled():  # its association is gone, and perhaps its file
                    continue
                same = next((each for each in versions if same_object(each, self.file_of(each), put)), None)
                if same:
                    settled.append((put.answer, Kept(same, duplicate=True, conflict=same.conflict)))
                elif put.file is None or self._take_over(put):
                    fresh.append((put, bool(versions)))
                else:
                    settled.append((put.answer, StoreError("the association of an object ended before it was kept")))
            return settled + self._write(fresh)
        except OSError as err:
            self._failed_at = time.monotonic()
            self.measure()
            log.error("image_write_failed", error=err.strerror)
            return [(put.answer, store_error(err)) for put in batch]
        except BoxError as err:
            return [(put.answer, err) for put in batch]
        except sqlite3.Error as err:
            log.exception("image_index_failed")
            return [(put.answer, StoreError(f"index of images: {err}")) for put in batch]

    def _write(self, fresh: list[tuple[Put, bool]]) -> list[Settled]:
        if not fresh:
            return []
        segment_before = self._shelf.active_number
        records = self._shelf.add([put.addition(conflict=conflict) for put, conflict in fresh])
        if self._shelf.active_number != segment_before:
            self._spare_taken.set()
        settled: list[Settled] = []
        for (put, conflict), record in zip(fresh, records, strict=True):
            stored = stored_of(self._shelf.active_number, record)
            self._unindexed.setdefault(stored.sop_uid, []).append(stored)
            self._ends[stored.segment] = record.end
            self._waiting_rows += 1
            self.image_bytes += stored.length
            settled.append((put.answer, Kept(stored, conflict=conflict)))
        return settled

    def _take_over(self, put: Put) -> bool:
        """Move a synced file from the spool to its place, under a name of ours. False: it is there no more."""
        assert put.file is not None  # noqa: S101 - the caller looked
        name = f"{uuid4().hex}.dcm"
        try:
            put.file.rename(self._folder / "files" / name)
        except FileNotFoundError:
            return False
        self._disk.sync_folder(self._folder / "files")
        put.facts["file"] = name
        return True

    def _tell(self, settled: list[Settled]) -> None:
        if settled:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(settle, settled)

    def _write_index(self) -> None:
        if not self._waiting_rows:
            return
        rows = [each for versions in self._unindexed.values() for each in versions]
        try:
            self._index.add(rows, self._ends)
        except sqlite3.Error:
            log.exception("image_index_failed", waiting=len(rows))
            self._failed_at = time.monotonic()
            self.measure()
            return
        self._unindexed.clear()
        self._ends.clear()
        self._waiting_rows = 0

    # Duplicates

    def versions(self, sop_uid: str) -> list[Stored]:
        return self._index.versions(sop_uid) + self._unindexed.get(sop_uid, [])

    def file_of(self, stored: Stored) -> Path:
        return self._folder / "files" / stored.file if stored.file else self._shelf.path(stored.segment)

    # Room

    def _check_room(self) -> None:
        """Raises: NoRoom, StoreError: nothing is taken now."""
        if self._failed_at is not None and time.monotonic() - self._failed_at > PROBE_AFTER_S:
            self._probe()
        if self._failed_at is None and time.monotonic() - self._measured_at > 1:
            self.measure()
        if self.level >= Level.HOLD:
            raise NoRoom("no room for images") if self._failed_at is None else StoreError("the disk of images fails")

    def _probe(self) -> None:
        path = self._folder / "probe"
        path.unlink(missing_ok=True)
        try:
            fd = self._disk.create(path, BLOCK)
            try:
                self._disk.write(fd, self._shelf.zeros, 0)
                self._disk.sync(fd)
            finally:
                os.close(fd)
                path.unlink(missing_ok=True)
        except OSError:
            self._failed_at = time.monotonic()
            return
        self._failed_at = None
        self.measure()

    def measure(self) -> None:
        """Look at the volume."""
        try:
            total, free = self._disk.room(self._folder)
        except OSError:
            total = free = 0  # a volume that cannot be asked is full
        room = Room(total, free, self.image_bytes, self._budget_bytes, self._failed_at is not None)
        self.level = level(room, self._thresholds)
        self._measured_at = time.monotonic()

    def refresh(self) -> None:
        """Probe after a failure, measure otherwise: called now and then while nothing comes."""
        if self._failed_at is not None:
            self._probe()
        self.measure()

    # Deleting

    def delete(self, objects: Iterable[Stored]) -> None:
        """Raises: OSError, Damaged: not everything is gone."""
        gone = list(objects)
        self._shelf.delete(gone)
        for each in gone:
            if each.file:
                (self._folder / "files" / each.file).unlink(missing_ok=True)
        self._index.forget(gone)
        self._index.forget_segments(self._shelf.remove_empty(self._index.live_segments()))
        self.image_bytes -= sum(each.length for each in gone)
        self.measure()

    @property
    def index(self) -> ImageIndex:
        """For `call` only."""
        return self._index
