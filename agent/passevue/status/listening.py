"""How the pages listen: one aiohttp application behind the door that bounds its visitors, and the way it stops.

    async with listening(app, door, Place("127.0.0.1", 8080)) as port:
        …                                   # it answers until here

On leaving nobody new comes in, `stopping` is called, who is being answered has two seconds, and the rest is cut. The
server's own `wait_closed` is not asked: from Python 3.12 on it waits for every connection that is merely kept open.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from passevue.status.access_log import AccessLog
from passevue.status.door import Door, factory

ENDS_WITHIN_S = 2.0
LONGEST_LINE = 8 << 10


@dataclass(frozen=True, slots=True)
class Place:
    """Where: `sock`, which listens already, else `host` and `port`. `context` None: plain HTTP."""

    host: str
    port: int
    sock: socket.socket | None = None
    context: ssl.SSLContext | None = None


@asynccontextmanager
async def listening(
    app: web.Application, door: Door, place: Place, stopping: Callable[[], None] = lambda: None
) -> AsyncIterator[int]:
    """Answers while it lasts; gives the port. Raises: OSError: it cannot be listened there."""
    runner = web.AppRunner(
        app,
        access_log_class=AccessLog,
        handle_signals=False,
        keepalive_timeout=door.limits.keep_alive_s,
        shutdown_timeout=ENDS_WITHIN_S,
        max_field_size=LONGEST_LINE,
        max_line_size=LONGEST_LINE,
    )
    await runner.setup()
    server = None
    try:
        server = await _server(runner, door, place)
        yield int(server.sockets[0].getsockname()[1])
    finally:
        if server is not None:
            server.close()
        stopping()
        await runner.cleanup()


async def _server(runner: web.AppRunner, door: Door, place: Place) -> asyncio.Server:
    assert runner.server is not None  # noqa: S101 - set by setup()
    protocols = factory(door, runner.server)
    loop = asyncio.get_running_loop()
    if place.sock is not None:
        return await loop.create_server(protocols, sock=place.sock, ssl=place.context)
    return await loop.create_server(protocols, place.host, place.port, ssl=place.context)
