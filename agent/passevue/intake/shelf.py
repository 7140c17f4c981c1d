"""The segments on the disk: adding batches of records, deleting some, and finding out at start what is there.

Runs on the writer's thread, and knows nothing of duplicates or of who waits. After a failed write or sync the segment
under way is left as it is and never written to again (reliability F-06); the next batch opens a new one.
"""

import contextlib
import mmap
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from passevue.errors import Damaged
from passevue.intake import segment
from passevue.intake.disk import Disk
from passevue.intake.image_index import ImageIndex
from passevue.intake.segment import BLOCK, Kind, Record, aligned
from passevue.intake.spare import Pause, Spare
from passevue.intake.stored import Stored

STAGING_BYTES = 8 << 20
SEGMENT_BYTES = 256 << 20

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Addition:
    """A record to add: facts, and as JSON. `data` is the DICOM file, empty when it is in a file of its own."""

    kind: Kind
    facts: dict[str, Any]
    encoded: bytes
    data: bytes | bytearray
    crc: int  # of `data`

    @property
    def room(self) -> int:
        return aligned(segment.RECORD_HEADER_BYTES + len(self.encoded) + len(self.data))


@dataclass(slots=True)
class Active:
    """The segment that is written to."""

    number: int
    fd: int
    mark: bytes
    end: int


class Shelf:
    """All segments in one folder."""

    def __init__(self, folder: Path, disk: Disk, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = folder
        self._disk = disk
        self._segment_bytes = max(aligned(segment_bytes), BLOCK + STAGING_BYTES)
        self._spare = Spare(folder / "spare", disk, self._segment_bytes)
        self._active: Active | None = None
        self._next_number = 1
        self._staging = mmap.mmap(-1, STAGING_BYTES)  # page aligned, as O_DIRECT wants it
        self._view = memoryview(self._staging)

    def path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.segment"

    @property
    def active_number(self) -> int:
        """Number of the segment that the last batch went into."""
        return self._active.number if self._active else 0

    @property
    def zeros(self) -> memoryview:
        """One block of zeros, aligned."""
        self._view[:BLOCK] = bytes(BLOCK)
        return self._view[:BLOCK]

    # Adding

    def add(self, additions: Sequence[Addition]) -> list[Record]:
        """Write the batch and sync it: when this returns, the records are on the disk.

        Raises:
            OSError: they are not; the segment is given up.
        """
        active = self._room_for(sum(each.room for each in additions))
        try:
            records, size = self._stage(active, additions)
            self._disk.write(active.fd, self._view[:size], active.end)
            self._disk.sync(active.fd)
        except OSError:
            self._give_up(active)
            raise
        active.end += size
        return records

    def _room_for(self, size: int) -> Active:
        if self._active is not None and self._active.end + size > self._segment_bytes:
            self.seal()
        if self._active is None:
            self._active = self._open_segment()
        return self._active

    def _open_segment(self) -> Active:
        number, mark = self._next_number, segment.new_mark()
        path = self.path(number)
        fd = self._spare.take(path)
        if fd is None:
            fd = self._disk.create(path, self._segment_bytes)
        try:
            self._view[:BLOCK] = segment.opening(mark)
            self._disk.write(fd, self._view[:BLOCK], 0)
            self._disk.sync(fd)
            self._disk.sync_folder(self.folder)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        self._next_number += 1
        return Active(number, fd, mark, BLOCK)

    def _stage(self, active: Active, additions: Sequence[Addition]) -> tuple[list[Record], int]:
        """Lay the batch out in the staging memory, as it will be in the segment."""
        at, records = 0, []
        for each in additions:
            facts, size = each.encoded, len(each.data)
            head = segment.write_header(
                active.mark,
                each.kind,
                facts,
                facts_bytes=len(facts),
                object_bytes=size,
                object_crc=each.crc,
                batch=active.end,
            )
            record = Record(active.end + at, each.kind, each.facts, len(facts), size, each.crc, active.end)
            self._view[at : at + len(head)] = head
            self._view[at + len(head) : at + len(head) + size] = each.data
            end = record.end - active.end
            self._view[at + len(head) + size : end] = bytes(end - at - len(head) - size)
            at = end
            records.append(record)
        return records, at

    def seal(self) -> None:
        """Nothing more goes into the segment under way; the blocks it did not use are given back."""
        active, self._active = self._active, None
        if active is None:
            return
        with contextlib.suppress(OSError):  # a longer file is harmless
            os.ftruncate(active.fd, active.end)
        os.close(active.fd)

    def prepare(self, pause: Pause) -> None:
        """Make a spare segment when there is none: on a thread of its own, for it takes seconds."""
        self._spare.prepare(pause)

    def _give_up(self, active: Active) -> None:
        self._active = None
        os.close(active.fd)

    # Deleting

    def delete(self, objects: Iterable[Stored]) -> None:
        """Take objects off the disk for good. Raises: OSError: not all of them are."""
        by_segment: dict[int, list[Stored]] = {}
        for each in objects:
            by_segment.setdefault(each.segment, []).append(each)
        for number, members in by_segment.items():
            fd = os.open(self.path(number), os.O_RDWR | os.O_CLOEXEC)
            try:
                self._delete_in(fd, members)
            finally:
                os.close(fd)

    def _delete_in(self, fd: int, members: list[Stored]) -> None:
        mark, size = segment.read_mark(fd), os.fstat(fd).st_size
        emptied: list[Record] = []
        for each in members:
            record = segment.read_record(fd, mark, each.record, size)
            if record is None:
                raise Damaged("record to delete is not what was written")
            head = segment.write_header(
                mark,
                Kind.DELETED,
                b"",
                facts_bytes=record.facts_bytes,
                object_bytes=record.object_bytes,
                object_crc=0,
                batch=record.batch,
            )
            os.pwrite(fd, head.ljust(BLOCK, b"\0"), record.offset)
            emptied.append(record)
        self._disk.sync(fd)
        for record in emptied:
            self._disk.free_blocks(fd, record.offset + BLOCK, record.end - record.offset - BLOCK)

    def remove_empty(self, live: set[int]) -> list[int]:
        """Remove the segments in which nothing lives; their numbers."""
        active = self._active.number if self._active else None
        gone = [number for number, _ in segment.paths(self.folder) if number not in live and number != active]
        for number in gone:
            self.path(number).unlink(missing_ok=True)
        return gone

    # Finding out at start

    def recover(self, index: ImageIndex) -> bool:
        """Bring the index up to what the segments hold. False when something in them is damaged."""
        known = {} if index.fresh else index.scanned_to()
        found = dict(segment.paths(self.folder))
        index.forget_segments(known.keys() - found.keys())
        sound = True
        for number, path in found.items():
            self._next_number = max(self._next_number, number + 1)
            start = known.get(number, BLOCK)
            if start < path.stat().st_size or number not in known:
                sound &= self._recover_segment(index, number, path, start)
        return sound

    def _recover_segment(self, index: ImageIndex, number: int, path: Path, start: int) -> bool:
        try:
            scan = segment.scan(path, start)
        except Damaged:
            if never_begun(path):
                path.unlink()
                return True
            log.error("segment_unreadable", segment=number)
            path.rename(path.with_suffix(".damaged"))
            return False
        for begin, end in scan.damaged:
            log.error("segment_damaged", segment=number, begin=begin, end=end)
        if scan.damaged:  # stays even when the segment goes, until a person has looked at it
            with contextlib.suppress(FileExistsError):
                path.with_suffix(".damaged").hardlink_to(path)
        objects = [stored_of(number, each) for each in scan.records if each.kind is not Kind.DELETED]
        index.add(objects, {number: scan.end})
        os.truncate(path, scan.end)
        return not scan.damaged


def never_begun(path: Path) -> bool:
    """A segment that a crash left between its making and its first block."""
    with path.open("rb") as file:
        return not any(file.read(BLOCK))


def stored_of(number: int, record: Record) -> Stored:
    """The row of the index that a record makes: the same at writing and at reading again."""
    facts = dict(record.facts)
    if record.kind is Kind.OBJECT:
        facts.update(offset=record.object_offset, length=record.object_bytes, crc=record.object_crc)
    else:
        facts["offset"] = 0
    return Stored(segment=number, record=record.offset, **facts)
