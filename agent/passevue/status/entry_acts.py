"""What a signed-in person sees of an entry and does with it: audited first, then done, in that person's name.

Rules (LOG-01, LOG-02):
- The audit record is on the disk before the act, and before a patient's name is shown. No record, no act.
- The store decides what may be done to an entry; here only who may ask.
- A patient is shown to a practitioner of this box's structures, never to the site admin.
- Publishing in one's own name is for the report's own signatory, by card, and is one entry's. Whoever signed in by Pro
  Santé Connect lets the entry go in the structure's name: the DMP takes nothing else from them (dmp-xds.md § 1.2).
- What was frozen in the structure's name goes as it is (Q-03): it is not promised in another.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from passevue.document.header import Report
from passevue.document.request import Action, read_request
from passevue.errors import BoxError, Refused, Unreadable
from passevue.intake.received import Kind
from passevue.intake.ris import read_ris_message
from passevue.national.personal import PersonalSigner, may_sign
from passevue.national.vihf import Mode, VihfFacts
from passevue.queue import moves, persons
from passevue.queue.listing import Line, Shown
from passevue.queue.states import State
from passevue.queue.store import Store
from passevue.status import audit
from passevue.status.audit_people import entry_looked_at
from passevue.status.roles import Method, Right
from passevue.status.session import Session
from passevue.status.sign_in import SignIn, Trail

LISTED = (State.SET_ASIDE, State.HELD, State.READY, State.WAITING)
MOST_OF_A_STATE = 30
_LETS_GO = frozenset({State.WAITING, State.READY, State.HELD})


@dataclass(frozen=True, slots=True, repr=False)
class About:
    """Whose examination an entry is about, from its report; "" where that does not say."""

    patient: str
    birth_date: str  # digits of the HL7 date
    exam_date: str
    exam: str
    signatory: str
    mine: bool  # the person who looks is the signatory


@dataclass(frozen=True, slots=True, repr=False)
class Looked:
    """One entry as shown. `about` None: not for this person, or not known."""

    shown: Shown
    about: About | None
    acts: tuple[Right, ...]  # what this person may do with it now
    own_name_by_card: bool = False  # a signatory who would need their card to publish it in their own name


class EntryActs:
    """Entries of one box for the people signed in at it. `held`: rules of the baseline that let nothing be done now."""

    def __init__(
        self,
        store: Store,
        trail: Trail,
        sign_in: SignIn,
        realm: str,
        clock: Callable[[], datetime],
        held: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._store = store
        self._held = held
        self._trail = trail
        self._sign_in = sign_in
        self._realm = realm
        self._clock = clock

    async def lines(self, session: Session) -> tuple[Line, ...]:
        """What waits, for a person first."""
        _check(session, Right.SEE_ENTRIES)
        found: list[Line] = []
        for state in LISTED:
            found += await self._store.entries(state, MOST_OF_A_STATE)
        return tuple(found)

    async def look(self, session: Session, number: int, address: str) -> Looked:
        """
        Raises:
            Refused: `not-yours`, `no-entry`. StoreError: the store or the audit trail.
        """
        _check(session, Right.SEE_ENTRIES)
        shown = await self._shown(number)
        report = await self._report(shown) if session.may(Right.SEE_PATIENT) else None
        if report is not None:
            ins = report.patient.ins
            patients = (audit.patient(ins.cx),) if ins is not None else ()
            await self._trail.record(entry_looked_at(self._clock(), session.who, number, address, patients))
        about = _about(report, session.who) if report is not None else None
        mine = about is not None and about.mine and self._sign_in.in_person.reaches
        by_card = mine and session.method is not Method.CARD and shown.line.action == Action.PUBLISH
        return Looked(shown, about, _possible(session, shown.line, mine=mine), by_card)

    async def retry(self, session: Session, number: int, why: str, address: str) -> None:
        """What was set aside goes again. Raises as `look`, and what `Store.retry` refuses."""
        _check(session, Right.RETRY)
        await self._audit(session, "retry", number, why, address)
        await self._forget_who_left(number)
        await self._store.retry(number, session.who, why)

    async def release(self, session: Session, number: int, why: str, address: str) -> None:
        """What waits or is held goes now."""
        _check(session, Right.RELEASE)
        await self._audit(session, "release", number, why, address)
        await self._forget_who_left(number)
        if not await self._store.release(number, by=session.who, why=why):
            raise Refused("not-waiting", f"entry {number} has nothing to wait for")

    async def close(self, session: Session, number: int, why: str, address: str) -> None:
        """It shall not go; final, with a reason."""
        _check(session, Right.CLOSE)
        if not why:
            raise Refused("no-reason", "closing needs a reason", hint="Donnez la raison de la clôture.")
        await self._audit(session, "close", number, why, address)
        await self._store.close_entry(number, session.who, why)

    async def publish(self, session: Session, number: int, address: str) -> None:
        """The next try of this entry is in this person's own name.

        Raises:
            Refused: `not-your-report`, `not-by-psc`, `already-prepared`, and what the store refuses.
            CredentialError: nobody is there to sign. ZoneAway: nobody is there to publish.
        """
        _check(session, Right.PUBLISH)
        signer = self._sign_in.signer(session)
        self._sign_in.in_person.check(signer)
        shown = await self._shown(number)
        report = await self._report(shown)
        if report is None or not may_sign(report, session.who):
            raise Refused("not-your-report", "the report names another signatory")
        if shown.line.action != Action.PUBLISH:
            raise Refused("not-yours", "only a publication is in somebody's name")
        state = shown.line.state
        if state is not State.SET_ASIDE and state not in _LETS_GO:
            raise Refused("not-waiting", f"entry {number} is {state}")
        await self._audit(session, "publish-in-person", number, signer.mode.value, address)
        made = await self._store.read(lambda conn: persons.prepared(conn, number))
        if made is not None and not _is_of(VihfFacts.from_bytes(made.vihf), signer):
            raise Refused("already-prepared", "what is frozen is in the structure's name")
        if session.ended is not None:
            raise Refused("signed-out", "the session ended meanwhile")
        await self._sign_in.in_person.agree(number, signer)
        try:
            if state is State.SET_ASIDE:
                await self._store.retry(number, session.who, signer.mode.value)
            elif not await self._store.release(number, by=session.who, why=signer.mode.value):
                raise Refused("not-waiting", f"entry {number} is under way")
        except BoxError:
            await self._sign_in.in_person.take_back(number)
            raise

    async def _forget_who_left(self, number: int) -> None:
        """Let go without a name of one's own: in the structure's, if whoever wanted it in theirs has left."""
        if self._sign_in.in_person.of(number) is None:
            await self._sign_in.in_person.take_back(number)

    async def _shown(self, number: int) -> Shown:
        shown = await self._store.show(number)
        if shown is None:
            raise Refused("no-entry", f"there is no entry {number}", hint=f"La demande {number} n’existe pas.")
        return shown

    async def _audit(self, session: Session, what: str, number: int, why: str, address: str) -> None:
        """Before an act happens. Raises: Refused: `acts-held`, `no-entry`; StoreError."""
        if rules := self._held():
            raise Refused("acts-held", f"the baseline holds acts at the page: {' '.join(rules)}")
        await self._shown(number)
        await self._trail.record(audit.person_acted(self._clock(), session.who, what, number, address, why))

    async def _report(self, shown: Shown) -> Report | None:
        """The report that an entry is about; None when it came without one, or it is no longer kept."""
        if shown.line.kind != Kind.REPORT:
            return None
        number = shown.line.number
        content, _made = await self._store.read(lambda conn: moves.read_for_export(conn, number))
        return await asyncio.to_thread(_read, content, self._realm) if content else None


def _read(content: bytes, realm: str) -> Report | None:
    try:
        return read_request(read_ris_message(content), realm).report
    except (BoxError, Unreadable):
        return None  # an older version of the box took it, whose rules differed


def _check(session: Session, right: Right) -> None:
    if session.ended is not None or not session.may(right):
        raise Refused("not-yours", f"a {session.role} may not {right}")


def _is_of(facts: VihfFacts, by: PersonalSigner) -> bool:
    return facts.mode is Mode.DIRECTE and facts.name_id == by.id_nat


def _possible(session: Session, line: Line, *, mine: bool) -> tuple[Right, ...]:
    """In the order of the page: what most people want first."""
    state = line.state
    own_name = mine and session.method is Method.CARD and line.action == Action.PUBLISH
    fits = {
        Right.PUBLISH: own_name and (state is State.SET_ASIDE or state in _LETS_GO),
        Right.RETRY: state is State.SET_ASIDE,
        Right.RELEASE: state in _LETS_GO,
        Right.CLOSE: state in (State.WAITING, State.READY, State.HELD, State.SET_ASIDE),
    }
    return tuple(right for right, possible in fits.items() if possible and session.may(right))


def _about(report: Report, id_nat: str) -> About:
    patient, exam = report.patient, report.exams[0] if report.exams else None
    person = report.legal_authenticator or report.author
    family = patient.used_family or patient.birth_family
    return About(
        patient=f"{family} {patient.used_given or patient.birth_given}".strip(),
        birth_date=patient.birth_date,
        exam_date=exam.start[:8] if exam is not None else "",
        exam=exam.acts[0].label if exam is not None and exam.acts else report.title,
        signatory=f"{person.given} {person.family}".strip() if person is not None else "",
        mine=may_sign(report, id_nat),
    )
