"""500 introspections at once, over real mutual TLS: how long a kept answer takes, and how many connections they share.

The far side is the PSC peer in a process of its own. Three figures: the 99th centile of a kept answer while 500 callers
ask for the same few tokens; the most connections that 500 different tokens ever had open; and 500 tokens asked for the
first time, beside a bare aiohttp client with as many connections that checks and keeps nothing.
"""

import asyncio
import logging
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import structlog

from tests.bench.figure import Figure
from tests.peers.trusted import servers_of

CALLERS, RUNS, CONNECTIONS, TOKENS = 500, 5, 8, 20
STRUCTURE = "10B0127189"


def figures() -> Iterator[Figure]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory(prefix="bench-psc-") as folder, _peer(Path(folder)) as (issuer, pipe):
        kept_ms, first_s, bare_s, open_at_once = asyncio.run(_measure(Path(folder), issuer, pipe))
    yield Figure(
        f"PSC introspection kept, {CALLERS} callers, p99", "ms", kept_ms, "≤ 1 ms", kept_ms <= 1.0,
        {"bare aiohttp call": bare_s / CALLERS * 1000},
    )  # fmt: skip
    yield Figure(
        f"PSC introspection, {CALLERS} new tokens: connections open at once", "connections", open_at_once,
        f"≤ {CONNECTIONS} (psc.max_connections)", open_at_once <= CONNECTIONS,
    )  # fmt: skip
    ours, theirs = CALLERS / first_s, CALLERS / bare_s
    yield Figure(
        f"PSC introspection, {CALLERS} new tokens at once", "tokens/s", ours, "≥ 0.7 × bare aiohttp",
        ours >= 0.7 * theirs, {"bare aiohttp": theirs}, ours / theirs,
    )  # fmt: skip


async def _measure(folder: Path, issuer: str, pipe: Connection) -> tuple[float, float, float, float]:
    from passevue import config
    from passevue.errors import SignInError
    from passevue.national.psc import Psc
    from passevue.national.psc_identity import PscIdentity
    from tests.peers.pki import Family, Pki
    from tests.unit.national.psc_browser import visit

    pki = Pki(folder / "pki")
    client = pki.leaf(Family.ORG_AUTH_CLI, STRUCTURE)
    identity = PscIdentity(client.certificate, client.key, servers_of(pki))
    settings = config.Psc.model_validate(
        {"issuer": issuer, "client_id": "passevue", "redirect_url": "https://box.invalid/psc/retour", "timeout_s": 60,
         "max_connections": CONNECTIONS}
    )  # fmt: skip
    kept, first, bare, most = [], [], [], 0.0
    async with Psc(settings, identity, folder / "psc") as psc:
        tokens = []
        for _ in range(TOKENS):
            request = await psc.begin_code()
            session = await psc.finish_code(request, await visit(request.url, pki))
            tokens.append(await session.access_token())
            await psc.introspect(tokens[-1])

        async def dead(name: str) -> None:
            try:
                await psc.introspect(name)
            except SignInError:
                return
            raise RuntimeError("a token that nobody gave was taken")

        async def timed(token: str) -> float:
            started = time.perf_counter()
            await psc.introspect(token)
            return time.perf_counter() - started

        for run in range(RUNS + 1):
            times = await asyncio.gather(*(timed(tokens[caller % TOKENS]) for caller in range(CALLERS)))
            pipe.send("count connections from now on")
            pipe.recv()
            started = time.perf_counter()
            await asyncio.gather(*(dead(f"{run}-{caller}") for caller in range(CALLERS)))
            took = time.perf_counter() - started
            pipe.send("how many were open at once")
            most = max(most, float(pipe.recv()))
            plain = await _bare(psc._server._endpoints.introspection, identity, run)  # type: ignore[union-attr]
            if run:
                kept.append(statistics.quantiles(times, n=100)[98] * 1000)
                first.append(took)
                bare.append(plain)
    return statistics.median(kept), statistics.median(first), statistics.median(bare), most


async def _bare(url: str, identity: Any, run: int) -> float:
    """The same calls by aiohttp alone, on its own connections."""
    from datetime import UTC, datetime

    import aiohttp

    connector = aiohttp.TCPConnector(ssl=identity.context(datetime.now(UTC)), limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask(caller: int) -> None:
            form = {"token": f"b{run}-{caller}", "client_id": "passevue"}
            async with session.post(url, data=form) as response:
                if (await response.json())["active"]:
                    raise RuntimeError("a token that nobody gave is active")

        started = time.perf_counter()
        await asyncio.gather(*(ask(caller) for caller in range(CALLERS)))
        return time.perf_counter() - started


@contextmanager
def _peer(folder: Path) -> Iterator[tuple[str, Connection]]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(folder / "pki", theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours.recv(), ours
    finally:
        ours.close()  # the peer stops when its pipe does
        process.join(30)


def _serve(folder: Path, pipe: Connection) -> None:
    asyncio.run(_run(folder, pipe))


async def _run(folder: Path, pipe: Connection) -> None:
    from tests.peers.pki import Pki
    from tests.peers.psc import PscPeer

    async with PscPeer(Pki(folder), structure=STRUCTURE) as peer:
        peer.auto_approve = "899700000017"
        peer.token_life_s = 3600.0
        pipe.send(peer.issuer)
        while await asyncio.to_thread(pipe.poll, None):
            try:
                pipe.recv()
            except EOFError:
                return
            pipe.send(peer.most_connections)
            peer.most_connections = 0
