"""FAT16 and FAT32 as mkfs.vfat and mcopy write them; and as a hostile stick has them."""

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from passevue.errors import Unreadable
from passevue.stick.files import files
from tests.peers.stick import ran
from tests.unit.stick.conftest import Bytes, Formatted

Copied = Callable[[Path, str, bytes], None]
LAYOUTS = [
    (16, ("-F", "16")),
    (16, ("-F", "16", "-s", "4", "-f", "1")),
    (40, ("-F", "32")),
    (64, ("-F", "32", "-s", "1", "-R", "40")),
    (300, ("-F", "32", "-S", "4096")),
]


def read(image: Path | Bytes, sector: int = 512) -> dict[str, bytes]:
    blocks = image if isinstance(image, Bytes) else Bytes(image.read_bytes(), sector)
    return {file.name: b"".join(file.pieces()) for file in files(blocks)}


@pytest.mark.parametrize(("megabytes", "options"), LAYOUTS)
def test_files_of_the_root_are_read_by_their_long_names(
    formatted: Formatted, copied: Copied, megabytes: int, options: tuple[str, ...]
) -> None:
    image = formatted(megabytes, *options)
    wanted = {
        "Mise à jour du boîtier n° 12 – définitive.raucb": os.urandom(1_234_567),
        "box.toml": b"schema = 1\n",
        "COURT.TXT": b"x" * 4096,
        "empty.sig": b"",
    }
    for name, content in wanted.items():
        copied(image, name, content)
    ran(["mmd", "-i", str(image), "::dossier"])
    copied(image, "dossier/inside.toml", b"not at the root")
    assert read(image, 4096 if "-S" in options else 512) == wanted


def test_hidden_files_system_files_and_dots_are_left_out(formatted: Formatted, copied: Copied) -> None:
    image = formatted(40, "-F", "32", "-n", "CLE")
    for name in ("shown.toml", "hidden.toml", "system.toml", ".Trash.toml"):
        copied(image, name, b"x")
    ran(["mattrib", "-i", str(image), "+h", "::hidden.toml"])
    ran(["mattrib", "-i", str(image), "+s", "::system.toml"])
    assert list(read(image)) == ["shown.toml"]


def test_a_fragmented_file_is_whole(formatted: Formatted, copied: Copied) -> None:
    image = formatted(40, "-F", "32", "-s", "1")
    for number in range(40):
        copied(image, f"{number}.bin", bytes(60_000))
    for number in range(0, 40, 2):
        ran(["mdel", "-i", str(image), f"::{number}.bin"])
    content = os.urandom(20_000_000)
    copied(image, "big.raucb", content)
    assert read(image)["big.raucb"] == content


def test_a_root_of_many_clusters_is_read_to_its_end(formatted: Formatted, copied: Copied) -> None:
    image = formatted(40, "-F", "32", "-s", "1")
    names = [f"un nom assez long pour trois entrées {number:03}.txt" for number in range(120)]
    for name in names:
        copied(image, name, b"x")
    assert list(read(image)) == names


def test_a_large_file_is_few_reads_of_the_stick(formatted: Formatted, copied: Copied) -> None:
    image = formatted(120, "-F", "32")
    content = os.urandom(64 << 20)
    copied(image, "big.raucb", content)
    blocks = Bytes(image.read_bytes())
    assert read(blocks) == {"big.raucb": content}
    assert blocks.reads < 64 * 4 * 1.3, "pieces of 256 KiB, and the table's"


@pytest.mark.parametrize("table", ["mbr", "gpt"])
def test_partitions_are_found(tmp_path: Path, formatted: Formatted, copied: Copied, table: str) -> None:
    volume = formatted(40, "-F", "32")
    copied(volume, "box.toml", b"here")
    image = tmp_path / "stick.raw"
    with image.open("wb") as file:
        file.truncate(60 << 20)
    kind = "type=c" if table == "mbr" else "type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"
    label = "dos" if table == "mbr" else "gpt"
    lines = f"label: {label}\nstart=2048, size=4096\nstart=8192, size={40 << 11}, {kind}\n"
    ran(["sfdisk", "-q", str(image)], lines.encode())
    with image.open("r+b") as file:
        file.seek(8192 * 512)
        file.write(volume.read_bytes())
    assert read(image) == {"box.toml": b"here"}
    if table == "gpt":
        damaged = bytearray(image.read_bytes())
        damaged[1024 + 128 + 56] ^= 1
        with pytest.raises(Unreadable) as told:
            read(Bytes(damaged))
        assert "abîmé" in told.value.hint


@pytest.mark.parametrize(
    "content",
    [
        bytes(1 << 20),
        b"",
        b"\x55\xaa",
        bytes(510) + b"\x55\xaa",
        b"\xeb\x52\x90NTFS    ".ljust(510, b"\1") + b"\x55\xaa",
    ],
)
def test_what_is_not_read_here_is_told_with_what_to_do(content: bytes) -> None:
    with pytest.raises(Unreadable) as told:
        read(Bytes(content))
    assert "FAT32 ou exFAT" in told.value.hint


@pytest.fixture
def small(formatted: Formatted, copied: Copied) -> bytearray:
    """A FAT32 volume with one file of twenty clusters of 512 bytes."""
    image = formatted(40, "-F", "32", "-s", "1")
    copied(image, "box.toml", bytes(10_000))
    return bytearray(image.read_bytes())


def table_of(volume: bytes) -> int:
    return int.from_bytes(volume[14:16], "little") * 512


def first_of(volume: bytes, name: bytes = b"BOX~1   TOM") -> tuple[int, int]:
    """Where the file's entry is, and its first cluster."""
    entry = volume.index(name)
    return entry, int.from_bytes(volume[entry + 26 : entry + 28], "little")


def pointed(volume: bytearray, cluster: int, to: int) -> None:
    struct.pack_into("<I", volume, table_of(volume) + 4 * cluster, to)


@pytest.mark.parametrize("to", [0, 1, 0x0FFFFFF6, 0x0FFFFFFF])
def test_a_chain_that_breaks_off_or_leads_away_is_damage(small: bytearray, to: int) -> None:
    _, first = first_of(small)
    pointed(small, first + 3, to)
    with pytest.raises(Unreadable):
        read(Bytes(small))


def test_a_chain_that_bites_its_tail_gives_no_more_than_the_volume_has(small: bytearray) -> None:
    entry, first = first_of(small)
    pointed(small, first + 3, first)
    struct.pack_into("<I", small, entry + 28, 0xFFFFFFFF)
    blocks = Bytes(small)
    with pytest.raises(Unreadable):
        read(blocks)
    assert blocks.taken < 1 << 20


def test_a_file_beyond_cluster_65535_is_where_it_is(formatted: Formatted, copied: Copied) -> None:
    image = formatted(60, "-F", "32", "-s", "1")
    copied(image, "fill", bytes(40 << 20))
    copied(image, "box.toml", b"far away")
    content = image.read_bytes()
    entry, _ = first_of(content)
    assert content[entry + 20] == 1, "the cluster's high half"
    assert read(image)["box.toml"] == b"far away"


def test_fat32_with_few_clusters_is_fat32_all_the_same(formatted: Formatted) -> None:
    """mkfs.vfat makes such volumes, mcopy refuses them: the entry is the test's."""
    volume = bytearray(formatted(64, "-F", "32", "-s", "8").read_bytes())
    tables, length = volume[16], int.from_bytes(volume[36:40], "little") * 512
    root = table_of(volume) + tables * length
    struct.pack_into("<11sB8xHHHHI", volume, root, b"BOX     TOM", 0x20, 0, 0, 0, 3, 5)
    for table in range(tables):
        struct.pack_into("<I", volume, table_of(volume) + table * length + 12, 0x0FFFFFFF)
    volume[root + 4096 : root + 4101] = b"hello"
    assert read(Bytes(volume)) == {"BOX.TOM": b"hello"}


def test_a_root_that_bites_its_tail_is_damage(small: bytearray) -> None:
    pointed(small, 2, 2)
    blocks = Bytes(small)
    with pytest.raises(Unreadable) as told:
        files(blocks)
    assert "abîmé" in told.value.hint
    assert blocks.reads < 5_000


def test_a_file_that_claims_more_than_its_chain_is_damage(small: bytearray) -> None:
    entry, _ = first_of(small)
    struct.pack_into("<I", small, entry + 28, 4_000_000_000)
    with pytest.raises(Unreadable):
        read(Bytes(small))


def test_a_long_name_of_another_entry_does_not_count(small: bytearray) -> None:
    entry, _ = first_of(small)
    small[entry - 32 + 13] ^= 0xFF
    assert list(read(Bytes(small))) == ["BOX~1.TOM"]


def test_a_stick_that_is_shorter_than_its_volume_is_none(small: bytearray) -> None:
    with pytest.raises(Unreadable):
        read(Bytes(small[: 20 << 20]))
