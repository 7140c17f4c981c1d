"""The partition table: reading it, and giving partitions another UUID and name in the order that survives a power cut.

Facts (UEFI 2.10 § 5.3):
- Two copies, each a header with a checksum over itself and one over its array of entries: the primary at the disk's
  start, the backup at its end. A change writes backup array, backup header, primary array, primary header, in this
  order, each on the disk before the next; whatever moment power goes, one of both copies is whole.
- EDK2 firmwares repair a torn primary from the backup before anything starts. Linux takes the backup only with `gpt`
  on its command line (block/partitions/efi.c, find_valid_gpt): ours has it.
- systemd finds a root file system by its hash: the UUID of the root partition is the first half of the root hash,
  that of the hash partition the second (Discoverable Partitions Specification).
"""

import fcntl
import os
import struct
import uuid
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")
_BLKSSZGET = 0x1268
_MOST_ENTRIES = 1024


class NoTable(Exception):
    """Neither copy of the partition table is whole."""


@dataclass(frozen=True, slots=True)
class Partition:
    type: uuid.UUID
    uuid: uuid.UUID
    first: int  # sector
    last: int  # sector, within the partition
    flags: int
    name: str

    def encoded(self) -> bytes:
        name = self.name.encode("utf-16-le")
        if len(name) > 72:
            raise ValueError("a partition's name has at most 36 characters")
        return _ENTRY.pack(self.type.bytes_le, self.uuid.bytes_le, self.first, self.last, self.flags, name)


@dataclass(frozen=True, slots=True)
class Write:
    at: int
    data: bytes


@dataclass(frozen=True, slots=True)
class _Copy:
    """One whole copy, as read."""

    fields: tuple[int, ...]
    head: bytes  # the header's own bytes: what follows the fields that we know is kept
    entries: bytes


@dataclass(frozen=True, slots=True)
class Table:
    sector: int
    copies: Mapping[int, _Copy]  # by the sector of the header: only whole ones
    own: int  # the one that is believed
    other: int

    @property
    def entries(self) -> bytes:
        return self.copies[self.own].entries

    def partitions(self) -> dict[int, Partition]:
        """By number, from 1."""
        size = self.copies[self.own].fields[12]
        found = {}
        for number in range(len(self.entries) // size):
            kind, own, first, last, flags, name = _ENTRY.unpack_from(self.entries, number * size)
            if any(kind):
                told = name.decode("utf-16-le", "replace").partition("\0")[0]
                found[number + 1] = Partition(
                    uuid.UUID(bytes_le=kind), uuid.UUID(bytes_le=own), first, last, flags, told
                )
        return found

    def renamed(self, wanted: Mapping[int, tuple[uuid.UUID, str]]) -> tuple[Write, ...]:
        """The writes, in order, after which these partitions have this UUID and name; none when they have it and
        both copies are whole.
        """
        size = self.copies[self.own].fields[12]
        entries = bytearray(self.entries)
        for number, (own, name) in wanted.items():
            entry = replace(self.partitions()[number], uuid=own, name=name)
            entries[(number - 1) * size : (number - 1) * size + _ENTRY.size] = entry.encoded()
        return self._changed(bytes(entries))

    def without(self, number: int) -> tuple[Write, ...]:
        """The writes, in order, after which there is no such partition."""
        size = self.copies[self.own].fields[12]
        entries = bytearray(self.entries)
        entries[(number - 1) * size : number * size] = bytes(size)
        return self._changed(bytes(entries))

    def _changed(self, entries: bytes) -> tuple[Write, ...]:
        written: list[Write] = []
        primary, backup = (self.own, self.other) if self.own < self.other else (self.other, self.own)
        for here in (backup, primary):
            whole = self.copies.get(here)
            if whole is None or whole.entries != entries:
                written += self._copy(here, primary + backup - here, entries)
        return tuple(written)

    def _copy(self, here: int, there: int, entries: bytes) -> tuple[Write, Write]:
        """Array, then header. A copy that was not whole is made from the one that was."""
        base = self.copies.get(here) or self.copies[self.own]
        fields = list(base.fields)
        if here not in self.copies:
            sectors = -(-len(entries) // self.sector)
            fields[10] = here + 1 if here < there else here - sectors
        fields[5], fields[6] = here, there
        fields[13] = zlib.crc32(entries)
        fields[3] = 0
        head = _HEADER.pack(*fields) + base.head[_HEADER.size :]
        fields[3] = zlib.crc32(head)
        head = _HEADER.pack(*fields) + base.head[_HEADER.size :]
        return Write(fields[10] * self.sector, entries), Write(here * self.sector, head.ljust(self.sector, b"\0"))


def read(disk: int) -> Table:
    """The table of an open disk (or file that is one).

    Raises:
        NoTable: neither copy is whole.
    """
    sector = _sector(disk)
    end = os.lseek(disk, 0, os.SEEK_END) // sector - 1
    primary = _read_copy(disk, sector, 1)
    alternate = primary.fields[6] if primary else end
    backup = _read_copy(disk, sector, alternate)
    copies = {here: copy for here, copy in ((1, primary), (alternate, backup)) if copy}
    if not copies:
        raise NoTable("neither copy of the partition table is whole")
    own = 1 if primary else alternate
    return Table(sector, copies, own, alternate if primary else 1)


def _read_copy(disk: int, sector: int, here: int) -> _Copy | None:
    head = os.pread(disk, sector, here * sector)
    if len(head) != sector:
        return None
    fields = _HEADER.unpack_from(head)
    magic, _, size, told, _, own, _, _, _, _, array, count, each, sum_of_entries = fields
    if magic != b"EFI PART" or not _HEADER.size <= size <= sector or own != here:
        return None
    if zlib.crc32(head[:16] + bytes(4) + head[20:size]) != told:
        return None
    if not 0 < count <= _MOST_ENTRIES or each < 128 or each > 4096:
        return None
    entries = os.pread(disk, count * each, array * sector)
    if len(entries) != count * each or zlib.crc32(entries) != sum_of_entries:
        return None
    return _Copy(fields, head[:size], entries)


def _sector(disk: int) -> int:
    try:
        return int(struct.unpack("i", fcntl.ioctl(disk, _BLKSSZGET, b"\0\0\0\0"))[0])
    except OSError:
        return 512  # a file
