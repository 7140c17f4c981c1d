"""The queue on a real PostgreSQL: that a commit is one, that several boxes do not meet, that a dead server is said so.

The whole of `tests/unit/queue` runs on it too (`queue_url`); here is what only PostgreSQL has.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from passevue import config
from passevue.errors import StoreError
from passevue.queue.room import Limits
from passevue.queue.states import State
from passevue.queue.store import Store
from tests.interop.postgresql import Cluster, found
from tests.unit.queue.far_end import message, publish

pytestmark = pytest.mark.skipif(found() is None, reason="PostgreSQL is not installed (Debian package postgresql)")
LIMITS = Limits(stop=0.999, min_free_bytes=1 << 20, ballast_bytes=0)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as running:
        yield running


@pytest.fixture
async def boxes(cluster: Cluster, tmp_path: Path) -> AsyncIterator[list[Store]]:
    settings = config.Queue(url=cluster.new_database())
    opened = []
    for name in ("box-a", "box-b", "box-c"):
        opened.append(await Store.open(settings, tmp_path / name, roles={"national"}, limits=LIMITS, machine=name))
    yield opened
    for store in opened:
        await store.close()


async def test_boxes_that_take_at_the_same_time_get_different_entries(boxes: list[Store]) -> None:
    for n in range(90):
        await boxes[n % 3].put(message(str(n)), [publish(n)])
    takes = [box.take([(0, 10)], 10, frozenset({State.WAITING})) for box in boxes for _ in range(3)]
    numbers = [taken.number for batch in await asyncio.gather(*takes) for taken in batch]
    assert len(numbers) == len(set(numbers))
    assert len(numbers) >= 80  # what another box had locked at that moment is skipped, not waited for


async def test_an_answer_is_a_synced_commit_whatever_the_server_was_told(boxes: list[Store]) -> None:
    shown = await boxes[0].read(lambda conn: conn.plain("SHOW synchronous_commit"))
    assert shown == [("on",)]


async def test_copies_that_reach_two_boxes_at_once_are_one_entry(boxes: list[Store]) -> None:
    receipts = await asyncio.gather(*(boxes[n % 3].put(message("same"), [publish(1)]) for n in range(60)))
    assert len({receipt.number for receipt in receipts}) == 1
    assert sum(not receipt.duplicate for receipt in receipts) == 1


async def test_a_server_that_dies_is_said_so_and_used_again_when_it_is_back(tmp_path: Path) -> None:
    with Cluster() as cluster:
        store = await Store.open(config.Queue(url=cluster.new_database()), tmp_path, limits=LIMITS, machine="a")
        first = await store.put(message("1"), [publish(1)])
        await asyncio.to_thread(cluster.stop)
        with pytest.raises(StoreError):
            await store.put(message("2"), [publish(2)])
        assert store.failing
        await asyncio.to_thread(cluster.start)
        await store.tend()
        again = await store.put(message("1"), [publish(1)])
        assert (again.number, again.duplicate) == (first.number, True)
        assert not (await store.put(message("2"), [publish(2)])).duplicate
        await store.close()
