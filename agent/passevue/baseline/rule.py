"""What a rule of the baseline is, and what looking at it gives. No I/O, no order, no clock.

A rule is one file in `rules/`, named by its slug, exporting `RULE`. It is data plus one function, `check`, which reads
a `Machine` and answers with a `Finding`; it never writes, waits or repairs (security-baseline.md § 1.6).

    def check(machine: Machine) -> Finding:
        level = machine.read_text("/sys/kernel/security/lockdown")
        if "[integrity]" in level or "[confidentiality]" in level:
            return passed(level.strip())
        return failed(level.strip())

What a check raises is `unknown`: it need not catch what it cannot measure. `observed` is short technical English for
the report, of one line, and holds no patient data, PIN, token or person's name (§ 1.7); the reason of `not_applicable`
is a French sentence for the person at the box.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from passevue.baseline.machine import Machine

MAX_OBSERVED = 300  # characters of `observed`: one line on the page and in the report


class Level(StrEnum):
    MUST = "M"  # no release and no waiver
    SHOULD = "S"  # may be failing in a release if the release note says so


class Effect(StrEnum):
    """What stops when the rule fails."""

    BLOCK = "block"  # the national stage: no publication, no query, listener closed
    HOLD = "hold"  # the named function only
    WARN = "warn"  # nothing: shown, audited, reported
    GATE = "gate"  # proved before release, not looked at here


class When(StrEnum):
    BUILD = "b"  # at image build, in CI or in the VM
    START = "s"  # before `national` opens
    PERIODIC = "p"  # every ten minutes
    DAILY = "d"
    EVENT = "e"  # when something happens that it speaks of


class Event(StrEnum):
    """What the engine sees happen by itself, every few seconds."""

    CLOCK = "clock"  # the clock was set
    CONFIG = "config"  # the configuration file is another
    USB = "usb"  # a device came or went
    AUDIT = "audit"  # the audit trail has no room, or has room again


class Status(StrEnum):
    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    UNKNOWN = "unknown"  # could not be measured
    NOT_APPLICABLE = "not_applicable"


class Function(StrEnum):
    """What a `hold` stops. Taking in reports, the audit trail, the page and updates of the box are never among them
    but for a rule about that very thing."""

    PUBLICATION = "publication"  # what is sent to the DMP waits in the queue
    CONSULTATION = "consultation"  # images of other centres, and ours for them
    SIGN_IN = "sign_in"  # people's cards and Pro Santé Connect at this box
    IMAGES = "images"  # new images in bulk
    UPDATE = "update"  # installing a bundle
    SUPPORT = "support"  # remote help
    PAGE_ACTS = "page_acts"  # what people may do at the page; it still shows


@dataclass(frozen=True, slots=True)
class Text:
    """The same words for people in French and in English."""

    fr: str
    en: str


@dataclass(frozen=True, slots=True)
class Remedy:
    """What a person or another unit does about it: a stable key for the fleet, a sentence for people."""

    key: str
    text: Text


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check saw. `effect` is set where a rule has two: the one that this failure has."""

    status: Status
    observed: str
    effect: Effect | None = None


def passed(observed: str) -> Finding:
    return Finding(Status.PASS, _line(observed))


def failed(observed: str, effect: Effect | None = None) -> Finding:
    return Finding(Status.FAIL, _line(observed), effect)


def unknown(why: str) -> Finding:
    return Finding(Status.UNKNOWN, _line(why))


def not_applicable(why: str) -> Finding:
    """`why` is a French sentence without a full stop, shown to people."""
    return Finding(Status.NOT_APPLICABLE, _line(why))


def _line(text: str) -> str:
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return clean if len(clean) <= MAX_OBSERVED else clean[: MAX_OBSERVED - 1] + "…"


NOT_THE_BOX: Final = "ce poste n’est pas le boîtier"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the catalogue.

    Attributes:
        id: `BOOT-01`.
        slug: `secure_boot`, also the name of its file.
        level: must or should.
        effect: what its failure stops; the milder one where a `Finding` may say another.
        when: when it is looked at.
        title: what holds when it passes, for people: « Le démarrage est vérifié ».
        why: why it matters, one sentence for people.
        expected: what is measured and must hold, technical English, as in the report.
        remedy: what to do about it.
        source: the texts that ask for it, abbreviated as in security-baseline.md § 3.
        check: None for what is proved before release only.
        worse: the graver effect that a `Finding` may give, for the rules that have two.
        holds: what a `hold` stops; empty for a rule without one.
        narrow: its block refuses one peer, where that peer is met; `national` stays open for the others.
        on: the events after which it is looked at again at once.
        tells_observed: another `observed` is told to the audit trail like a change of state.
        can_flap: it needs two failures a minute apart to fire and one pass to clear (§ 1.3).
        appliance_only: not applicable where there is no signed manifest; the engine says so, the check is not asked.
        proof: the test that proves it before release, as `path::name`, where there is one.
        also: further tests, for what else its sentence says.
        timeout_s: longest time for the check; past it the result is unknown.
    """

    id: str
    slug: str
    level: Level
    effect: Effect
    when: frozenset[When]
    title: Text
    why: Text
    expected: str
    remedy: Remedy
    source: str
    check: Callable[[Machine], Finding] | None = None
    worse: Effect | None = None
    holds: frozenset[Function] = frozenset()
    narrow: bool = False
    on: frozenset[Event] = frozenset()
    tells_observed: bool = False
    can_flap: bool = False
    appliance_only: bool = True
    proof: str = ""
    also: tuple[str, ...] = ()
    timeout_s: float = 20.0
