"""Between the browser and the people's pages: cookies, forms that are ours, words kept for the next page, answers.

Rules (N-22, ACCT-06):
- A form is read only when it comes from this page (Origin), carries this browser's token and is small; else nothing
  is done. Every one answers with a redirection to a fixed path of ours: reloading sends nothing twice, and no address
  from outside is ever gone to.
- Every answer here is `no-store`. The policy lets forms go to this page and nowhere else.
- A browser that asks without a session is sent to the sign-in page, which says why the last one ended.
"""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import datetime
from zoneinfo import ZoneInfo

from aiohttp import web

from passevue import __version__
from passevue.errors import BoxError
from passevue.status import people_words
from passevue.status.browser import FORM_POLICY, language
from passevue.status.form import Form, posted
from passevue.status.notices import Notice, notice_of, told
from passevue.status.people_view import HOMES, Frame
from passevue.status.roles import Role
from passevue.status.session import Ended, Session
from passevue.status.sign_in import SignIn
from passevue.status.visitor import (
    Cookie,
    FormTokens,
    cookie_of,
    drop_cookie,
    new_value,
    place_of,
    same_origin,
    set_cookie,
)
from passevue.status.words import Language

VISIT_LENGTH = 43


class Front:
    """One for all people's pages of a box. `box` is its name; `on_box`: it is an appliance, at which nobody logs in."""

    def __init__(
        self, sign_in: SignIn, box: str, zone: ZoneInfo, clock: Callable[[], datetime], *, on_box: bool
    ) -> None:
        self.sign_in = sign_in
        self._box = box
        self._zone = zone
        self._clock = clock
        self._on_box = on_box
        self._tokens = FormTokens()

    # Who asks

    def session(self, request: web.Request, *, touch: bool = True) -> Session | None:
        """The living session of this browser. `touch`: it counts as doing something, when our own page asks."""
        token = cookie_of(request, Cookie.SESSION)
        if not token or not place_of(request).may_sign_in:
            return None
        ours = request.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none")
        return self.sign_in.find(token, touch=touch and ours)

    def signed_in(self, request: web.Request, *roles: Role, touch: bool = True) -> Session:
        """
        Raises:
            HTTPSeeOther: to the sign-in page, or to one's own. HTTPForbidden: a form from elsewhere.
        """
        if request.method == "POST":
            check_origin(request)
        session = self.session(request, touch=touch)
        if session is None:
            raise see_other(request, "/sign-in")
        if roles and session.role not in roles:
            raise see_other(request, HOMES[session.role])
        return session

    def visit(self, request: web.Request) -> str:
        """The cookie of a browser that has not signed in; "" when it has none."""
        found = cookie_of(request, Cookie.VISIT)
        return found if len(found) == VISIT_LENGTH else ""

    # Pages

    def frame(
        self,
        request: web.Request,
        *,
        session: Session | None = None,
        visit: str = "",
        events: str = "",
        with_notice: bool = True,
    ) -> Frame:
        """What a page stands in; its notice is shown now and then forgotten."""
        cookie = cookie_of(request, Cookie.SESSION) if session is not None else visit
        return Frame(
            box=self._box,
            version=__version__,
            zone=self._zone,
            language=language(request),
            now=self._clock(),
            place=place_of(request),
            path=request.path,
            asked=asked(request),
            token=self._tokens.token(cookie) if cookie else "",
            session=session,
            notice=self._notice(request, session, visit) if with_notice else None,
            events=events,
            on_box=self._on_box,
        )

    def live_frame(self, request: web.Request, visit: str) -> Frame:
        """The same for a live part: shows no notice, so takes none away."""
        return self.frame(request, visit=visit, with_notice=False)

    def _notice(
        self, request: web.Request, session: Session | None, visit: str
    ) -> tuple[people_words.Tone, str] | None:
        lang = language(request)
        if session is not None:
            notice, session.notice = session.notice, None
            return told(notice, lang) if notice is not None else None
        kept = self.sign_in.visits.find(visit, self._clock())
        if kept is not None and kept.notice is not None:
            notice, kept.notice = kept.notice, None
            return told(notice, lang)
        return self._why_ended(request, lang)

    def _why_ended(self, request: web.Request, lang: Language) -> tuple[people_words.Tone, str] | None:
        token = cookie_of(request, Cookie.SESSION)
        why = self.sign_in.sessions.why_ended(token, self._clock()) if token else None
        self.sign_in.sessions.forget(token)  # told once
        if why is None or why is Ended.REPLACED:
            return None
        tone, pair = people_words.ENDED[why]
        return tone, people_words.say(pair, lang)

    def answer(self, request: web.Request, html: str, *, visit: str = "", status: int = 200) -> web.Response:
        """A page. `visit`: the cookie that its forms go with, given to a browser that has none."""
        response = web.Response(text=html, status=status, content_type="text/html", charset="utf-8")
        response.headers["Cache-Control"] = "no-store"
        response.headers["Vary"] = "Accept-Language, Cookie"
        response.headers["Content-Security-Policy"] = FORM_POLICY
        if visit and visit != self.visit(request):
            set_cookie(request, response, Cookie.VISIT, visit)
        return response

    def new_visit(self, request: web.Request) -> str:
        return self.visit(request) or new_value()

    # Forms

    @asynccontextmanager
    async def form(
        self, request: web.Request, cookie: Cookie, back: str, secrets: Collection[str] = ()
    ) -> AsyncIterator[Form]:
        """A posted form that is ours. What it was refused for is told on `back`.

        Raises:
            HTTPForbidden: it comes from elsewhere. HTTPSeeOther: to `back`.
        """
        check_origin(request)
        value = self.visit(request) if cookie is Cookie.VISIT else cookie_of(request, cookie)
        async with posted(request, secrets) as form:
            if not self._tokens.fits(value, form.text("token", 64)):
                self.tell(request, ("form-old", {}))
                raise see_other(request, back)
            try:
                yield form
            except BoxError as err:
                self.tell(request, notice_of(err))
                raise see_other(request, back) from None

    def fits(self, request: web.Request, cookie: Cookie, token: str) -> bool:
        """Whether a form's token is this browser's, where the form is read elsewhere (`upload`)."""
        value = self.visit(request) if cookie is Cookie.VISIT else cookie_of(request, cookie)
        return self._tokens.fits(value, token)

    def tell(self, request: web.Request, notice: Notice, session: Session | None = None) -> None:
        """Keep `notice` for the next page of this browser."""
        session = session or self.session(request, touch=False)
        if session is not None:
            session.notice = notice
        elif visit := self.visit(request):
            self.sign_in.visits.keep(visit, self._clock()).notice = notice

    def let_in(self, request: web.Request, response: web.StreamResponse, token: str) -> None:
        """Give the browser its new session; an old one of it ends."""
        old = self.session(request, touch=False)
        if old is not None:
            self.sign_in.sessions.end(old, Ended.REPLACED, self._clock())
        self.sign_in.visits.forget(self.visit(request))
        set_cookie(request, response, Cookie.SESSION, token)
        drop_cookie(request, response, Cookie.VISIT)
        drop_cookie(request, response, Cookie.CODE)


def check_origin(request: web.Request) -> None:
    """Raises: HTTPForbidden when a form was sent by another page, or over a link that everybody reads."""
    if not same_origin(request) or not place_of(request).may_sign_in:
        raise web.HTTPForbidden(text="This form was not sent by this page.\n")


def asked(request: web.Request) -> str:
    """`?lang=en` where it was asked for, so that links keep it."""
    found = request.query.get("lang")
    return f"?lang={found}" if found in (Language.FR, Language.EN) else ""


def see_other(request: web.Request, path: str) -> web.HTTPSeeOther:
    """To a path of ours, in the same language."""
    return web.HTTPSeeOther(f"{path}{asked(request)}", headers={"Cache-Control": "no-store"})
