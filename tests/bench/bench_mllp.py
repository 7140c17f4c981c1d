"""Reports of 325 kB by MLLP, acknowledged after a real sync, beside what the disk itself does in the same run.

The box's true path runs in a process of its own: MllpServer → RisDesk → read_request → Store.put, on SQLite. The RIS is
this process: threads on blocking sockets, one per connection, each waiting for its ACK before it sends the next. Every
message is another report of another study.

The disk's own rate is one `write` of a message and one `fdatasync` after the other, on the same file system; beside it,
for orientation, the same as a row of SQLite (WAL, `synchronous=FULL`).
"""

import asyncio
import logging
import multiprocessing
import os
import socket
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from tests.bench.figure import Figure

SINGLE, PARALLEL, CONNECTIONS, RUNS = 40, 160, 8, 5
HERE = Path(".cache")  # on the disk: /tmp may be memory


def figures() -> Iterator[Figure]:
    HERE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=HERE, prefix="bench-mllp-") as folder, _box(Path(folder)) as port:
        reports = _reports()
        sample = next(reports)
        singly, together, disk, sqlite = [], [], [], []
        for run in range(RUNS + 1):
            rates = (
                _disk_rate(Path(folder), sample),
                _sqlite_rate(Path(folder), sample, run),
                _rate(port, [next(reports) for _ in range(SINGLE)], 1),
                _rate(port, [next(reports) for _ in range(PARALLEL)], CONNECTIONS),
            )
            if run:  # the first one warms up
                for kept, rate in zip((disk, sqlite, singly, together), rates, strict=True):
                    kept.append(rate)
    own, row = statistics.median(disk), statistics.median(sqlite)
    peers = {"write + fdatasync": own, "SQLite row": row}
    yield _figure("MLLP report 325 kB, 1 connection", statistics.median(singly), own, 0.8, peers)
    yield _figure(f"MLLP report 325 kB, {CONNECTIONS} connections", statistics.median(together), own, 5.0, peers)


def _figure(name: str, ours: float, disk: float, wanted: float, peers: dict[str, float]) -> Figure:
    ratio = ours / disk
    return Figure(name, "messages/s", ours, f"≥ {wanted} × write + fdatasync", ratio >= wanted, peers, ratio)


def _reports() -> Iterator[bytes]:
    from tests.peers.ris import PAT_TROIS, framed, invented_document_id, invented_exam, oru, report

    number = 1000
    while True:
        number += 1
        cda = report(PAT_TROIS, invented_exam(number), document_id=invented_document_id(number))
        yield framed(oru(cda, PAT_TROIS))


def _rate(port: int, messages: list[bytes], connections: int) -> float:
    """Messages per second, from the first byte to the last ACK."""
    shares = [messages[first::connections] for first in range(connections)]
    opened = [socket.create_connection(("127.0.0.1", port)) for _ in shares]
    for sock in opened:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with ThreadPoolExecutor(connections) as pool:
        started = time.perf_counter()
        for done in [pool.submit(_send_all, *each) for each in zip(opened, shares, strict=True)]:
            done.result()
        elapsed = time.perf_counter() - started
    for sock in opened:
        sock.close()
    return len(messages) / elapsed


def _send_all(sock: socket.socket, messages: list[bytes]) -> None:
    for message in messages:
        sock.sendall(message)
        ack = b""
        while not ack.endswith(b"\x1c\r"):
            ack += sock.recv(4096)
        if b"\rMSA|AA|" not in ack:
            raise RuntimeError(f"Expected AA instead got {ack!r}")


def _disk_rate(folder: Path, message: bytes) -> float:
    path = folder / "own"
    handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        started = time.perf_counter()
        for _ in range(SINGLE):
            os.write(handle, message)
            os.fdatasync(handle)
        return SINGLE / (time.perf_counter() - started)
    finally:
        os.close(handle)
        path.unlink()


def _sqlite_rate(folder: Path, message: bytes, run: int) -> float:
    database = sqlite3.connect(folder / f"row-{run}.sqlite", isolation_level=None)
    try:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE kept (content BLOB)")
        started = time.perf_counter()
        for _ in range(SINGLE):
            database.execute("INSERT INTO kept VALUES (?)", (message,))
        return SINGLE / (time.perf_counter() - started)
    finally:
        database.close()


# The box


@contextmanager
def _box(folder: Path) -> Iterator[int]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(folder / "data", theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        ours.close()  # the box stops when its pipe does
        process.join(30)


def _serve(folder: Path, pipe: Connection) -> None:
    import structlog
    import uvloop

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    folder.mkdir()
    uvloop.run(_run(folder, pipe))


async def _run(folder: Path, pipe: Connection) -> None:
    from passevue import config
    from passevue.document.request import read_request, tasks
    from passevue.intake.mllp import MllpServer
    from passevue.intake.received import Receipt, Received
    from passevue.intake.ris import RisDesk, RisMessage
    from passevue.queue.store import Store

    store = await Store.open(config.Queue(), folder, roles={"intake"})

    async def accept(message: RisMessage, received: Received) -> Receipt:
        return await store.put(received, tasks(read_request(message, "test")))

    server = MllpServer(config.Ris().model_copy(update={"port": 0}), RisDesk(accept))
    running = asyncio.create_task(server.run())
    await server.started()
    pipe.send(server.port)
    await asyncio.to_thread(pipe.poll, None)
    running.cancel()
    await asyncio.wait([running])
    await store.close()
