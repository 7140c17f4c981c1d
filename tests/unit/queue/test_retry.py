"""What happens next, rule by rule (reliability § 6), and for any error and any history: bounded, legal, never lost."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue.errors import (
    CabinetError,
    CredentialError,
    Damaged,
    DicomError,
    Failing,
    Hl7Error,
    InDoubt,
    NetworkError,
    NoRoom,
    Refused,
    StudyAbsent,
    TraceError,
    TrustError,
    Unreadable,
)
from passevue.queue.retry import (
    Facts,
    Phase,
    Policy,
    Step,
    after,
    delay_s,
    interrupted,
    not_found,
    overdue,
    recovered,
    starting,
)
from passevue.queue.states import MOVES, Mover, State, check

POLICY = Policy()
ERRORS = [
    NetworkError("x"), NetworkError("x", retry_after_s=1e9), InDoubt("x"), StudyAbsent("x"), Failing("C", "x"),
    CredentialError("x"), TraceError("x"), TrustError("x"), Refused("C", "x"), CabinetError("x"), Hl7Error(101, "x"),
    DicomError(0xA700, "x"), Unreadable("x"), Damaged("x"), NoRoom("x"), KeyError("a name"), TimeoutError(),
]  # fmt: skip
WORKING = {Phase.BUILD: State.BUILDING, Phase.SEND: State.STARTED, Phase.LOOK_UP: State.CHECKING}

facts = st.builds(
    Facts, tries=st.integers(1, 9), crashes=st.integers(1, 3), checks=st.integers(1, 3), absences=st.integers(0, 2),
    failures=st.integers(0, 400), repeats=st.integers(0, 9), waited_s=st.floats(0, 1e7),
    reason=st.sampled_from(["", "network", "in-doubt", "C", "crashed"]),
)  # fmt: skip


# These tell by their class; TraceError is raised before a byte leaves, when the audit trail takes nothing (LOG-01).
SAYS_WHETHER_IT_LEFT = (NetworkError, CredentialError, TrustError, Refused, Damaged, TraceError)


@given(st.sampled_from(ERRORS), st.sampled_from(list(Phase)), facts, st.floats(0, 1, exclude_max=True))
def test_any_error_leads_to_a_legal_state_with_a_bounded_wait(
    error: Exception, phase: Phase, before: Facts, jitter: float
) -> None:
    step = after(error, phase, before, jitter, POLICY)
    check(WORKING[phase], step.state, Mover.DISPATCHER)
    assert step.due_in_s is None or 0 <= step.due_in_s <= POLICY.cap_s
    assert (step.due_in_s is None) == (step.state in (State.HELD, State.SET_ASIDE))
    assert step.facts.hint
    assert "a name" not in step.facts.detail
    if step.due_in_s is None:
        assert step.facts.resume in (State.WAITING, State.READY, State.IN_DOUBT)
    if phase is Phase.SEND and not isinstance(error, SAYS_WHETHER_IT_LEFT):
        assert step.state is State.IN_DOUBT  # nobody can say that it did not leave
    if phase is Phase.LOOK_UP:
        assert step.state is State.IN_DOUBT or step.facts.resume is State.IN_DOUBT


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 1e9))
def test_no_wait_is_longer_than_the_cap_nor_shorter_than_the_floor(
    failures: int, jitter: float, wished: float | None
) -> None:
    assert POLICY.floor_s <= delay_s(failures, jitter, POLICY, wished) <= POLICY.cap_s


def test_the_steps_are_one_five_fifteen_minutes_then_hourly_without_end() -> None:
    assert [delay_s(n, 0.999999, POLICY) // 60 + 1 for n in (0, 1, 2, 3, 4, 999)] == [1, 5, 15, 60, 60, 60]


def test_retry_after_is_honoured_up_to_the_cap() -> None:
    assert delay_s(0, 0.0, POLICY, 1800) == 1800
    assert delay_s(0, 0.0, POLICY, 86_400) == 3600


def test_a_missing_credential_burns_no_try() -> None:
    begun = starting(Phase.SEND, Facts(tries=2, failures=3))
    assert begun.tries == 3
    step = after(CredentialError("card out"), Phase.SEND, begun, 0.5, POLICY)
    assert (step.state, step.facts.tries, step.facts.failures, step.facts.crashes) == (State.HELD, 2, 3, 0)
    assert step.facts.resume is State.READY


def test_ten_years_of_clock_jump_are_not_ten_years_of_waiting() -> None:
    step = after(StudyAbsent("x"), Phase.BUILD, Facts(waited_s=POLICY.absent_after_s - 1), 0.5, POLICY)
    assert step.state is State.WAITING
    late = after(StudyAbsent("x"), Phase.BUILD, Facts(waited_s=POLICY.absent_after_s), 0.5, POLICY)
    assert (late.state, late.facts.reason) == (State.SET_ASIDE, "study-absent")


def test_a_plain_outage_is_waited_out_for_ever_and_marked_after_72_hours() -> None:
    now = Facts()
    hours = 0.0
    for _ in range(5000):
        step = after(NetworkError("x"), Phase.BUILD, now, 0.9, POLICY)
        assert step.state is State.WAITING
        assert step.due_in_s is not None
        hours += step.due_in_s / 3600
        now = step.facts
        assert now.parked == (now.waited_s >= 72 * 3600)
    assert hours > 1000


def test_what_ends_in_doubt_each_time_it_is_sent_backs_off_and_is_never_given_up() -> None:
    """A DMP that answers each publication with a bare 500, and each look-up well."""
    facts, waits = Facts(), []
    for _ in range(8):
        facts = after(InDoubt("x"), Phase.SEND, starting(Phase.SEND, facts), 0.5, POLICY).facts
        first = not_found(facts, POLICY)
        again = not_found(first.facts, POLICY)
        assert (first.state, again.state) == (State.IN_DOUBT, State.STARTED)
        waits.append(first.due_in_s)
        facts = again.facts
    assert waits == [120.0, 120.0, 300.0, 900.0, 3600.0, 3600.0, 3600.0, 3600.0]


def test_not_found_twice_sends_the_same_again_and_not_a_poisoned_one() -> None:
    first = not_found(Facts(crashes=0), POLICY)
    assert (first.state, first.due_in_s) == (State.IN_DOUBT, 120)
    second = not_found(first.facts, POLICY)
    assert (second.state, second.facts.tries, second.facts.crashes) == (State.STARTED, 1, 1)
    poisoned = not_found(replace(first.facts, crashes=3), POLICY)
    assert (poisoned.state, poisoned.facts.resume) == (State.SET_ASIDE, State.READY)


@pytest.mark.parametrize("state", [State.BUILDING, State.STARTED, State.CHECKING])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_what_is_found_in_work_goes_back_and_is_set_aside_at_the_third_crash(state: State, count: int) -> None:
    step = recovered(state, Facts(crashes=count, checks=count), POLICY)
    check(state, step.state, Mover.RECOVERY)
    if state is State.STARTED:
        assert step.state is State.IN_DOUBT  # asked about first, whatever it did to us
    else:
        assert (step.state is State.SET_ASIDE) == (count == 3)


@pytest.mark.parametrize("phase", list(Phase))
def test_a_clean_stop_counts_no_crash(phase: Phase) -> None:
    begun = starting(phase, Facts())
    step = interrupted(phase, begun)
    check(WORKING[phase], step.state, Mover.RECOVERY)
    assert (step.facts.crashes, step.facts.checks) == (0, 0)


@pytest.mark.parametrize("phase", list(Phase))
def test_a_phase_that_would_not_end_counts_as_a_crash(phase: Phase) -> None:
    step: Step = overdue(phase, Facts(crashes=3, checks=3), 0.5, POLICY)
    check(WORKING[phase], step.state, Mover.DISPATCHER)
    assert (step.state is State.SET_ASIDE) == (phase is not Phase.SEND)


def test_every_state_can_be_left_but_the_final_ones() -> None:
    left = {old for old, _ in MOVES}
    assert set(State) - left == {State.SETTLED, State.CLOSED}
