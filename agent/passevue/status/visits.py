"""What is under way at a browser that has not signed in: a question to Pro Santé Connect, a word to show next.

Kept for fifteen minutes under the hash of the browser's cookie, at most 512 of them; nothing is kept for a browser that
only looked. When there are too many, words to show go before questions that somebody is answering. No I/O.
"""

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from passevue.errors import BoxError
from passevue.national.psc_face import CibaRequest, CodeRequest, PscPerson

KEEP = timedelta(minutes=15)
MOST = 512


class PushPhase(StrEnum):
    WAITING = "waiting"
    APPROVED = "approved"
    REFUSED = "refused"
    EXPIRED = "expired"
    FAILED = "failed"


@dataclass(slots=True, repr=False, eq=False)
class Push:
    """A request on somebody's phone. `session` once approved, until it is fetched; `error` once failed."""

    request: CibaRequest
    phase: PushPhase = PushPhase.WAITING
    session: PscPerson | None = None
    error: BoxError | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)  # set once it is decided


@dataclass(slots=True, repr=False, eq=False)
class Visit:
    """One browser before its sign-in. `notice`: a code of `notices` and what fills it, shown once."""

    at: datetime
    notice: tuple[str, dict[str, str | int]] | None = None
    push: Push | None = None
    code: CodeRequest | None = None


class Visits:
    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, Visit] = OrderedDict()

    def find(self, cookie: str, now: datetime) -> Visit | None:
        visit = self._kept.get(_hash(cookie)) if cookie else None
        return visit if visit is not None and abs(now - visit.at) < KEEP else None

    def keep(self, cookie: str, now: datetime) -> Visit:
        """The visit of this browser, made when there is none."""
        key = _hash(cookie)
        visit = self.find(cookie, now) or Visit(now)
        visit.at = now
        self._kept[key] = visit
        self._kept.move_to_end(key)
        while len(self._kept) > MOST:
            idle = (one for one, kept in self._kept.items() if kept.push is None and kept.code is None and one != key)
            del self._kept[next(idle, None) or next(iter(self._kept))]
        return visit

    def await_answer(self, push: Push, now: datetime) -> bool:
        """Whether a browser is still there for the answer to `push`."""
        return any(one.push is push and abs(now - one.at) < KEEP for one in self._kept.values())

    def forget(self, cookie: str) -> Visit | None:
        return self._kept.pop(_hash(cookie), None)


def _hash(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).digest()
