"""The box's own images on a real disk: kept, found, folded, let go; full, failing and slow disks (F-05, F-06, F-08)."""

import asyncio
import errno
import os
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from passevue import config
from passevue.errors import Damaged, NoRoom, StoreError
from passevue.intake.disk import Disk
from passevue.intake.image_jobs import Kept
from passevue.intake.images import Identity, Images
from passevue.intake.retention import Holding, leaving
from passevue.intake.room import Level, Room, Thresholds, level
from passevue.intake.storage import look
from passevue.intake.writer import PROBE_AFTER_S
from tests.peers.dicom_intake import SEGMENT_BYTES
from tests.peers.disk import ROOMY_IMAGES
from tests.peers.invented import data_set_of, image, key_image_note, study

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


@asynccontextmanager
async def opened(
    folder: Path,
    *,
    disk: Disk | None = None,
    thresholds: Thresholds = ROOMY_IMAGES,
    settings: config.Images | None = None,
) -> AsyncIterator[Images]:
    images = Images(settings or config.Images(), folder, disk=disk, thresholds=thresholds, segment_bytes=SEGMENT_BYTES)
    await images.start()
    try:
        yield images
    finally:
        await images.stop()


async def put(images: Images, ds: Dataset, now: datetime = NOW) -> Kept:
    identity = Identity(ds.SOPInstanceUID, ds.SOPClassUID, str(ds.file_meta.TransferSyntaxUID))
    data = memoryview(data_set_of(ds))
    async with images.receive(identity, "CT1") as incoming:
        for at in range(0, len(data), 100_000):
            if incoming.fragment(data[at : at + 100_000]):
                await incoming.spill()
        seen = await images.look_into(incoming, lambda whole: look(whole, identity))
        return await images.put(incoming, identity, (seen.study_uid, seen.series_uid), seen.attributes, now)


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "segments").glob("*.segment"))


BIG = {"size": 1300}  # 3.4 MB: a file of its own


async def test_objects_are_there_after_a_restart(tmp_path: Path) -> None:
    everything = [*study("2.25.30", slices=5), image("2.25.30", "IPP-INVENTE-1", "ACC-INVENTE-1", series=7, **BIG)]
    async with opened(tmp_path) as images:
        for ds in everything:
            assert not (await put(images, ds)).duplicate
        before = await images.find_study("2.25.30")
    async with opened(tmp_path) as images:
        assert await images.find_study("2.25.30") == before
        for ds in everything:
            assert (await images.open(ds.SOPInstanceUID)).endswith(data_set_of(ds))
            assert (await put(images, ds)).duplicate


@pytest.mark.parametrize("how", ["missing", "garbage", "truncated"])
async def test_the_index_is_made_again_from_the_segments(tmp_path: Path, how: str) -> None:
    everything = [*study("2.25.31", slices=5), key_image_note(study("2.25.31", slices=5)[:1], "ici")]
    async with opened(tmp_path) as images:
        for ds in everything:
            await put(images, ds)
        await put(images, image("2.25.31", "IPP-INVENTE-1", "ACC-INVENTE-1", seed=3))  # a conflict
        before, totals = await images.find_study("2.25.31"), await images.totals()
    index = tmp_path / "index.sqlite"
    if how == "missing":
        index.unlink()
    else:
        content = index.read_bytes()
        index.write_bytes(os.urandom(len(content)) if how == "garbage" else content[: len(content) // 2])
    async with opened(tmp_path) as images:
        assert await images.find_study("2.25.31") == before
        assert await images.totals() == totals
        assert [each.conflict for each in await images.versions(everything[0].SOPInstanceUID)] == [False, True]


async def test_an_index_that_lags_catches_up(tmp_path: Path) -> None:
    first, second = study("2.25.32", slices=2)
    async with opened(tmp_path) as images:
        await put(images, first)
    old = (tmp_path / "index.sqlite").read_bytes()
    async with opened(tmp_path) as images:
        await put(images, second)
    (tmp_path / "index.sqlite").write_bytes(old)
    async with opened(tmp_path) as images:
        assert (await images.totals())[0] == 2


async def test_a_torn_last_batch_is_not_seen(tmp_path: Path) -> None:
    first, second = study("2.25.33", slices=2)
    async with opened(tmp_path) as images:
        await put(images, first)
        at = (await put(images, second)).stored
    (tmp_path / "index.sqlite").unlink()
    path = segments(tmp_path)[0]
    content = bytearray(path.read_bytes())
    content[at.offset + at.length - 10] ^= 0xFF  # the blocks did not all reach the disk
    path.write_bytes(content)
    async with opened(tmp_path) as images:
        assert await images.find(first.SOPInstanceUID) is not None
        assert await images.find(second.SOPInstanceUID) is None
        assert not (await put(images, second)).duplicate


async def test_a_segment_cut_anywhere_gives_what_is_whole(tmp_path: Path) -> None:
    everything = study("2.25.34", slices=4)
    async with opened(tmp_path) as images:
        ends = [(await put(images, ds)).stored for ds in everything]
    path = segments(tmp_path)[0]
    content = path.read_bytes()
    for cut in range(0, len(content), 1777):
        (tmp_path / "index.sqlite").unlink()
        path.write_bytes(content[:cut])
        async with opened(tmp_path) as images:
            count = (await images.totals())[0]
        whole = sum(each.offset + each.length <= cut // 4096 * 4096 for each in ends)
        assert whole <= count <= sum(each.offset + each.length <= cut for each in ends)
        for leftover in segments(tmp_path):
            leftover.unlink()


async def test_a_damaged_record_does_not_hide_the_next_ones(tmp_path: Path) -> None:
    everything = study("2.25.35", slices=3)
    async with opened(tmp_path) as images:
        stored = [(await put(images, ds)).stored for ds in everything]
    (tmp_path / "index.sqlite").unlink()
    path = segments(tmp_path)[0]
    content = bytearray(path.read_bytes())
    content[stored[1].record + 20] ^= 1  # bit rot in a header (F-07)
    path.write_bytes(content)
    async with opened(tmp_path) as images:
        assert (await images.totals())[0] == 2
        assert await images.find(everything[2].SOPInstanceUID) is not None
        assert path.with_suffix(".damaged").exists()


async def test_bit_rot_is_found_when_an_object_is_read(tmp_path: Path) -> None:
    ds = image("2.25.36", "IPP", "ACC")
    async with opened(tmp_path) as images:
        stored = (await put(images, ds)).stored
        with segments(tmp_path)[0].open("r+b") as file:
            file.seek(stored.offset + stored.length - 5)
            file.write(b"\xa5\x5a")
        with pytest.raises(Damaged):
            await images.open(ds.SOPInstanceUID)


async def test_a_full_segment_is_followed_by_the_next(tmp_path: Path) -> None:
    everything = study("2.25.37", slices=14, size=690)  # 0.95 MB each
    async with opened(tmp_path) as images:
        for ds in everything:
            await put(images, ds)
        assert len(segments(tmp_path)) == 2
    async with opened(tmp_path) as images:
        assert (await images.totals())[0] == 14


async def test_two_boxes_cannot_share_a_folder(tmp_path: Path) -> None:  # F-38
    async with opened(tmp_path):
        with pytest.raises(StoreError, match="another box"):
            async with opened(tmp_path):
                pass


async def test_leftovers_of_a_crash_are_removed(tmp_path: Path) -> None:
    async with opened(tmp_path) as images:
        await put(images, image("2.25.38", "IPP", "ACC", **BIG))
    (tmp_path / "spool" / "x.part").write_bytes(b"half an object")
    (tmp_path / "files" / "y.dcm").write_bytes(b"its record never reached the disk")
    async with opened(tmp_path) as images:
        assert not list((tmp_path / "spool").iterdir())
        assert len(list((tmp_path / "files").iterdir())) == 1
        assert (await images.totals())[0] == 1


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


# Disks that fail


class FailingDisk(Disk):
    """Raises `error` at the n-th call of a method, then works again (or never does)."""

    def __init__(self, method: str, at: int, error: int, *, for_ever: bool = False) -> None:
        self.method, self.at, self.error, self.for_ever = method, at, error, for_ever
        self.calls = 0

    def _count(self, method: str) -> None:
        if method != self.method:
            return
        self.calls += 1
        if self.calls == self.at or (self.for_ever and self.calls > self.at):
            raise OSError(self.error, os.strerror(self.error))

    def create(self, path: Path, size: int) -> int:
        if path.name != "spare.part":
            self._count("create")
        return super().create(path, size)

    def write(self, fd: int, data: memoryview, offset: int) -> None:
        if not os.readlink(f"/proc/self/fd/{fd}").endswith("spare.part"):
            self._count("write")
        super().write(fd, data, offset)

    def sync(self, fd: int) -> None:
        if not os.readlink(f"/proc/self/fd/{fd}").endswith("spare.part"):
            self._count("sync")
        super().sync(fd)

    def append(self, fd: int, data: memoryview) -> None:
        self._count("append")
        super().append(fd, data)


@pytest.mark.parametrize("method", ["create", "write", "sync"])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
async def test_nothing_is_acknowledged_that_did_not_reach_the_disk(
    tmp_path: Path, method: str, at: int, error: int
) -> None:
    everything = study("2.25.50", slices=5)
    acknowledged: list[Dataset] = []
    refusals = 0
    async with opened(tmp_path, disk=FailingDisk(method, at, error)) as images:
        for ds in everything:
            try:
                await put(images, ds)
                acknowledged.append(ds)
            except NoRoom:
                refusals += error == errno.ENOSPC
            except StoreError:
                refusals += 1
            if images.level is Level.STOP:
                await asyncio.sleep(PROBE_AFTER_S * 1.1)
        assert len(acknowledged) + refusals == 5
        assert method == "create" or refusals
        assert len(acknowledged) >= 4 - (method == "write" and at == 1)
        for ds in everything:  # the senders try again
            await put(images, ds)
    (tmp_path / "index.sqlite").unlink()
    async with opened(tmp_path) as images:
        for ds in everything:
            assert (await images.open(ds.SOPInstanceUID)).endswith(data_set_of(ds))


async def test_a_disk_that_stays_broken_stops_intake_until_it_works(tmp_path: Path) -> None:
    disk = FailingDisk("sync", 3, errno.EIO, for_ever=True)
    first, second, third = study("2.25.51", slices=3)
    async with opened(tmp_path, disk=disk) as images:
        await put(images, first)
        with pytest.raises(StoreError):
            await put(images, second)
        assert images.level is Level.STOP
        with pytest.raises(StoreError):
            await put(images, second)
        disk.for_ever = False
        await images.refresh()
        assert images.level < Level.HOLD
        assert not (await put(images, third)).duplicate
        assert await images.find_study("2.25.51") is not None


async def test_a_large_object_on_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, disk=FailingDisk("append", 2, errno.ENOSPC)) as images:
        with pytest.raises(NoRoom):
            await put(images, image("2.25.52", "IPP", "ACC", **BIG))
        assert not list((tmp_path / "spool").iterdir())
        await put(images, image("2.25.52", "IPP", "ACC", **BIG))


class SlowDisk(Disk):
    def sync(self, fd: int) -> None:
        time.sleep(0.4)
        super().sync(fd)


async def test_a_slow_disk_makes_acknowledgements_late_not_lost(tmp_path: Path) -> None:
    everything = study("2.25.53", slices=12)
    async with opened(tmp_path, disk=SlowDisk()) as images:
        began = time.monotonic()
        kept = await asyncio.gather(*(put(images, ds) for ds in everything))
        assert time.monotonic() - began < 12 * 0.4  # they shared syncs
        assert all(not each.duplicate for each in kept)
        assert (await images.totals())[0] == 12


async def test_the_loop_is_free_while_the_disk_is_slow(tmp_path: Path) -> None:
    async with opened(tmp_path, disk=SlowDisk()) as images:
        task = asyncio.create_task(put(images, image("2.25.54", "IPP", "ACC")))
        longest = 0.0
        while not task.done():
            began = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - began)
        await task
    assert longest < 0.35


async def test_the_same_object_many_times_at_once_is_one(tmp_path: Path) -> None:
    ds, other = image("2.25.55", "IPP", "ACC"), image("2.25.55", "IPP", "ACC", seed=1)
    async with opened(tmp_path) as images:
        kept = await asyncio.gather(*(put(images, each) for each in [ds, other] * 20))
        assert sum(not each.duplicate for each in kept) == 2
        versions = await images.versions(ds.SOPInstanceUID)
    assert sorted(each.conflict for each in versions) == [False, True]


async def test_a_large_object_again_is_folded_and_another_is_a_conflict(tmp_path: Path) -> None:
    async with opened(tmp_path) as images:
        assert not (await put(images, image("2.25.56", "IPP", "ACC", **BIG))).duplicate
        assert (await put(images, image("2.25.56", "IPP", "ACC", **BIG))).duplicate
        assert (await put(images, image("2.25.56", "IPP", "ACC", seed=1, **BIG))).conflict
        assert len(list((tmp_path / "files").iterdir())) == 2


async def test_no_file_is_named_after_a_uid(tmp_path: Path) -> None:
    async with opened(tmp_path) as images:
        await put(images, image("2.25.57", "IPP", "ACC"))
        await put(images, image("2.25.57", "IPP", "ACC", series=2, **BIG))
    names = [name for _, folders, files in os.walk(tmp_path) for name in (*folders, *files)]
    assert not [name for name in names if "2.25" in name]


async def test_a_spare_segment_is_made_and_taken(tmp_path: Path) -> None:
    spare = tmp_path / "segments" / "spare"
    async with opened(tmp_path) as images:
        for _ in range(200):
            if spare.exists():
                break
            await asyncio.sleep(0.05)
        assert spare.stat().st_size == SEGMENT_BYTES
        made = spare.stat().st_ino
        await put(images, image("2.25.58", "IPP", "ACC"))
        assert segments(tmp_path)[0].stat().st_ino == made


async def test_rot_in_the_last_record_cuts_nothing_off(tmp_path: Path) -> None:
    first, second = study("2.25.59", slices=2)
    async with opened(tmp_path) as images:
        await put(images, first)
        stored = (await put(images, second)).stored
    (tmp_path / "index.sqlite").unlink()
    path = segments(tmp_path)[0]
    content = bytearray(path.read_bytes())
    content[stored.record + 20] ^= 1
    path.write_bytes(content)
    async with opened(tmp_path) as images:
        assert (await images.totals())[0] == 1
    assert path.with_suffix(".damaged").read_bytes() == bytes(content)


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


async def test_what_comes_again_after_the_disk_has_lost_it_is_kept(tmp_path: Path) -> None:
    large = image("2.25.65", "IPP", "ACC", **BIG)
    async with opened(tmp_path) as images:
        await put(images, large)
        for path in await asyncio.to_thread(os.listdir, tmp_path / "files"):
            await asyncio.to_thread(os.unlink, tmp_path / "files" / path)
        kept = await put(images, large)
        assert not kept.duplicate
        assert (await images.read(kept.stored)).endswith(data_set_of(large))
        assert not (await put(images, image("2.25.66", "IPP", "ACC"))).duplicate  # the disk is not called failing


async def test_when_the_writer_dies_all_are_told_and_nothing_is_taken(tmp_path: Path) -> None:
    class Broken(Disk):
        def room(self, folder: Path) -> tuple[int, int]:
            if self.armed:
                raise RuntimeError("a fault that nobody foresaw")
            return super().room(folder)

        armed = False

    disk = Broken()
    async with opened(tmp_path, disk=disk) as images:
        disk.armed = True
        await asyncio.sleep(1.1)  # until the volume is looked at again
        with pytest.raises(StoreError, match="has ended"):
            async with asyncio.timeout(5):
                await put(images, image("2.25.62", "IPP", "ACC"))
        assert images.level is Level.STOP
        with pytest.raises(StoreError, match="has ended"):
            await images.find_study("2.25.62")


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


class HeldAppend(Disk):
    """A disk that takes its time to write a spooled object."""

    def __init__(self) -> None:
        self.asked, self.may = threading.Event(), threading.Event()

    def append(self, fd: int, data: memoryview) -> None:
        self.asked.set()
        self.may.wait(30)
        super().append(fd, data)


async def test_an_object_given_up_while_it_is_written_leaves_nothing_and_writes_nowhere_else(tmp_path: Path) -> None:
    """Its file's number goes to the next file that is opened."""
    disk = HeldAppend()
    async with opened(tmp_path, disk=disk) as images:
        identity = Identity("2.25.83", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1")

        async def receive() -> None:
            async with images.receive(identity, "CT1") as incoming:
                incoming.fragment(memoryview(bytes(2 << 20)))
                await incoming.spill()

        receiving = asyncio.get_running_loop().create_task(receive())
        await asyncio.to_thread(disk.asked.wait, 30)
        receiving.cancel()
        await asyncio.wait([receiving], timeout=0.5)
        others = [os.open(tmp_path / f"other {n}", os.O_CREAT | os.O_RDWR) for n in range(4)]
        disk.may.set()
        await asyncio.wait([receiving], timeout=30)
        assert receiving.cancelled()
        for fd in others:
            assert os.fstat(fd).st_size == 0
            os.close(fd)
        assert not await asyncio.to_thread(os.listdir, tmp_path / "spool")
