"""Memory of the box at rest, as the appliance runs it: four processes, with all that a centre has configured.

The zones are started as systemd starts them (`passevue run --part …`), meet, and are left alone. Counted is the
proportional set size (PSS) that the kernel gives for each process: its own pages, and its share of those it has in
common with others; the sum is what the four take together. Beside them: Orthanc at rest, and a Python process that has
done no more than `import aiohttp` and answer one request.

By hand, every zone with its figures: python -m tests.bench.bench_memory
"""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from passevue.config import load
from passevue.queue.store import Store
from passevue.zones.part import Part
from tests.bench.figure import Figure
from tests.demo.centre import Centre, free_port

ORTHANC = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
AT_MOST_MIB = 200
UP_WITHIN_S = 60
REST_S = 8.0  # the first rounds of everything that runs by a timer
HELLO = """
import sys
from aiohttp import web
async def hello(request): return web.Response(text="hello")
app = web.Application()
app.router.add_get("/", hello)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""


@dataclass(frozen=True)
class Size:
    """In MiB: `pss` counts pages that processes share once, `rss` in each, `own` are those of this process alone."""

    pss: float
    rss: float
    own: float


def size_of(pid: int) -> Size:
    """Of a process, as the kernel says (proc(5), smaps_rollup)."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]:
        name, amount, _ = line.split()
        found[name] = int(amount) / 1024
    return Size(found["Pss:"], found["Rss:"], found["Private_Clean:"] + found["Private_Dirty:"])


def figures() -> Iterator[Figure]:
    zones, peers = asyncio.run(_measure())
    for part, size in zones.items():
        yield Figure(f"memory of zone {part} at rest", "MiB", size.pss, "", True)
    total = sum(size.pss for size in zones.values())
    yield Figure("memory of all zones at rest", "MiB", total, f"≤ {AT_MOST_MIB} MiB", total <= AT_MOST_MIB, peers)


async def _measure() -> tuple[dict[Part, Size], dict[str, float]]:
    with tempfile.TemporaryDirectory(prefix="passevue-memory-") as name:
        folder = Path(name)
        async with _zones(folder) as running:
            await asyncio.sleep(REST_S)
            sizes = {part: size_of(process.pid) for part, process in running.items()}
        return sizes, {peer: size async for peer, size in _peers(folder)}


@asynccontextmanager
async def _zones(folder: Path) -> AsyncIterator[dict[Part, asyncio.subprocess.Process]]:
    """The four, once each has said that it is ready and the page has met the others."""
    centre = Centre(folder)
    running: dict[Part, asyncio.subprocess.Process] = {}
    await centre.open_neighbours()
    await _make_store(centre.config_file)
    try:
        for part in Part:
            with (folder / f"{part}.log").open("wb") as log:
                running[part] = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "passevue", "run", "--config", str(centre.config_file), "--part", part,
                    "--sockets", str(folder / "s"), stdout=log, stderr=log,
                    env={**os.environ, **centre.people.environment},
                )  # fmt: skip
        for part, word in ((part, "box_ready") for part in Part):
            await _said(folder / f"{part}.log", word)
        await _said(folder / "page.log", "endpoint=card")
        await _said(folder / "page.log", "endpoint=in-person")
        yield running
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            await process.wait()
        await centre.close()


async def _make_store(config_file: Path) -> None:
    """A box makes its store once in its life: what that takes is not what it holds from the next start on."""
    config = await asyncio.to_thread(load, config_file)
    await (await Store.open(config.queue, config.box.data_dir)).close()


async def _said(log: Path, word: str) -> None:
    for _ in range(UP_WITHIN_S * 10):
        said = await asyncio.to_thread(log.read_text, encoding="utf-8")
        if word in said:
            return
        await asyncio.sleep(0.1)
    raise TimeoutError(f"{log.name} never said {word}: {said[-2000:]}")


async def _peers(folder: Path) -> AsyncIterator[tuple[str, float]]:
    port = free_port()
    yield "one bare aiohttp server", await _alone(port, [sys.executable, "-c", HELLO, str(port)])
    if await asyncio.to_thread(Path(ORTHANC).exists):
        port = free_port()
        settings = {
            "StorageDirectory": str(folder / "orthanc"),
            "IndexDirectory": str(folder / "orthanc"),
            "DicomPort": free_port(),
            "HttpPort": port,
            "Plugins": [],
        }
        (path := folder / "orthanc.json").write_text(json.dumps(settings), encoding="utf-8")
        yield "Orthanc", await _alone(port, [ORTHANC, str(path)])


async def _alone(port: int, command: list[str]) -> float:
    """PSS of a program at rest after it has taken a connection."""
    null = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=null, stderr=null)
    try:
        for _ in range(UP_WITHIN_S * 10):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.1)
                continue
            writer.close()
            break
        await asyncio.sleep(REST_S / 2)
        return size_of(process.pid).pss
    finally:
        process.terminate()
        await process.wait()


async def main() -> None:
    sizes, peers = await _measure()
    for part, size in sizes.items():
        print(f"{part:10} pss {size.pss:6.1f}  rss {size.rss:6.1f}  own {size.own:6.1f} MiB")
    print(f"{'together':10} pss {sum(size.pss for size in sizes.values()):6.1f}")
    for name, pss in peers.items():
        print(f"{name}: pss {pss:.1f}")


if __name__ == "__main__":
    asyncio.run(main())
