"""The local status page, its live updates, health and metrics: read-only, and without patient data (ACCT-06).

    GET /            the page, in French or English
    GET /events      the same, sent again when it changes (server-sent events)
    GET /status.json the summary, as `passevue status --json` prints it
    GET /health      200 as long as this process answers
    GET /ready       200 when the box can take in and keep; else 503 and why
    GET /metrics     Prometheus text
    GET /static/…    one stylesheet, one script, one icon, from memory

Nothing here changes anything, asks for a name, sets a cookie or loads from elsewhere. Every answer carries a policy
that allows no inline script or style, no framing and no other origin (N-22).
"""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from time import monotonic
from zoneinfo import ZoneInfo

from aiohttp import web
from aiohttp.typedefs import Handler

from passevue import config
from passevue.queue.room import Level
from passevue.status import view
from passevue.status.door import Bucket, Door, Limits, factory, is_our_host
from passevue.status.logs import AccessLog
from passevue.status.metrics import CONTENT_TYPE, Metrics
from passevue.status.plain import to_json
from passevue.status.summary import Summary
from passevue.status.words import Language

Look = Callable[[], Awaitable[Summary]]

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Server": "passevue",
}
LOOK_EVERY_S = 2.0
BEAT_EVERY_S = 15.0  # proxies and phones close a silent stream after 30 to 60 s
WRITE_TIMEOUT_S = 10.0


class Page:
    """The part that serves the page. `run` returns only when cancelled."""

    name = "page"

    def __init__(
        self,
        settings: config.Page,
        look: Look,
        zone: ZoneInfo,
        *,
        metrics: Metrics | None = None,
        limits: Limits | None = None,
        sock: socket.socket | None = None,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._settings = settings
        self._look = look
        self._zone = zone
        self._metrics = metrics or Metrics()
        self._limits = limits or Limits()
        self._sock = sock
        self._look_every_s = look_every_s
        self._door = Door(self._limits)
        self._bucket = Bucket(self._limits)
        self._names = our_names(settings.host, *settings.names)
        self._streams: Counter[str] = Counter()
        self._stopping = asyncio.Event()
        self._started = asyncio.Event()
        self.port = 0

    async def started(self) -> None:
        await self._started.wait()

    async def run(self) -> None:
        runner = web.AppRunner(
            self.app(),
            access_log_class=AccessLog,
            handle_signals=False,
            keepalive_timeout=self._limits.keep_alive_s,
            shutdown_timeout=2.0,
            max_field_size=8 << 10,
            max_line_size=8 << 10,
        )
        await runner.setup()
        try:
            server = await self._listen(runner)
            self.port = server.sockets[0].getsockname()[1]
            self._started.set()
            async with server:
                await server.start_serving()
                await asyncio.get_running_loop().create_future()
        finally:
            self._stopping.set()
            await runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> asyncio.Server:
        assert runner.server is not None  # noqa: S101 - set by setup()
        protocols = factory(self._door, runner.server)
        loop = asyncio.get_running_loop()
        if self._sock is not None:
            return await loop.create_server(protocols, sock=self._sock)
        return await loop.create_server(protocols, self._settings.host, self._settings.port)

    def app(self) -> web.Application:
        """The routes with their guards."""
        app = web.Application(middlewares=[self._guard], client_max_size=1024)
        app.on_response_prepare.append(_add_headers)
        for path, handler in (
            ("/", self._page),
            ("/events", self._events),
            ("/status.json", self._json),
            ("/health", self._health),
            ("/ready", self._ready),
            ("/metrics", self._metrics_text),
            ("/static/{name}", self._static),
        ):
            app.router.add_get(path, handler)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._door.spoke(request)
        if not is_our_host(request.headers.get("Host"), self._names):
            raise web.HTTPMisdirectedRequest(text="This host name is not this box's.\n")
        if not self._bucket.take(request.remote or "", monotonic()):
            raise web.HTTPTooManyRequests(text="Too many requests.\n", headers={"Retry-After": "2"})
        return await handler(request)

    async def _page(self, request: web.Request) -> web.Response:
        html = view.whole_page(await self._look(), language(request), self._zone)
        headers = {"Cache-Control": "no-store", "Vary": "Accept-Language"}
        return web.Response(text=html, content_type="text/html", charset="utf-8", headers=headers)

    async def _json(self, _request: web.Request) -> web.Response:
        headers = {"Cache-Control": "no-store"}
        return web.Response(text=to_json(await self._look()), content_type="application/json", headers=headers)

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n", headers={"Cache-Control": "no-store"})

    async def _ready(self, _request: web.Request) -> web.Response:
        why = not_ready(await self._look())
        status = 503 if why else 200
        return web.Response(text=f"{why or 'ready'}\n", status=status, headers={"Cache-Control": "no-store"})

    async def _metrics_text(self, _request: web.Request) -> web.Response:
        body = self._metrics.text(await self._look())
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})

    async def _static(self, request: web.Request) -> web.Response:
        for file in view.STATIC.values():
            if file.name == request.match_info["name"]:
                headers = {"Cache-Control": "public, max-age=31536000, immutable"}
                return web.Response(body=file.content, content_type=file.content_type, charset="utf-8", headers=headers)
        raise web.HTTPNotFound

    # --- live updates ----------------------------------------------------------------------------------------------

    async def _events(self, request: web.Request) -> web.StreamResponse:
        async with self._stream(request.remote or ""):
            response = web.StreamResponse(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
            response.content_type = "text/event-stream"
            response.charset = "utf-8"
            await response.prepare(request)
            with suppress(TimeoutError, ConnectionError):  # gone, or not reading: its browser comes back if it is there
                await self._send_changes(request, response)
            return response

    @asynccontextmanager
    async def _stream(self, address: str) -> AsyncIterator[None]:
        """
        Raises:
            HTTPServiceUnavailable: enough live views are open.
        """
        full = self._streams.total() >= self._limits.streams
        if full or self._streams[address] >= self._limits.streams_per_address:
            raise web.HTTPServiceUnavailable(text="Too many live views.\n", headers={"Retry-After": "30"})
        self._streams[address] += 1
        try:
            yield
        finally:
            self._streams[address] -= 1
            if self._streams[address] <= 0:
                del self._streams[address]

    async def _send_changes(self, request: web.Request, response: web.StreamResponse) -> None:
        lang = language(request)
        await self._send(response, "retry: 3000\n\n")
        ends = monotonic() + self._limits.stream_s
        shown, beat = "", monotonic()
        while monotonic() < ends and not self._stopping.is_set() and request.transport is not None:  # None: it left
            html = view.main_part(await self._look(), lang, self._zone)
            if html != shown:
                lines = "".join(f"data: {line}\n" for line in html.splitlines())
                await self._send(response, f"event: summary\n{lines}\n")
                shown, beat = html, monotonic()
            elif monotonic() - beat >= BEAT_EVERY_S:
                await self._send(response, ": beat\n\n")
                beat = monotonic()
            await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._look_every_s):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _send(self, response: web.StreamResponse, text: str) -> None:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await response.write(text.encode())


def not_ready(summary: Summary) -> str:
    """Why the box cannot take anything in now; empty when it can."""
    if any(finding.code in ("store_failing", "room_stop") for finding in summary.findings):
        return "the store takes nothing in"
    return "no room" if summary.room is not None and summary.room.level is Level.STOP else ""


def language(request: web.Request) -> Language:
    """French, unless `?lang=en` asks or the browser prefers English."""
    asked = request.query.get("lang")
    if asked in (Language.FR, Language.EN):
        return Language(asked)
    return preferred(request.headers.get("Accept-Language", ""))


def preferred(header: str) -> Language:
    """The better of the two by an Accept-Language header (RFC 9110 § 12.5.4); French when it names neither."""
    weights = {Language.FR: 0.0, Language.EN: 0.0}
    for item in header.split(",")[:20]:
        tag, _, parameter = item.partition(";")
        name = tag.strip().lower().partition("-")[0]
        if name in ("fr", "en"):
            weights[Language(name)] = max(weights[Language(name)], _weight(parameter))
    return Language.EN if weights[Language.EN] > weights[Language.FR] else Language.FR


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name != "q":
        return 1.0
    try:
        return min(max(float(value), 0.0), 1.0)
    except ValueError:
        return 0.0


def our_names(*given: str) -> frozenset[str]:
    """Names under which a browser may ask for this box."""
    machine = socket.gethostname().lower()
    return frozenset({"localhost", machine, f"{machine.partition('.')[0]}.local", *map(str.lower, given)})


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
