"""The durable queue: what a put costs beside the disk's own sync, and what 50,000 waiting entries change.

Peers: the same bytes written to a file and synced (`write + fdatasync`), which nothing durable can beat, and the plain
driver inserting them as one row of one table (`sqlite3 INSERT`), which is the engine without our queue.
"""

import asyncio
import hashlib
import os
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import structlog

from passevue import config
from passevue.document.request import Action, Task
from passevue.intake.received import Kind, Received
from passevue.queue.moves import Rank
from passevue.queue.sqlite_settings import prepare_sqlite
from passevue.queue.states import State
from passevue.queue.store import Store, utc_now
from tests.bench.figure import Figure, median_of

REPORT_BYTES = 325_000
SMALL_BYTES = 2_000
BACKLOG = 50_000
LITTLE = 50
ROUND = 100


def message(number: int, size: int, salt: bytes) -> Received:
    content = (b"%d " % number) + salt[: size - 12]
    return Received(Kind.REPORT, content, "RIS|CENTRE", "127.0.0.1", f"b{number}", utc_now())


class Bench:
    """A store of its own in a folder of its own, and numbers that are never used twice."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.number = 0
        self.salt = os.urandom(REPORT_BYTES)

    async def put(self, size: int) -> None:
        self.number += 1
        n = self.number
        await self.store.put(message(n, size, self.salt), [Task(Action.PUBLISH, f"1.2.250.1.999.{n}")])

    async def rate(self, connections: int, size: int, count: int = ROUND) -> float:
        """Messages a second with so many callers, each waiting for its own answer."""

        async def caller() -> None:
            for _ in range(count // connections):
                await self.put(size)

        started = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(connections)))
        return (count // connections) * connections / (time.perf_counter() - started)


def with_store(measure: Callable[[Bench], Awaitable[float]]) -> float:
    """Median of five, in one store, after one round that is not counted."""

    async def run() -> float:
        with tempfile.TemporaryDirectory(prefix="passevue-bench-") as folder:
            store = await Store.open(config.Queue(), Path(folder), roles={"intake", "national"}, machine="bench")
            bench = Bench(store)
            await measure(bench)
            values = [await measure(bench) for _ in range(5)]
            await store.close()
            return statistics.median(values)

    return asyncio.run(run())


def disk_rate(size: int) -> float:
    """Writes of `size` a second, each appended and synced: what the disk itself allows."""
    data = os.urandom(size)

    def once() -> float:
        with tempfile.TemporaryDirectory(prefix="passevue-bench-") as folder:
            file = os.open(Path(folder) / "raw", os.O_WRONLY | os.O_CREAT)
            started = time.perf_counter()
            for _ in range(ROUND):
                os.write(file, data)
                os.fdatasync(file)
            rate = ROUND / (time.perf_counter() - started)
            os.close(file)
            return rate

    return median_of(once)


def plain_sqlite_rate(size: int) -> float:
    """The driver alone: one row, one commit, same settings."""
    data = os.urandom(size)

    def once() -> float:
        with tempfile.TemporaryDirectory(prefix="passevue-bench-") as folder:
            raw = sqlite3.connect(Path(folder) / "plain.sqlite", isolation_level=None)
            prepare_sqlite(raw.execute)
            raw.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, bytes BLOB)")
            started = time.perf_counter()
            for _ in range(ROUND):
                raw.execute("INSERT INTO message (bytes) VALUES (?)", (data,))
            rate = ROUND / (time.perf_counter() - started)
            raw.close()
            return rate

    return median_of(once)


# ── a backlog: filled once, opened by a process of its own, so that its memory is its own ─────────────────────


async def fill(folder: Path, count: int) -> None:
    store = await Store.open(config.Queue(), folder, roles={"intake", "national"}, machine="bench")
    bench = Bench(store)
    for _ in range(count // LITTLE):
        await asyncio.gather(*(bench.put(SMALL_BYTES) for _ in range(LITTLE)))
    await store.close()


async def observe(folder: Path, first: int) -> None:
    """In the child: start-up, put, take, counters, and memory; seconds and bytes on one line."""
    started = time.perf_counter()
    store = await Store.open(config.Queue(), folder, roles={"intake", "national"}, machine="bench")
    await store.counters()
    opened = time.perf_counter() - started
    bench = Bench(store)
    bench.number = first
    puts, takes, counts = [], [], []
    await bench.put(SMALL_BYTES)
    for _ in range(30):
        puts.append(await seconds(bench.put(SMALL_BYTES)))
        takes.append(await seconds(store.take([(Rank.FRESH, 1)], 1, frozenset({State.WAITING}))))
    for _ in range(10):
        counts.append(await seconds(store.counters()))
    await store.close()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    medians = [statistics.median(values) for values in (puts, takes, counts)]
    print(opened, *medians, memory)


async def seconds(work: Awaitable[object]) -> float:
    started = time.perf_counter()
    await work
    return time.perf_counter() - started


def seen() -> tuple[list[float], list[float]]:
    """With little and with much waiting: start-up, put, take, counters (seconds), memory (bytes).

    Medians of seven processes each; the two backlogs take turns, so that a noisy machine is noisy for both.
    """
    with tempfile.TemporaryDirectory(prefix="passevue-bench-") as folder:
        places = {count: Path(folder) / str(count) for count in (LITTLE, BACKLOG)}
        runs: dict[int, list[list[float]]] = {count: [] for count in places}
        for count, place in places.items():
            asyncio.run(fill(place, count))
        for turn in range(7):
            for count, place in places.items():
                command = [sys.executable, "-m", "tests.bench.bench_queue", place, str(10_000_000 + turn * 1000)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                runs[count].append([float(value) for value in done.stdout.split()])
    little, much = ([statistics.median(values) for values in zip(*runs[count], strict=True)] for count in places)
    return little, much


def in_turn(*measures: Callable[[], float]) -> list[float]:
    """Three rounds of all of them, one after the other, and the median of each: all see the same noise."""
    rounds = [[measure() for measure in measures] for _ in range(3)]
    return [statistics.median(values) for values in zip(*rounds, strict=True)]


def hash_rate() -> float:
    data = os.urandom(REPORT_BYTES)
    started = time.perf_counter()
    for _ in range(200):
        hashlib.sha256(data).digest()
    return 200 / (time.perf_counter() - started)


def figures() -> Iterator[Figure]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    disk, plain, single = in_turn(
        lambda: disk_rate(REPORT_BYTES), lambda: plain_sqlite_rate(REPORT_BYTES),
        lambda: with_store(lambda bench: bench.rate(1, REPORT_BYTES)),
    )  # fmt: skip
    peers = {"write + fdatasync": disk, "sqlite3 INSERT": plain, "SHA-256 alone": hash_rate()}
    yield Figure("queue: put of 325 kB, synced, one caller", "messages/s", single,
                 "≥ 0.8 × write + fdatasync", single >= 0.8 * disk, peers, single / disk)  # fmt: skip
    eight = with_store(lambda bench: bench.rate(8, REPORT_BYTES, 200))
    yield Figure("queue: put of 325 kB, synced, eight callers", "messages/s", eight,
                 "≥ 5 × one caller", eight >= 5 * single, {"one caller": single, "write + fdatasync": disk},
                 eight / single)  # fmt: skip
    small = with_store(lambda bench: bench.rate(1, SMALL_BYTES))
    yield Figure("queue: put of 2 kB, synced, one caller", "messages/s", small, "≥ 100", small >= 100,
                 {"write + fdatasync": disk_rate(SMALL_BYTES)})  # fmt: skip
    many = with_store(lambda bench: bench.rate(50, SMALL_BYTES, 1000))
    yield Figure("queue: put of 2 kB, synced, fifty callers", "messages/s", many, "≥ 2000", many >= 2000,
                 {"one caller": small}, many / small)  # fmt: skip
    little, much = seen()
    yield Figure("queue: start with 50,000 waiting", "s", much[0], "≤ 10 s", much[0] <= 10, {"with 50": little[0]})
    for place, what in ((1, "put"), (2, "take"), (3, "counters")):
        ratio = little[place] / much[place]
        aim, bound = ("not slower than with 50", 0.8) if what != "counters" else ("≤ 100 ms", 0.0)
        met = ratio >= bound and much[place] <= 0.1
        yield Figure(f"queue: {what} with 50,000 waiting", "ms", much[place] * 1000, aim, met,
                     {"with 50": little[place] * 1000}, ratio)  # fmt: skip
    grown = (much[4] - little[4]) / (1 << 20)
    yield Figure("queue: memory more with 50,000 waiting than with 50", "MiB", grown, "≤ 16 MiB", grown <= 16,
                 {"with 50, whole process": little[4] / (1 << 20)})  # fmt: skip


if __name__ == "__main__":
    asyncio.run(observe(Path(sys.argv[1]), int(sys.argv[2])))
