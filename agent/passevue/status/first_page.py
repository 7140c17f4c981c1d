"""The page of a box without a configuration: who takes charge of it, its configuration, its recovery key, and erasing
it, for who gave it a wrong key. No session, no cookie.

    GET  /                what box this is, and the next thing to do
    POST /claim           code of the screen, password, key of who may configure: once
    POST /key             site password and that key, where power went before it was trusted
    POST /configuration   site password, provisioning file and signature
    POST /configuration/stick   site password; the same from the USB stick in the box
    POST /recovery        site password; `show` or `noted`
    POST /erase           site password and the serial of this box
    GET  /health          200, 503 where there should be another page; /static/…

Every form carries the proof itself (the code, the password), so none can be sent by another page in somebody's name;
all the same it must come from this page. Five failures pause an address. What is asked is left as an order
(`update.orders`) for a root program, whose answer is waited for and shown: this process has no right to change the
machine. A configuration that is refused before it becomes an order, after the password, is in the audit trail.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import structlog
from aiohttp import web

from passevue import __version__
from passevue.errors import BoxError, Refused, StoreError
from passevue.provision import erase, package
from passevue.provision.configure import TRUSTED
from passevue.provision.recovery import SHOWN
from passevue.status.attempts import Attempts
from passevue.status.browser import FORM_POLICY, add_headers, language
from passevue.status.door import Bucket, Door, Limits, is_our_host
from passevue.status.form import Form, posted
from passevue.status.from_stick import fetched
from passevue.status.front import asked, check_origin
from passevue.status.listening import Place, listening
from passevue.status.local_account import UNFIT, LocalAccount
from passevue.status.machine_pages import ANSWER_S, CONFIGURATION, DOCUMENT, answered
from passevue.status.page import our_names
from passevue.status.page_templates import TEMPLATES
from passevue.status.refusals import Way, reason_of
from passevue.status.upload import forgotten, receive
from passevue.status.view import STATIC
from passevue.status.wiping import wipe
from passevue.status.words import Language, pick
from passevue.stick.asking import SOCKET
from passevue.stick.chosen import Want
from passevue.update.orders import Orders, Wish

WITHIN_S = 60.0
SITE = "site-admin"

log = structlog.get_logger()

Notice = tuple[str, str]  # tone: act or fine; text
Tell = Callable[[str, str, str], None]  # what happened, who asked, details: to the audit trail; blocks


@dataclass(frozen=True, slots=True)
class Box:
    """Which box this is."""

    data_dir: Path
    serial: str
    fingerprint: str
    wrong: str = ""  # why this page is here in spite of a configuration
    names: tuple[str, ...] = ()  # under which that one lets the page be opened
    stick: Path = SOCKET  # of who reads USB sticks


class FirstPage:
    """A part: `run` returns only when cancelled."""

    name = "first-page"

    def __init__(
        self, box: Box, context: ssl.SSLContext | None, clock: Callable[[], datetime], tell: Tell, *,
        sock: socket.socket | None = None, host: str = "127.0.0.1", port: int = 0, answer_s: float = ANSWER_S,
    ) -> None:  # fmt: skip
        """`context` None: plain http, on this machine only. `sock`: already listening."""
        self._box = box
        self._clock = clock
        self._tell = tell
        self._place = Place(host, port, sock, context)
        self._answer_s = answer_s
        self._account = LocalAccount(box.data_dir)
        self._orders = Orders(box.data_dir)
        self._attempts = Attempts()
        limits = Limits()
        self._door, self._bucket = Door(limits), Bucket(limits)
        self._names = our_names("passevue.local", *box.names)
        self._started = asyncio.Event()
        self.port = 0

    async def started(self) -> None:
        await self._started.wait()

    async def run(self) -> None:
        await self._account.start()
        async with listening(self.app(), self._door, self._place) as self.port:
            self._started.set()
            await asyncio.get_running_loop().create_future()

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=1024)
        app.on_response_prepare.append(add_headers)
        app.router.add_get("/", self._show)
        app.router.add_get("/health", self._health)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/static/{name}", self._static)
        app.router.add_post("/claim", self._claim)
        app.router.add_post("/key", self._give_key)
        app.router.add_post("/configuration", self._configure)
        app.router.add_post("/configuration/stick", self._configure_from_stick)
        app.router.add_post("/recovery", self._recovery)
        app.router.add_post("/erase", self._erase)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self._door.spoke(request)
        if not is_our_host(request.headers.get("Host"), self._names):
            raise web.HTTPMisdirectedRequest(text="This host name is not this box's.\n")
        if not self._bucket.take(request.remote or "", monotonic()):
            raise web.HTTPTooManyRequests(text="Too many requests.\n", headers={"Retry-After": "2"})
        if request.method == "POST":
            check_origin(request)
        return await handler(request)  # type: ignore[no-any-return]

    # --- what is shown

    async def _health(self, _request: web.Request) -> web.Response:
        wrong = bool(self._box.wrong)
        text, status = ("no usable configuration\n", 503) if wrong else ("ok\n", 200)
        return web.Response(text=text, status=status, headers={"Cache-Control": "no-store"})

    async def _static(self, request: web.Request) -> web.Response:
        for file in STATIC.values():
            if file.name == request.match_info["name"]:
                headers = {"Cache-Control": "public, max-age=31536000, immutable"}
                return web.Response(body=file.content, content_type=file.content_type, charset="utf-8", headers=headers)
        raise web.HTTPNotFound

    async def _show(self, request: web.Request) -> web.Response:
        return await self._page(request, ("act", self._box.wrong) if self._box.wrong else None)

    async def _page(self, request: web.Request, notice: Notice | None = None, recovery: str = "") -> web.Response:
        lang = language(request)

        def t(french: str, english: str) -> str:
            return pick((french, english), lang)

        html = TEMPLATES.get_template("first.html").render(
            t=t, lang=lang.value, box=self._box.serial, version=__version__, path="/", asked=asked(request),
            files={name: file.name for name, file in STATIC.items()}, serial=self._box.serial,
            fingerprint=_grouped(self._box.fingerprint), claimed=await self._account.claimed(),
            trusted=await asyncio.to_thread((self._box.data_dir / TRUSTED).exists),
            notice={"tone": notice[0], "text": notice[1]} if notice else None, recovery=recovery,
            erasing=request.path == "/erase",
        )  # fmt: skip
        headers = {"Cache-Control": "no-store", "Content-Security-Policy": FORM_POLICY, "Vary": "Accept-Language"}
        return web.Response(text=html, content_type="text/html", charset="utf-8", headers=headers)

    # --- what is asked

    async def _claim(self, request: web.Request) -> web.StreamResponse:
        try:
            async with posted(request, ("code", "password", "again")) as form:
                if form.secret("password") != form.secret("again"):
                    raise Refused("password-differs", "not the same", hint="Les deux mots de passe diffèrent.")
                key = _key(form)
                wrong = Refused("claim-code", "a wrong code", hint="Ce code n’est pas celui de l’écran du boîtier.")
                claim = partial(self._account.claim, form.secret("code"), form.secret("password"), self._clock())
                await self._tried(request, claim, wrong)
            await self._ordered(Wish.CONFIGURE, {"key": key})
        except BoxError as err:
            return await self._page(request, ("act", err.hint or _FAILED))
        log.info("box_claimed")
        return await self._page(request, ("fine", _said(request, "Ce boîtier est à vous.", "This box is yours.")))

    async def _give_key(self, request: web.Request) -> web.StreamResponse:
        try:
            async with posted(request, ("password",)) as form:
                key = _key(form)
                await self._proved(request, form.secret("password"))
            await self._ordered(Wish.CONFIGURE, {"key": key})
        except BoxError as err:
            return await self._page(request, ("act", err.hint or _FAILED))
        return await self._page(request, ("fine", _said(request, "Ce boîtier est à vous.", "This box is yours.")))

    async def _configure(self, request: web.Request) -> web.StreamResponse:
        try:
            self._may_try(request)
            return await self._placed(request, await self._received(request))
        except BoxError as err:
            return await self._page(request, ("act", err.hint or _FAILED))

    async def _configure_from_stick(self, request: web.Request) -> web.StreamResponse:
        box = self._box
        try:
            async with posted(request, ("password",)) as form:
                await self._proved(request, form.secret("password"))
            log.info("stick_asked")
            async with self._noted(request, Way.STICK):
                names = await fetched(box.stick, self._orders, Want.CONFIGURATION, box.serial, DOCUMENT, WITHIN_S)
            return await self._placed(request, names)
        except BoxError as err:
            return await self._page(request, ("act", err.hint or _FAILED))

    async def _placed(self, request: web.Request, values: dict[str, str]) -> web.StreamResponse:
        """The page that follows, once the configuration that is among the orders is in place. Raises: BoxError."""
        async with forgotten(self._orders, values):
            await self._ordered(Wish.CONFIGURE, values)
        told = _said(
            request,
            "Configuration en place : le boîtier démarre. Cette page change d’adresse si la configuration le dit.",
            "The configuration is in place: the box starts. This page moves if the configuration says so.",
        )
        return await self._page(request, ("fine", told))

    async def _recovery(self, request: web.Request) -> web.StreamResponse:
        try:
            async with posted(request, ("password",)) as form:
                act = "noted" if form.text("act") == "noted" else "show"
                await self._proved(request, form.secret("password"))
            await self._ordered(Wish.RECOVERY, {"act": act})
            key = await asyncio.to_thread(_read, self._box.data_dir / SHOWN) if act == "show" else ""
        except BoxError as err:
            return await self._page(request, ("act", err.hint or _FAILED))
        told = _said(request, "La clé est oubliée.", "The key is forgotten.") if act == "noted" else ""
        return await self._page(request, ("fine", told) if told else None, key)

    async def _erase(self, request: web.Request) -> web.StreamResponse:
        try:
            async with posted(request, ("password",)) as form:
                typed = form.text("serial", 60)
                await self._proved(request, form.secret("password"))
            erase.check(typed, self._box.serial)
            await asyncio.to_thread(self._orders.put, Wish.ERASE, SITE, self._clock(), {"serial": typed})
        except BoxError as err:
            return await self._page(request, ("act", err.hint or _FAILED))
        told = _said(request, "Le boîtier s’efface et redémarre.", "The box erases itself and restarts.")
        return await self._page(request, ("fine", told))

    async def _received(self, request: web.Request) -> dict[str, str]:
        """The uploaded files among the orders. Raises: BoxError."""

        async def check(texts: dict[str, bytearray]) -> None:
            await self._proved(request, texts.get("password", bytearray()))

        async with self._noted(request, Way.UPLOAD):
            _, names = await receive(request, self._orders, DOCUMENT, check, WITHIN_S)
        return names

    @asynccontextmanager
    async def _noted(self, request: web.Request, way: Way) -> AsyncIterator[None]:
        """While in it, what is refused to who knows the password goes to the audit trail, too."""
        try:
            yield
        except BoxError as err:
            reason = reason_of(err, way)
            if reason is not None:
                await asyncio.to_thread(self._tell, CONFIGURATION, SITE, f"{way} {reason} {request.remote or ''}")
            raise

    async def _proved(self, request: web.Request, password: bytearray) -> None:
        """Raises: Refused: `password`."""
        wrong = Refused("password", "a wrong password", hint="Ce n’est pas le mot de passe du site.")
        try:
            await self._tried(request, partial(self._account.fits, password), wrong)
        finally:
            wipe(password)

    async def _tried(self, request: web.Request, check: Callable[[], Awaitable[bool]], wrong: Refused) -> None:
        """Counted before it is looked at: many at once are not more tries than one after the other.

        Raises:
            Refused: `wrong`, `wait`; or what `check` raises once the code was right.
        """
        self._may_try(request)
        address = request.remote or ""
        self._attempts.failed(address, monotonic())
        try:
            if not await check():
                raise wrong
        except Refused as err:
            if err.code not in UNFIT:
                raise
            self._attempts.succeeded(address, counted=True)
            raise
        self._attempts.succeeded(address, counted=True)

    def _may_try(self, request: web.Request) -> None:
        wait_s = self._attempts.wait_s(request.remote or "", monotonic())
        if wait_s > 0:
            minutes = int(wait_s // 60) + 1
            raise Refused("wait", "too many failures", hint=f"Trop d’essais : attendez {minutes} minutes.")

    async def _ordered(self, wish: Wish, values: dict[str, str]) -> None:
        """Leaves the order and waits for what came of it.

        Raises:
            Refused: it was refused, with its words. StoreError: nobody carried it out.
        """
        order = await asyncio.to_thread(self._orders.put, wish, SITE, self._clock(), values)
        await answered(self._box.data_dir, wish, order.id, self._answer_s)


_FAILED = "L’opération a échoué ; rien n’a changé."


def _key(form: Form) -> str:
    """Raises: Unreadable: no such key."""
    return package.key_pem(package.trusted_key(_pem(form.text("key", 2000)))).decode()


def _pem(text: str) -> bytes:
    """A PEM pasted into a form, whose line ends may be gone."""
    begin, end = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"
    inner = text.partition(begin)[2].partition(end)[0]
    return f"{begin}\n{''.join(inner.split())}\n{end}\n".encode() if inner else text.encode()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as err:
        raise StoreError("the recovery key cannot be read", hint=_FAILED) from err


def _grouped(digits: str) -> str:
    return " ".join(digits[at : at + 4].upper() for at in range(0, len(digits), 4))


def _said(request: web.Request, french: str, english: str) -> str:
    return english if language(request) is Language.EN else french
