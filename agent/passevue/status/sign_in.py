"""Sign-in, from a proof to a session, and its end: by CPS, by e-CPS, by the site's own password. No HTTP.

    token, session = await sign_in.by_card(insertion, pin, place, address)
    session = sign_in.find(token)
    await sign_in.sign_out(session)

Rules:
- Nobody is signed in before the audit trail has it; a trail that does not write lets nobody in.
- A card's session ends when its insertion does. This part watches the readers for that, and the clock for idleness.
- Failures are counted by address (`attempts`); while a pause lasts, nothing is asked of a card or the account.
- From another machine a code is taken for two minutes after the card was put in: somebody is there. Its last try is
  never taken from there: no card can be blocked, and none left in its reader guessed at, from the network.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from time import monotonic
from typing import NoReturn, Protocol

import structlog

from passevue.card.cps import Holder
from passevue.card.cps import Situation as CardSituation
from passevue.card.cps_signer import CpsSigner
from passevue.errors import (
    BoxError,
    CardFault,
    CredentialError,
    LastTry,
    PinBlocked,
    PinWrong,
    Refused,
    SignInError,
    StoreError,
)
from passevue.national.personal import Consents, InPerson, PersonalSigner
from passevue.national.psc_claims import Situation
from passevue.national.psc_face import PscDoor, PscPerson
from passevue.national.vihf import Mode
from passevue.status import audit_people
from passevue.status.attempts import Attempts
from passevue.status.audit import Event
from passevue.status.cards import CardHold, Cards
from passevue.status.local_account import UNFIT, LocalAccount
from passevue.status.psc_desk import PscDesk, person_of_psc
from passevue.status.roles import Method, Person, Role
from passevue.status.session import Ended, Release, Session, Sessions
from passevue.status.visitor import Place
from passevue.status.visits import Visits
from passevue.status.wiping import wipe

PRESENCE = timedelta(minutes=2)
SWEEP_EVERY_S = 0.5
RELEASE_WITHIN_S = 10.0
ADMIN = "site-admin"

log = structlog.get_logger()

Opened = tuple[str, Session]


class Trail(Protocol):
    """The audit trail: `audit_trail.AuditTrail` is one."""

    async def record(self, event: Event) -> None: ...

    def note(self, event: Event) -> None: ...


class SignIn:
    """The part that knows who is signed in. `run` returns only when cancelled.

    Args:
        account: the site admin's.
        trail: told of each sign-in, refusal and end.
        structures: StructIdNat that the box has certificates for.
        clock: aware now.
        cards: the readers; None when this box has none.
        psc: Pro Santé Connect; None when it is not set up.
        in_person: told in whose name entries may go.
        held: the rules of the baseline that let nobody sign in by card or phone now; the site's account still can.
    """

    name = "sign-in"

    def __init__(
        self,
        account: LocalAccount,
        trail: Trail,
        structures: Container[str],
        clock: Callable[[], datetime],
        *,
        cards: Cards | None = None,
        psc: PscDoor | None = None,
        in_person: Consents | None = None,
        held: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self.account = account
        self.cards = cards
        self.in_person: Consents = in_person or InPerson()
        self.sessions = Sessions(self._has_ended)
        self.visits = Visits()
        self.psc = PscDesk(psc, self.visits, clock, lambda err: self._note_refusal(err, Method.PHONE, ""))
        self.clock = clock
        self._trail = trail
        self._held = held
        self._structures = structures
        self._signers: dict[int, PersonalSigner] = {}  # by id of the session
        self._card_attempts = Attempts()
        self._password_attempts = Attempts()
        self._ended: asyncio.Queue[Session] = asyncio.Queue()
        self._generation: tuple[int, int] | None = None
        self._changing = 0  # the account is another, and it is us who change it

    # By card

    async def by_card(
        self, insertion: int, pin: bytearray, place: Place, address: str, *, last_try: bool = False
    ) -> Opened:
        """Sign in with the card of `insertion`. Its code is sent once, and wiped.

        Raises:
            CardError: the card says no; `PinWrong` with the tries left.
            TrustError, NetworkError: its certificate is not to be believed, or that cannot be known now.
            Refused: `not-sound`, `paused`, `put-in-again`, `last-try-at-box`, `card-busy`. StoreError: no audit trail.
        """
        cards, at_box = self.cards, place is Place.AT_BOX
        try:
            self._check_sound()
            if cards is None:
                raise Refused("no-readers", "this box has no card reader")
            self._check_pause(self._card_attempts, place, address)
            self._check_presence(cards, insertion, place)
            hold = await cards.open(insertion, pin, last_try=last_try and at_box)
        except LastTry as err:
            self._refuse(err if at_box else Refused("last-try-at-box", err.message), Method.CARD, address)
        except BoxError as err:
            if isinstance(err, (PinWrong, PinBlocked)):
                self._failed(self._card_attempts, place, address)
            self._refuse(err, Method.CARD, address)
        finally:
            wipe(pin)
        self._card_attempts.succeeded(address)
        return await self._with_card(cards, hold, address)

    def _check_sound(self) -> None:
        """No code is typed into, and nobody named by, a box that is not sound."""
        if rules := self._held():
            raise Refused("not-sound", f"the baseline holds sign-ins: {' '.join(rules)}")

    def _check_presence(self, cards: Cards, insertion: int, place: Place) -> None:
        seen = cards.view().card(insertion)
        if place is Place.AT_BOX or seen is None:
            return
        if not timedelta() <= self.clock() - seen.inserted_at < PRESENCE:
            raise Refused("put-in-again", "nobody put this card in just now")

    async def _with_card(self, cards: Cards, hold: CardHold, address: str) -> Opened:
        try:
            person = person_of_card(hold.holder, hold.situations, self._structures)
            await self._audit_in(person.id_nat, Method.CARD, address)
            if not cards.holds(hold.insertion):
                raise CardFault("the card was pulled while signing in")
        except BaseException:
            await hold.close()
            raise
        opened = self._open(
            Role.PRACTITIONER, Method.CARD, person.id_nat, person=person, card=hold.insertion,
            ends_at=hold.valid_until, release=hold.close,
        )  # fmt: skip
        self._signers[id(opened[1])] = PersonalSigner(
            person.id_nat,
            Mode.DIRECTE,
            opened[1].situation or _NOWHERE,
            self.clock(),
            CpsSigner(hold.sign_key) if hold.sign_key is not None else None,
            hold.auth_key,
        )
        return opened

    # By Pro Santé Connect

    async def begin_push(self, cookie: str, id_nat: str, address: str) -> None:
        """Ring the phone of `id_nat` for the browser of `cookie`. Raises as `PscDesk.begin_push`."""
        try:
            self._check_sound()
            await self.psc.begin_push(cookie, id_nat, address)
        except BoxError as err:
            self._refuse(err, Method.PHONE, address)

    async def finish_push(self, cookie: str, address: str) -> Opened | None:
        """The session of whoever approved on the phone for this browser; None while nobody has. Raises: StoreError."""
        session = self.psc.approved(cookie)
        return await self._with_psc(session, Method.PHONE, address) if session is not None else None

    async def begin_code(self, cookie: str, address: str) -> str:
        """Where to send the browser of `cookie`. Raises as `PscDesk.begin_code`."""
        try:
            self._check_sound()
            return await self.psc.begin_code(cookie, address)
        except BoxError as err:
            self._refuse(err, Method.BROWSER, address)

    async def finish_code(self, cookie: str, query: Mapping[str, str], address: str) -> Opened:
        """The session of whoever came back from Pro Santé Connect. Raises as `Psc.finish_code`; StoreError."""
        try:
            session = await self.psc.finish_code(cookie, query)
        except BoxError as err:
            self._refuse(err, Method.BROWSER, address)
        return await self._with_psc(session, Method.BROWSER, address)

    async def _with_psc(self, psc: PscPerson, method: Method, address: str) -> Opened:
        try:
            person = person_of_psc(psc, self._structures)
            await self._audit_in(person.id_nat, method, address)
        except BaseException:
            with contextlib.suppress(BoxError):
                await psc.end()
            raise
        opened = self._open(
            Role.PRACTITIONER, method, person.id_nat, person=person, ends_at=psc.ends_at, release=psc.end
        )
        self._signers[id(opened[1])] = PersonalSigner(
            person.id_nat,
            Mode.INDIRECTE_RENFORCEE,
            opened[1].situation or _NOWHERE,
            psc.token.authenticated_at,
            psc=psc,
        )
        return opened

    # By password

    async def by_password(self, password: bytearray, place: Place, address: str) -> Opened:
        """The site admin. Raises: Refused `paused`, `password-wrong`; StoreError."""
        await self.prove(password, place, address)
        return await self._admin(address)

    async def prove(self, password: bytearray, place: Place, address: str) -> None:
        """Whoever is signed in knows the password, too. Raises: Refused `paused`, `password-wrong`."""
        try:
            await self._try(place, address, "password-wrong", lambda: self.account.fits(password))
        finally:
            wipe(password)

    async def claim(self, code: bytearray, password: bytearray, place: Place, address: str) -> Opened:
        """The first time. Raises: Refused `paused`, `code-wrong`, or why the password will not do; StoreError."""
        now = self.clock()
        try:
            await self._try(place, address, "code-wrong", lambda: self.account.claim(code, password, now))
        finally:
            wipe(code)
            wipe(password)
        await self._trail.record(audit_people.account_changed(now, "claimed", address))
        return await self._admin(address)

    async def change_password(
        self, session: Session, old: bytearray, new: bytearray, place: Place, address: str
    ) -> None:
        """Every other session of the admin ends. Raises as `claim`, and Refused `password-wrong`."""
        now = self.clock()
        self._changing += 1
        try:
            await self._try(place, address, "password-wrong", lambda: self.account.change(old, new, now))
            await self._trail.record(audit_people.account_changed(now, "password", address))
            self._generation = await self.account.generation()
        finally:
            self._changing -= 1
            wipe(old)
            wipe(new)
        self.sessions.end_all(lambda one: one.role is Role.ADMIN and one is not session, Ended.PASSWORD_CHANGED, now)

    async def _try(self, place: Place, address: str, wrong: str, check: Callable[[], Awaitable[bool]]) -> None:
        try:
            self._check_pause(self._password_attempts, place, address)
            # Counted before it is looked at: many at once are not more tries than one after the other.
            self._failed(self._password_attempts, place, address)
            if not await check():
                raise Refused(wrong, "it is not that")
        except BoxError as err:
            if isinstance(err, Refused) and err.code in UNFIT:  # what was asked for was right
                self._password_attempts.succeeded(address, counted=place is not Place.AT_BOX)
            self._refuse(err, Method.PASSWORD, address)
        self._password_attempts.succeeded(address, counted=place is not Place.AT_BOX)

    async def _admin(self, address: str) -> Opened:
        self._generation = await self.account.generation()
        await self._audit_in(ADMIN, Method.PASSWORD, address)
        return self._open(Role.ADMIN, Method.PASSWORD, ADMIN)

    # Sessions

    def find(self, token: str, *, touch: bool = True) -> Session | None:
        return self.sessions.find(token, self.clock(), touch=touch)

    def sign_out(self, session: Session) -> None:
        self.sessions.end(session, Ended.LEFT, self.clock())

    def choose(self, session: Session, situation: Situation) -> None:
        """In which situation the person acts from now on; what they consented to before is taken back."""
        if session.person is None or situation not in session.person.situations:
            raise Refused("no-situation", "not one of this person's situations")
        session.situation = situation
        signer = self._signers.get(id(session))
        if signer is not None:
            self.in_person.leave(signer)
            self._signers[id(session)] = replace(signer, situation=situation)

    def signer(self, session: Session) -> PersonalSigner:
        """
        Raises:
            CredentialError: the session is over, or in no structure of this box.
        """
        signer = self._signers.get(id(session))
        if signer is None or session.ended is not None or session.situation is None:
            raise CredentialError("nobody is signed in to act in their own name")
        return signer

    def _open(
        self,
        role: Role,
        method: Method,
        who: str,
        *,
        person: Person | None = None,
        card: int | None = None,
        ends_at: datetime | None = None,
        release: Release | None = None,
    ) -> Opened:
        log.info("signed_in", method=method.value)
        return self.sessions.open(
            self.clock(), role, method, who, person=person, card=card, ends_at=ends_at, release=release
        )

    async def _audit_in(self, who: str, method: Method, address: str) -> None:
        await self._trail.record(audit_people.signed_in(self.clock(), who, method, address))

    def _refuse(self, err: BoxError, method: Method, address: str) -> NoReturn:
        self._note_refusal(err, method, address)
        raise err

    def _note_refusal(self, err: BoxError, method: Method, address: str) -> None:
        code = err.code if isinstance(err, (Refused, SignInError)) else type(err).__name__
        log.warning("sign_in_refused", method=method.value, code=code)
        with contextlib.suppress(StoreError):
            self._trail.note(audit_people.sign_in_refused(self.clock(), method, address, code))

    def _check_pause(self, attempts: Attempts, place: Place, address: str) -> None:
        wait_s = attempts.wait_s(address, monotonic(), shared=place is not Place.AT_BOX)
        if wait_s > 0:
            raise Refused("paused", f"too many failures: {wait_s:.0f} s left")

    def _failed(self, attempts: Attempts, place: Place, address: str) -> None:
        attempts.failed(address, monotonic(), shared=place is not Place.AT_BOX)

    # What goes on meanwhile

    async def run(self) -> None:
        """Ends sessions when their time or card is gone, lets go of what they held, waits for phones."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._sweep(), name="sign-in-sweep")
                group.create_task(self.psc.run(), name="sign-in-phones")
                if self.cards is not None:
                    group.create_task(self._watch_cards(self.cards), name="sign-in-cards")
                while True:
                    group.create_task(self._let_go(await self._ended.get()), name="sign-in-release")
        finally:
            self.sessions.end_all(lambda _: True, Ended.LEFT, self.clock())
            while not self._ended.empty():
                await self._let_go(self._ended.get_nowait())

    async def _sweep(self) -> None:
        while True:
            now = self.clock()
            self.sessions.sweep(now)
            self.sessions.end_all(self._psc_is_over, Ended.PSC_OVER, now)
            await self._look_at_account(now)
            await asyncio.sleep(SWEEP_EVERY_S)

    async def _look_at_account(self, now: datetime) -> None:
        """Whoever changed it from elsewhere, as `passevue admin reset` does, ends the admin's sessions."""
        known = self._generation
        found = await self.account.generation()
        if self._changing or self._generation != known:
            return
        if known is not None and found != known:
            self.sessions.end_all(lambda one: one.role is Role.ADMIN, Ended.PASSWORD_CHANGED, now)
        self._generation = found

    def _psc_is_over(self, session: Session) -> bool:
        signer = self._signers.get(id(session))
        return signer is not None and signer.psc is not None and signer.psc.over

    async def _watch_cards(self, cards: Cards) -> None:
        version = -1
        while True:
            version = await cards.changed(version)
            self.sessions.end_all(
                lambda one: one.card is not None and not cards.holds(one.card), Ended.CARD_OUT, self.clock()
            )

    def _has_ended(self, session: Session) -> None:
        signer = self._signers.pop(id(session), None)
        if signer is not None:
            self.in_person.leave(signer)
        self._ended.put_nowait(session)

    async def _let_go(self, session: Session) -> None:
        why = session.ended.value if session.ended is not None else ""
        log.info("signed_out", method=session.method.value, reason=why)
        with contextlib.suppress(StoreError):
            self._trail.note(audit_people.signed_out(self.clock(), session.who, session.method, why))
        if session.release is not None:
            try:
                async with asyncio.timeout(RELEASE_WITHIN_S):
                    await session.release()
            except (BoxError, TimeoutError) as err:
                log.info("not_let_go", method=session.method.value, error_class=type(err).__name__)
        session.person = session.situation = session.release = None


_NOWHERE = Situation("", "", "", "", "", "", "", "")


def person_of_card(holder: Holder, of_card: Iterable[CardSituation], structures: Container[str]) -> Person:
    """Who the card's certificate names, with the situations in a structure of this box."""
    situations = tuple(
        Situation(
            structure_id=one.structure_id,
            structure_name=one.structure_name,
            sector=one.sector,
            profession=holder.profession,
            know_how=holder.specialities[0] if holder.specialities else "",
            pharmacy_section="",
            family=holder.name,
            given=holder.given,
        )
        for one in of_card
        if one.structure_id in structures
    )
    return Person(holder.id_nat, holder.name, holder.given, holder.profession, situations)
