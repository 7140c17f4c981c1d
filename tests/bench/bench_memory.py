"""Memory of the box at rest, as the appliance runs it: four processes, with all that a centre has configured.

The zones are started as systemd starts them (`passevue run --part …`), meet, and are left alone. Counted is what they
would give back if all four ended: the pages of each alone, and once what they have in common with one another, which
are the programs' own files. (PSS, the kernel's own share-out, would depend on what else runs on this machine.) Beside
them, counted alike: four Python processes that have done no more than `import aiohttp` and listen; Orthanc.

By hand, every zone with its figures: python -m tests.bench.bench_memory
"""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from passevue.config import load
from passevue.queue.store import Store
from passevue.zones.part import Part
from tests.bench.figure import Figure
from tests.demo.centre import Centre
from tests.peers.ports import free_port

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
    """Of one process, in MiB: `own` pages are its alone; `shared` by the file that they are of."""

    own: float
    shared: Mapping[str, float]

    @property
    def whole(self) -> float:
        return self.own + sum(self.shared.values())


def size_of(pid: int) -> Size:
    """As the kernel says (proc(5), smaps)."""
    own, file = 0.0, ""
    shared: dict[str, float] = {}
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        name, *rest = line.split()
        if not name.endswith(":"):
            file = rest[4] if len(rest) > 4 else ""
        elif name in ("Private_Clean:", "Private_Dirty:"):
            own += int(rest[0]) / 1024
        elif name in ("Shared_Clean:", "Shared_Dirty:"):
            shared[file] = shared.get(file, 0.0) + int(rest[0]) / 1024
    return Size(own, shared)


def together(sizes: Iterable[Size]) -> float:
    """What processes take that have nobody else to share with."""
    common: dict[str, float] = {}
    own = 0.0
    for size in sizes:
        own += size.own
        for file, amount in size.shared.items():
            common[file] = max(common.get(file, 0.0), amount)
    return own + sum(common.values())


def figures() -> Iterator[Figure]:
    zones, peers = asyncio.run(_measure())
    for part, size in zones.items():
        yield Figure(f"memory of zone {part} at rest, its own pages", "MiB", size.own, "", True)
    total = together(zones.values())
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
    ports = [free_port() for _ in Part]
    yield "four bare aiohttp servers", await _at_rest([([sys.executable, "-c", HELLO, str(at)], at) for at in ports])
    if await asyncio.to_thread(Path(ORTHANC).exists):
        port = free_port()
        settings = {
            "StorageDirectory": str(folder / "orthanc"),
            "IndexDirectory": str(folder / "orthanc"),
            "DicomPort": free_port(),
            "HttpPort": port,
            "Plugins": [],
        }
        path = folder / "orthanc.json"
        await asyncio.to_thread(path.write_text, json.dumps(settings), encoding="utf-8")
        yield "Orthanc", await _at_rest([([ORTHANC, str(path)], port)])


async def _at_rest(programs: list[tuple[list[str], int]]) -> float:
    """What programs take together once each has taken a connection at its port."""
    null = asyncio.subprocess.DEVNULL
    running = [await asyncio.create_subprocess_exec(*command, stdout=null, stderr=null) for command, _ in programs]
    try:
        for _, port in programs:
            await _taken(port)
        await asyncio.sleep(REST_S / 2)
        return together(size_of(process.pid) for process in running)
    finally:
        for process in running:
            process.terminate()
            await process.wait()


async def _taken(port: int) -> None:
    for _ in range(UP_WITHIN_S * 10):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
            continue
        writer.close()
        return
    raise TimeoutError(f"nobody listens at {port}")


async def main() -> None:
    sizes, peers = await _measure()
    for part, size in sizes.items():
        print(f"{part:10} own {size.own:6.1f}  whole {size.whole:6.1f} MiB")
    print(f"{'together':10} {together(sizes.values()):6.1f} MiB")
    for name, total in peers.items():
        print(f"{name}: {total:.1f} MiB")


if __name__ == "__main__":
    asyncio.run(main())
