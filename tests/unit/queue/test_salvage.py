"""A damaged store: noticed, kept aside, the readable goes on (Q-17, F-07); who may open what (F-38, F-37)."""

import asyncio
import contextlib
import random
import sqlite3
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from passevue import config
from passevue.errors import StoreError
from passevue.queue.migrate import engine_for, migrate
from passevue.queue.salvage import put_aside, salvage, sound
from passevue.queue.seal import sha256
from passevue.queue.states import State
from passevue.queue.store import Store
from tests.peers.disk import ROOMY
from tests.unit.queue.far_end import message, publish

Open = Callable[..., Awaitable[Store]]


@pytest.fixture
def queue_url(tmp_path: Path) -> str:
    """SQLite only: PostgreSQL keeps and checks its own pages."""
    return f"sqlite:///{tmp_path / 'queue.sqlite'}"


def open_begun(path: Path) -> None:
    """An empty store of today's schema."""
    path.touch()
    migrate(engine_for(f"sqlite:///{path}"))


async def filled(opened: Open, count: int) -> list[int]:
    store = await opened(roles={"intake", "national"})
    receipts = await asyncio.gather(
        *(store.put(message(str(n), b"x%06d" % n * 2000), [publish(n)]) for n in range(count))
    )
    await store.close()
    return [receipt.number for receipt in receipts]


def spoil_a_page_of_entries(path: Path) -> None:
    """Overwrite the first leaf of the table of entries (its root is an interior page: type 5, cells from byte 12)."""
    data = bytearray(path.read_bytes())
    with contextlib.closing(sqlite3.connect(path)) as conn:
        root = conn.execute("SELECT rootpage FROM sqlite_master WHERE name = 'entry'").fetchone()[0]
        size = conn.execute("PRAGMA page_size").fetchone()[0]
    start = (root - 1) * size
    assert data[start] == 5
    cell = int.from_bytes(data[start + 12 : start + 14], "big")
    child = int.from_bytes(data[start + cell : start + cell + 4], "big")
    data[(child - 1) * size : child * size] = random.Random(1).randbytes(size)
    path.write_bytes(data)


async def test_rot_in_a_page_of_rows_is_noticed_and_the_rest_goes_on(opened: Open, tmp_path: Path) -> None:
    numbers = await filled(opened, 60)
    path = tmp_path / "queue.sqlite"
    await asyncio.to_thread(spoil_a_page_of_entries, path)
    assert not await asyncio.to_thread(sound, path)
    store = await opened(roles={"intake", "national"})
    assert store.salvaged is not None
    assert (store.salvaged.kept_aside / "queue.sqlite").exists()
    assert 0 < store.salvaged.entries < 60
    assert store.salvaged.lost + store.salvaged.entries == 60
    assert await asyncio.to_thread(sound, path)
    receipt = await store.put(message("new"), [publish(99)])
    assert receipt.number > max(numbers)
    again = await store.put(message("59", b"x%06d" % 59 * 2000), [publish(59)])
    assert again.duplicate or again.number > max(numbers)


def test_what_is_carried_over_is_never_in_memory_all_at_once(tmp_path: Path) -> None:
    """A backlog of weeks is gigabytes; a box that ran out of memory here would do so again at each start."""
    size, count = 2 << 20, 40
    damaged, fresh = tmp_path / "damaged.sqlite", tmp_path / "queue.sqlite"
    for path in (damaged, fresh):
        open_begun(path)
    with contextlib.closing(sqlite3.connect(damaged)) as conn:
        for number in range(1, count + 1):
            data = random.Random(number).randbytes(size)
            conn.execute("INSERT INTO received (id, sha256, received_at) VALUES (?, ?, 0)", (number, sha256(data)))
            conn.execute("INSERT INTO content (received_id, bytes) VALUES (?, ?)", (number, data))
        conn.execute("UPDATE content SET bytes = 'text' WHERE received_id = 1")  # as a flipped bit may have it
        conn.commit()
    tracemalloc.start()
    try:
        salvage(damaged, fresh, 0)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    with contextlib.closing(sqlite3.connect(fresh)) as conn:
        assert conn.execute("SELECT count(*) FROM content").fetchone() == (count - 1,)
    assert most < 8 * size


@pytest.mark.parametrize("whole", [False, True], ids=["half carried over", "whole and not in its place yet"])
async def test_a_cut_while_the_rest_is_carried_over_costs_nothing(opened: Open, tmp_path: Path, whole: bool) -> None:
    path, fresh = tmp_path / "queue.sqlite", tmp_path / "queue.sqlite.new"
    await filled(opened, 60)
    await asyncio.to_thread(spoil_a_page_of_entries, path)

    def cut() -> None:
        open_begun(fresh)
        if whole:
            salvage(path, fresh, 0)
            put_aside(path, "damaged-1")

    await asyncio.to_thread(cut)
    store = await opened(roles={"intake"})
    assert store.salvaged is not None
    assert (store.salvaged.kept_aside / "queue.sqlite").exists()
    assert 0 < store.salvaged.entries < 60
    assert (await store.counters()).waiting == store.salvaged.entries
    assert not fresh.exists()
    await store.close()
    assert (await opened(roles={"intake"})).salvaged is None


async def test_a_file_that_is_no_database_is_kept_aside_and_a_new_store_begins(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "queue.sqlite").write_bytes(b"not a database at all" * 1000)
    store = await opened(roles={"intake"})
    assert store.salvaged is not None
    assert store.salvaged.rows == 0
    assert not (await store.put(message("1"), [publish(1)])).duplicate


def flip_bits(path: Path, whole: bytes, seed: int) -> None:
    for leftover in path.parent.glob("queue.sqlite*"):
        leftover.unlink()
    draw = random.Random(seed)
    data = bytearray(whole)
    for _ in range(30):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


async def test_any_flipped_bytes_leave_a_store_that_serves(opened: Open, tmp_path: Path) -> None:
    await filled(opened, 25)
    path = tmp_path / "queue.sqlite"
    whole = await asyncio.to_thread(path.read_bytes)
    for seed in range(12):
        await asyncio.to_thread(flip_bits, path, whole, seed)
        store = await opened(roles={"intake", "national"})
        assert (await store.put(message(f"after {seed}"), [publish(1000 + seed)])).number > 0
        counters = await store.counters()
        assert counters.by_state[State.WAITING] + counters.by_state[State.SET_ASIDE] >= 1
        await store.close()


async def test_a_second_process_with_the_same_role_is_refused_and_another_role_is_not(opened: Open) -> None:
    first = await opened(roles={"intake"})
    await opened(roles={"national"})
    with pytest.raises(StoreError, match="already runs the intake part"):
        await opened(roles={"intake"})
    await opened(roles=())
    await first.close()
    await opened(roles={"intake"})


async def test_an_older_copy_of_the_database_is_a_restored_one(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    await filled(opened, 2)
    backup = await asyncio.to_thread(path.read_bytes)
    await filled(opened, 3)
    await asyncio.to_thread(path.write_bytes, backup)
    store = await opened(roles={"national"})
    assert store.restored == "older-copy"
    await store.put(message("intake goes on"), [publish(5)])
    assert await store.take([(0, 4)], 4, frozenset({State.WAITING})) == []
    await store.close()
    still = await opened(roles={"national"})
    assert still.restored == "older-copy"
    await still.confirm_restored(by="admin")
    assert len(await still.take([(0, 4)], 4, frozenset({State.WAITING}))) > 0
    await still.close()
    assert (await opened(roles={"national"})).restored == ""


async def test_damage_under_another_open_part_waits_for_it(tmp_path: Path) -> None:
    settings, path = config.Queue(), tmp_path / "queue.sqlite"
    holder = await Store.open(settings, tmp_path, roles={"intake"}, limits=ROOMY, machine="a")
    await holder.put(message("1"), [publish(1)])
    data = await asyncio.to_thread(path.read_bytes)
    await asyncio.to_thread(path.write_bytes, bytes(4096) + data[4096:])
    with pytest.raises(StoreError, match="does not let go"):
        await Store.open(settings, tmp_path, roles={"national"}, limits=ROOMY, machine="a", patience_s=0.2)
    await holder.close()
