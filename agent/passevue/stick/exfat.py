"""exFAT, read only: the files of the root directory.

Source: exFAT file system specification 1.0 §§ 3.1 (boot sector), 6.3 (entry sets), 7.4, 7.6, 7.7.
"""

import struct
from collections.abc import Iterator

from passevue.stick.blocks import Blocks, damaged
from passevue.stick.clusters import File, Heap, Table

_BOOT = struct.Struct("<3x8s53x8xQIIIII8xBBB")
_SET = struct.Struct("<BBHH")  # type, secondary entries, checksum, attributes
_STREAM = struct.Struct("<BBxB4xQ4xIQ")  # type, flags, name's length, valid bytes, first cluster, bytes
_FILE, _STREAM_TYPE, _NAME = 0x85, 0xC0, 0xC1
_DIRECTORY, _HIDDEN, _SYSTEM = 0x10, 0x02, 0x04
_NO_CHAIN = 0x02
_END = 0xFFFFFFFF
_MOST_CLUSTERS = 0xFFFFFFF5


def root(volume: Blocks) -> tuple[File, ...] | None:
    """The files of its root; None when this is no exFAT.

    Raises:
        Unreadable: it is one, and damaged.
    """
    name, total, table, table_size, heap_at, count, first, sector_shift, cluster_shift, tables = _BOOT.unpack_from(
        volume.read(0, 512)
    )
    if name != b"EXFAT   ":
        return None
    if not 9 <= sector_shift <= 12 or cluster_shift > 25 - sector_shift or tables not in (1, 2):
        raise damaged("an exFAT boot sector that does not hold")
    sector, cluster = 1 << sector_shift, 1 << sector_shift + cluster_shift
    inside = total * sector <= volume.size and heap_at * sector + count * cluster <= total * sector
    if not inside or count > _MOST_CLUSTERS or (count + 2) * 4 > table_size * sector:
        raise damaged("an exFAT volume that is larger than its partition")
    heap = Heap(volume, Table(volume, table * sector, table_size * sector, 4), heap_at * sector, cluster, count, _END)
    return tuple(_files(heap.directory(first), heap))


def _files(entries: bytes, heap: Heap) -> Iterator[File]:
    at = 0
    while at + 32 <= len(entries) and entries[at]:
        size = 32
        if entries[at] == _FILE:
            size = 32 * (1 + entries[at + 1])
            file = _file(entries[at : at + size], size, heap)
            if file is not None:
                yield file
        at += size


def _file(raw: bytes, size: int, heap: Heap) -> File | None:
    """Of one entry set: the file, its stream, its name in pieces of 15 letters."""
    _, others, checksum, attributes = _SET.unpack_from(raw)
    if len(raw) != size or others < 2 or _checksum(raw) != checksum or raw[32] != _STREAM_TYPE:
        raise damaged("an exFAT entry that does not hold")
    _, flags, letters, valid, first, length = _STREAM.unpack_from(raw, 32)
    pieces = [raw[at + 2 : at + 32] for at in range(64, size, 32) if raw[at] == _NAME]
    name = b"".join(pieces)[: 2 * letters].decode("utf-16-le", "replace")
    if attributes & (_DIRECTORY | _HIDDEN | _SYSTEM) or name.startswith("."):
        return None
    return File(name, length, heap, first, chained=not flags & _NO_CHAIN, whole=valid == length)


def _checksum(raw: bytes) -> int:
    """Over the set but for the field itself (§ 6.3.3)."""
    found = 0
    for at, byte in enumerate(raw):
        if at not in (2, 3):
            found = (found << 15 & 0x8000 | found >> 1) + byte & 0xFFFF
    return found
