"""KOS of a study of 3,000 instances, from what the PACS answered to its bytes; the peer makes the same with pydicom."""

import time
import tracemalloc
from collections.abc import Callable, Iterator

from passevue.document.kos import build_kos
from tests.bench.figure import Figure, median_of
from tests.unit.document.given import IDENTITY, MAKER, NOW, exam, report, series, study
from tests.unit.document.reference_kos import reference_kos, written

SERIES, PER_SERIES = 10, 300
MAX_S, MAX_MIB = 0.3, 50


def seconds(make: Callable[[], bytes]) -> Callable[[], float]:
    def once() -> float:
        start = time.perf_counter()
        make()
        return time.perf_counter() - start

    return once


def mebibytes(make: Callable[[], bytes]) -> float:
    """Most that was held at once over what was held before."""
    tracemalloc.start()
    make()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / (1 << 20)


def figures() -> Iterator[Figure]:
    large = study(*(series(number, PER_SERIES) for number in range(1, SERIES + 1)))
    told, which = report(), exam()

    def ours() -> bytes:
        return build_kos(large, told, which, MAKER, IDENTITY, NOW)

    def peer() -> bytes:
        return written(reference_kos(large, told, which, MAKER, IDENTITY, NOW))

    if ours() != peer():
        raise AssertionError("the two do not make the same KOS")
    our_time, peer_time = median_of(seconds(ours)), median_of(seconds(peer))
    yield Figure(
        name=f"KOS of {SERIES * PER_SERIES} instances",
        unit="s",
        ours=our_time,
        aim=f"≤ {MAX_S} s",
        met=our_time <= MAX_S,
        peers={"pydicom": peer_time},
        ratio=peer_time / our_time,
    )
    our_memory, peer_memory = mebibytes(ours), mebibytes(peer)
    yield Figure(
        name=f"KOS of {SERIES * PER_SERIES} instances, memory on top",
        unit="MiB",
        ours=our_memory,
        aim=f"≤ {MAX_MIB} MiB",
        met=our_memory <= MAX_MIB,
        peers={"pydicom": peer_memory},
        ratio=peer_memory / our_memory,
    )
