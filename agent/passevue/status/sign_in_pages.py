"""Signing in, over HTTP: the page that asks for a card, the phone's number, the way by Pro Santé Connect and back.

    GET  /sign-in              the ways in            GET  /sign-in/events        the readers, live
    POST /sign-in/card         a card's code
    POST /sign-in/phone        ring a phone           GET  /sign-in/phone         the number to compare
    POST /sign-in/phone/stop   give up                GET  /sign-in/phone/events  the answer, live
    POST /sign-in/psc          leave for Pro Santé Connect; back at the path of `psc.redirect_url`
    GET  /sign-in/site         the site's account     POST /sign-in/site, /sign-in/site/claim

A code goes to the card that the person saw, never to another. What is told of a failure is the same whoever failed.
"""

from typing import NoReturn

from aiohttp import web

from passevue.errors import BoxError, PinNeeded, Refused
from passevue.status import people_view
from passevue.status.cards import Cards
from passevue.status.front import Front, asked, see_other
from passevue.status.live import Live, Stream
from passevue.status.notices import notice_of
from passevue.status.people_view import HOMES
from passevue.status.sign_in import Opened, SignIn
from passevue.status.visitor import Cookie, cookie_of, drop_cookie, new_value, place_of, set_cookie
from passevue.status.visits import PushPhase


class SignInPages:
    """Handlers. `callback` is the path that Pro Santé Connect sends browsers back to, "" without it."""

    def __init__(self, front: Front, sign_in: SignIn, live: Live, callback: str = "") -> None:
        self._front = front
        self._sign_in = sign_in
        self._live = live
        self._callback = callback

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/sign-in", self._ways)
        app.router.add_get("/sign-in/events", self._readers)
        app.router.add_post("/sign-in/card", self._card)
        app.router.add_get("/sign-in/site", self._site)
        app.router.add_post("/sign-in/site", self._password)
        app.router.add_post("/sign-in/site/claim", self._claim)
        if self._callback:
            app.router.add_get("/sign-in/phone", self._phone)
            app.router.add_get("/sign-in/phone/events", self._phone_answer)
            app.router.add_post("/sign-in/phone", self._ring)
            app.router.add_post("/sign-in/phone/stop", self._give_up)
            app.router.add_post("/sign-in/psc", self._leave)
            app.router.add_get(self._callback, self._back)

    # The ways in

    async def _ways(self, request: web.Request) -> web.Response:
        session = self._front.session(request, touch=False)
        if session is not None:
            raise see_other(request, HOMES[session.role])
        visit = self._front.new_visit(request)
        cards = self._sign_in.cards
        events = "/sign-in/events" if cards is not None and place_of(request).may_sign_in else ""
        frame = self._front.frame(request, visit=visit, events=events)
        view = cards.view() if cards is not None else None
        html = people_view.sign_in(frame, view, has_psc=bool(self._callback) and self._sign_in.psc.there)
        return self._front.answer(request, html, visit=visit)

    async def _readers(self, request: web.Request) -> web.StreamResponse:
        cards, visit = self._sign_in.cards, self._front.visit(request)
        if cards is None or not visit or not place_of(request).may_sign_in:
            raise web.HTTPNotFound
        async with self._live.view(request) as stream:
            await self._tell_readers(request, stream, cards, visit)
        return stream.response

    async def _tell_readers(self, request: web.Request, stream: Stream, cards: Cards, visit: str) -> None:
        shown, version = "", -1
        while self._live.goes_on(stream):
            version = cards.version
            html = people_view.cards_part(self._front.live_frame(request, visit), cards.view())
            if html != shown:
                await stream.send("part", html)
                shown = html
            await stream.beat()
            await self._live.pause(cards.changed(version))

    # By card

    async def _card(self, request: web.Request) -> web.StreamResponse:
        async with self._front.form(request, Cookie.VISIT, "/sign-in", ("pin",)) as form:
            insertion, pin = form.number("insertion"), form.secret("pin")
            if len(pin) != 4 or not pin.isdigit():
                raise PinNeeded("expected four digits")
            opened = await self._sign_in.by_card(
                insertion or 0, pin, place_of(request), request.remote or "", last_try=form.text("last_try") == "yes"
            )
        self._in(request, opened)

    def _in(self, request: web.Request, opened: Opened) -> NoReturn:
        """A redirection with the new session's cookie, after a form of our own page."""
        token, session = opened
        response = see_other(request, HOMES[session.role])
        self._front.let_in(request, response, token)
        raise response

    # By phone

    async def _ring(self, request: web.Request) -> web.StreamResponse:
        async with self._front.form(request, Cookie.VISIT, "/sign-in") as form:
            id_nat = form.text("id_nat", 20)
            if not id_nat.isdecimal() or not id_nat.isascii():
                raise Refused("push-refused", "not a national identifier")
            await self._sign_in.begin_push(self._front.visit(request), id_nat, request.remote or "")
        raise see_other(request, "/sign-in/phone")

    async def _give_up(self, request: web.Request) -> web.StreamResponse:
        async with self._front.form(request, Cookie.VISIT, "/sign-in"):
            self._sign_in.psc.give_up(self._front.visit(request))
        raise see_other(request, "/sign-in")

    async def _phone(self, request: web.Request) -> web.StreamResponse:
        visit = self._front.visit(request)
        kept = self._sign_in.visits.find(visit, self._sign_in.clock())
        if kept is None or kept.push is None:
            raise see_other(request, "/sign-in")
        if kept.push.phase is PushPhase.APPROVED:
            await self._approved(request, visit)
        events = "/sign-in/phone/events" if kept.push.phase is PushPhase.WAITING else ""
        html = people_view.phone(self._front.frame(request, visit=visit, events=events), kept.push)
        return self._front.answer(request, html)

    async def _approved(self, request: web.Request, visit: str) -> NoReturn:
        try:
            opened = await self._sign_in.finish_push(visit, request.remote or "")
        except BoxError as err:
            self._front.tell(request, notice_of(err))
            opened = None
        if opened is None:
            raise see_other(request, "/sign-in")
        self._in(request, opened)

    async def _phone_answer(self, request: web.Request) -> web.StreamResponse:
        visit = self._front.visit(request)
        kept = self._sign_in.visits.find(visit, self._sign_in.clock())
        if kept is None or kept.push is None:
            raise web.HTTPNotFound
        push = kept.push
        async with self._live.view(request) as stream:
            while self._live.goes_on(stream) and push.phase is PushPhase.WAITING:
                await stream.beat()
                await self._live.pause(push.changed.wait())
            if push.phase is PushPhase.APPROVED:
                await stream.send("go", f"/sign-in/phone{asked(request)}")
            elif push.phase is not PushPhase.WAITING:
                await stream.send("part", people_view.phone_part(self._front.live_frame(request, visit), push))
                await stream.send("end", "decided")  # else the browser asks again
        return stream.response

    # By Pro Santé Connect's own site

    async def _leave(self, request: web.Request) -> web.StreamResponse:
        async with self._front.form(request, Cookie.VISIT, "/sign-in"):
            cookie = new_value()
            url = await self._sign_in.begin_code(cookie, request.remote or "")
        frame = self._front.frame(request, with_notice=False)
        response = self._front.answer(request, people_view.passage(frame, url))
        set_cookie(request, response, Cookie.CODE, cookie)
        return response

    async def _back(self, request: web.Request) -> web.StreamResponse:
        """A step of our own follows: this request comes from another site, so our strict cookies are not with it."""
        if not place_of(request).may_sign_in:
            raise web.HTTPForbidden(text="Sign-in needs TLS.\n")
        cookie = cookie_of(request, Cookie.CODE)
        frame = self._front.frame(request, with_notice=False)
        try:
            opened = await self._sign_in.finish_code(cookie, dict(request.query), request.remote or "")
        except BoxError as err:
            html = people_view.turned_away(frame, notice_of(err))
            response = self._front.answer(request, html, status=403)
            drop_cookie(request, response, Cookie.CODE)
            return response
        response = self._front.answer(request, people_view.passage(frame, HOMES[opened[1].role]))
        self._front.let_in(request, response, opened[0])
        return response

    # The site's account

    async def _site(self, request: web.Request) -> web.StreamResponse:
        session = self._front.session(request, touch=False)
        if session is not None:
            raise see_other(request, HOMES[session.role])
        visit = self._front.new_visit(request)
        frame = self._front.frame(request, visit=visit)
        html = people_view.site_sign_in(frame, claimed=await self._sign_in.account.claimed())
        return self._front.answer(request, html, visit=visit)

    async def _password(self, request: web.Request) -> web.StreamResponse:
        async with self._front.form(request, Cookie.VISIT, "/sign-in/site", ("password",)) as form:
            place, address = place_of(request), request.remote or ""
            opened = await self._sign_in.by_password(form.secret("password"), place, address)
        self._in(request, opened)

    async def _claim(self, request: web.Request) -> web.StreamResponse:
        async with self._front.form(request, Cookie.VISIT, "/sign-in/site", ("code", "password", "again")) as form:
            if form.secret("password") != form.secret("again"):
                raise Refused("password-differs", "the two are not the same")
            opened = await self._sign_in.claim(
                form.secret("code"), form.secret("password"), place_of(request), request.remote or ""
            )
        self._in(request, opened)
