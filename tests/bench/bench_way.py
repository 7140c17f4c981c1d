"""The whole way: a report leaves the RIS, the DMP has committed its manifest. Empty queue, all on loopback.

The box is a process of its own with its ordinary settings; RIS, PACS and DMP are this one. The DMP peer verifies both
signatures of each submission, the PACS peer answers C-FIND for a study of 30 images: their time is in the figure.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from passevue.queue.retry import Policy
from tests.bench.figure import Figure
from tests.journeys.box_process import process
from tests.peers.cabinet import Cabinet
from tests.peers.ports import free_port
from tests.peers.ris import Ris, invented_exam, invented_person, oru

REPORTS, WARM_UP = 40, 5


def figures() -> Iterator[Figure]:
    Path(".cache").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=".cache", prefix="bench-way-") as folder:
        published = asyncio.run(_measure(Path(folder)))
    yield Figure("report in to committed by the DMP", "ms", published, "≤ 250 ms", published <= 250)


async def _measure(folder: Path) -> float:
    port = free_port()
    cabinet = Cabinet(folder / "box", folder / "pki", more={"ris": {"port": port}})
    async with cabinet.dmp, cabinet.pacs:
        box = process(cabinet.config(), Policy())
        await asyncio.to_thread(box.start)
        try:
            times = [await _one(cabinet, port, number) for number in range(1, REPORTS + 1)][WARM_UP:]
        finally:
            box.terminate()
            await asyncio.to_thread(box.join)
    return statistics.median(times) * 1000


async def _one(cabinet: Cabinet, port: int, number: int) -> float:
    """Seconds from the first byte of the message until the DMP has committed."""
    patient, exam = invented_person(number), invented_exam(number)
    cabinet.examine(patient, exam, slices=30)
    message = oru(cabinet.cda(patient, exam), patient)
    ris = await _connected(port)
    started = time.perf_counter()
    ack = await ris.send(message)
    assert ack.code == "AA"
    while len(cabinet.dmp.committed) < number:  # noqa: ASYNC110 - the ledger is a list: looked at every millisecond
        await asyncio.sleep(0.001)
    published = time.perf_counter() - started
    await ris.close()
    return published


async def _connected(port: int) -> Ris:
    """The box may still be starting."""
    for _ in range(200):
        try:
            return await Ris("127.0.0.1", port).__aenter__()
        except OSError:
            await asyncio.sleep(0.05)
    raise TimeoutError("the box does not listen")
