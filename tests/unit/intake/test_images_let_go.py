"""Studies that are let go: deleted, too old, over the budget; and how much room there is (F-08)."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from passevue import config
from passevue.errors import StoreError
from passevue.intake.disk import Disk
from passevue.intake.images import Images
from passevue.intake.retention import Holding, leaving
from passevue.intake.room import Level, Room, Thresholds, level
from tests.peers.dicom_intake import SEGMENT_BYTES
from tests.peers.disk import ROOMY_IMAGES
from tests.peers.invented import data_set_of, image, study
from tests.unit.intake.kept_images import BIG, NOW, opened, put, segments

# Letting go


async def test_a_deleted_study_is_gone_from_the_disk(tmp_path: Path) -> None:
    gone, kept = study("2.25.40", slices=3), study("2.25.41", slices=2)
    large = image("2.25.40", "IPP-INVENTE-1", "ACC-INVENTE-1", series=9, **BIG)
    async with opened(tmp_path) as images:
        for ds in (*gone, large, *kept):
            await put(images, ds)
        assert await images.delete_study("2.25.40") == 4
        assert await images.find_study("2.25.40") is None
        assert not list((tmp_path / "files").iterdir())
        content = segments(tmp_path)[0].read_bytes()
        assert all(data_set_of(ds)[-500:] not in content for ds in gone)
        assert content.count(b"2.25.40") == 0
        assert (await images.totals())[0] == 2
    (tmp_path / "index.sqlite").unlink()
    async with opened(tmp_path) as images:
        assert await images.find_study("2.25.40") is None
        found = await images.find_study("2.25.41")
        assert found is not None
        assert found.instance_count == 2
        assert not (await put(images, gone[0])).duplicate


async def test_a_segment_goes_with_its_last_object(tmp_path: Path) -> None:
    async with opened(tmp_path) as images:
        for ds in study("2.25.42", slices=14, size=690):
            await put(images, ds)
        await images.delete_study("2.25.42")
        assert len(segments(tmp_path)) == 1  # the one under way
    async with opened(tmp_path) as images:
        assert await images.totals() == (0, 0)


async def test_retention_spares_what_is_published(tmp_path: Path) -> None:
    async with opened(tmp_path) as images:
        for day, uid in enumerate(("2.25.43", "2.25.44", "2.25.45")):
            await put(images, study(uid, slices=1)[0], NOW - timedelta(days=40 - day * 20))
        gone = await images.purge(NOW, {"2.25.43"})
        assert [each.study_uid for each in gone] == []
        gone = await images.purge(NOW, set())
        assert [each.study_uid for each in gone] == ["2.25.43"]
        assert await images.find_study("2.25.44") is not None


def holding(uid: str, size: int, days: float) -> Holding:
    return Holding(uid, size, NOW - timedelta(days=days))


def test_over_budget_the_oldest_unpublished_go_first_and_the_last_day_stays() -> None:
    held = [holding("a", 40, 20), holding("b", 40, 10), holding("c", 40, 5), holding("d", 40, 0.5)]

    def go(protected: set[str], budget: int) -> list[str]:
        return [each.study_uid for each in leaving(held, protected, NOW, retention_days=30, budget_bytes=budget)]

    assert go(set(), 200) == []
    assert go(set(), 150) == ["a"]
    assert go({"a"}, 150) == ["b"]
    assert go(set(), 10) == ["a", "b", "c"]
    assert go({"a", "b", "c"}, 10) == []


GIB = 1 << 30


@pytest.mark.parametrize(
    ("free", "held", "failed", "expected"),
    [
        (50, 0, False, Level.OPEN),
        (31, 0, False, Level.OPEN),
        (29, 0, False, Level.WARN),
        (16, 0, False, Level.WARN),
        (14, 0, False, Level.HOLD),
        (4, 0, False, Level.STOP),
        (50, 79, False, Level.OPEN),
        (50, 80, False, Level.HOLD),
        (50, 0, True, Level.STOP),
    ],
)
def test_levels_of_room(free: int, held: int, failed: bool, expected: Level) -> None:
    room = Room(100 * GIB, free * GIB, held * GIB, 80 * GIB, failed)
    assert level(room, Thresholds()) is expected


def test_less_than_a_gibibyte_stops_intake_whatever_the_share() -> None:
    assert level(Room(2 * GIB, GIB - 1, 0, GIB), Thresholds()) is Level.STOP


async def test_images_run_as_a_part_and_purge_on_their_own(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def protected() -> set[str]:
        asked.set()
        return {"2.25.61"}

    async with opened(tmp_path) as images:
        for uid in ("2.25.60", "2.25.61"):
            await put(images, study(uid, slices=1)[0], datetime.now(UTC) - timedelta(days=31))
    images = Images(config.Images(), tmp_path, thresholds=ROOMY_IMAGES, segment_bytes=SEGMENT_BYTES)
    task = asyncio.create_task(images.run(protected))
    await asyncio.wait_for(asked.wait(), 10)
    for _ in range(100):
        if images.level < Level.HOLD and await images.find_study("2.25.60") is None:
            break
        await asyncio.sleep(0.02)
    assert await images.find_study("2.25.60") is None
    assert await images.find_study("2.25.61") is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(StoreError):
        await images.find_study("2.25.61")


async def test_a_study_that_cannot_be_let_go_stops_neither_the_others_nor_the_box(tmp_path: Path) -> None:
    """Or the box, which purges when it starts, would start for ever."""
    old = datetime.now(UTC) - timedelta(days=31)
    async with opened(tmp_path) as images:
        for uid in ("2.25.63", "2.25.64"):
            await put(images, study(uid, slices=1)[0], old)
        damaged = (await images.objects("2.25.63"))[0]
    with segments(tmp_path)[0].open("r+b") as file:
        file.seek(damaged.record)
        file.write(bytes(64))
    images = Images(config.Images(), tmp_path, thresholds=ROOMY_IMAGES, segment_bytes=SEGMENT_BYTES)
    task = asyncio.create_task(images.run())
    for _ in range(500):
        if task.done() or (images.level < Level.STOP and await images.find_study("2.25.64") is None):
            break
        await asyncio.sleep(0.02)
    assert not task.done()
    assert [each.study_uid for each in await images.holdings()] == ["2.25.63"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class Held(Disk):
    """A disk that takes its time to let go of blocks."""

    def __init__(self) -> None:
        self.asked, self.may = threading.Event(), threading.Event()

    def free_blocks(self, fd: int, offset: int, length: int) -> None:
        self.asked.set()
        self.may.wait(30)
        super().free_blocks(fd, offset, length)


async def test_a_study_that_grows_while_others_are_let_go_stays_whole(tmp_path: Path) -> None:
    """What was just acknowledged must not go with what was to go before it came."""
    disk, old = Held(), NOW - timedelta(days=400)
    async with opened(tmp_path, disk=disk, settings=config.Images(retention_days=30)) as images:
        first, *second = study("2.25.81", slices=1)[0], *study("2.25.82", slices=2)
        await put(images, first, old)
        await put(images, second[0], old + timedelta(minutes=1))
        purging = asyncio.get_running_loop().create_task(images.purge(NOW, ()))
        await asyncio.to_thread(disk.asked.wait, 30)
        kept = asyncio.get_running_loop().create_task(put(images, second[1], NOW))
        for _ in range(10):  # it is small: nothing of it waits but for the writer, whose next job it is
            await asyncio.sleep(0)
        disk.may.set()
        assert not (await kept).conflict
        assert [each.study_uid for each in await purging] == ["2.25.81"]
        for ds in second:
            assert (await images.open(ds.SOPInstanceUID)).endswith(data_set_of(ds))
