"""The table of states against a model: in any order of events the store does what the model says (Q-02, Q-09).

The machine puts, takes, ends phases in every way, crashes, lets go, tries again and closes, on a real store;
the model is a dict of what each entry may be. After each step: order per examination, one at work per examination,
nothing in doubt is sent without a look-up, counters as the model counts, and no entry is ever missing.
"""

import contextlib
import itertools
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from passevue.errors import CredentialError, InDoubt, NetworkError, Refused
from passevue.queue import moves, persons, recovery
from passevue.queue.connection import Connection, connector
from passevue.queue.listing import counters
from passevue.queue.migrate import engine_for, migrate
from passevue.queue.moves import Lost, Rank, Taken
from passevue.queue.retry import Facts, Phase, Policy, Step, after, not_found
from passevue.queue.seal import sha256
from passevue.queue.states import BLOCKING, MOVES, PICKED, IllegalMove, Mover, State, check
from passevue.queue.taking_in import Keep, keep
from passevue.queue.work import Answer, Nothing, Submission
from passevue.queue.writer import Pending, commit_group
from tests.unit.queue.far_end import message, publish, submission_for

POLICY = Policy()
PHASE = {State.BUILDING: Phase.BUILD, State.STARTED: Phase.SEND, State.CHECKING: Phase.LOOK_UP}
HOUR = 3_600_000_000


def test_every_move_that_is_not_in_the_table_raises() -> None:
    for old, new, mover in itertools.product(State, State, Mover):
        allowed = mover in MOVES.get((old, new), ("", frozenset()))[1]
        if allowed:
            assert check(old, new, mover)
        else:
            with pytest.raises(IllegalMove):
                check(old, new, mover)


def test_letters_name_one_kind_of_move_each() -> None:
    ends: dict[str, set[State]] = {}
    for (_old, new), (letter, _movers) in MOVES.items():
        ends.setdefault(letter, set()).add(new)
    assert all(len(states) == 1 or letter in "tu" for letter, states in ends.items())


class QueueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="passevue-model-")
        url = f"sqlite:///{Path(self.folder.name) / 'queue.sqlite'}"
        migrate(engine_for(url))
        self.conn: Connection = connector(url)()
        self.now = 0
        self.model: dict[int, State] = {}
        self.lane: dict[int, int] = {}
        self.hands: dict[int, Taken] = {}
        self.made: dict[int, Submission] = {}
        self.in_doubt: set[int] = set()

    def teardown(self) -> None:
        self.conn.close()
        self.folder.cleanup()

    def write(self, operation):  # type: ignore[no-untyped-def]
        pending = Pending(operation, 0, lambda *_: None)
        commit_group(self.conn, [pending])
        return pending.result

    @rule(lane=st.integers(0, 2))
    def put(self, lane: int) -> None:
        thing = message(f"m{len(self.model)}")
        receipt = self.write(lambda c: keep(c, Keep(thing, sha256(thing.content), [publish(lane)], self.now)))
        assert receipt.number not in self.model
        self.model[receipt.number], self.lane[receipt.number] = State.WAITING, lane

    @rule(most=st.integers(1, 3), rank=st.sampled_from([Rank.FRESH, Rank.WAITED, Rank.SUSPECT]))
    def take(self, most: int, rank: int) -> None:
        self.now += 2 * HOUR  # everything that waits is due
        for taken in self.write(lambda c: moves.take(c, "box", rank, most, PICKED, self.now)):
            number = taken.number
            assert self.model[number] in PICKED
            earlier = [n for n in self.model if n < number and self.lane[n] == self.lane[number]]
            assert not [n for n in earlier if self.model[n] in BLOCKING], "overtaken"
            assert (number in self.in_doubt) == (taken.state is State.CHECKING), "in doubt and not asked first"
            self.model[number], self.hands[number] = taken.state, taken

    @precondition(lambda self: self.hands)
    @rule(data=st.data(), outcome=st.sampled_from(["well", "nothing", "network", "doubt", "refused", "held", "crash"]))
    def end_a_phase(self, data: st.DataObject, outcome: str) -> None:
        number = data.draw(st.sampled_from(sorted(self.hands)))
        taken = self.hands[number]
        if outcome == "well":
            self.goes_well(taken)
            return
        if outcome == "nothing":
            if taken.state is State.BUILDING:
                self.write(lambda c: moves.settle_nothing(c, taken, Nothing("unchanged"), self.now))
                self.left(number, State.SETTLED)
            elif taken.state is State.CHECKING:
                self.leave(taken, not_found(taken.facts, POLICY))
            return
        errors = {"network": NetworkError("x"), "doubt": InDoubt("x"), "refused": Refused("C", "x"),
                  "held": CredentialError("x"), "crash": KeyError("x")}  # fmt: skip
        self.leave(taken, after(errors[outcome], PHASE[taken.state], taken.facts, 0.5, POLICY))

    def goes_well(self, taken: Taken) -> None:
        number = taken.number
        if taken.state is State.BUILDING:
            self.made[number] = submission_for(moves.read_entry(self.conn, taken))
            self.hands[number] = self.write(lambda c: moves.freeze_and_start(c, taken, self.made[number], self.now))
            self.model[number] = State.STARTED
            return
        self.write(lambda c: moves.settle(c, taken, self.made[number], Answer("Success"), "answer", self.now))
        self.left(number, State.SETTLED)

    def leave(self, taken: Taken, step: Step) -> None:
        left = self.write(lambda c: moves.leave(c, taken, step, self.now))
        if left.state is State.STARTED:
            self.in_doubt.discard(taken.number)
            self.hands[taken.number], self.model[taken.number] = left, State.STARTED
        else:
            self.left(taken.number, left.state, step.facts)

    def left(self, number: int, state: State, facts: Facts | None = None) -> None:
        del self.hands[number]
        self.model[number] = state
        doubtful = state is State.IN_DOUBT or (facts is not None and facts.resume is State.IN_DOUBT)
        (self.in_doubt.add if doubtful else self.in_doubt.discard)(number)

    @precondition(lambda self: self.hands)
    @rule()
    def die_and_start_again(self) -> None:
        stale = dict(self.hands)
        self.write(lambda c: recovery.recover(c, "box", (), POLICY, self.now))
        rows = dict(self.conn.plain("SELECT number, state FROM entry"))
        for number, taken in stale.items():
            state = State(rows[number])
            expected = {State.BUILDING: State.WAITING}.get(taken.state, State.IN_DOUBT)
            assert state in (expected, State.SET_ASIDE)
            self.left(number, state, replace(taken.facts, resume=expected))
            with pytest.raises((Lost, IllegalMove)):
                self.write(lambda c, t=taken: moves.leave(
                    c, t, after(NetworkError("x"), PHASE[t.state], t.facts, 0.5, POLICY), self.now
                ))  # fmt: skip

    @precondition(lambda self: self.model)
    @rule(data=st.data(), act=st.sampled_from(["retry", "release", "close"]))
    def person(self, data: st.DataObject, act: str) -> None:
        number = data.draw(st.sampled_from(sorted(self.model)))
        before = self.model[number]
        with contextlib.suppress(Refused):
            if act == "retry":
                self.write(lambda c: persons.retry(c, number, "p", "", self.now))
                assert before is State.SET_ASIDE
                later = [n for n in self.model if n > number and self.lane[n] == self.lane[number]]
                assert not [n for n in later if self.model[n] is State.SETTLED]
            elif act == "release":
                self.write(lambda c: persons.release(c, number, "p", "", self.now))
            else:
                self.write(lambda c: persons.close(c, number, "p", "because", self.now))
                assert before in (State.WAITING, State.READY, State.HELD, State.SET_ASIDE)
        self.model[number] = State(self.conn.plain(f"SELECT state FROM entry WHERE number = {number}")[0][0])
        if before is not self.model[number] and self.model[number] in PICKED:
            assert (number in self.in_doubt) == (self.model[number] is State.IN_DOUBT)

    @invariant()
    def nothing_is_missing_and_all_is_as_the_model_says(self) -> None:
        rows = {number: State(state) for number, state in self.conn.plain("SELECT number, state FROM entry")}
        assert rows == self.model

    @invariant()
    def one_at_work_per_examination(self) -> None:
        lanes = [self.lane[number] for number in self.hands]
        assert len(lanes) == len(set(lanes))

    @invariant()
    def the_counters_count(self) -> None:
        found = counters(self.conn, 0)
        for state, count in found.by_state.items():
            assert count == sum(each is state for each in self.model.values())
        assert found.settled_today + found.nothing_today == sum(each is State.SETTLED for each in self.model.values())

    @invariant()
    def what_has_left_has_a_proof(self) -> None:
        proofs = {row[0] for row in self.conn.plain("SELECT number FROM proof")}
        assert proofs == {n for n, state in self.model.items() if state in (State.SETTLED, State.CLOSED)}


QueueMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestQueueMachine = QueueMachine.TestCase
