"""What a signed-in person sees and does, over HTTP: their own page, entries, the site's page.

GET  /me                   a practitioner's page      POST /me/situation         in which capacity they act
GET  /site                 the site admin's page      POST /site/password
GET  /entries/{number}     one entry                  POST /entries/{number}/{publish,retry,release,close}
GET  /session/events       tells the page that the session has ended, at once
POST /sign-out
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from passevue.errors import BoxError, ConfigError, Refused
from passevue.status import contents, people_view
from passevue.status.entry_acts import EntryActs
from passevue.status.front import Front, asked, see_other
from passevue.status.live import Live
from passevue.status.machine_pages import Desk
from passevue.status.notices import notice_of
from passevue.status.people_view import HOMES
from passevue.status.roles import Right, Role
from passevue.status.session import Session
from passevue.status.sign_in import SignIn
from passevue.status.visitor import Cookie, place_of

SettingsCheck = Callable[[], Sequence[ConfigError]]  # may block: asked on a thread
MAX_NUMBER = 1 << 53


@dataclass(frozen=True, slots=True)
class People:
    """What the page needs for people to sign in at it.

    Attributes:
        box: name of the box.
        callback: path of `psc.redirect_url`, "" without Pro Santé Connect.
        check: what is wrong with the configuration.
        machine: on an appliance, what its pages stand on.
        papers: where the image says what it is made of.
    """

    sign_in: SignIn
    acts: EntryActs
    box: str
    callback: str = ""
    check: SettingsCheck = tuple
    machine: Desk | None = None
    papers: Path = contents.FOLDER


class PeoplePages:
    """Handlers. `check` says what is wrong with the configuration."""

    def __init__(
        self,
        front: Front,
        sign_in: SignIn,
        acts: EntryActs,
        live: Live,
        check: SettingsCheck,
        *,
        has_machine: bool = False,
    ) -> None:
        self._front = front
        self._sign_in = sign_in
        self._acts = acts
        self._live = live
        self._check = check
        self._has_machine = has_machine

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/me", self._me)
        app.router.add_post("/me/situation", self._choose)
        app.router.add_get("/site", self._site)
        app.router.add_post("/site/password", self._change_password)
        app.router.add_get("/entries/{number:[0-9]{1,16}}", self._entry)
        app.router.add_post("/entries/{number:[0-9]{1,16}}/{act:[a-z]{1,10}}", self._act)
        app.router.add_get("/session/events", self._watch)
        app.router.add_post("/sign-out", self._sign_out)

    # Pages

    async def _me(self, request: web.Request) -> web.Response:
        session = self._front.signed_in(request, Role.PRACTITIONER)
        lines = await self._acts.lines(session) if session.may(Right.SEE_ENTRIES) else ()
        frame = self._front.frame(self._still(request, session), session=session, events="/session/events")
        return self._front.answer(request, people_view.me(frame, session, lines))

    async def _site(self, request: web.Request) -> web.Response:
        session = self._front.signed_in(request, Role.ADMIN)
        lines = await self._acts.lines(session)
        problems = await asyncio.to_thread(self._check)
        frame = self._front.frame(self._still(request, session), session=session, events="/session/events")
        return self._front.answer(request, people_view.site(frame, lines, problems, has_machine=self._has_machine))

    async def _entry(self, request: web.Request) -> web.Response:
        session = self._front.signed_in(request)
        try:
            looked = await self._acts.look(session, _number(request), request.remote or "")
        except BoxError as err:
            self._front.tell(request, notice_of(err), session)
            raise see_other(request, HOMES[session.role]) from None
        frame = self._front.frame(self._still(request, session), session=session, events="/session/events")
        return self._front.answer(request, people_view.entry(frame, looked))

    def _still(self, request: web.Request, session: Session) -> web.Request:
        """Nothing personal leaves for a session that ended while the page was made."""
        if session.ended is not None:
            raise see_other(request, "/sign-in")
        return request

    # Acts

    async def _choose(self, request: web.Request) -> web.StreamResponse:
        session = self._front.signed_in(request, Role.PRACTITIONER)
        async with self._front.form(request, Cookie.SESSION, "/me") as form:
            chosen = form.number("situation")
            situations = session.person.situations if session.person is not None else ()
            if chosen is None or chosen >= len(situations):
                raise Refused("no-situation", "not one of this person's situations")
            self._sign_in.choose(session, situations[chosen])
            session.notice = ("situation-chosen", {})
        raise see_other(request, "/me")

    async def _act(self, request: web.Request) -> web.StreamResponse:
        session = self._front.signed_in(request)
        number, right = _number(request), people_view.act_names().get(request.match_info["act"])
        if right is None:
            raise web.HTTPNotFound
        back = f"/entries/{number}"
        async with self._front.form(request, Cookie.SESSION, back) as form:
            await self._do(session, right, number, form.text("why"), request.remote or "")
            session.notice = (f"done-{right}", {"number": number})
        raise see_other(request, HOMES[session.role])

    async def _do(self, session: Session, right: Right, number: int, why: str, address: str) -> None:
        match right:
            case Right.PUBLISH:
                await self._acts.publish(session, number, address)
            case Right.RETRY:
                await self._acts.retry(session, number, why, address)
            case Right.RELEASE:
                await self._acts.release(session, number, why, address)
            case _:
                await self._acts.close(session, number, why, address)

    async def _change_password(self, request: web.Request) -> web.StreamResponse:
        session = self._front.signed_in(request, Role.ADMIN)
        async with self._front.form(request, Cookie.SESSION, "/site", ("old", "password", "again")) as form:
            if form.secret("password") != form.secret("again"):
                raise Refused("password-differs", "the two are not the same")
            place, address = place_of(request), request.remote or ""
            await self._sign_in.change_password(session, form.secret("old"), form.secret("password"), place, address)
            session.notice = ("password-set", {})
        raise see_other(request, "/site")

    async def _sign_out(self, request: web.Request) -> web.StreamResponse:
        session = self._front.signed_in(request, touch=False)
        async with self._front.form(request, Cookie.SESSION, HOMES[session.role]):
            self._sign_in.sign_out(session)
        raise see_other(request, "/sign-in")

    # Live

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        """Not an act: looking at a page that waits keeps no session alive."""
        session = self._front.session(request, touch=False)
        async with self._live.view(request) as stream:
            while session is not None and session.ended is None and self._live.goes_on(stream):
                await stream.beat()
                await self._live.pause(session.over.wait())
            if session is None or session.ended is not None:
                await stream.send("go", f"/sign-in{asked(request)}")
        return stream.response


def _number(request: web.Request) -> int:
    number = int(request.match_info["number"])
    if not 0 < number < MAX_NUMBER:
        raise web.HTTPNotFound
    return number
