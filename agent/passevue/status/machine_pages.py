"""The machine, for the site admin: its updates, its configuration, its recovery key, and erasing it. On an appliance
only.

    GET  /site/machine
    POST /site/machine/update          a bundle; `now`, `security`
    POST /site/machine/update/{postpone,cancel}
    POST /site/machine/update/stick    the same from the USB stick in the box; `now`
    GET  /site/machine/events/{stick,update}
                                       how far it is, live
    POST /site/machine/configuration   a provisioning file and its signature
    POST /site/machine/configuration/stick
    POST /site/machine/recovery        the site password; show or noted
    POST /site/machine/erase           the site password and the serial of this box

What is asked goes to the audit trail first and is then left as an order (`update.orders`): this zone may change
nothing itself. What is refused before it becomes one goes there too (`refusals`). The last two ask for the password
again: a session that was left open is not enough.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from passevue.errors import BoxError, Refused, StoreError
from passevue.provision import erase, package
from passevue.provision.configure import number_in_place
from passevue.provision.recovery import SHOWN
from passevue.status import audit
from passevue.status.from_stick import Told, fetched
from passevue.status.front import Front, asked, see_other
from passevue.status.live import Live
from passevue.status.notices import Notice, notice_of
from passevue.status.people_view import machine as machine_view
from passevue.status.people_view import stick_part, update_part
from passevue.status.refusals import Way, reason_of
from passevue.status.roles import Role
from passevue.status.session import Session
from passevue.status.sign_in import SignIn, Trail
from passevue.status.transfer import Transfer
from passevue.status.upload import Wanted, forgotten, receive
from passevue.status.visitor import Cookie, place_of
from passevue.stick.asking import SOCKET
from passevue.stick.chosen import Want
from passevue.update.journey import OVER, Row, State
from passevue.update.orders import Orders, Wish
from passevue.update.row_file import RowFile
from passevue.update.words import sentence

HOME = "/site/machine"
BUNDLE_S = 1800.0
DOCUMENT_S = 60.0
ANSWER_S = 130.0
"""Beyond what systemd gives the root programs (TimeoutStartSec=): who hears that nothing came may ask again."""
UPDATE, CONFIGURATION = "update-refused", "configuration-refused"
"""In the audit trail, as where an order is refused."""
NO_ANSWER = "Le boîtier n’a pas répondu à temps. Ne le coupez pas : attendez cinq minutes, puis recommencez."
ORDERED = "Une mise à jour est demandée : son fichier va être vérifié."
UNKNOWN = "L’état de la mise à jour ne se lit pas : prévenez votre support."
BUNDLE = {"bundle": Wanted(".raucb", 1 << 30, "Ce fichier est trop gros pour une mise à jour.", 0o640)}
DOCUMENT = {
    "document": Wanted(".toml", package.MAX_BYTES, "Ce fichier est trop gros pour une configuration."),
    "signature": Wanted(".sig", package.MAX_SIGNATURE, "Ce fichier n’est pas une signature."),
}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Desk:
    """What these pages stand on."""

    data_dir: Path
    serial: str
    trail: Trail
    clock: Callable[[], datetime]
    stick: Path = SOCKET  # of who reads USB sticks


@dataclass(frozen=True, slots=True)
class _Update:
    """Its row, whether that could be read, and whether one is asked for that the host zone has not looked at yet."""

    row: Row
    known: bool = True
    ordered: bool = False

    @property
    def goes_on(self) -> bool:
        """By itself, and soon."""
        return self.ordered or not (self.over or self.row.state is State.WAITING)

    @property
    def over(self) -> bool:
        return self.row.state in OVER

    @property
    def sentence(self) -> str:
        if not self.known:
            return UNKNOWN
        return ORDERED if self.ordered else sentence(self.row)


class MachinePages:
    """Handlers."""

    def __init__(self, front: Front, sign_in: SignIn, desk: Desk, live: Live, *, answer_s: float = ANSWER_S) -> None:
        self._front = front
        self._sign_in = sign_in
        self._desk = desk
        self._live = live
        self._answer_s = answer_s
        self._orders = Orders(desk.data_dir)
        self._rows = RowFile(desk.data_dir)
        self._transfer = Transfer()

    def add_to(self, app: web.Application) -> None:
        app.router.add_get(HOME, self._show)
        app.router.add_post(f"{HOME}/update", self._update)
        app.router.add_post(f"{HOME}/update/{{act:postpone|cancel}}", self._change)
        app.router.add_post(f"{HOME}/update/stick", self._update_from_stick)
        app.router.add_get(f"{HOME}/events/{{what:stick|update}}", self._watch)
        app.router.add_post(f"{HOME}/configuration", self._configure)
        app.router.add_post(f"{HOME}/configuration/stick", self._configure_from_stick)
        app.router.add_post(f"{HOME}/recovery", self._recovery)
        app.router.add_post(f"{HOME}/erase", self._erase)
        app.on_cleanup.append(self._stop)

    async def _stop(self, _app: web.Application) -> None:
        await self._transfer.stop()

    async def _show(self, request: web.Request) -> web.Response:
        session = self._front.signed_in(request, Role.ADMIN)
        return await self._page(request, session)

    async def _page(self, request: web.Request, session: Session, recovery: str = "") -> web.Response:
        update, number = await asyncio.to_thread(lambda: (self._swept(), number_in_place(self._desk.data_dir)))
        follows = self._followed(update) if not recovery else ""  # a key that is being copied does not go by itself
        shown = {
            "update": _shown(update),
            "number": number,
            "serial": self._desk.serial,
            "recovery": recovery,
            "percent": self._transfer.percent if self._transfer.runs else None,
            "follows": follows,
        }
        events = f"{HOME}/events/{follows}" if follows else "/session/events"
        frame = self._front.frame(request, session=session, events=events)
        return self._front.answer(request, machine_view(frame, shown))

    def _swept(self) -> _Update:
        """The update, once what it does not need is gone; nothing goes when that cannot be known."""
        update = self._update_now()
        if update.known:
            self._orders.sweep({update.row.bundle} if not update.over else ())
        return update

    def _update_now(self) -> _Update:
        try:
            row = self._rows.read()
        except BoxError:
            return _Update(Row(), known=False)
        return _Update(row, ordered=row.state in OVER and self._ordered(row.order))

    def _ordered(self, before: str) -> bool:
        try:
            return self._orders.take(Wish.INSTALL, self._desk.clock(), (before,)) is not None
        except (BoxError, OSError):
            return False  # no order of this page: the host zone says what it thinks of it

    def _followed(self, update: _Update) -> str:
        """What goes on by itself, so that the page follows it: the stick before the update. "" for nothing."""
        if self._transfer.runs:
            return "stick"
        return "update" if update.goes_on else ""

    # --- acts

    async def _update(self, request: web.Request) -> web.StreamResponse:
        session = self._front.signed_in(request, Role.ADMIN)
        async with self._told(request, session):
            async with self._noted(UPDATE, Way.UPLOAD, session, request.remote or ""):
                texts, names = await receive(request, self._orders, BUNDLE, self._ours(request), BUNDLE_S)
            values = {
                "bundle": names["bundle"],
                "now": bytes(texts.get("now", b"")) == b"yes",
                "kind": "security" if bytes(texts.get("security", b"")) == b"yes" else "feature",
            }
            await self._order(Wish.INSTALL, session, request.remote or "", values)
            session.notice = ("update-asked", {})
        raise see_other(request, HOME)

    async def _update_from_stick(self, request: web.Request) -> web.StreamResponse:
        session = self._front.signed_in(request, Role.ADMIN)
        async with self._front.form(request, Cookie.SESSION, HOME) as form, self._told(request, session):
            values = {"now": form.text("now") == "yes", "kind": "feature"}
            self._transfer.must_be_over()
            await self._stick_asked(session, request)
            self._transfer.begin(partial(self._take_bundle, session, request.remote or "", values))
        raise see_other(request, HOME)

    async def _take_bundle(self, session: Session, address: str, values: Mapping[str, Any], tell: Told) -> None:
        """A bundle from the stick, and its order; what came of it is told on the page. Ends with the session."""
        desk = self._desk

        def told(taken: int, size: int) -> None:
            if session.ended is not None:
                raise Refused("signed-out", "the session ended while it was read")
            tell(taken, size)

        try:
            async with self._noted(UPDATE, Way.STICK, session, address):
                names = await fetched(desk.stick, self._orders, Want.BUNDLE, desk.serial, BUNDLE, BUNDLE_S, told)
            async with forgotten(self._orders, names):
                await self._order(Wish.INSTALL, session, address, {**values, **names})
            session.notice = ("update-asked", {})
        except BoxError as err:
            session.notice = _refused(err)

    async def _change(self, request: web.Request) -> web.StreamResponse:
        session = self._front.signed_in(request, Role.ADMIN)
        async with self._front.form(request, Cookie.SESSION, HOME):
            await self._order(Wish(request.match_info["act"]), session, request.remote or "", {})
            session.notice = ("update-asked", {})
        raise see_other(request, HOME)

    async def _configure(self, request: web.Request) -> web.StreamResponse:
        session = self._front.signed_in(request, Role.ADMIN)
        async with self._told(request, session):
            async with self._noted(CONFIGURATION, Way.UPLOAD, session, request.remote or ""):
                _, names = await receive(request, self._orders, DOCUMENT, self._ours(request), DOCUMENT_S)
            await self._placed(session, request, names)
        raise see_other(request, HOME)

    async def _configure_from_stick(self, request: web.Request) -> web.StreamResponse:
        session, desk = self._front.signed_in(request, Role.ADMIN), self._desk
        async with self._front.form(request, Cookie.SESSION, HOME), self._told(request, session):
            self._transfer.must_be_over()
            await self._stick_asked(session, request)
            async with self._noted(CONFIGURATION, Way.STICK, session, request.remote or ""):
                names = await fetched(desk.stick, self._orders, Want.CONFIGURATION, desk.serial, DOCUMENT, DOCUMENT_S)
            await self._placed(session, request, names)
        raise see_other(request, HOME)

    async def _placed(self, session: Session, request: web.Request, names: Mapping[str, str]) -> None:
        async with forgotten(self._orders, names):
            await self._answered(Wish.CONFIGURE, session, request, names)
        session.notice = ("configuration-placed", {})

    async def _recovery(self, request: web.Request) -> web.StreamResponse:
        session = self._front.signed_in(request, Role.ADMIN)
        async with self._front.form(request, Cookie.SESSION, HOME, ("password",)) as form, self._told(request, session):
            act = "noted" if form.text("act") == "noted" else "show"
            await self._proved(request, session, form.secret("password"))
            await self._answered(Wish.RECOVERY, session, request, {"act": act})
            if act == "show":
                key = await asyncio.to_thread(_key, self._desk.data_dir / SHOWN)
                return await self._page(request, session, key)
            session.notice = ("recovery-noted", {})
        raise see_other(request, HOME)

    async def _erase(self, request: web.Request) -> web.StreamResponse:
        session = self._front.signed_in(request, Role.ADMIN)
        async with self._front.form(request, Cookie.SESSION, HOME, ("password",)) as form, self._told(request, session):
            typed = form.text("serial", 60)
            await self._proved(request, session, form.secret("password"))
            erase.check(typed, self._desk.serial)
            await self._order(Wish.ERASE, session, request.remote or "", {"serial": typed})
            session.notice = ("erasing", {})
        raise see_other(request, HOME)

    # --- live

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        """How far it is, until something else is to be followed or the session ends; to look keeps no session alive."""
        session, what = self._front.session(request, touch=False), request.match_info["what"]
        async with self._live.view(request) as stream:
            shown = ""
            while _lives(session) and self._live.goes_on(stream):
                update = await asyncio.to_thread(self._update_now)
                if self._followed(update) != what:
                    break
                frame, stick = self._front.live_frame(request, ""), what == "stick"
                html = stick_part(frame, self._transfer.percent) if stick else update_part(frame, _shown(update))
                if html != shown:
                    await stream.send("part", html)
                    shown = html
                await stream.beat()
                await self._live.pause(self._transfer.over.wait() if stick else self._live.stopping.wait())
            if not _lives(session):
                await stream.send("go", f"/sign-in{asked(request)}")
            elif self._live.goes_on(stream):
                await stream.send("go", f"{HOME}{asked(request)}")
        return stream.response

    # --- what they share

    def _told(self, request: web.Request, session: Session) -> "_Told":
        return _Told(request, session)

    @asynccontextmanager
    async def _noted(self, what: str, way: Way, session: Session, address: str) -> AsyncIterator[None]:
        """While in it, what is refused is noted in the audit trail, too; not once the session has ended."""
        try:
            yield
        except BoxError as err:
            reason = reason_of(err, way)
            if reason is not None and session.ended is None:
                said = f"{way} {reason} {address}"
                self._note(audit.machine_changed(self._desk.clock(), what, session.who, said))
            raise

    def _note(self, event: audit.Event) -> None:
        try:
            self._desk.trail.note(event)
        except StoreError as err:  # it stays refused, and is told on the page
            log.error("audit_record_lost", reason=err.message)

    def _ours(self, request: web.Request) -> Callable[[dict[str, bytearray]], Any]:
        async def check(texts: dict[str, bytearray]) -> None:
            if not self._front.fits(request, Cookie.SESSION, bytes(texts.get("token", b"")).decode("ascii", "replace")):
                hint = "Cette page avait vieilli : rien n’a été fait. Recommencez."
                raise Refused("form-old", "not a token of this browser", hint=hint)

        return check

    async def _proved(self, request: web.Request, session: Session, password: bytearray) -> None:
        """Counted as at the sign-in: a session that was left open is no place to guess at. Raises: HTTPSeeOther."""
        try:
            await self._sign_in.prove(password, place_of(request), request.remote or "")
        except Refused as err:
            session.notice = notice_of(err)
            raise see_other(request, HOME) from None

    async def _stick_asked(self, session: Session, request: web.Request) -> None:
        """Raises: TraceError: the trail takes nothing, so no stick is let in."""
        event = audit.machine_changed(self._desk.clock(), "stick-asked", session.who, request.remote or "")
        await self._desk.trail.record(event)

    async def _order(self, wish: Wish, session: Session, address: str, values: Mapping[str, Any]) -> str:
        """The trail first. The order's id. Raises: Refused: the session ended meanwhile. StoreError."""
        if session.ended is not None:
            raise Refused("signed-out", "the session ended while it sent")
        await self._desk.trail.record(audit.machine_changed(self._desk.clock(), f"{wish}-asked", session.who, address))
        return (await asyncio.to_thread(self._orders.put, wish, session.who, self._desk.clock(), values)).id

    async def _answered(self, wish: Wish, session: Session, request: web.Request, values: Mapping[str, Any]) -> None:
        """Leaves the order and waits for what came of it.

        Raises:
            Refused: with its words. StoreError: nobody carried it out.
        """
        order = await self._order(wish, session, request.remote or "", values)
        await answered(self._desk.data_dir, wish, order, self._answer_s)


class _Told:
    """What is refused is told on the machine's page, in its own words."""

    def __init__(self, request: web.Request, session: Session) -> None:
        self._request = request
        self._session = session

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, BoxError):
            self._session.notice = _refused(error)
            raise see_other(self._request, HOME) from None


def _shown(update: _Update) -> dict[str, Any]:
    """An update as `machine.html` and its live part, `update_part.html`, show it."""
    row = update.row
    return {
        "sentence": update.sentence,
        "waits": row.state is State.WAITING,
        "busy": not update.over,
        "writes": row.state is State.WRITING,
        "percent": row.percent,
        "written": row.writes > 0,
        "wrong": row.state in (State.FAILED, State.UNDONE) and not update.ordered,
        "detail": row.detail,
        "code": row.code,
        "deadline": row.deadline,
        "postponed": row.postponed,
    }


def _refused(error: BoxError) -> Notice:
    return "machine-refused", {"said": error.hint or "L’opération a échoué ; rien n’a changé."}


def _lives(session: Session | None) -> bool:
    return session is not None and session.ended is None


async def answered(data_dir: Path, wish: Wish, order: str, within_s: float) -> None:
    """Waits for what a root program says of an order.

    Raises:
        Refused: with its words. StoreError: nobody carried it out in time.
    """
    path = data_dir / "config" / f"done-{wish}.json"
    loop = asyncio.get_running_loop()
    end = loop.time() + within_s
    while loop.time() < end:
        told = await asyncio.to_thread(_json, path)
        if told.get("id") == order:
            if told.get("ok") is True:
                return
            raise Refused(str(told.get("code", "")), "the machine refused", hint=str(told.get("hint", ""))[:500])
        await asyncio.sleep(0.2)
    raise StoreError("nobody carried the order out", hint=NO_ANSWER)


def _json(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(4096))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _key(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as err:
        raise StoreError("the recovery key cannot be read", hint="La clé de secours ne se lit pas.") from err
