"""Live views: server-sent events to a bounded number of browsers, each write with a deadline.

async with live.view(request) as stream:
    await stream.send("part", html)
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from time import monotonic

from aiohttp import web

from passevue.status.door import Limits

LOOK_UP_S = 1.0  # how soon a view notices that the box stops or its browser has left
BEAT_EVERY_S = 15.0  # proxies and phones close a silent stream after 30 to 60 s
WRITE_TIMEOUT_S = 10.0


class Stream:
    """One live view. `response` is what the handler returns."""

    def __init__(self, request: web.Request, response: web.StreamResponse, ends: float) -> None:
        self.response = response
        self._request = request
        self._ends = ends
        self._wrote = monotonic()

    @property
    def open(self) -> bool:
        """False when its browser left, or it has lasted long enough: the browser comes back."""
        return monotonic() < self._ends and self._request.transport is not None

    async def send(self, event: str, data: str) -> None:
        lines = "".join(f"data: {line}\n" for line in data.splitlines())
        await self.write(f"event: {event}\n{lines}\n")

    async def beat(self) -> None:
        """Nothing new: says so when it was silent for long."""
        if monotonic() - self._wrote >= BEAT_EVERY_S:
            await self.write(": beat\n\n")

    async def write(self, text: str) -> None:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await self.response.write(text.encode())
        self._wrote = monotonic()


class Live:
    """All live views of one page. `stopping` is set when the box stops."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: Counter[str] = Counter()
        self.stopping = asyncio.Event()

    def goes_on(self, stream: Stream) -> bool:
        return stream.open and not self.stopping.is_set()

    async def pause(self, happening: Awaitable[object]) -> None:
        """Until `happening`, or for a moment."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_UP_S):
                await happening

    @asynccontextmanager
    async def view(self, request: web.Request) -> AsyncIterator[Stream]:
        """A view that has begun; a browser that goes, or does not read, ends it quietly.

        Raises:
            HTTPServiceUnavailable: enough of them are open.
        """
        address = request.remote or ""
        if self._open.total() >= self._limits.streams or self._open[address] >= self._limits.streams_per_address:
            raise web.HTTPServiceUnavailable(text="Too many live views.\n", headers={"Retry-After": "30"})
        self._open[address] += 1
        try:
            response = web.StreamResponse(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
            response.content_type = "text/event-stream"
            response.charset = "utf-8"
            await response.prepare(request)
            with suppress(TimeoutError, ConnectionError):
                stream = Stream(request, response, monotonic() + self._limits.stream_s)
                await stream.write("retry: 3000\n\n")
                yield stream
        finally:
            self._open[address] -= 1
            if self._open[address] <= 0:
                del self._open[address]
