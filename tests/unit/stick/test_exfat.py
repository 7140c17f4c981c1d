"""exFAT as mkfs.exfat makes it, with files that the test writes by the specification and fsck.exfat finds in order.

No tool copies files to exFAT without a kernel that has it; so the judge is foreign, the writer is not.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest

from passevue.errors import Unreadable
from passevue.stick.files import files
from tests.peers.stick import ran
from tests.unit.stick.conftest import Bytes


@dataclass
class Volume:
    """An empty volume of mkfs.exfat, to be filled (exFAT specification 1.0 §§ 3.1, 4.1, 7)."""

    image: bytearray
    image_path: Path

    @classmethod
    def made(cls, folder: Path, megabytes: int, *options: str) -> "Volume":
        path = folder / "exfat.raw"
        with path.open("wb") as file:
            file.truncate(megabytes << 20)
        ran(["mkfs.exfat", *options, str(path)])
        return cls(bytearray(path.read_bytes()), path)

    def __post_init__(self) -> None:
        _, self.table, _, self.heap, self.count, self.root = struct.unpack_from("<QIIIII", self.image, 72)
        sector = 1 << self.image[108]
        self.table, self.heap, self.cluster = self.table * sector, self.heap * sector, sector << self.image[109]
        found = self.at(self.root)
        while self.image[found] != 0x81:  # the allocation bitmap's entry
            found += 32
        self.bitmap = self.at(struct.unpack_from("<I", self.image, found + 20)[0])
        self.end = self.at(self.root)
        while self.image[self.end]:
            self.end += 32
        self.free = 2 + max(
            number for number in range(self.count) if self.image[self.bitmap + number // 8] >> number % 8 & 1
        )

    def at(self, cluster: int) -> int:
        return self.heap + (cluster - 2) * self.cluster

    def add(self, name: str, content: bytes, *, chained: bool = True, attributes: int = 0x20, apart: int = 1) -> int:
        """Its entry set at the end of the root; `apart`: every so many clusters one is its own. Where the set is."""
        clusters = [self.free + apart * (number + 1) for number in range(-(-len(content) // self.cluster))]
        for number, cluster in enumerate(clusters):
            start = self.at(cluster)
            piece = content[number * self.cluster : (number + 1) * self.cluster]
            self.image[start : start + len(piece)] = piece
            self.image[self.bitmap + (cluster - 2) // 8] |= 1 << (cluster - 2) % 8
            following = clusters[number + 1] if number + 1 < len(clusters) else 0xFFFFFFFF
            if chained:
                struct.pack_into("<I", self.image, self.table + 4 * cluster, following)
        self.free = clusters[-1] if clusters else self.free
        raw = self.entries(name, len(content), clusters[0] if clusters else 0, attributes, chained=chained)
        where = self.end
        self.image[where : where + len(raw)] = raw
        self.end += len(raw)
        return where

    def entries(self, name: str, size: int, first: int, attributes: int, *, chained: bool) -> bytes:
        text = name.encode("utf-16-le")
        letters = len(text) // 2
        names = [b"\xc1\0" + text[at : at + 30].ljust(30, b"\0") for at in range(0, len(text), 30)]
        flags = (0x01 if chained else 0x03) if size else 0x00
        hashed = 0
        for byte in name.upper().encode("utf-16-le"):
            hashed = ((hashed << 15 | hashed >> 1) & 0xFFFF) + byte & 0xFFFF
        stream = struct.pack("<BBxBHxxQxxxxIQ", 0xC0, flags, letters, hashed, size, first, size)
        stamp = struct.pack("<III", *[(46 << 25) | (1 << 21) | (1 << 16)] * 3)
        head = struct.pack("<BBHHH", 0x85, 1 + len(names), 0, attributes, 0) + stamp
        raw = bytearray(b"".join([head.ljust(32, b"\0"), stream, *names]))
        struct.pack_into("<H", raw, 2, checksum(raw))
        return bytes(raw)

    def is_clean(self) -> None:
        self.image_path.write_bytes(self.image)
        ran(["fsck.exfat", "-n", str(self.image_path)])


def checksum(raw: bytes) -> int:
    found = 0
    for at, byte in enumerate(raw):
        if at not in (2, 3):
            found = ((found << 15 | found >> 1) & 0xFFFF) + byte & 0xFFFF
    return found


def read(volume: Volume) -> dict[str, bytes]:
    return {file.name: b"".join(file.pieces()) for file in files(Bytes(volume.image))}


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    return Volume.made(tmp_path, 32, "-c", "4K")


@pytest.mark.parametrize("options", [(), ("-c", "4K"), ("-c", "128K")])
def test_files_of_the_root_are_read(tmp_path: Path, options: tuple[str, ...]) -> None:
    volume = Volume.made(tmp_path, 64, *options)
    wanted = {
        "Mise à jour du boîtier n° 12 – définitive et signée.raucb": os.urandom(3_000_001),
        "box.toml": b"schema = 1\n",
        "box.toml.sig": b"",
    }
    for number, (name, content) in enumerate(wanted.items()):
        volume.add(name, content, chained=number == 0)
    volume.is_clean()
    assert read(volume) == wanted


def test_a_fragmented_file_is_whole(volume: Volume) -> None:
    content = os.urandom(900_000)
    volume.add("big.raucb", content, apart=3)
    volume.is_clean()
    assert read(volume) == {"big.raucb": content}


def test_hidden_files_and_dots_are_left_out(volume: Volume) -> None:
    volume.add("hidden.toml", b"x", attributes=0x22)
    volume.add("system.toml", b"x", attributes=0x24)
    volume.add("._box.toml", b"x")
    volume.add("box.toml", b"x")
    volume.is_clean()
    assert list(read(volume)) == ["box.toml"]


@pytest.mark.parametrize(("at", "byte"), [(1, 255), (1, 0), (2, 7), (32, 0xC1), (64 + 5, 9)])
def test_a_set_that_does_not_hold_is_damage(volume: Volume, at: int, byte: int) -> None:
    where = volume.add("box.toml", b"x")
    volume.image[where + at] = byte
    with pytest.raises(Unreadable) as told:
        read(volume)
    assert "abîmé" in told.value.hint


def rewritten(volume: Volume, where: int, at: int, kind: str, value: int) -> None:
    """A number of the set, and the checksum that makes it hold."""
    struct.pack_into(kind, volume.image, where + at, value)
    size = 32 * (1 + volume.image[where + 1])
    struct.pack_into("<H", volume.image, where + 2, checksum(volume.image[where : where + size]))


@pytest.mark.parametrize("chained", [True, False])
@pytest.mark.parametrize("first", [0, 1, 0xFFFFFFFF, 40_000])
def test_a_file_that_lies_outside_is_damage(volume: Volume, first: int, chained: bool) -> None:
    where = volume.add("box.toml", bytes(9000), chained=chained)
    rewritten(volume, where, 32 + 20, "<I", first)
    with pytest.raises(Unreadable):
        read(volume)


@pytest.mark.parametrize("chained", [True, False])
@pytest.mark.parametrize("size", [1 << 63, (1 << 64) - 1, 1 << 40])
def test_a_size_that_cannot_be_is_damage(volume: Volume, size: int, chained: bool) -> None:
    where = volume.add("box.toml", bytes(9000), chained=chained)
    rewritten(volume, where, 32 + 8, "<Q", size)
    rewritten(volume, where, 32 + 24, "<Q", size)
    with pytest.raises(Unreadable):
        read(volume)


def test_a_chain_that_bites_its_tail_gives_no_more_than_the_volume_has(volume: Volume) -> None:
    where = volume.add("box.toml", bytes(9000))
    first = struct.unpack_from("<I", volume.image, where + 52)[0]
    struct.pack_into("<I", volume.image, volume.table + 4 * (first + 1), first)
    for at in (8, 24):
        rewritten(volume, where, 32 + at, "<Q", 1 << 62)
    with pytest.raises(Unreadable):
        read(volume)


def test_a_file_that_was_not_written_to_its_end_is_not_given(volume: Volume) -> None:
    where = volume.add("box.toml", bytes(9000))
    rewritten(volume, where, 32 + 8, "<Q", 4000)
    with pytest.raises(Unreadable):
        read(volume)


@pytest.mark.parametrize(
    ("at", "kind", "value"),
    [
        *((108, "B", shift) for shift in (0, 13)),
        *((109, "B", shift) for shift in (25, 200)),
        (110, "B", 0),
        (72, "<Q", 1 << 63),
        (84, "<I", 0),
        *((place, "<I", 0xFFFFFFF0) for place in (80, 88, 92, 96)),
        (92, "<I", 1 << 31),
        (96, "<I", 0),
    ],
)
def test_a_boot_sector_that_does_not_hold_is_damage(volume: Volume, at: int, kind: str, value: int) -> None:
    volume.add("box.toml", b"x")
    struct.pack_into(kind, volume.image, at, value)
    with pytest.raises(Unreadable):
        read(volume)


def test_a_root_that_bites_its_tail_is_damage(volume: Volume) -> None:
    struct.pack_into("<I", volume.image, volume.table + 4 * volume.root, volume.root)
    blocks = Bytes(volume.image)
    with pytest.raises(Unreadable):
        files(blocks)
    assert blocks.reads < 1_000
