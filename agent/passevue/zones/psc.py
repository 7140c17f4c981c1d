"""Pro Santé Connect for the page where national, which holds its key and its tokens, is another process.

    near = NearPsc(psc)              # national: what one link of `zones.in_person` answers, `near.asked`
    far = FarPsc(line.met, clock)    # page: a `national.psc_face.PscDoor`; `far.told` is what its link hears

What crosses: the question that the page ties to its browser, the answer that the browser brought, and who it was.
Tokens stay in national. Whoever signed in is signed in until either side says that it is over; when national goes,
everybody is out: it has forgotten their tokens. When the page goes, national leaves Pro Santé Connect for all of its
people.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any

from passevue.errors import BoxError, SignInError, ZoneAway
from passevue.national.psc import Psc
from passevue.national.psc_ciba import CibaRequest
from passevue.national.psc_claims import Professional
from passevue.national.psc_code import CodeRequest
from passevue.national.psc_face import PscPerson
from passevue.national.psc_token import IdToken
from passevue.zones.cards import Done
from passevue.zones.given_up import GivenUp
from passevue.zones.link import Asked, Link, Told

LOOK_EVERY_S = 0.5
END_WITHIN_S = 5.0
WITHIN_S = 60.0  # several calls to Pro Santé Connect, each tried again
ANSWER_WITHIN_S = 720.0  # a person at their phone; the request itself ends before
MOST_QUERY = 20


@dataclass(frozen=True, slots=True)
class BeginCode:
    pass


@dataclass(frozen=True, slots=True, repr=False)
class FinishCode:
    """`number` is what the person will be known under on this link."""

    number: int
    request: CodeRequest | None
    query: dict[str, str]


@dataclass(frozen=True, slots=True, repr=False)
class BeginCiba:
    id_nat: str


@dataclass(frozen=True, slots=True, repr=False)
class FinishCiba:
    number: int
    request: CibaRequest


@dataclass(frozen=True, slots=True, repr=False)
class SignedIn:
    person: Professional
    token: IdToken
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class EndPsc:
    number: int


@dataclass(frozen=True, slots=True)
class GoneAway:
    """Nobody waits any more for whoever was to be known so: they leave Pro Santé Connect, now or once they are in."""

    number: int


@dataclass(frozen=True, slots=True)
class PscOver:
    """Told once, when nothing more can be done with a session."""

    number: int


# --- national --------------------------------------------------------------------------------------------------------


class NearPsc:
    """The people of one link. `watch` runs beside it; `all_left` is for its end."""

    def __init__(self, psc: Psc) -> None:
        self._psc = psc
        self._people: dict[int, PscPerson] = {}
        self._given_up = GivenUp()
        self._leaving: list[PscPerson] = []
        self.told = [Told(GoneAway, self._give_up)]
        self.asked = [
            Asked(BeginCode, self._begin_code),
            Asked(FinishCode, self._finish_code),
            Asked(BeginCiba, self._begin_ciba),
            Asked(FinishCiba, self._finish_ciba),
            Asked(EndPsc, self._end),
        ]

    async def watch(self, link: Link) -> None:
        """Tells of sessions that are over, ends those that nobody waits for; until cancelled, or the link is."""
        with suppress(ZoneAway):
            while True:
                while self._leaving:
                    with suppress(BoxError):
                        await self._leaving.pop().end()
                for number, person in tuple(self._people.items()):
                    if person.over:
                        del self._people[number]
                        link.tell(PscOver(number))
                await asyncio.sleep(LOOK_EVERY_S)

    async def all_left(self) -> None:
        people, self._people = (*self._people.values(), *self._leaving), {}
        with suppress(TimeoutError):
            async with asyncio.timeout(END_WITHIN_S):
                await asyncio.gather(*(person.end() for person in people), return_exceptions=True)

    async def _begin_code(self, _question: BeginCode, _data: bytearray) -> CodeRequest:
        return await self._psc.begin_code()

    async def _finish_code(self, question: FinishCode, _data: bytearray) -> SignedIn:
        return await self._signed_in(question.number, self._psc.finish_code(question.request, question.query))

    async def _begin_ciba(self, question: BeginCiba, _data: bytearray) -> CibaRequest:
        return await self._psc.begin_ciba(question.id_nat)

    async def _finish_ciba(self, question: FinishCiba, _data: bytearray) -> SignedIn:
        return await self._signed_in(question.number, self._psc.finish_ciba(question.request))

    async def _end(self, question: EndPsc, _data: bytearray) -> Done:
        person = self._people.pop(question.number, None)
        if person is not None:
            await person.end()
        return Done()

    def _give_up(self, told: GoneAway) -> None:
        person = self._people.pop(told.number, None)
        if person is not None:
            self._leaving.append(person)
        else:
            self._given_up.add(told.number)

    async def _signed_in(self, number: int, coming: Coroutine[Any, Any, PscPerson]) -> SignedIn:
        person = await coming
        if self._given_up.take(number) or number in self._people:
            await person.end()
            raise SignInError("given_up", "nobody waits for this person any more")
        self._people[number] = person
        return SignedIn(person.person, person.token, person.ends_at)


# --- page ------------------------------------------------------------------------------------------------------------


class FarPsc:
    """The page's end. Raises beside what `Psc` does: ZoneAway."""

    def __init__(self, met: Callable[[], Awaitable[Link | None]], clock: Callable[[], datetime]) -> None:
        self._met = met
        self._clock = clock
        self._people: dict[int, FarPerson] = {}
        self._numbers = count(1)
        self.told = [Told(PscOver, self._is_over)]

    async def begin_code(self) -> CodeRequest:
        found, _ = await (await self._there()).ask(BeginCode(), gives=CodeRequest, timeout_s=WITHIN_S)
        return found

    async def finish_code(self, request: CodeRequest | None, query: Mapping[str, str]) -> PscPerson:
        if len(query) > MOST_QUERY:
            raise SignInError("invalid_request", "an answer of too many parts")
        return await self._signed_in(FinishCode(next(self._numbers), request, dict(query)), WITHIN_S)

    async def begin_ciba(self, id_nat: str) -> CibaRequest:
        found, _ = await (await self._there()).ask(BeginCiba(id_nat), gives=CibaRequest, timeout_s=WITHIN_S)
        return found

    async def finish_ciba(self, request: CibaRequest) -> PscPerson:
        return await self._signed_in(FinishCiba(next(self._numbers), request), ANSWER_WITHIN_S)

    async def _signed_in(self, question: FinishCode | FinishCiba, within_s: float) -> "FarPerson":
        link = await self._there()
        try:
            found, _ = await link.ask(question, gives=SignedIn, timeout_s=within_s)
        except (ZoneAway, asyncio.CancelledError):
            with suppress(ZoneAway):
                link.tell(GoneAway(question.number))
            raise
        self._people = {number: one for number, one in self._people.items() if not one.over}
        person = self._people[question.number] = FarPerson(link, question.number, found, self._clock)
        return person

    async def _there(self) -> Link:
        link = await self._met()
        if link is None:
            raise ZoneAway("the zone that speaks to Pro Santé Connect is away")
        return link

    def _is_over(self, told: PscOver) -> None:
        person = self._people.pop(told.number, None)
        if person is not None:
            person.is_over()


class FarPerson:
    """Somebody who signed in at Pro Santé Connect by way of national: a `psc_face.PscPerson`."""

    def __init__(self, link: Link, number: int, found: SignedIn, clock: Callable[[], datetime]) -> None:
        self.person = found.person
        self.token = found.token
        self.ends_at = found.ends_at
        self._number = number
        self._link = link
        self._clock = clock
        self._over = False

    @property
    def over(self) -> bool:
        return self._over or self._link.over or self._clock() >= self.ends_at

    def is_over(self) -> None:
        self._over = True

    async def end(self) -> None:
        """Raises: NetworkError: over here, and not told there."""
        if not self._over:
            self._over = True
            await self._link.ask(EndPsc(self._number), gives=Done, timeout_s=WITHIN_S)
