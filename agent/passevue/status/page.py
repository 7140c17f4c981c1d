"""The local status page, its live updates, health and metrics: without sign-in, read-only, no patient data (ACCT-06).

    GET /            the page, in French or English
    GET /events      the same, sent again when it changes (server-sent events)
    GET /security    what protects the box, what of it fails, why it matters and what to do
    GET /status.json the summary, as `passevue status --json` prints it
    GET /health      200 as long as this process answers
    GET /ready       200 when the box can take in and keep; else 503 and why
    GET /metrics     Prometheus text
    GET /static/…    one stylesheet, one script, one icon, from memory

Nothing of it changes anything, asks for a name, sets a cookie or loads from elsewhere. What people do once they have
signed in is in `sign_in_pages` and `people_pages`, on the same listener. Every answer carries a policy that allows no
inline script or style, no framing and no other origin (N-22).
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic
from zoneinfo import ZoneInfo

from aiohttp import web
from aiohttp.typedefs import Handler

from passevue import config
from passevue.intake.tls import listener_context
from passevue.queue.room import Level
from passevue.status import security_view, view
from passevue.status.browser import HEADERS, add_headers, language, preferred
from passevue.status.contents_pages import ContentsPages
from passevue.status.door import Bucket, Door, Limits, is_our_host
from passevue.status.front import Front
from passevue.status.listening import Place, listening
from passevue.status.live import Live
from passevue.status.machine_pages import MachinePages
from passevue.status.metrics import CONTENT_TYPE, Metrics
from passevue.status.people_pages import People, PeoplePages
from passevue.status.plain import to_json
from passevue.status.sign_in_pages import SignInPages
from passevue.status.summary import Summary

__all__ = ["HEADERS", "Page", "preferred"]

Look = Callable[[], Awaitable[Summary]]

LOOK_EVERY_S = 2.0


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
        people: People | None = None,
        sock: socket.socket | None = None,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._settings = settings
        self._look = look
        self._zone = zone
        self._metrics = metrics or Metrics()
        self._limits = limits or Limits()
        self._people = people
        self._sock = sock
        self._look_every_s = look_every_s
        self._door = Door(self._limits)
        self._bucket = Bucket(self._limits)
        self._names = our_names(settings.host, *settings.names)
        self._live = Live(self._limits)
        self._started = asyncio.Event()
        self._front: Front | None = None
        self.port = 0

    async def started(self) -> None:
        await self._started.wait()

    async def run(self) -> None:
        settings, tls = self._settings, self._settings.tls
        context = await asyncio.to_thread(listener_context, tls) if tls is not None else None
        place = Place(settings.host, settings.port, self._sock, context)
        async with listening(self.app(), self._door, place, self._live.stopping.set) as self.port:
            self._started.set()
            await asyncio.get_running_loop().create_future()

    def app(self) -> web.Application:
        """The routes with their guards."""
        app = web.Application(middlewares=[self._guard], client_max_size=1024)
        app.on_response_prepare.append(add_headers)
        for path, handler in (
            ("/", self._page),
            ("/events", self._events),
            ("/status.json", self._json),
            ("/health", self._health),
            ("/healthz", self._health),
            ("/ready", self._ready),
            ("/metrics", self._metrics_text),
            ("/static/{name}", self._static),
            ("/security", self._security),
        ):
            app.router.add_get(path, handler)
        if self._people is not None:
            self._add_people(app, self._people)
        return app

    def _add_people(self, app: web.Application, people: People) -> None:
        machine = people.machine
        front = self._front = Front(
            people.sign_in, people.box, self._zone, people.sign_in.clock, on_box=machine is not None
        )
        SignInPages(front, people.sign_in, self._live, people.callback).add_to(app)
        PeoplePages(
            front, people.sign_in, people.acts, self._live, people.check, has_machine=machine is not None
        ).add_to(app)
        ContentsPages(front, on_box=machine is not None, folder=people.papers).add_to(app)
        if machine is not None:
            MachinePages(front, people.sign_in, machine, self._live).add_to(app)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._door.spoke(request)
        if not is_our_host(request.headers.get("Host"), self._names):
            raise web.HTTPMisdirectedRequest(text="This host name is not this box's.\n")
        if not self._bucket.take(request.remote or "", monotonic()):
            raise web.HTTPTooManyRequests(text="Too many requests.\n", headers={"Retry-After": "2"})
        return await handler(request)

    async def _page(self, request: web.Request) -> web.Response:
        sign_in = self._people is not None
        html = view.whole_page(await self._look(), language(request), self._zone, sign_in=sign_in)
        headers = {"Cache-Control": "no-store", "Vary": "Accept-Language"}
        return web.Response(text=html, content_type="text/html", charset="utf-8", headers=headers)

    async def _security(self, request: web.Request) -> web.Response:
        """To who has signed in, with what was measured; looking at it keeps no session alive."""
        detail = self._front is not None and self._front.session(request, touch=False) is not None
        html = security_view.security_page(await self._look(), language(request), self._zone, detail=detail)
        headers = {"Cache-Control": "no-store", "Vary": "Accept-Language, Cookie"}
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
        async with self._live.view(request) as stream:
            lang, shown = language(request), ""
            while stream.open and not self._live.stopping.is_set():
                html = view.main_part(await self._look(), lang, self._zone)
                if html != shown:
                    await stream.send("summary", html)
                    shown = html
                else:
                    await stream.beat()
                await self._pause()
        return stream.response

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._look_every_s):
                await self._live.stopping.wait()


def not_ready(summary: Summary) -> str:
    """Why the box cannot take anything in now; empty when it can."""
    if any(finding.code in ("store_failing", "room_stop") for finding in summary.findings):
        return "the store takes nothing in"
    return "no room" if summary.room is not None and summary.room.level is Level.STOP else ""


def our_names(*given: str) -> frozenset[str]:
    """Names under which a browser may ask for this box."""
    machine = socket.gethostname().lower()
    return frozenset({"localhost", machine, f"{machine.partition('.')[0]}.local", *map(str.lower, given)})
