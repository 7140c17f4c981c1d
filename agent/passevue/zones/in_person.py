"""Between the page, where people are, and national, which speaks for them: consents to publications
(`national.personal`), and Pro Santé Connect (`zones.psc`) on the same link.

    serve = consents_for_page(in_person)     # national: for `Meeting.open_door(Place.IN_PERSON, …)`
    far = FarConsents(meeting)               # page: the face of `InPerson` that the page needs; `far.line` is a part

National asks the page for each signature, the page the card's host: what crosses is a digest in and a signature
out, and which person of this link it is for.

Rules:
- A consent counts once national has said that it has it; only then is its entry let go.
- When the page goes, everybody of its link has left. When national goes, it forgets; once it is back the page tells
  it the consents of whoever is still signed in, and national publishes nothing before it has heard (`heard`), or waited
  a while.
- The certificates that come along must name the person who is said to agree: who may sign what is decided on that name.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from passevue.card.cps import KeyUse
from passevue.card.cps_data import holder
from passevue.card.cps_signer import CardKey, CpsSigner
from passevue.errors import CardAbsent, TrustError, ZoneAway
from passevue.national.personal import InPerson, PersonalSigner, check_mode
from passevue.national.psc import Psc
from passevue.national.psc_claims import Situation
from passevue.national.vihf import Mode
from passevue.zones.cards import SIGN_WITHIN_S, Done, HashName, KeyOffered, certificate_of, hash_of, offered
from passevue.zones.link import Asked, Bounds, Link, Told, WithData
from passevue.zones.meeting import Line, Meeting, Place
from passevue.zones.part import Part
from passevue.zones.psc import NearPsc

BOUNDS = Bounds(most_at_once=64, timeout_s=5.0)  # as many phones as may ring, and a few
HEARD_WITHIN_S = 3.0  # how long national waits for the page at its start
MOST_PERSONS = 256  # sessions of one page


@dataclass(frozen=True, slots=True, repr=False)
class Agreed:
    """The next try of entry `number` is in this person's name. `person` counts the signers of one page."""

    number: int
    person: int
    id_nat: str
    situation: Situation
    authenticated_at: datetime
    auth_key: KeyOffered | None
    sign_key: KeyOffered | None


@dataclass(frozen=True, slots=True)
class TakenBack:
    number: int


@dataclass(frozen=True, slots=True)
class HasLeft:
    person: int


@dataclass(frozen=True, slots=True)
class ToldAll:
    """After a link was made: every consent that stands has been told."""


@dataclass(frozen=True, slots=True)
class Settled:
    """National has done with the consent to entry `number`."""

    number: int


@dataclass(frozen=True, slots=True)
class SignFor:
    """The digest goes along as data, and the signature with the answer."""

    person: int
    use: KeyUse
    hash_name: HashName


@dataclass(frozen=True, slots=True)
class DecryptFor:
    person: int
    use: KeyUse


# --- national --------------------------------------------------------------------------------------------------------


class NearConsents:
    """National's end: what the page tells becomes consents of `in_person`."""

    def __init__(self, in_person: InPerson, psc: Psc | None = None) -> None:
        self._in_person = in_person
        self._psc = psc
        self._heard = asyncio.Event()

    async def heard(self, within_s: float = HEARD_WITHIN_S) -> None:
        """Returns once a page has told what stands, or after a while: there may be none."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._heard.wait()

    async def serve(self, sock: socket.socket) -> None:
        """One connection of the page."""
        page = _Page(self._in_person)
        visitors = NearPsc(self._psc) if self._psc is not None else None
        link = page.link = Link(
            sock,
            BOUNDS,
            asked=[
                Asked(Agreed, page.agreed),
                Asked(TakenBack, page.taken_back),
                *(visitors.asked if visitors is not None else ()),
            ],
            told=[
                Told(HasLeft, page.has_left),
                Told(ToldAll, lambda _: self._heard.set()),
                *(visitors.told if visitors is not None else ()),
            ],
        )
        forget = self._in_person.on_settled(page.settled)
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(visitors.watch(link), name="psc-told") if visitors is not None else None
                await link.run()
                if watching is not None:
                    watching.cancel()
        finally:
            forget()
            page.all_left()
            if visitors is not None:
                await asyncio.shield(visitors.all_left())


class _Page:
    """Who has agreed to what over one link."""

    link: Link

    def __init__(self, in_person: InPerson) -> None:
        self._in_person = in_person
        self._persons: dict[int, PersonalSigner] = {}

    async def agreed(self, told: Agreed, _data: bytearray) -> Done:
        by = self._persons.get(told.person)
        if by is None:
            if len(self._persons) >= MOST_PERSONS:
                raise CardAbsent("too many persons")
            by = self._persons[told.person] = self._signer(told)
        self._in_person.choose(told.number, by)
        return Done()

    async def taken_back(self, told: TakenBack, _data: bytearray) -> Done:
        self._in_person.settle(told.number)
        return Done()

    def has_left(self, told: HasLeft) -> None:
        by = self._persons.pop(told.person, None)
        if by is not None:
            self._in_person.leave(by)

    def all_left(self) -> None:
        for person in tuple(self._persons):
            self.has_left(HasLeft(person))

    def settled(self, number: int) -> None:
        with suppress(ZoneAway):
            self.link.tell(Settled(number))

    def _signer(self, told: Agreed) -> PersonalSigner:
        sign = self._key(told, KeyUse.SIGN, told.sign_key)
        return PersonalSigner(
            told.id_nat,
            Mode.DIRECTE,
            told.situation,
            told.authenticated_at,
            CpsSigner(sign) if sign is not None else None,
            self._key(told, KeyUse.AUTH, told.auth_key),
        )

    def _key(self, told: Agreed, use: KeyUse, key: KeyOffered | None) -> "PersonsKey | None":
        """
        Raises:
            TrustError: the certificate names somebody else.
        """
        if key is None:
            return None
        found = PersonsKey(self.link, told.person, use, key)
        named = holder(found.certificate)
        if named is None or named.id_nat != told.id_nat:
            raise TrustError("the certificate names somebody else than who agreed")
        return found


class PersonsKey:
    """A key of a signed-in person's card, by way of the page: a `card.key_signer.SigningKey`."""

    def __init__(self, link: Link, person: int, use: KeyUse, key: KeyOffered) -> None:
        self._link = link
        self._person = person
        self._use = use
        self.raw_rsa = key.raw_rsa
        self.certificate = certificate_of(key)

    async def sign_digest(self, digest: bytes, hash_name: str) -> bytes:
        return await self._ask(SignFor(self._person, self._use, hash_of(hash_name)), digest)

    async def decrypt_block(self, block: bytes) -> bytes:
        return await self._ask(DecryptFor(self._person, self._use), block)

    async def _ask(self, question: SignFor | DecryptFor, data: bytes) -> bytes:
        try:
            _, found = await self._link.ask(question, data, gives=Done, timeout_s=SIGN_WITHIN_S + 5)
        except ZoneAway as err:
            raise CardAbsent("the page has gone, and with it who is signed in there", hint=err.hint) from err
        return bytes(found)


# --- page ------------------------------------------------------------------------------------------------------------


class FarConsents:
    """The page's end: a `national.personal.Consents`. What is agreed to here, national is told."""

    def __init__(self, meeting: Meeting) -> None:
        self.line = Line(meeting, Place.IN_PERSON, Part.NATIONAL, self._make, up=self._tell_all)
        self.more_told: Sequence[Told[Any]] = ()  # what else is heard on this link
        self._chosen: dict[int, PersonalSigner] = {}
        self._persons: dict[int, PersonalSigner] = {}  # by the number that national knows them under
        self._last_person = 0

    @property
    def reaches(self) -> bool:
        return self.line.link is not None

    def check(self, by: PersonalSigner) -> None:
        """
        Raises:
            Refused: `not-by-psc`. ZoneAway: national is away.
        """
        check_mode(by)
        self._link()

    async def agree(self, number: int, by: PersonalSigner) -> None:
        """Returns once national knows. Raises as `check`, and what national refuses."""
        await self.line.met()
        self.check(by)
        self._chosen[number] = by
        try:
            await self._tell(self._link(), number, by)
        except BaseException:
            self._chosen.pop(number, None)
            raise

    def of(self, number: int) -> PersonalSigner | None:
        return self._chosen.get(number)

    async def take_back(self, number: int) -> None:
        """While national is away there is nothing to take back: it forgets when it ends."""
        self._chosen.pop(number, None)
        with suppress(ZoneAway):
            await self._link().ask(TakenBack(number), gives=Done)

    def leave(self, by: PersonalSigner) -> None:
        self._chosen = {number: one for number, one in self._chosen.items() if one is not by}
        for person in [number for number, one in self._persons.items() if one is by]:
            del self._persons[person]
            with suppress(ZoneAway):
                self._link().tell(HasLeft(person))

    def _link(self) -> Link:
        link = self.line.link
        if link is None:
            raise ZoneAway("the zone that publishes is away")
        return link

    def _make(self, sock: socket.socket, spoke: Callable[[], None]) -> Link:
        return Link(
            sock,
            BOUNDS,
            asked=[Asked(SignFor, self._sign), Asked(DecryptFor, self._decrypt)],
            told=[Told(Settled, lambda told: self._settled(told.number)), *self.more_told],
            on_first=spoke,
        )

    async def _tell_all(self, link: Link) -> None:
        for number, by in tuple(self._chosen.items()):
            if self._chosen.get(number) is by:
                await self._tell(link, number, by)
        link.tell(ToldAll())

    async def _tell(self, link: Link, number: int, by: PersonalSigner) -> None:
        sign = by.signer.key if isinstance(by.signer, CpsSigner) else None
        told = Agreed(
            number,
            self._number_of(by),
            by.id_nat,
            by.situation,
            by.authenticated_at,
            offered(by.tls_key) if by.tls_key is not None else None,
            offered(sign) if sign is not None else None,
        )
        await link.ask(told, gives=Done)

    def _number_of(self, by: PersonalSigner) -> int:
        for number, one in self._persons.items():
            if one is by:
                return number
        self._last_person += 1
        self._persons[self._last_person] = by
        return self._last_person

    def _settled(self, number: int) -> None:
        self._chosen.pop(number, None)

    async def _sign(self, question: SignFor, digest: bytearray) -> WithData:
        key = self._key(question.person, question.use)
        return WithData(Done(), await key.sign_digest(bytes(digest), question.hash_name))

    async def _decrypt(self, question: DecryptFor, block: bytearray) -> WithData:
        return WithData(Done(), await self._key(question.person, question.use).decrypt_block(bytes(block)))

    def _key(self, person: int, use: KeyUse) -> CardKey:
        """A key of a person's card, while they have agreed to anything and are signed in."""
        by = self._persons.get(person)
        key = None
        if by is not None and any(one is by for one in self._chosen.values()):
            sign = by.signer.key if isinstance(by.signer, CpsSigner) else None
            key = by.tls_key if use is KeyUse.AUTH else sign if use is KeyUse.SIGN else None
        if key is None:
            raise CardAbsent("nobody is signed in under that number")
        return key
