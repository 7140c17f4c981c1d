"""Segments: the files that hold objects, one record after the other, and what can be read of them after a power cut.

A segment is made at its full size, so that adding a record changes no metadata of the file system, and written past
the page cache where the file system allows it: a sync is then one write and one flush of the disk. Each record starts
at a multiple of 4096: header, facts (JSON), then the DICOM file.

What makes a record believed:
- Each segment has its own random mark, repeated in every record: nobody outside can forge a record inside an object,
  and nothing left over from an earlier life of the blocks can be taken for one.
- The header has a CRC of its own and one of the facts, so an index is rebuilt without reading objects.
- Records written by one sync form a batch. Only the last batch of a segment may be torn (earlier ones were synced
  before it was begun), so only there are the objects' own CRCs checked at start.
- A damaged stretch is stepped over to the next mark, and reported.

A deleted record keeps its header, so that the walk goes on; its facts and object are gone from the disk.
"""

import json
import os
import secrets
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from struct import Struct
from typing import Any

from passevue.errors import Damaged

BLOCK = 4096
HEADER = Struct("<16sBBxxLQQLL")  # mark, version, kind, facts length, object length, batch, facts CRC, object CRC
CRC = Struct("<L")
RECORD_HEADER_BYTES = HEADER.size + CRC.size
OPENING = Struct("<16s16s")
MAGIC = b"PASSEVUE-IMAGES\0"
VERSION = 1
MAX_FACTS_BYTES = 64 << 10
SEARCH_BYTES = 1 << 20


class Kind(IntEnum):
    """What a record is."""

    OBJECT = 1  # the DICOM file is in the record
    FILE = 2  # too large for that: the facts name its own file
    DELETED = 3


KINDS = frozenset(each.value for each in Kind)


@dataclass(frozen=True, slots=True)
class Record:
    """One record as found in a segment. `facts` is empty when it is deleted; `batch` is where its batch begins."""

    offset: int
    kind: Kind
    facts: dict[str, Any]
    facts_bytes: int
    object_bytes: int
    object_crc: int
    batch: int

    @property
    def object_offset(self) -> int:
        return self.offset + RECORD_HEADER_BYTES + self.facts_bytes

    @property
    def end(self) -> int:
        return aligned(self.object_offset + self.object_bytes)


@dataclass(frozen=True, slots=True)
class Scan:
    """What a segment holds: its good records, where the next one goes, and the stretches that cannot be read."""

    records: tuple[Record, ...]
    end: int
    damaged: tuple[tuple[int, int], ...]


def aligned(offset: int) -> int:
    return -(-offset // BLOCK) * BLOCK


def opening(mark: bytes) -> bytes:
    """First block of a segment."""
    body = OPENING.pack(MAGIC, mark)
    return (body + CRC.pack(zlib.crc32(body))).ljust(BLOCK, b"\0")


def new_mark() -> bytes:
    return secrets.token_bytes(16)


def read_mark(fd: int) -> bytes:
    """Raises: Damaged: the first block is not that of a segment."""
    block = os.pread(fd, OPENING.size + CRC.size, 0)
    if len(block) < OPENING.size + CRC.size or block[OPENING.size :] != CRC.pack(zlib.crc32(block[: OPENING.size])):
        raise Damaged("first block of a segment is not what was written")
    magic, mark = OPENING.unpack_from(block)
    if magic != MAGIC:
        raise Damaged("file is not a segment of images")
    return bytes(mark)


def write_header(
    mark: bytes, kind: Kind, facts: bytes, *, facts_bytes: int, object_bytes: int, object_crc: int, batch: int
) -> bytes:
    """Header and facts of a record; `facts_bytes` is their room, which a deleted record keeps."""
    head = HEADER.pack(mark, VERSION, kind, facts_bytes, object_bytes, batch, zlib.crc32(facts), object_crc)
    return head + CRC.pack(zlib.crc32(head)) + facts


def write_facts(facts: dict[str, Any]) -> bytes:
    return json.dumps(facts, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def read_record(fd: int, mark: bytes, offset: int, size: int) -> Record | None:
    """The record at `offset` of a segment of `size` bytes; None when there is none, or a damaged one."""
    head = os.pread(fd, BLOCK, offset)
    if len(head) < RECORD_HEADER_BYTES or not head.startswith(mark):
        return None
    if head[HEADER.size : RECORD_HEADER_BYTES] != CRC.pack(zlib.crc32(head[: HEADER.size])):
        return None
    _, version, kind, facts_bytes, object_bytes, batch, facts_crc, object_crc = HEADER.unpack_from(head)
    if version != VERSION or kind not in KINDS or facts_bytes > MAX_FACTS_BYTES:
        return None
    record = Record(offset, Kind(kind), {}, facts_bytes, object_bytes, object_crc, batch)
    if record.end > size:
        return None
    if record.kind is Kind.DELETED:
        return record
    facts = head[RECORD_HEADER_BYTES : RECORD_HEADER_BYTES + facts_bytes]
    if len(facts) < facts_bytes:
        facts = os.pread(fd, facts_bytes, offset + RECORD_HEADER_BYTES)
    if zlib.crc32(facts) != facts_crc:
        return None
    return Record(offset, record.kind, json.loads(facts), facts_bytes, object_bytes, object_crc, batch)


def whole(fd: int, record: Record) -> bool:
    """Is the object in the record what was written? Read in pieces."""
    crc, at, end = 0, record.object_offset, record.object_offset + record.object_bytes
    while at < end:
        piece = os.pread(fd, min(SEARCH_BYTES, end - at), at)
        if not piece:
            return False
        crc, at = zlib.crc32(piece, crc), at + len(piece)
    return record.kind is not Kind.OBJECT or crc == record.object_crc


def scan(path: Path, start: int = BLOCK) -> Scan:
    """Everything from `start` on. Raises: Damaged: the file is not a segment at all."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        mark, size = read_mark(fd), os.fstat(fd).st_size
        records: list[Record] = []
        damaged: list[tuple[int, int]] = []
        at = start
        while at < size:
            record = read_record(fd, mark, at, size)
            if record is not None:
                records.append(record)
                at = record.end
                continue
            following = next_mark(fd, mark, at + BLOCK, size)
            if following is None:
                if os.pread(fd, len(mark), at) == mark:  # something was here: nothing is cut off
                    damaged.append((at, size))
                    at = size
                break
            damaged.append((at, following))
            at = following
        good, torn = without_torn(fd, records)
        return Scan(good, at, (*damaged, *torn))
    finally:
        os.close(fd)


def without_torn(fd: int, records: list[Record]) -> tuple[tuple[Record, ...], tuple[tuple[int, int], ...]]:
    """Take out of the last batch the records whose object is not whole."""
    if not records:
        return (), ()
    last_batch = records[-1].batch
    torn = {each.offset for each in records if each.offset >= last_batch and not whole(fd, each)}
    return (
        tuple(each for each in records if each.offset not in torn),
        tuple((each.offset, each.end) for each in records if each.offset in torn),
    )


def next_mark(fd: int, mark: bytes, at: int, size: int) -> int | None:
    """The next block that begins with the mark."""
    for start in range(at, size, SEARCH_BYTES):
        piece = os.pread(fd, SEARCH_BYTES, start)
        found = piece.find(mark)
        while found >= 0:
            if (start + found) % BLOCK == 0:
                return start + found
            found = piece.find(mark, found + 1)
    return None


def paths(folder: Path) -> Iterator[tuple[int, Path]]:
    """Segments in `folder`, by number."""
    for path in sorted(folder.glob("*.segment")):
        if path.stem.isdigit():
            yield int(path.stem), path
