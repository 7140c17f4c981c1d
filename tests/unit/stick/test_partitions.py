"""Where volumes are: tables that sfdisk writes, and tables that lie."""

import struct
import zlib
from pathlib import Path

import pytest

from passevue.errors import Unreadable
from passevue.stick.blocks import Window
from passevue.stick.partitions import partitions
from tests.peers.stick import ran
from tests.unit.stick.conftest import Bytes

MEGABYTE = 1 << 20
HEADER, ENTRIES = 512, 1024  # where sfdisk puts the GPT's


def table(folder: Path, *lines: str) -> Bytes:
    """8 MB with a table that sfdisk writes."""
    image = folder / "stick.raw"
    with image.open("wb") as file:
        file.truncate(8 * MEGABYTE)
    ran(["sfdisk", "-q", str(image)], "\n".join(lines).encode())
    return Bytes(bytearray(image.read_bytes()))


def found(blocks: Bytes) -> list[tuple[int, int]]:
    return [(each.start, each.size) for each in partitions(blocks)]


@pytest.fixture
def gpt(tmp_path: Path) -> Bytes:
    return table(tmp_path, "label: gpt", "start=2048, size=2048", "start=4096, size=4096")


def signed(blocks: Bytes, at: int, kind: str, value: int) -> None:
    """A number of the header, and the checksum that makes it hold (UEFI 2.10 § 5.3.2)."""
    struct.pack_into(kind, blocks.content, HEADER + at, value)
    struct.pack_into("<I", blocks.content, HEADER + 16, 0)
    struct.pack_into("<I", blocks.content, HEADER + 16, zlib.crc32(blocks.content[HEADER : HEADER + 92]))


def test_a_gpt_of_sfdisk_is_read(gpt: Bytes) -> None:
    assert found(gpt) == [(MEGABYTE, MEGABYTE), (2 * MEGABYTE, 2 * MEGABYTE)]


def test_a_gpt_with_sectors_of_4096_is_read(tmp_path: Path) -> None:
    """sfdisk does so only on a disk that is such; each of the table's blocks is laid where it is there."""
    gpt = table(tmp_path, "label: gpt", "start=2048, size=512").content
    blocks = [gpt[:HEADER], gpt[HEADER:ENTRIES], gpt[ENTRIES : ENTRIES + 128 * 128]]
    large = b"".join(bytes(each).ljust(4096, b"\0") for each in blocks).ljust(16 * MEGABYTE, b"\0")
    assert found(Bytes(large, 4096)) == [(8 * MEGABYTE, 2 * MEGABYTE)]


def test_primary_partitions_are_read_and_logical_ones_are_not(tmp_path: Path) -> None:
    lines = ("label: dos", "start=2048, size=2048, type=c", "start=4096, size=8192, type=5", "start=6144, size=2048")
    assert found(table(tmp_path, *lines)) == [(MEGABYTE, MEGABYTE)]


def test_a_partition_that_reaches_beyond_the_stick_is_none(tmp_path: Path) -> None:
    mbr = table(tmp_path, "label: dos", "start=2048, size=2048, type=c", "start=4096, size=4096, type=c")
    struct.pack_into("<I", mbr.content, 446 + 12, 0xFFFFFFFF)
    assert found(mbr) == [(2 * MEGABYTE, 2 * MEGABYTE)]


@pytest.mark.parametrize("at", [0, 12, 16, 24, 40, 56, 72, 80, 84, 88, ENTRIES - HEADER, ENTRIES - HEADER + 32])
def test_a_gpt_of_which_one_bit_is_wrong_is_damage(gpt: Bytes, at: int) -> None:
    gpt.content[HEADER + at] ^= 1
    with pytest.raises(Unreadable) as told:
        found(gpt)
    assert "abîmé" in told.value.hint


@pytest.mark.parametrize(
    ("at", "kind", "value"),
    [(80, "<I", 129), (80, "<I", 0xFFFFFFFF), (84, "<I", 0), (84, "<I", 1 << 31), (72, "<Q", 1 << 63)],
)
def test_a_signed_gpt_that_is_more_than_can_be_is_refused_before_it_is_read(
    gpt: Bytes, at: int, kind: str, value: int
) -> None:
    signed(gpt, at, kind, value)
    with pytest.raises(Unreadable):
        found(gpt)
    assert gpt.taken <= 1024


@pytest.mark.parametrize(("at", "length"), [(-1, 2), (0, 1025), (1024, 1), (5, -1)])
def test_nothing_outside_a_partition_is_read(at: int, length: int) -> None:
    whole = Bytes(bytes(4096))
    with pytest.raises(Unreadable):
        Window(whole, 1024, 1024).read(at, length)
    assert whole.reads == 0


def test_a_partition_is_read_where_it_lies() -> None:
    window = Window(Bytes(bytes(range(256)) * 8, 512), 256, 512)
    assert (window.read(10, 3), window.read(0, 512), window.sector) == (b"\x0a\x0b\x0c", bytes(range(256)) * 2, 512)
