"""Disks that fail, fill up, are slow, rot or lose what they had: no acknowledgement of what they do not hold (F-06)."""

import asyncio
import errno
import os
import threading
import time
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from passevue.errors import Damaged, NoRoom, StoreError
from passevue.intake.disk import Disk
from passevue.intake.images import Identity
from passevue.intake.room import Level
from passevue.intake.writer import PROBE_AFTER_S
from tests.peers.invented import data_set_of, image, study
from tests.unit.intake.kept_images import BIG, opened, put, segments


async def test_bit_rot_is_found_when_an_object_is_read(tmp_path: Path) -> None:
    ds = image("2.25.36", "IPP", "ACC")
    async with opened(tmp_path) as images:
        stored = (await put(images, ds)).stored
        with segments(tmp_path)[0].open("r+b") as file:
            file.seek(stored.offset + stored.length - 5)
            file.write(b"\xa5\x5a")
        with pytest.raises(Damaged):
            await images.open(ds.SOPInstanceUID)


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
