"""A box in four conditions, for the tests of everything that shows one: empty, calm, busy, in trouble."""

from datetime import UTC, datetime, timedelta

from passevue.queue.listing import Counters, Line
from passevue.queue.retry import HINTS
from passevue.queue.room import Level, Volume
from passevue.queue.states import State
from passevue.status.neighbours import Neighbour, Word
from passevue.status.summary import Certificate, Room, Summary, draw

NOW = datetime(2026, 11, 21, 15, 4, 5, tzinfo=UTC)
GB = 10**9


def minutes(count: float) -> datetime:
    return NOW - timedelta(minutes=count)


def counters(
    today: int = 0,
    oldest_at: datetime | None = None,
    reasons: tuple[tuple[State, str, int], ...] = (),
    parked: int = 0,
    nothing: int = 0,
    **by_state: int,
) -> Counters:
    states = {state: 0 for state in State if state not in (State.SETTLED, State.CLOSED)}
    states |= {State(name): count for name, count in by_state.items()}
    return Counters(states, today, parked, oldest_at, reasons, 0, nothing)


def line(
    number: int,
    state: State = State.SETTLED,
    action: str = "publish",
    reason: str = "",
    hint: str = "",
    changed_at: datetime = NOW,
) -> Line:
    received_at = changed_at - timedelta(minutes=1)
    return Line(number, "report", action, state, reason, hint, 1, False, False, "RIS|X", received_at, changed_at, None)


def words(**at: tuple[float, bool] | None) -> tuple[Word, ...]:
    """Minutes since each neighbour's last word, and whether it was a good one."""
    made = []
    for neighbour in Neighbour:
        said = at.get(neighbour.value)
        if said is None:
            made.append(Word(neighbour))
        elif said[1]:
            made.append(Word(neighbour, ok_at=minutes(said[0]), what="ORU^R01"))
        else:
            made.append(Word(neighbour, failed_at=NOW, failing_since=minutes(said[0]), what="NetworkError"))
    return tuple(made)


CERTIFICATES = (
    Certificate("structures.0.auth_certificate", NOW + timedelta(days=412)),
    Certificate("structures.0.sign_certificate", NOW + timedelta(days=412)),
)
ROOM = Room(Volume(82 * GB, 391 * GB), Level.NORMAL)


def empty() -> Summary:
    return draw(
        now=NOW,
        box="Cabinet des Tilleuls",
        version="0.1.0",
        counters=counters(),
        room=ROOM,
        certificates=CERTIFICATES,
        neighbours=words(),
        started_at=minutes(3),
    )


def calm() -> Summary:
    return draw(
        now=NOW,
        box="Cabinet des Tilleuls",
        version="0.1.0",
        counters=counters(today=148, oldest_at=minutes(0.2), waiting=1, started=1),
        recent=tuple(line(2310 - n, changed_at=minutes(3 * n + 0.5)) for n in range(6)),
        room=ROOM,
        certificates=CERTIFICATES,
        neighbours=words(ris=(0.3, True), modality=(6, True), pacs=(0.4, True), dmp=(0.4, True)),
        started_at=minutes(60 * 72),
    )


def busy() -> Summary:
    return draw(
        now=NOW,
        box="Cabinet des Tilleuls",
        version="0.1.0",
        counters=counters(
            today=61,
            oldest_at=minutes(95),
            reasons=((State.READY, "network", 34), (State.WAITING, "study-absent", 3), (State.IN_DOUBT, "in-doubt", 2)),
            waiting=6,
            ready=34,
            in_doubt=2,
        ),
        recent=tuple(
            line(2310 - n, action=("publish", "refresh")[n % 2], changed_at=minutes(96 + 3 * n)) for n in range(6)
        ),
        room=Room(Volume(351 * GB, 122 * GB), Level.WARN),
        certificates=(Certificate("structures.0.auth_certificate", NOW + timedelta(days=41)), CERTIFICATES[1]),
        neighbours=words(ris=(1, True), modality=(2, True), pacs=(3, False), dmp=(94, False)),
        started_at=minutes(60 * 72),
    )


def trouble() -> Summary:
    return draw(
        now=NOW,
        box="Cabinet des Tilleuls",
        version="0.1.0",
        counters=counters(
            today=12,
            oldest_at=minutes(60 * 26),
            reasons=((State.READY, "network", 112), (State.SET_ASIDE, "XDSUnknownPatientId", 1)),
            waiting=8,
            ready=112,
            held=1,
            set_aside=27,
        ),
        troubles=(
            line(2301, State.SET_ASIDE, "publish", "XDSUnknownPatientId", HINTS["refused"], minutes(35)),
            line(2288, State.SET_ASIDE, "withdraw", "crashed", HINTS["crashed"], minutes(60 * 5)),
            line(2250, State.HELD, "publish", "credential", HINTS["credential"], minutes(60 * 30)),
        ),
        recent=tuple(line(2200 - n, changed_at=minutes(60 * 27 + 3 * n)) for n in range(6)),
        room=Room(Volume(455 * GB, 18 * GB), Level.STOP),
        certificates=(
            Certificate("structures.0.auth_certificate", NOW - timedelta(days=2)),
            Certificate("structures.0.sign_certificate", None),
        ),
        neighbours=words(ris=(1, True), pacs=(12, True), dmp=(60 * 27, False)),
        started_at=minutes(60 * 72),
    )


ALL = {"empty": empty, "calm": calm, "busy": busy, "trouble": trouble}
