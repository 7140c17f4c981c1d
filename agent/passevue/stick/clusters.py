"""Clusters of a volume and the chains that files are: what FAT and exFAT have in common.

A chain is followed for as many clusters as its file can have and no further, so one that bites its tail ends like any
other that does not hold. What lies together on the stick is read together.

Source: EFI FAT32 specification 1.03 § 4; exFAT specification 1.0 §§ 4, 5.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from passevue.stick.blocks import Blocks, damaged

PIECE = 256 << 10
FIRST = 2  # number of the first cluster
MOST_DIRECTORY = 2 << 20  # 65,536 entries: FAT's own bound


class Table:
    """The file allocation table: which cluster follows which. Keeps the piece of it that was read last."""

    PIECE = 32 << 10

    def __init__(self, blocks: Blocks, start: int, size: int, width: int) -> None:
        """`start`, `size`: bytes. `width`: of an entry, 2 or 4 bytes."""
        self._blocks, self._start, self._size, self._width = blocks, start, size, width
        self._at, self._piece = -1, b""

    def after(self, cluster: int) -> int:
        """What its entry says."""
        at, offset = divmod(cluster * self._width, self.PIECE)
        if at != self._at:
            start = at * self.PIECE
            self._piece = self._blocks.read(self._start + start, max(min(self.PIECE, self._size - start), 0))
            self._at = at
        found = self._piece[offset : offset + self._width]
        if len(found) < self._width:
            raise damaged("a table that is too short")
        return int.from_bytes(found, "little")


@dataclass(frozen=True, slots=True)
class Heap:
    """The clusters of one volume.

    Attributes:
        start: where the first one is, in bytes.
        cluster: bytes of one.
        count: how many there are.
        mask: which bits of a table's entry count.
    """

    blocks: Blocks
    table: Table
    start: int
    cluster: int
    count: int
    mask: int

    def chain(self, first: int, most: int) -> Iterator[int]:
        """Clusters one after the other, to the end of the chain, or `most` of them.

        Raises:
            Unreadable: it leads out of the volume.
        """
        cluster = first
        for _ in range(most):
            if not FIRST <= cluster < self.count + FIRST:
                raise damaged("a chain that leads out of the volume")
            yield cluster
            cluster = self.table.after(cluster) & self.mask
            if cluster >= self.mask - 7:  # an end; FAT: F8 to FF, exFAT: FF
                return

    def extents(self, first: int, length: int, *, chained: bool = True) -> Iterator[tuple[int, int]]:
        """Where `length` bytes are: (at, size), at most `PIECE` at once.

        Raises:
            Unreadable: the chain ends before, or leads out of the volume; the file is larger than that.
        """
        missing, count = length, -(-length // self.cluster)
        if count > self.count:  # else a chain that bites its tail could give 2⁶⁴ bytes
            raise damaged("a file that is larger than its volume")
        for cluster, together in self._runs(first, count, chained=chained):
            run = min(together * self.cluster, missing)
            at = self.start + (cluster - FIRST) * self.cluster
            for offset in range(0, run, PIECE):
                yield at + offset, min(PIECE, run - offset)
            missing -= run
        if missing:
            raise damaged("a file that is longer than its chain")

    def _runs(self, first: int, count: int, *, chained: bool) -> Iterator[tuple[int, int]]:
        """First cluster and number of those that lie together; as long as one read takes them."""
        if not chained:
            if count and not FIRST <= first <= self.count + FIRST - count:
                raise damaged("a file that leads out of the volume")
            yield first, count
            return
        longest = max(PIECE // self.cluster, 1)
        start = together = 0
        for cluster in self.chain(first, count) if count else ():
            if together and (cluster != start + together or together == longest):
                yield start, together
                together = 0
            start = start if together else cluster
            together += 1
        if together:
            yield start, together

    def directory(self, first: int) -> bytes:
        """All of a directory, whose length is its chain's.

        Raises:
            Unreadable: it is longer than one can be.
        """
        most = MOST_DIRECTORY // self.cluster or 1
        found = list(self.chain(first, most + 1))
        if len(found) > most:
            raise damaged("a directory without end")
        at = (self.start + (cluster - FIRST) * self.cluster for cluster in found)
        return b"".join(self.blocks.read(each, min(self.cluster, MOST_DIRECTORY)) for each in at)


@dataclass(frozen=True, slots=True)
class File:
    """A file of a root directory. `size` in bytes; `whole` is false where not all of it was ever written."""

    name: str
    size: int
    heap: Heap = field(repr=False)
    first: int = field(repr=False)
    chained: bool = field(default=True, repr=False)
    whole: bool = field(default=True, repr=False)

    def pieces(self) -> Iterator[bytes]:
        """Its content, at most `PIECE` bytes at once.

        Raises:
            Unreadable: the volume is damaged, or the stick fails.
        """
        if not self.whole:
            raise damaged("a file that was not written to its end")
        for at, size in self.heap.extents(self.first, self.size, chained=self.chained):
            yield self.heap.blocks.read(at, size)
