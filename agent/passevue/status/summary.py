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
from enum import IntEnum, StrEnum

from passevue.status.neighbours import Health, Neighbour, Word


class Verdict(IntEnum):
    """The box in one word; a higher one outweighs a lower."""

    FINE = 0
    WATCH = 1
    ACT = 2

    @property
    def word(self) -> str:
        return self.name.lower()


class Level(StrEnum):
    """Room on the volume of the queue (reliability § 5)."""

    NORMAL = "normal"
    WARN = "warn"  # 70 %
    HOLD = "hold"  # 85 %: images are refused for now
    STOP = "stop"  # 95 %, or less than 1 GiB: nothing is taken in


@dataclass(frozen=True, slots=True)
class Counters:
    """What the store says, by state."""

    waiting: int = 0
    in_doubt: int = 0
    held: int = 0
    set_aside: int = 0
    parked: int = 0  # waits for longer than 72 h, and is still tried
    oldest_at: datetime | None = None  # when the oldest open entry came
    published_today: int = 0


@dataclass(frozen=True, slots=True)
class Trouble:
    """One entry, or several alike, that wait for a person. `hint` is French, as the queue keeps it; `reason` a code."""

    number: int
    state: str
    action: str
    reason: str
    hint: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Settled:
    """One publication, replacement or withdrawal that went out."""

    number: int
    action: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Room:
    """The volume of the queue, in bytes."""

    total: int
    free: int
    level: Level

    @property
    def used(self) -> float:
        """0 to 1."""
        return 1 - self.free / self.total if self.total else 1.0


def room(total: int, free: int) -> Room:
    used = 1 - free / total if total else 1.0
    if used > 0.95 or free < 1 << 30:
        level = Level.STOP
    elif used >= 0.85:
        level = Level.HOLD
    else:
        level = Level.WARN if used >= 0.70 else Level.NORMAL
    return Room(total, free, level)


@dataclass(frozen=True, slots=True)
class Certificate:
    """One of our certificates: the setting that names it, and when it ends; None when it cannot be read."""

    setting: str
    ends: datetime | None

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
    troubles: tuple[Trouble, ...]  # the first ones; `counters` says how many there are
    recent: tuple[Settled, ...]
    room: Room | None
    certificates: tuple[Certificate, ...]
    neighbours: tuple[Word, ...]

    @property
    def oldest(self) -> timedelta | None:
        """Age of the oldest entry still open; never below zero, whatever the clock did."""
        oldest_at = self.counters.oldest_at
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
    troubles: tuple[Trouble, ...] = (),
    recent: tuple[Settled, ...] = (),
    room: Room | None = None,
    certificates: tuple[Certificate, ...] = (),
    neighbours: tuple[Word, ...] = (),
    started_at: datetime | None = None,
) -> Summary:
    """The summary of these facts, most urgent reasons first."""
    found = [
        *_of_queue(counters, now),
        *_of_room(room),
        *(finding for certificate in certificates for finding in _of_certificate(certificate, now)),
        *(finding for word in neighbours for finding in _of_neighbour(word, now)),
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
    )


def _of_queue(counters: Counters, now: datetime) -> Iterator[Finding]:
    if counters.set_aside:
        yield Finding("set_aside", Verdict.ACT, {"count": counters.set_aside})
    if counters.held:
        yield Finding("held", Verdict.ACT, {"count": counters.held})
    if counters.oldest_at is not None and (age := now - counters.oldest_at) >= OLD:
        verdict = Verdict.ACT if age >= TOO_OLD else Verdict.WATCH
        yield Finding("oldest", verdict, {"hours": int(age / timedelta(hours=1))})
    if counters.in_doubt:
        yield Finding("in_doubt", Verdict.WATCH, {"count": counters.in_doubt})


def _of_room(room: Room | None) -> Iterator[Finding]:
    if room is None or room.level is Level.NORMAL:
        return
    verdict = Verdict.WATCH if room.level is Level.WARN else Verdict.ACT
    yield Finding(f"room_{room.level}", verdict, {"percent": int(room.used * 100)})


def _of_certificate(certificate: Certificate, now: datetime) -> Iterator[Finding]:
    days = certificate.days_left(now)
    if days is None:
        yield Finding("certificate_unreadable", Verdict.ACT, {"setting": certificate.setting})
    elif days < 0:
        yield Finding("certificate_expired", Verdict.ACT, {"setting": certificate.setting})
    elif days <= SOON_DAYS:
        verdict = Verdict.ACT if days <= VERY_SOON_DAYS else Verdict.WATCH
        yield Finding("certificate_soon", verdict, {"setting": certificate.setting, "days": days})


def _of_neighbour(word: Word, now: datetime) -> Iterator[Finding]:
    health = word.health(now)
    if health is Health.LATE:
        yield Finding("neighbour_late", Verdict.WATCH, {"neighbour": word.neighbour.value})
    elif health is Health.DOWN:
        since = word.failing_since or word.failed_at or now
        long = word.neighbour is Neighbour.DMP and now - since >= OUTAGE
        hours = int((now - since) / timedelta(hours=1))
        code = "neighbour_down_long" if long else "neighbour_down"
        yield Finding(code, Verdict.ACT if long else Verdict.WATCH, {"neighbour": word.neighbour.value, "hours": hours})
