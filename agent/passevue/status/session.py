"""Sessions of people on the page: opened by a sign-in, ended by whatever comes first. No I/O; `now` is a parameter.

Rules (ACCT-06, CARD-02):
- The browser holds 256 random bits; here lies their SHA-256, so that memory or a dump gives no usable cookie.
- A sign-in always makes a new one; the browser's old one ends. None is ever taken from the browser.
- Idle for 5 minutes (practitioner) or 15 (site admin), it ends; so it does after 4 hours, as at Pro Santé Connect, and
  at once when its card leaves. A clock set back ends it too: nobody gains time by it.
- For some minutes a browser may ask why its session ended; nothing else of it is kept.
- Whoever owns the sessions is told of each end, at once, and lets go of what it held outside (card, tokens).
"""

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from passevue.national.psc_claims import Situation
from passevue.status.roles import RIGHTS, Method, Person, Right, Role

IDLE = {Role.PRACTITIONER: timedelta(minutes=5), Role.ADMIN: timedelta(minutes=15)}
LONGEST = timedelta(hours=4)
MOST = 64  # at once: every screen of a centre
TELL_WHY = timedelta(minutes=10)
MOST_ENDED = 256
BACKWARDS = timedelta(seconds=5)  # what the clock's own correction may be
TOKEN_LENGTH = 43  # of 32 bytes in base64url

Release = Callable[[], Awaitable[None]]


class Ended(StrEnum):
    """Why a session is over; `people_words` has the sentence."""

    LEFT = "left"  # signed out
    IDLE = "idle"
    TOO_LONG = "too-long"
    CARD_OUT = "card-out"
    PSC_OVER = "psc-over"  # Pro Santé Connect ended its own
    REPLACED = "replaced"  # the same browser signed in anew
    PASSWORD_CHANGED = "password-changed"  # noqa: S105 - or reset at the box
    CROWDED = "crowded"  # too many sessions: the one idle for longest made room
    CLOCK = "clock"  # the clock went back


@dataclass(slots=True, repr=False, eq=False)
class Session:
    """One person at one browser.

    Attributes:
        who: for the audit trail: the IdNat, or `site-admin`.
        card: insertion of the card that it lives by, None when it has none.
        release: lets go of what it holds outside.
        over: set once it has ended.
        notice: what to tell on the next page, a code of `notices`, then forgotten.
    """

    role: Role
    method: Method
    who: str
    started_at: datetime
    ends_at: datetime
    seen_at: datetime
    person: Person | None = None
    situation: Situation | None = None
    card: int | None = None
    release: Release | None = None
    ended: Ended | None = None
    notice: tuple[str, dict[str, str | int]] | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def may(self, right: Right) -> bool:
        """Whether its role has `right`; a practitioner acts for a structure of this box, or sees only themselves."""
        if right not in RIGHTS[self.role]:
            return False
        return self.role is Role.ADMIN or self.situation is not None

    def why_over(self, now: datetime) -> Ended | None:
        """None while it lives."""
        if now < self.seen_at - BACKWARDS:
            return Ended.CLOCK
        if now >= self.ends_at:
            return Ended.TOO_LONG
        return Ended.IDLE if now >= self.idle_at else None

    @property
    def idle_at(self) -> datetime:
        return self.seen_at + IDLE[self.role]


class Sessions:
    """All of one box, in memory: a restart signs everybody out. `on_end` is called with each that has just ended."""

    def __init__(self, on_end: Callable[[Session], None] = lambda _: None) -> None:
        self._open: dict[bytes, Session] = {}
        self._ended: OrderedDict[bytes, tuple[Ended, datetime]] = OrderedDict()
        self._on_end = on_end

    def __len__(self) -> int:
        return len(self._open)

    def open(
        self,
        now: datetime,
        role: Role,
        method: Method,
        who: str,
        *,
        person: Person | None = None,
        card: int | None = None,
        ends_at: datetime | None = None,
        release: Release | None = None,
    ) -> tuple[str, Session]:
        """A new session and the token for its cookie. `ends_at` shortens its life, never lengthens it."""
        token = secrets.token_urlsafe(32)
        last = now + LONGEST
        session = Session(
            role, method, who, now, min(last, ends_at or last), now, person=person, card=card, release=release
        )
        if person is not None and len(person.situations) == 1:
            session.situation = person.situations[0]
        if len(self._open) >= MOST:
            self.end(min(self._open.values(), key=lambda one: one.seen_at), Ended.CROWDED, now)
        self._open[_hash(token)] = session
        return token, session

    def find(self, token: str, now: datetime, *, touch: bool = True) -> Session | None:
        """The living session of a cookie. `touch`: the person did something; a live view does not."""
        session = self._open.get(_hash(token)) if len(token) == TOKEN_LENGTH else None
        if session is None:
            return None
        why = session.why_over(now)
        if why is not None:
            self.end(session, why, now)
            return None
        if touch:
            session.seen_at = max(now, session.seen_at)
        return session

    def why_ended(self, token: str, now: datetime) -> Ended | None:
        """Why this browser's session is over; None when there was none, or long ago."""
        ended, at = self._ended.get(_hash(token), (None, now))
        return ended if ended is not None and abs(now - at) < TELL_WHY else None

    def forget(self, token: str) -> None:
        self._ended.pop(_hash(token), None)

    def end(self, session: Session, why: Ended, now: datetime) -> None:
        """Over, at once; harmless when it already is."""
        key = next((key for key, one in self._open.items() if one is session), None)
        if key is None:
            return
        del self._open[key]
        session.ended = why
        session.over.set()
        self._ended[key] = (why, now)
        while len(self._ended) > MOST_ENDED:
            self._ended.popitem(last=False)
        self._on_end(session)

    def end_all(self, which: Callable[[Session], bool], why: Ended, now: datetime) -> int:
        ending = [one for one in self._open.values() if which(one)]
        for one in ending:
            self.end(one, why, now)
        return len(ending)

    def sweep(self, now: datetime) -> None:
        """Ends what is over by time."""
        for session in tuple(self._open.values()):
            why = session.why_over(now)
            if why is not None:
                self.end(session, why, now)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
