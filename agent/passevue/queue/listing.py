"""What people and the page are shown, read straight from the store (Q-19). Nothing here holds an identity (Q-20).

Entries are known by their number; studies, patients and the bytes stay inside. `Counters` is what status, metrics and
the fleet report print; `Line` one row of `passevue queue list`; `Shown` one `passevue queue show`.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from passevue.queue.connection import Connection, Row
from passevue.queue.stamp import moment, moment_or_none
from passevue.queue.states import State

__all__ = ["Act", "Counters", "Line", "Proof", "Shown", "counters", "lines", "open_studies", "shown", "studies_of"]


@dataclass(frozen=True, slots=True)
class Counters:
    """How the queue stands.

    Attributes:
        by_state: open entries by state, every state named (zeros too); SETTLED and CLOSED are not in it.
        settled_today: sent and settled since midnight of the centre. parked: open and waiting for more than 72 h.
        oldest_received_at: of the entries that wait, are built, sent, in doubt or held; None when there are none.
        by_reason: (state, reason, how many) of open entries that have a reason, the most frequent first.
        conflicts: received things whose control id had come before with other content.
        nothing_today: settled since midnight because there was nothing to send.
    """

    by_state: dict[State, int]
    settled_today: int
    parked: int
    oldest_received_at: datetime | None
    by_reason: tuple[tuple[State, str, int], ...]
    conflicts: int
    nothing_today: int = 0

    @property
    def open(self) -> int:
        """All that is neither settled nor closed nor set aside: what the box still has to bring out by itself."""
        return sum(count for state, count in self.by_state.items() if state is not State.SET_ASIDE)

    @property
    def waiting(self) -> int:
        """Waiting to be built or sent."""
        return self.by_state[State.WAITING] + self.by_state[State.READY]

    @property
    def in_doubt(self) -> int:
        return self.by_state[State.IN_DOUBT] + self.by_state[State.CHECKING]


@dataclass(frozen=True, slots=True)
class Line:
    """One entry in a list. `hint` is the French sentence; `next_try_at` None when it is not due by itself."""

    number: int
    kind: str
    action: str
    state: State
    reason: str
    hint: str
    tries: int
    parked: bool
    conflict: bool
    sender: str
    received_at: datetime
    changed_at: datetime
    next_try_at: datetime | None


@dataclass(frozen=True, slots=True)
class Act:
    """What a person did: `release`, `retry`, `close`."""

    act: str
    by: str
    why: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Proof:
    """What stays of a settled entry. `outcome`: `published`, `replaced`, `withdrawn`, `closed`, or a reason."""

    outcome: str
    how: str
    settled_at: datetime
    content_sha256: str
    set_unique_id: str | None
    document_unique_id: str | None
    kos_sha256: str | None
    metadata_sha256: str | None
    status: str
    message_id: str
    entry_uuid: str | None
    warnings: tuple[str, ...]
    tries: int


@dataclass(frozen=True, slots=True)
class Shown:
    """One entry whole, but for its content. `detail` is the technical text of the last error."""

    line: Line
    detail: str
    content_sha256: str
    peer: str
    acts: tuple[Act, ...]
    proof: Proof | None


_BEYOND = 1 << 62
_NOT_WAITING = (State.SET_ASIDE,)


def counters(conn: Connection, midnight: int) -> Counters:
    """`midnight` is the stamp since when `settled_today` and `nothing_today` count."""
    by_state: dict[State, int] = {state: 0 for state in State if state not in (State.SETTLED, State.CLOSED)}
    oldest: list[int] = []
    reasons: list[tuple[State, str, int]] = []
    parked = 0
    for name, reason, count, first, marked in conn.run("listing.OPEN"):
        state = State(name)
        by_state[state] += count
        parked += int(marked)
        if state not in _NOT_WAITING:
            oldest.append(first)
        if reason:
            reasons.append((state, reason, count))
    reasons.sort(key=lambda each: (-each[2], each[0], each[1]))
    done, sent = conn.run("listing.TODAY", midnight=midnight)[0]
    return Counters(
        by_state=by_state,
        settled_today=sent,
        parked=parked,
        oldest_received_at=moment_or_none(min(oldest, default=None)),
        by_reason=tuple(reasons),
        conflicts=conn.run("listing.CONFLICTS")[0][0],
        nothing_today=done - sent,
    )


def lines(conn: Connection, state: State | None, most: int, below: int | None) -> tuple[Line, ...]:
    """The newest first; `below` continues a list after its last number."""
    top = below or _BEYOND
    if state is None:
        rows = conn.run("listing.ALL", below=top, most=most)
    else:
        statement = "listing.IN_STATE" if state in (State.SETTLED, State.CLOSED) else "listing.IN_OPEN_STATE"
        rows = conn.run(statement, below=top, state=state.value, most=most)
    return tuple(_line(row) for row in rows)


def open_studies(conn: Connection) -> frozenset[str]:
    """StudyInstanceUIDs that something is still to be done for: not for people, for who keeps their images."""
    return frozenset(row[0] for row in conn.run("listing.OPEN_STUDIES"))


def studies_of(conn: Connection, reports: Collection[str]) -> frozenset[str]:
    """StudyInstanceUIDs that any version of these reports (`Task.report`) has named."""
    return frozenset(row[0] for report in reports for row in conn.run("listing.STUDIES_OF", report=report))


def shown(conn: Connection, number: int) -> Shown | None:
    """None when there is no such entry."""
    row = conn.one("listing.SHOWN", which=number)
    if row is None:
        return None
    acts = tuple(Act(what, by, why, moment(at)) for what, by, why, at in conn.run("listing.ACTS", which=number))
    proven = conn.one("listing.PROOF", which=number)
    return Shown(_line(row[:13]), row[13], bytes(row[14]).hex(), row[15], acts, _proof(proven) if proven else None)


def _line(row: Row) -> Line:
    number, kind, action, state, reason, hint, tries, parked, conflict, sender, received_at, changed_at, due_at = row
    return Line(
        number, kind, action, State(state), reason, hint, tries, bool(parked), bool(conflict), sender,
        moment(received_at), moment(changed_at), moment_or_none(due_at),
    )  # fmt: skip


def _proof(row: Row) -> Proof:
    outcome, how, settled_at, digest, set_id, document_id, kos, facts, status, message_id, uuid, warnings, tries = row
    return Proof(
        outcome, how, moment(settled_at), bytes(digest).hex(), set_id, document_id,
        bytes(kos).hex() if kos else None, bytes(facts).hex() if facts else None, status, message_id, uuid,
        tuple(json.loads(warnings or "[]")), tries,
    )  # fmt: skip
