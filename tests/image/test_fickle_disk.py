"""The fickle disk itself: what is flushed stays, what is not may go. No virtual PC needed."""

import random
from pathlib import Path

import pytest

from tests.image.fickle_disk import SECTOR, FickleDisk

pytestmark = pytest.mark.needs_no_machine


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.write_bytes(bytes(64 * SECTOR))
    return path


def written(number: int) -> bytes:
    return bytes([number]) * SECTOR


def test_what_is_read_is_what_was_written_last(file: Path) -> None:
    disk = FickleDisk(file, random.Random(1))
    disk.write(2 * SECTOR, written(1) + written(2))
    disk.write(3 * SECTOR, written(3))
    assert disk.read(SECTOR, 4 * SECTOR) == written(0) + written(1) + written(3) + written(0)


def test_what_was_flushed_outlives_a_power_cut(file: Path) -> None:
    for seed in range(50):
        disk = FickleDisk(file, random.Random(seed))
        disk.write(0, written(7) * 4)
        disk.flush()
        disk.write(8 * SECTOR, written(9) * 4)
        disk.power_goes()
        assert file.read_bytes()[: 4 * SECTOR] == written(7) * 4


def test_what_was_forced_outlives_a_power_cut_and_drags_nothing_else_along(file: Path) -> None:
    lost = 0
    for seed in range(50):
        file.write_bytes(bytes(64 * SECTOR))
        disk = FickleDisk(file, random.Random(seed))
        disk.write(0, written(1))
        disk.write(5 * SECTOR, written(2))
        disk.force(5 * SECTOR, SECTOR)
        disk.power_goes()
        data = file.read_bytes()
        assert data[5 * SECTOR : 6 * SECTOR] == written(2)
        lost += data[:SECTOR] == written(0)
    assert 0 < lost < 50


def test_sectors_that_were_not_flushed_are_kept_whole_or_lost_whole(file: Path) -> None:
    seen = set()
    for seed in range(50):
        file.write_bytes(bytes(64 * SECTOR))
        disk = FickleDisk(file, random.Random(seed))
        disk.write(0, b"".join(written(number) for number in range(1, 33)))
        disk.power_goes()
        data = file.read_bytes()
        for number in range(32):
            assert data[number * SECTOR : (number + 1) * SECTOR] in (written(0), written(number + 1))
        seen.add(sum(data[number * SECTOR] != 0 for number in range(32)))
    assert {0, 32} <= seen, "all kept, or nothing kept, happens"
    assert len(seen) > 5, "and so does something between"
