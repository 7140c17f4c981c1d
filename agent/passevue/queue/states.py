"""The states of an entry, and who may move it from one to another. Everything about legal moves lives here.

    put ──▶ WAITING ──b──▶ BUILDING ──c──▶ STARTED ──i──▶ SETTLED
               ▲ ▲            │ e            │  │ k
               │ └────────────┘            j │  ▼
               │                READY ◀──────┘ IN_DOUBT ◀──p── CHECKING ──o──▶ SETTLED
               │                  └──h──▶ STARTED  └────n───────▶ │
               │                              ▲─────────q─────────┘
             t,u ◀── HELD, SET_ASIDE ◀── from BUILDING, STARTED, CHECKING (f, g)
                                 └──v──▶ CLOSED

Rules (reliability § 4):
- an entry leaves only by SETTLED (proof kept) or by a person, who was told: SET_ASIDE, then CLOSED (Q-02);
- STARTED is committed before the first byte leaves, and found at start it becomes IN_DOUBT, never new (Q-05);
- IN_DOUBT is left only through CHECKING: the far side is asked before anything is sent again (Q-06);
- a move that is not in the table raises (Q-09).
"""

from enum import StrEnum

__all__ = ["BLOCKING", "FINAL", "IN_WORK", "MOVES", "PICKED", "IllegalMove", "Mover", "State", "check"]


class State(StrEnum):
    """Where an entry stands."""

    WAITING = "waiting"  # nothing is built yet; due now or later
    BUILDING = "building"  # a box asks the PACS and makes the documents
    READY = "ready"  # built and frozen; no try of it is under way or in doubt
    STARTED = "started"  # a try is on the wire
    IN_DOUBT = "in_doubt"  # a try was sent and its outcome is not known
    CHECKING = "checking"  # the far side is asked whether it has it
    HELD = "held"  # a credential is missing: waits for it, burns no try
    SET_ASIDE = "set_aside"  # a person must look; later entries of the examination pass
    SETTLED = "settled"  # done, or nothing to do: the proof is kept
    CLOSED = "closed"  # a person decided that it shall not go


class Mover(StrEnum):
    """Who moves an entry."""

    DISPATCHER = "dispatcher"  # the owner of the lanes
    RECOVERY = "recovery"  # the dispatcher at start, or after the lease of another box ran out
    PERSON = "person"  # at the page or the command line


IN_WORK = frozenset({State.BUILDING, State.STARTED, State.CHECKING})
PICKED = frozenset({State.WAITING, State.READY, State.IN_DOUBT})  # what a lane may take when it is due
BLOCKING = IN_WORK | PICKED | {State.HELD}  # later entries of the same examination wait behind these
FINAL = frozenset({State.SETTLED, State.CLOSED})

_D, _R, _P = Mover.DISPATCHER, Mover.RECOVERY, Mover.PERSON

MOVES: dict[tuple[State, State], tuple[str, frozenset[Mover]]] = {
    (State.WAITING, State.BUILDING): ("b", frozenset({_D})),
    (State.BUILDING, State.STARTED): ("c", frozenset({_D})),  # frozen and started in one commit
    (State.BUILDING, State.SETTLED): ("d", frozenset({_D})),  # nothing to send
    (State.BUILDING, State.WAITING): ("e", frozenset({_D, _R})),
    (State.BUILDING, State.HELD): ("f", frozenset({_D})),
    (State.BUILDING, State.SET_ASIDE): ("g", frozenset({_D, _R})),
    (State.READY, State.STARTED): ("h", frozenset({_D})),
    (State.STARTED, State.SETTLED): ("i", frozenset({_D})),
    (State.STARTED, State.READY): ("j", frozenset({_D})),  # nothing reached the far side
    (State.STARTED, State.IN_DOUBT): ("k", frozenset({_D, _R})),
    (State.STARTED, State.HELD): ("f", frozenset({_D})),
    (State.STARTED, State.SET_ASIDE): ("g", frozenset({_D})),
    (State.IN_DOUBT, State.CHECKING): ("n", frozenset({_D})),
    (State.CHECKING, State.SETTLED): ("o", frozenset({_D})),
    (State.CHECKING, State.IN_DOUBT): ("p", frozenset({_D, _R})),
    (State.CHECKING, State.STARTED): ("q", frozenset({_D})),  # twice not found: the same content again
    (State.CHECKING, State.HELD): ("f", frozenset({_D})),
    (State.CHECKING, State.SET_ASIDE): ("g", frozenset({_D, _R})),
    (State.HELD, State.WAITING): ("t", frozenset({_D, _P})),
    (State.HELD, State.READY): ("t", frozenset({_D, _P})),
    (State.HELD, State.IN_DOUBT): ("t", frozenset({_D, _P})),
    (State.SET_ASIDE, State.WAITING): ("u", frozenset({_P})),
    (State.SET_ASIDE, State.READY): ("u", frozenset({_P})),
    (State.SET_ASIDE, State.IN_DOUBT): ("u", frozenset({_P})),
    (State.WAITING, State.CLOSED): ("v", frozenset({_P})),
    (State.READY, State.CLOSED): ("v", frozenset({_P})),
    (State.HELD, State.CLOSED): ("v", frozenset({_P})),
    (State.SET_ASIDE, State.CLOSED): ("v", frozenset({_P})),
}


class IllegalMove(Exception):
    """A move that the table does not have. It is a fault of the program: nothing catches it but the task's owner."""


def check(old: State, new: State, mover: Mover) -> str:
    """The letter of the move.

    Raises:
        IllegalMove: the table does not have it, or not for this mover.
    """
    letter, movers = MOVES.get((old, new), ("", frozenset()))
    if mover not in movers:
        raise IllegalMove(f"{mover} may not move an entry from {old} to {new}")
    return letter
