"""How the box stands, in one frozen value: the page, `passevue status` and the metrics show the same one (Q-19).

`draw` is pure: counters from the store, room on the disk, certificates and neighbours' words go in, a `Summary` with a
verdict and its reasons comes out. No patient is in it: entries are known by number.

Who is called, and when (reliability §§ 5–6):
- someone must act when an entry is set aside or held, a document has waited 24 h, the DMP has been away 4 h, the volume
  is beyond 85 %, or a certificate ends within 14 days;
- it is worth a look when an entry is in doubt or has waited an hour, a neighbour fails, the volume is beyond 70 %, or a
  certificate ends within 60 days;
- else all is well.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum

from passevue.queue.listing import Counters, Line
from passevue.queue.room import Level, Volume
from passevue.queue.states import State
from passevue.status.neighbours import Health, Neighbour, Word
from passevue.status.protections import FAILING, Grade, Protections


class Verdict(IntEnum):
    """The box in one word; a higher one outweighs a lower."""

    FINE = 0
    WATCH = 1
    ACT = 2

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Room:
    """The volume of the queue, and what its fullness allows."""

    volume: Volume
    level: Level


@dataclass(frozen=True, slots=True)
class Certificate:
    """One of our certificates: its dotted setting, whose it is, and when it ends; None when it cannot be read."""

    setting: str
    ends: datetime | None
    structure: str = ""  # name of the structure, when there are several

    def days_left(self, now: datetime) -> int | None:
        return None if self.ends is None else (self.ends - now).days


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason for the verdict: a code that `words` turns into a sentence, and what fills it."""

    code: str
    verdict: Verdict
    values: Mapping[str, int | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything people see, at one moment."""

    at: datetime
    box: str
    version: str
    started_at: datetime | None
    verdict: Verdict
    findings: tuple[Finding, ...]
    counters: Counters
    troubles: tuple[Line, ...]  # set aside and held, the first ones; `counters` says how many there are
    recent: tuple[Line, ...]  # settled, the last ones
    room: Room | None
    certificates: tuple[Certificate, ...]
    neighbours: tuple[Word, ...]
    protections: Protections | None = None  # None: nothing has looked at them

    @property
    def oldest(self) -> timedelta | None:
        """Age of the oldest entry still open; never below zero, whatever the clock did."""
        oldest_at = self.counters.oldest_received_at
        return None if oldest_at is None else max(self.at - oldest_at, timedelta())


OUTAGE = timedelta(hours=4)
TOO_OLD = timedelta(hours=24)
OLD = timedelta(hours=1)
SOON_DAYS, VERY_SOON_DAYS = 60, 14


def draw(
    *,
    now: datetime,
    box: str,
    version: str,
    counters: Counters,
    troubles: tuple[Line, ...] = (),
    recent: tuple[Line, ...] = (),
    room: Room | None = None,
    certificates: tuple[Certificate, ...] = (),
    neighbours: tuple[Word, ...] = (),
    started_at: datetime | None = None,
    store_alarm: str = "",
    protections: Protections | None = None,
) -> Summary:
    """The summary of these facts, most urgent reasons first. `store_alarm` is `restored`, `salvaged` or `failing`."""
    found = [  # what hinders everything comes before what hinders one document
        *_of_room(room),
        *_of_store(store_alarm),
        *_of_protections(protections),
        *(finding for certificate in certificates for finding in _of_certificate(certificate, now)),
        *(finding for word in neighbours for finding in _of_neighbour(word, now)),
        *_of_queue(counters, now),
    ]
    found.sort(key=lambda finding: -finding.verdict)
    return Summary(
        at=now,
        box=box,
        version=version,
        started_at=started_at,
        verdict=max((finding.verdict for finding in found), default=Verdict.FINE),
        findings=tuple(found),
        counters=counters,
        troubles=troubles,
        recent=recent,
        room=room,
        certificates=certificates,
        neighbours=neighbours,
        protections=protections,
    )


def _of_queue(counters: Counters, now: datetime) -> Iterator[Finding]:
    if set_aside := counters.by_state[State.SET_ASIDE]:
        yield Finding("set_aside", Verdict.ACT, {"count": set_aside})
    if held := counters.by_state[State.HELD]:
        yield Finding("held", Verdict.ACT, {"count": held})
    oldest_at = counters.oldest_received_at
    if oldest_at is not None and (age := now - oldest_at) >= OLD:
        verdict = Verdict.ACT if age >= TOO_OLD else Verdict.WATCH
        yield Finding("oldest", verdict, {"hours": int(age / timedelta(hours=1))})
    if counters.in_doubt:
        yield Finding("in_doubt", Verdict.WATCH, {"count": counters.in_doubt})


def _of_room(room: Room | None) -> Iterator[Finding]:
    if room is None or room.level is Level.NORMAL:
        return
    verdict = Verdict.WATCH if room.level is Level.WARN else Verdict.ACT
    yield Finding(f"room_{room.level.name.lower()}", verdict, {"percent": int(room.volume.used_share * 100)})


def _of_store(alarm: str) -> Iterator[Finding]:
    if alarm:
        yield Finding(f"store_{alarm}", Verdict.ACT)


def _of_protections(protections: Protections | None) -> Iterator[Finding]:
    """Of the appliance alone: a laptop's own hardening says nothing about how the work goes."""
    if protections is None or not protections.on_box:
        return
    counts = {grade: len(protections.of(grade)) for grade in FAILING}
    if counts[Grade.BLOCK]:
        yield Finding("protection_block", Verdict.ACT, {"count": counts[Grade.BLOCK]})
    elif protections.closed:
        yield Finding("protection_pending", Verdict.WATCH)
    if counts[Grade.HOLD]:
        yield Finding("protection_hold", Verdict.ACT, {"count": counts[Grade.HOLD]})
    if counts[Grade.WARN]:
        yield Finding("protection_warn", Verdict.WATCH, {"count": counts[Grade.WARN]})


def _of_certificate(certificate: Certificate, now: datetime) -> Iterator[Finding]:
    days = certificate.days_left(now)
    if days is None:
        yield Finding("certificate_unreadable", Verdict.ACT, _whose(certificate))
    elif days < 0:
        yield Finding("certificate_expired", Verdict.ACT, _whose(certificate))
    elif days <= SOON_DAYS:
        verdict = Verdict.ACT if days <= VERY_SOON_DAYS else Verdict.WATCH
        yield Finding("certificate_soon", verdict, {"days": days, **_whose(certificate)})


def _whose(certificate: Certificate) -> dict[str, int | str]:
    return {"certificate": certificate.setting, "structure": certificate.structure}


def _of_neighbour(word: Word, now: datetime) -> Iterator[Finding]:
    health = word.health(now)
    if health is Health.REFUSED:
        yield Finding("neighbour_refused", Verdict.WATCH, {"neighbour": word.neighbour.value})
    elif health is Health.LATE:
        yield Finding("neighbour_late", Verdict.WATCH, {"neighbour": word.neighbour.value})
    elif health is Health.DOWN:
        since = word.failing_since or word.failed_at or now
        long = word.neighbour is Neighbour.DMP and now - since >= OUTAGE
        hours = int((now - since) / timedelta(hours=1))
        code = "neighbour_down_long" if long else "neighbour_down"
        yield Finding(code, Verdict.ACT if long else Verdict.WATCH, {"neighbour": word.neighbour.value, "hours": hours})
