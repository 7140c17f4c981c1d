"""What happens to an entry next: every rule of trying again, and no clock, no disk, no network.

Given what went wrong and what the entry has been through, `after` says its next state, when it is due and its new
counters (reliability § 6). The class of the error decides, never its text.

Rules kept here:
- back-off 1, 5, 15 min, then hourly without end, full jitter; the far side's Retry-After counts, up to the cap (Q-11);
- a crash, a watchdog or an exception that is none of ours counts; three in a row set the entry aside (Q-10);
- the same bounded failure five times in a row sets it aside; a refusal does so at once;
- a missing credential, an audit trail that does not write, or a box that is not sound holds the entry and burns no try
  (Q-14); a peer whose
  certificate is wrong holds it too: the document is not at fault, and 500 of them must not need 500 gestures;
- time waited is added up from the delays given, never read off a clock: ten years' jump sets nothing aside;
- after 72 h of waiting an entry is marked for a person, and still tried.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from passevue.errors import (
    BoxError,
    CabinetError,
    ConfigError,
    CredentialError,
    Damaged,
    DicomError,
    Failing,
    Hl7Error,
    InDoubt,
    NetworkError,
    Refused,
    StoreError,
    StudyAbsent,
    TraceError,
    TrustError,
    Unreadable,
    Unsound,
)
from passevue.queue.states import State

__all__ = [
    "HELD_FOR",
    "Facts",
    "Phase",
    "Policy",
    "Step",
    "after",
    "interrupted",
    "not_found",
    "overdue",
    "recovered",
    "starting",
]


class Phase(StrEnum):
    """Which of the three calls of `Work` was under way."""

    BUILD = "build"
    SEND = "send"
    LOOK_UP = "look_up"


@dataclass(frozen=True, slots=True)
class Policy:
    """The delays and counts of reliability § 6; only tests and the demonstration shorten them."""

    steps_s: tuple[float, ...] = (60.0, 300.0, 900.0, 3600.0)
    floor_s: float = 1.0  # full jitter may draw nearly nothing: still no hammering
    cap_s: float = 3600.0  # no wait is longer, whatever the far side asks
    look_again_s: float = 120.0  # a registry may show a document a little after it took it
    park_after_s: float = 72 * 3600.0
    absent_after_s: float = 72 * 3600.0
    max_crashes: int = 3
    max_repeats: int = 5


@dataclass(frozen=True, slots=True)
class Facts:
    """What an entry has been through.

    Attributes:
        resume: where HELD or SET_ASIDE goes back to when let go.
        tries: started sendings. crashes: building or sending begun and not ended, in a row. checks: same of look-ups.
        absences: look-ups in a row that did not find it. failures: index into the back-off.
        repeats: how often in a row the same `reason` came. waited_s: sum of the delays given since put or retried.
        reason: stable code. detail: English, for the log. hint: French, for the person. None holds an identity.
    """

    resume: State | None = None
    tries: int = 0
    crashes: int = 0
    checks: int = 0
    absences: int = 0
    failures: int = 0
    repeats: int = 0
    waited_s: float = 0.0
    parked: bool = False
    reason: str = ""
    detail: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """The next state, seconds until it is due (None: not by itself), and the new facts."""

    state: State
    due_in_s: float | None
    facts: Facts


HINTS = {
    "network": "Le réseau ou le service distant ne répond pas. Le boîtier réessaie tout seul.",
    "in-doubt": "L’envoi a été coupé. Le boîtier vérifie s’il est arrivé avant de réessayer.",
    "study-absent": "Le PACS n’a pas encore les images de cet examen. Vérifiez qu’elles y ont bien été envoyées.",
    "cabinet": "Le PACS a donné une réponse incohérente. Prévenez le responsable du PACS.",
    "credential": "Un certificat ou une carte manque. L’envoi reprendra dès qu’il sera de nouveau utilisable.",
    "audit": "Le journal d’audit ne s’écrit plus. Rien n’est envoyé en attendant. Prévenez la maintenance.",
    "baseline": "Une protection du boîtier est en défaut. Rien n’est envoyé en attendant. Voyez la page « Sécurité ».",
    "trust": "Le service distant n’a pas pu prouver son identité. Rien ne lui est envoyé. Prévenez la maintenance.",
    "refused": "Le service national a refusé ce document. Corrigez à la source et renvoyez le compte rendu.",
    "unreadable": "Le message reçu n’est pas lisible. Corrigez à la source et renvoyez-le.",
    "crashed": "Ce document fait échouer le boîtier. Prévenez la maintenance ; les autres continuent.",
    "overdue": "Le traitement de ce document ne se termine pas. Prévenez la maintenance ; les autres continuent.",
    "damaged": "Le contenu gardé sur le disque est abîmé. Renvoyez le compte rendu du RIS, puis relancez.",
    "store": "Le disque du boîtier ne répond pas bien. Le boîtier réessaie tout seul. Prévenez la maintenance.",
    "failing": "Le service distant échoue toujours de la même façon. Prévenez la maintenance.",
}


HELD_FOR = frozenset({"credential", "audit", "baseline", "trust"})  # of HELD: one probe asks for all held for the same


def starting(phase: Phase, facts: Facts) -> Facts:
    """The facts to commit before a phase begins: if nothing follows, it crashed."""
    if phase is Phase.LOOK_UP:
        return replace(facts, checks=facts.checks + 1)
    if phase is Phase.SEND:
        return replace(facts, crashes=facts.crashes + 1, tries=facts.tries + 1, absences=0)
    return replace(facts, crashes=facts.crashes + 1)


def after(error: Exception, phase: Phase, facts: Facts, jitter: float, policy: Policy) -> Step:
    """The step after `error` was raised in `phase`. `jitter` is drawn from [0, 1)."""
    match error:
        case CredentialError() | ConfigError():
            return _held(error, "credential", phase, facts)
        case TraceError():
            return _held(error, "audit", phase, facts)
        case Unsound():
            return _held(error, "baseline", phase, facts)
        case TrustError() if phase is not Phase.BUILD:
            return _held(error, "trust", phase, facts)
        case Refused():
            return _aside(error, error.code, "refused", phase, facts)
        case TrustError():
            return _aside(error, "trust", "trust", phase, facts)
        case Damaged():
            return _aside(error, "damaged", "damaged", phase, facts)
        case Unreadable() | Hl7Error() | DicomError() if phase is Phase.BUILD:
            return _aside(error, "unreadable", "unreadable", phase, facts)
        case InDoubt() | StoreError() if phase is Phase.SEND:
            told = _told(_ended(phase, facts), "in-doubt", error, "in-doubt")
            wished = error.retry_after_s if isinstance(error, NetworkError) else None
            wait_s = min(wished or policy.floor_s, policy.cap_s)
            return Step(State.IN_DOUBT, wait_s, _waited(told, wait_s, policy))
        case NetworkError() | StoreError():
            return _later(error, phase, facts, jitter, policy)
        case CabinetError() if phase is Phase.BUILD:
            return _later(error, phase, facts, jitter, policy)
        case _:
            return _crash(error, "crashed", phase, facts, jitter, policy)


def overdue(phase: Phase, facts: Facts, jitter: float, policy: Policy) -> Step:
    """The watchdog ended a phase that would not end: as a crash of that entry alone (F-27)."""
    return _crash(TimeoutError(f"{phase} did not end in time"), "overdue", phase, facts, jitter, policy)


def not_found(facts: Facts, policy: Policy) -> Step:
    """The far side does not have it: look again in a while; the second time, the same content goes again."""
    told = replace(_ended(Phase.LOOK_UP, facts), absences=facts.absences + 1)
    if told.absences < 2:
        wait_s = _look_again_s(facts, policy)
        return Step(State.IN_DOUBT, wait_s, _waited(told, wait_s, policy))
    if told.crashes >= policy.max_crashes:
        lost = replace(told, resume=State.READY, reason="crashed", hint=HINTS["crashed"])
        return Step(State.SET_ASIDE, None, lost)
    return Step(State.STARTED, None, starting(Phase.SEND, told))


def _look_again_s(facts: Facts, policy: Policy) -> float:
    """Sent again and again, and each time in doubt: the back-off applies, or a DMP that breaks would be hammered."""
    again = facts.repeats - 2 if facts.reason == "in-doubt" else -1
    step_s = policy.steps_s[min(again, len(policy.steps_s) - 1)] if again >= 0 else 0.0
    return min(max(policy.look_again_s, step_s), policy.cap_s)


def interrupted(phase: Phase, facts: Facts) -> Step:
    """The box is stopping: nobody's fault. What may have left is in doubt; the rest begins anew."""
    eased = _ended(phase, facts)
    if phase is Phase.BUILD:
        return Step(State.WAITING, 0.0, eased)
    return Step(State.IN_DOUBT, 0.0, eased)


def recovered(state: State, facts: Facts, policy: Policy) -> Step:
    """An entry found in work whose worker is gone (Q-05): its crash was counted before it began."""
    if state is State.STARTED:
        return Step(State.IN_DOUBT, 0.0, replace(facts, reason="in-doubt", hint=HINTS["in-doubt"]))
    count, resume = (facts.crashes, State.WAITING) if state is State.BUILDING else (facts.checks, State.IN_DOUBT)
    if count >= policy.max_crashes:
        poison = replace(facts, resume=resume, reason="crashed", hint=HINTS["crashed"])
        return Step(State.SET_ASIDE, None, poison)
    return Step(resume, 0.0, facts)


def delay_s(failures: int, jitter: float, policy: Policy, retry_after_s: float | None = None) -> float:
    """Full jitter over the step of this failure (0 for the first), or the far side's wish when that is longer."""
    step = policy.steps_s[min(failures, len(policy.steps_s) - 1)]
    drawn = max(policy.floor_s, step * jitter)
    return min(max(drawn, retry_after_s or 0.0), policy.cap_s)


def _later(
    error: NetworkError | CabinetError | StoreError, phase: Phase, facts: Facts, jitter: float, policy: Policy
) -> Step:
    code, kind = _kind(error)
    told = _told(_ended(phase, facts), code, error, kind)
    if isinstance(error, Failing) and told.repeats >= policy.max_repeats:
        return Step(State.SET_ASIDE, None, replace(told, resume=_back(phase)))
    if kind in ("study-absent", "cabinet") and facts.waited_s >= policy.absent_after_s:
        return Step(State.SET_ASIDE, None, replace(told, resume=_back(phase)))
    wished = error.retry_after_s if isinstance(error, NetworkError) else None
    wait_s = delay_s(facts.failures, jitter, policy, wished)
    return Step(_back(phase), wait_s, _waited(replace(told, failures=facts.failures + 1), wait_s, policy))


def _kind(error: NetworkError | CabinetError | StoreError) -> tuple[str, str]:
    """The reason code, and which sentence goes with it."""
    if isinstance(error, Failing):
        return error.code, "failing"
    if isinstance(error, StudyAbsent):
        return "study-absent", "study-absent"
    if isinstance(error, StoreError):
        return "store", "store"
    return ("cabinet", "cabinet") if isinstance(error, CabinetError) else ("network", "network")


def _crash(error: Exception, code: str, phase: Phase, facts: Facts, jitter: float, policy: Policy) -> Step:
    told = _told(facts, code, error, code)  # the count was raised before: it stays
    count = facts.checks if phase is Phase.LOOK_UP else facts.crashes
    if phase is Phase.SEND:  # it may have left: the far side is asked first, and `not_found` counts the crashes
        return Step(State.IN_DOUBT, policy.floor_s, told)
    if count >= policy.max_crashes:
        return Step(State.SET_ASIDE, None, replace(told, resume=_back(phase)))
    wait_s = delay_s(0, jitter, policy)
    return Step(_back(phase), wait_s, _waited(told, wait_s, policy))


def _held(error: BoxError, code: str, phase: Phase, facts: Facts) -> Step:
    eased = _ended(phase, facts)
    if phase is Phase.SEND:
        eased = replace(eased, tries=eased.tries - 1)
    return Step(State.HELD, None, replace(_told(eased, code, error, code), resume=_back(phase)))


def _aside(error: BoxError, code: str, kind: str, phase: Phase, facts: Facts) -> Step:
    """A refused sending is built anew when a person lets it go: other content means other identifiers (Q-04)."""
    resume = State.IN_DOUBT if phase is Phase.LOOK_UP else State.WAITING
    return Step(State.SET_ASIDE, None, replace(_told(_ended(phase, facts), code, error, kind), resume=resume))


def _back(phase: Phase) -> State:
    """Where an entry returns to when a phase did not come off."""
    return {Phase.BUILD: State.WAITING, Phase.SEND: State.READY, Phase.LOOK_UP: State.IN_DOUBT}[phase]


def _ended(phase: Phase, facts: Facts) -> Facts:
    """A phase that ended by itself, well or not, did not crash."""
    return replace(facts, checks=0) if phase is Phase.LOOK_UP else replace(facts, crashes=0)


def _told(facts: Facts, code: str, error: Exception, kind: str) -> Facts:
    hint = (error.hint if isinstance(error, BoxError) else "") or HINTS[kind]
    detail = error.message if isinstance(error, BoxError) else type(error).__name__  # a stranger's text may hold a name
    repeats = facts.repeats + 1 if facts.reason == code else 1
    return replace(facts, reason=code, detail=detail[:500], hint=hint, repeats=repeats)


def _waited(facts: Facts, wait_s: float, policy: Policy) -> Facts:
    total = facts.waited_s + wait_s
    return replace(facts, waited_s=total, parked=total >= policy.park_after_s)
