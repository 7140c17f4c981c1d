"""Cards through pcscd: how soon a card is known, against the exchanges alone and against OpenSC; cycles and restarts.

The card is a program in a reader of vpcd, so that the time of its exchanges is known: what is over it is ours and
PC/SC's.
"""

import asyncio
import gc
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from passevue.card.pcsc import Context
from passevue.card.reader import CardIn, Readers
from passevue.card.session import CardSession
from tests.bench.figure import Figure
from tests.peers.card import Profile, VirtualCard
from tests.peers.pcsc import Pcscd, Slot, why_not

RUNS, CYCLES, RESTARTS = 9, 1_000, 100
OVER_MS, LOOP_MS, LEAK_MIB = 60, 20, 8


def figures() -> Iterator[Figure]:
    if why_not():
        return
    with tempfile.TemporaryDirectory() as folder, Pcscd(Path(folder), readers=2) as pcscd:
        os.environ.update(pcscd.environment)
        idle = asyncio.run(_idle())
        over, pure, gaps = asyncio.run(_known(pcscd))
        yield Figure(
            "card in to identity known, over the exchanges alone", "ms", over, f"≤ {OVER_MS} ms", over <= OVER_MS,
            {"exchanges alone": pure},
        )  # fmt: skip
        aim = f"≤ {LOOP_MS} ms"
        yield Figure("loop held by a card at work, longest", "ms", gaps, aim, gaps <= LOOP_MS, {"idle loop": idle})
        yield from _exchanges(pcscd)
        missed, leaks = asyncio.run(_cycles(pcscd))
        yield Figure(f"final states missed in {CYCLES} cycles and {RESTARTS} restarts", "", missed, "0", missed == 0)
        yield Figure("threads and descriptors left by them", "", leaks[0], "0", leaks[0] <= 0)
        yield Figure("memory left by them", "MiB", leaks[1], f"≤ {LEAK_MIB} MiB", leaks[1] <= LEAK_MIB)


@asynccontextmanager
async def _watched() -> AsyncIterator[Readers]:
    readers = Readers()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(readers.run())
        await readers.first_look()
        yield readers
        task.cancel()


async def _until(true: Callable[[], object], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.002)
    return True


async def _idle() -> float:
    """The longest gap between two turns of a loop that has nothing to do: what this machine adds by itself."""
    gaps = [0.0]
    beating = asyncio.ensure_future(_beat(gaps))
    await asyncio.sleep(1)
    beating.cancel()
    return max(gaps) * 1e3


async def _known(pcscd: Pcscd) -> tuple[float, float, float]:
    """Medians of what is over the exchanges, and of the exchanges; the longest gap between two turns of the loop."""
    slot, over, pure, gaps = pcscd.slots[0], [], [], [0.0]
    async with _watched() as readers:
        for _ in range(RUNS):
            arrived = await _arrival(readers, slot)
            spent = [0.0]
            async with readers.session(arrived[1]) as session:
                beating = asyncio.ensure_future(_beat(gaps))
                await session.run(lambda card, spent=spent: _timed(card, spent))
                beating.cancel()
            over.append(spent[1] - arrived[0] - spent[0])
            pure.append(spent[0])
            slot.link.remove()
            await _until(lambda: not readers.seats[slot.name].insertion)
    return statistics.median(over) * 1e3, statistics.median(pure) * 1e3, max(gaps) * 1e3


async def _arrival(readers: Readers, slot: Slot) -> tuple[float, CardIn]:
    """A card put in; when its event came."""
    slot.link.insert(VirtualCard())
    async for event in readers.events():
        if isinstance(event, CardIn):
            return time.perf_counter(), event
    raise AssertionError("events never end")


def _timed(card: CardSession, spent: list[float]) -> None:
    """Identify, noting the time inside exchanges and the end."""
    channel = card._channel
    exchange = channel.exchange

    class Timed:
        lost = False

        def exchange(self, apdu: bytes | bytearray) -> bytes:
            start = time.perf_counter()
            try:
                return exchange(apdu)
            finally:
                spent[0] += time.perf_counter() - start

    other = CardSession(Timed(), card._atr, card._protocol)
    other.identify()
    spent.append(time.perf_counter())


async def _beat(gaps: list[float]) -> None:
    last = time.perf_counter()
    while True:
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        gaps.append(now - last - 0.001)
        last = now


def _exchanges(pcscd: Pcscd) -> Iterator[Figure]:
    """How many exchanges it takes to know the card, ours and OpenSC's."""
    slot, card = pcscd.slots[0], VirtualCard()
    slot.link.insert(card)
    context = Context()
    while not context.look([slot.name])[0].atr:
        time.sleep(0.02)
    context.release()

    async def ours() -> None:
        async with _watched() as readers, readers.session(slot.name) as session:
            await session.identify()
            await session.objects()

    before = len(card.trace)
    asyncio.run(ours())
    count = len(card.trace) - before
    peers = {}
    if tool := shutil.which("pkcs15-tool"):
        before = len(card.trace)
        subprocess.run([tool, "--dump", "--reader", "0"], check=False, capture_output=True, timeout=60)
        peers["pkcs15-tool --dump"] = float(len(card.trace) - before)
    ratio = peers["pkcs15-tool --dump"] / count if peers else None
    yield Figure("exchanges to know a card", "", count, "fewer than OpenSC", ratio is None or ratio > 1, peers, ratio)
    slot.link.remove()


async def _cycles(pcscd: Pcscd) -> tuple[int, tuple[int, float]]:
    """Final states missed, and what is left over: threads and descriptors, memory. All slots at once: pcscd takes its
    time over each, as vpcd is looked at every 400 ms."""
    slots, missed, restarts = pcscd.slots, 0, 0
    cards = [[VirtualCard(), VirtualCard(Profile(number="10000000"))] for _ in slots]
    async with _watched() as readers:
        await asyncio.to_thread(pcscd.restart)
        await _until(lambda: len(readers.seats) == len(slots))
        await _one_cycle(readers, slots[0], cards[0][0])
        before = _held()
        rounds = CYCLES // len(slots)
        for turn in range(rounds):
            seen = await asyncio.gather(
                *(_one_cycle(readers, slot, pair[turn % 2]) for slot, pair in zip(slots, cards, strict=True))
            )
            missed += seen.count(False)
            while restarts * rounds < RESTARTS * (turn + 1):
                restarts += 1
                await asyncio.to_thread(pcscd.restart)
                missed += not await _until(lambda: len(readers.seats) == len(slots))
        gc.collect()
        await asyncio.sleep(0.5)
        after = _held()
    return missed, (after[0] - before[0], (after[1] - before[1]) / (1 << 20))


async def _one_cycle(readers: Readers, slot: Slot, card: VirtualCard) -> bool:
    """In, read, out; whether both were seen."""
    slot.link.insert(card)
    seen = await _until(lambda: slot.name in readers.seats and readers.seats[slot.name].insertion)
    slot.link.remove()
    return seen and await _until(lambda: slot.name in readers.seats and not readers.seats[slot.name].insertion)


def _held() -> tuple[int, int]:
    process = psutil.Process()
    return threading.active_count() + process.num_fds(), process.memory_info().rss
