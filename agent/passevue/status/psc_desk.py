"""Pro Santé Connect as the sign-in page uses it: phones that ring, browsers that leave and come back. No session here.

What is under way belongs to one browser (`visits`), known by its cookie: an approval or a callback is worth nothing to
another, and one that nobody fetches is ended. Phones ring at a pace: five requests in ten minutes from one address,
twenty in all.
"""

import asyncio
import contextlib
from collections.abc import Callable, Container, Mapping
from datetime import datetime, timedelta
from time import monotonic

from passevue.errors import BoxError, Refused, SignInError
from passevue.national.psc_claims import usable_situations
from passevue.national.psc_face import PscDoor, PscPerson
from passevue.status.attempts import Pace
from passevue.status.roles import Person
from passevue.status.visits import Push, PushPhase, Visits

PUSHES, PUSHES_OF_ALL, PUSH_WINDOW_S = 5, 20, 600.0
CODES = 60  # from one address: nobody leaves that often, and what others have under way is not washed away
FETCH_WITHIN = timedelta(minutes=2)
LOOK_EVERY_S = 0.5
_PHASES = {"access_denied": PushPhase.REFUSED, "expired_token": PushPhase.EXPIRED}


class PscDesk:
    """People on their way to Pro Santé Connect and back.

    Args:
        psc: None when this box does not have it.
        on_refused: told of each request that a phone did not approve.
    """

    def __init__(
        self,
        psc: PscDoor | None,
        visits: Visits,
        clock: Callable[[], datetime],
        on_refused: Callable[[BoxError], None] = lambda _: None,
    ) -> None:
        self._psc = psc
        self._visits = visits
        self._clock = clock
        self._on_refused = on_refused
        self._pushes = Pace(PUSHES, PUSH_WINDOW_S)
        self._codes = Pace(CODES, PUSH_WINDOW_S)
        self._pushes_of_all = Pace(PUSHES_OF_ALL, PUSH_WINDOW_S)
        self._waiting: asyncio.Queue[Push] = asyncio.Queue()

    @property
    def there(self) -> bool:
        return self._psc is not None

    async def begin_push(self, cookie: str, id_nat: str, address: str) -> None:
        """Ring the phone of `id_nat` for the browser of `cookie`.

        Raises:
            SignInError, CredentialError, NetworkError, TrustError: it was not rung.
            Refused: `push-pace`, `no-psc`.
        """
        now = monotonic()
        if not self._pushes.take(address, now) or not self._pushes_of_all.take("", now):
            raise Refused("push-pace", "too many phones were rung")
        request = await self._there().begin_ciba(id_nat)
        visit = self._visits.keep(cookie, self._clock())
        visit.push = Push(request)
        self._waiting.put_nowait(visit.push)

    def approved(self, cookie: str) -> PscPerson | None:
        """What was approved on the phone for this browser, given once; None while nothing was."""
        visit = self._visits.find(cookie, self._clock())
        push = visit.push if visit is not None else None
        if visit is None or push is None or push.session is None:
            return None
        session, push.session, visit.push = push.session, None, None
        return session

    def give_up(self, cookie: str) -> None:
        """The person at this browser no longer waits."""
        visit = self._visits.find(cookie, self._clock())
        if visit is not None:
            visit.push = None

    async def begin_code(self, cookie: str, address: str) -> str:
        """Where to send the browser of `cookie`. Raises: NetworkError; Refused `no-psc`, `push-pace`."""
        if not self._codes.take(address, monotonic()):
            raise Refused("push-pace", "too many questions from one address")
        request = await self._there().begin_code()
        self._visits.keep(cookie, self._clock()).code = request
        return request.url

    async def finish_code(self, cookie: str, query: Mapping[str, str]) -> PscPerson:
        """Whoever came back. Raises as `Psc.finish_code`."""
        visit = self._visits.forget(cookie)
        return await self._there().finish_code(visit.code if visit is not None else None, query)

    async def run(self) -> None:
        """Waits for those who were asked; until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._wait_for(await self._waiting.get()), name="sign-in-phone")

    async def _wait_for(self, push: Push) -> None:
        try:
            session = await self._there().finish_ciba(push.request)
        except BoxError as err:
            code = err.code if isinstance(err, SignInError) else ""
            push.error, push.phase = err, _PHASES.get(code, PushPhase.FAILED)
            self._on_refused(err)
        else:
            push.session, push.phase = session, PushPhase.APPROVED
        push.changed.set()
        if push.session is not None:
            await self._until_fetched(push)

    async def _until_fetched(self, push: Push) -> None:
        """An approval is its browser's to fetch, and not for long; left there it is ended."""
        until = self._clock() + FETCH_WITHIN
        while push.session is not None:
            now = self._clock()
            if now >= until or not self._visits.await_answer(push, now):
                session, push.session = push.session, None
                with contextlib.suppress(BoxError):
                    await session.end()
                return
            await asyncio.sleep(LOOK_EVERY_S)

    def _there(self) -> PscDoor:
        if self._psc is None:
            raise Refused("no-psc", "Pro Santé Connect is not set up")
        return self._psc


def person_of_psc(session: PscPerson, structures: Container[str]) -> Person:
    """Who signed in, with the situations in a structure of this box."""
    who = session.person
    profession = who.exercices[0].profession if who.exercices else ""
    return Person(who.id_nat, who.family, who.given, profession, usable_situations(who, structures))
