"""Saying no in time, and always room to settle (Q-13, F-05, reliability § 5): rules, and a volume really full."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from passevue import config
from passevue.errors import NoRoom, StoreError
from passevue.queue.room import Level, Limits, Room, Volume, level_of
from passevue.queue.states import State
from passevue.queue.store import Store
from tests.peers.disk import ROOMY
from tests.unit.queue.far_end import FarEnd, message, publish
from tests.unit.queue.test_dispatcher import dispatcher, drained, running, until

GIB = 1 << 30


@pytest.mark.parametrize(("used", "level"), [
    (69, Level.NORMAL), (70, Level.NORMAL), (71, Level.WARN), (85, Level.WARN), (86, Level.HOLD_BULK),
    (95, Level.HOLD_BULK), (96, Level.STOP),
])  # fmt: skip
def test_levels_follow_the_share_that_is_used(used: int, level: Level) -> None:
    assert level_of(Volume(used * GIB, (100 - used) * GIB), False, Limits()) is level


def test_less_than_a_gibibyte_or_a_failed_write_stops_intake() -> None:
    assert level_of(Volume(1, GIB - 1), False, Limits()) is Level.STOP
    assert level_of(Volume(1 * GIB, 99 * GIB), True, Limits()) is Level.STOP


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A volume of 24 MiB of its own."""
    place = tmp_path / "volume"
    place.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small volume needs root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount a small volume")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


TINY = Limits(warn=0.5, hold_bulk=0.6, stop=0.9, min_free_bytes=0, ballast_bytes=2 << 20, ballast_share=0.1,
              rebuild_below=0.6)  # fmt: skip


def test_the_ballast_is_let_go_when_it_is_tight_and_made_again(volume: Path) -> None:
    room = Room(volume, TINY)
    room.refresh(False, 0)
    assert (volume / "queue.ballast").stat().st_size == 2 << 20
    (volume / "filler").write_bytes(bytes(20 << 20))
    assert room.refresh(False, 0) is Level.STOP
    assert not (volume / "queue.ballast").exists()
    with pytest.raises(NoRoom):
        room.admit(1)
    (volume / "filler").unlink()
    assert room.refresh(False, 0) is Level.NORMAL
    assert (volume / "queue.ballast").exists()
    room.admit(1)


def test_pages_freed_inside_the_database_count_as_room(volume: Path) -> None:
    (volume / "queue.sqlite").write_bytes(bytes(22 << 20))
    room = Room(volume, TINY)
    assert room.refresh(False, 0) is Level.STOP
    assert room.refresh(False, 18 << 20) is Level.NORMAL


async def put_until_full(store: Store, kept: list[int]) -> None:
    for n in range(200):
        receipt = await store.put(message(str(n), os.urandom(400_000)), [publish(n)])
        kept.append(receipt.number)


async def test_a_full_volume_says_no_loses_nothing_settles_what_it_has_and_recovers(volume: Path) -> None:
    careless = replace(TINY, stop=1.1)  # so that the disk itself says no, not the rule before it
    store = await Store.open(config.Queue(), volume, roles={"intake", "national"}, limits=careless, machine="a")
    kept: list[int] = []
    with pytest.raises(StoreError):
        await put_until_full(store, kept)
    assert len(kept) > 10
    assert store.level is Level.STOP
    with pytest.raises(NoRoom):
        await store.put(message("small"), [publish(1)])
    assert (await store.counters()).waiting == len(kept)
    taken = await store.take([(0, 4)], 4, frozenset({State.WAITING}))
    assert len(taken) == 4  # small writes still find room: that of the ballast
    await store.close()


async def test_intake_goes_on_once_there_is_room_again(volume: Path) -> None:
    store = await Store.open(config.Queue(), volume, roles={"intake", "national"}, limits=TINY, machine="a")
    await asyncio.to_thread((volume / "filler").write_bytes, bytes(20 << 20))
    await store.tend()
    with pytest.raises(NoRoom):
        await store.put(message("1"), [publish(1)])
    await asyncio.to_thread((volume / "filler").unlink)
    await asyncio.sleep(1.1)  # it looks once a second
    await store.put(message("1"), [publish(1)])
    work = FarEnd()
    async with running(dispatcher(store, work)):
        await until(store, drained)
    await store.close()


async def test_a_failed_write_is_answered_although_the_ballast_cannot_be_let_go(tmp_path: Path) -> None:
    """A volume that turned read-only refuses both; a writer that died of it would leave every sender waiting."""
    store = await Store.open(config.Queue(), tmp_path, roles={"intake"}, limits=ROOMY, machine="box-a")
    (tmp_path / "queue.ballast").unlink(missing_ok=True)
    (tmp_path / "queue.ballast").mkdir()  # cannot be unlinked, whoever asks
    try:
        with pytest.raises(StoreError):
            async with asyncio.timeout(10):
                await store.write(lambda conn: conn.plain("INSERT INTO no_such_table VALUES (1)"))
        assert store.failing
        assert await store.tend() < Level.STOP
        assert (await store.put(message("1"), [publish(1)])).number > 0
    finally:
        await store.close()
