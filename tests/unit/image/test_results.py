"""Bytes on the disk image: the UKI on the partition of its name, the root cut to its length."""

import struct
import sys
from pathlib import Path
from types import ModuleType

import pytest

IMAGE = Path(__file__).parents[3] / "image"


@pytest.fixture
def results() -> ModuleType:
    before = list(sys.path)
    sys.path[:0] = [str(IMAGE), str(IMAGE / "rauc/overlay/usr/lib/passevue")]
    from making import results as module

    sys.path[:] = before
    return module


def disk(path: Path, *partitions: tuple[str, int, int]) -> Path:
    """A table with these names and blocks, nothing else."""
    entries = b"".join(
        bytes(32) + struct.pack("<QQQ", first, last, 0) + name.encode("utf-16-le").ljust(72, b"\0")
        for name, first, last in partitions
    ).ljust(128 * 128, b"\0")
    header = b"EFI PART".ljust(72, b"\0") + struct.pack("<QII", 2, 128, 128)
    path.write_bytes(bytes(512) + header.ljust(512, b"\0") + entries + bytes(64 * 512))
    return path


def test_bytes_land_on_the_partition_of_that_name(results: ModuleType, tmp_path: Path) -> None:
    made = disk(tmp_path / "disk", ("esp", 34, 40), ("passevue-uki-a", 50, 60))
    before = made.read_bytes()
    results.write_partition(made, "passevue-uki-a", b"UKI")
    after = made.read_bytes()
    assert after[50 * 512 :][:3] == b"UKI"
    assert after[: 50 * 512] == before[: 50 * 512]
    assert len(after) == len(before)


def test_a_partition_that_is_missing_or_small_stops_the_build(results: ModuleType, tmp_path: Path) -> None:
    made = disk(tmp_path / "disk", ("passevue-uki-a", 50, 50))
    before = made.read_bytes()
    with pytest.raises(results.BuildError, match="do not fit"):
        results.write_partition(made, "passevue-uki-a", bytes(513))
    with pytest.raises(results.BuildError, match="no partition"):
        results.write_partition(made, "passevue-uki-b", b"x")
    assert made.read_bytes() == before


def test_a_root_is_cut_to_its_file_system(results: ModuleType, tmp_path: Path) -> None:
    root = tmp_path / "root.img"
    superblock = struct.pack("<I", 0xE0F5E1E2) + bytes(8) + bytes([12]) + bytes(23) + struct.pack("<I", 3)
    root.write_bytes(bytes(1024) + superblock + bytes(8 * 4096))
    results._trim_erofs(root)
    assert root.stat().st_size == 3 * 4096


def test_another_file_system_stops_the_build(results: ModuleType, tmp_path: Path) -> None:
    root = tmp_path / "root.img"
    root.write_bytes(bytes(4096))
    with pytest.raises(results.BuildError, match="no erofs"):
        results._trim_erofs(root)
