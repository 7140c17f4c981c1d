"""Pro Santé Connect for the page where national, which holds its key and its tokens, is another process.

    near = NearPsc(psc)              # national: what one link of `zones.in_person` answers, `near.asked`
    far = FarPsc(lambda: line.link)  # page: a `national.psc_face.PscDoor`; `far.told` is what its link hears

What crosses: the question that the page ties to its browser, the answer that the browser brought, and who it was.
Tokens stay in national. Whoever signed in is signed in until either side says that it is over; when national goes,
everybody is out: it has forgotten their tokens. When the page goes, national leaves Pro Santé Connect for all of its
people.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from passevue.errors import SignInError, ZoneAway
from passevue.national.psc import Psc
from passevue.national.psc_ciba import CibaRequest
from passevue.national.psc_claims import Professional
from passevue.national.psc_code import CodeRequest
from passevue.national.psc_face import PscPerson
from passevue.national.psc_token import IdToken
from passevue.zones.cards import Done
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
    request: CodeRequest | None
    query: dict[str, str]


@dataclass(frozen=True, slots=True, repr=False)
class BeginCiba:
    id_nat: str


@dataclass(frozen=True, slots=True, repr=False)
class FinishCiba:
    request: CibaRequest


@dataclass(frozen=True, slots=True, repr=False)
class SignedIn:
    """`number` is this person's on this link."""

    number: int
    person: Professional
    token: IdToken
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class EndPsc:
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
        self._last = 0
        self.asked = [
            Asked(BeginCode, self._begin_code),
            Asked(FinishCode, self._finish_code),
            Asked(BeginCiba, self._begin_ciba),
            Asked(FinishCiba, self._finish_ciba),
            Asked(EndPsc, self._end),
        ]

    async def watch(self, link: Link) -> None:
        """Tells of sessions that are over; until cancelled, or the link is."""
        with suppress(ZoneAway):
            while True:
                for number, person in tuple(self._people.items()):
                    if person.over:
                        del self._people[number]
                        link.tell(PscOver(number))
                await asyncio.sleep(LOOK_EVERY_S)

    async def all_left(self) -> None:
        people, self._people = tuple(self._people.values()), {}
        with suppress(TimeoutError):
            async with asyncio.timeout(END_WITHIN_S):
                await asyncio.gather(*(person.end() for person in people), return_exceptions=True)

    async def _begin_code(self, _question: BeginCode, _data: bytearray) -> CodeRequest:
        return await self._psc.begin_code()

    async def _finish_code(self, question: FinishCode, _data: bytearray) -> SignedIn:
        return self._signed_in(await self._psc.finish_code(question.request, question.query))

    async def _begin_ciba(self, question: BeginCiba, _data: bytearray) -> CibaRequest:
        return await self._psc.begin_ciba(question.id_nat)

    async def _finish_ciba(self, question: FinishCiba, _data: bytearray) -> SignedIn:
        return self._signed_in(await self._psc.finish_ciba(question.request))

    async def _end(self, question: EndPsc, _data: bytearray) -> Done:
        person = self._people.pop(question.number, None)
        if person is not None:
            await person.end()
        return Done()

    def _signed_in(self, person: PscPerson) -> SignedIn:
        self._last += 1
        self._people[self._last] = person
        return SignedIn(self._last, person.person, person.token, person.ends_at)


# --- page ------------------------------------------------------------------------------------------------------------


class FarPsc:
    """The page's end. Raises beside what `Psc` does: ZoneAway."""

    def __init__(self, link: Callable[[], Link | None], clock: Callable[[], datetime]) -> None:
        self._link = link
        self._clock = clock
        self._people: dict[tuple[int, int], FarPerson] = {}  # by link and number
        self.told = [Told(PscOver, self._is_over)]

    async def begin_code(self) -> CodeRequest:
        found, _ = await self._there().ask(BeginCode(), gives=CodeRequest, timeout_s=WITHIN_S)
        return found

    async def finish_code(self, request: CodeRequest | None, query: Mapping[str, str]) -> PscPerson:
        if len(query) > MOST_QUERY:
            raise SignInError("invalid_request", "an answer of too many parts")
        return await self._signed_in(FinishCode(request, dict(query)), WITHIN_S)

    async def begin_ciba(self, id_nat: str) -> CibaRequest:
        found, _ = await self._there().ask(BeginCiba(id_nat), gives=CibaRequest, timeout_s=WITHIN_S)
        return found

    async def finish_ciba(self, request: CibaRequest) -> PscPerson:
        return await self._signed_in(FinishCiba(request), ANSWER_WITHIN_S)

    async def _signed_in(self, question: FinishCode | FinishCiba, within_s: float) -> "FarPerson":
        link = self._there()
        found, _ = await link.ask(question, gives=SignedIn, timeout_s=within_s)
        person = FarPerson(link, found, self._clock)
        self._people = {key: one for key, one in self._people.items() if not one.over}
        self._people[id(link), found.number] = person
        return person

    def _there(self) -> Link:
        link = self._link()
        if link is None:
            raise ZoneAway("the zone that speaks to Pro Santé Connect is away")
        return link

    def _is_over(self, told: PscOver) -> None:
        link = self._link()
        person = self._people.pop((id(link), told.number), None)
        if person is not None:
            person.is_over()


class FarPerson:
    """Somebody who signed in at Pro Santé Connect by way of national: a `psc_face.PscPerson`."""

    def __init__(self, link: Link, found: SignedIn, clock: Callable[[], datetime]) -> None:
        self.person = found.person
        self.token = found.token
        self.ends_at = found.ends_at
        self._number = found.number
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
