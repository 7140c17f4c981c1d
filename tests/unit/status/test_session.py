"""Sessions end by whatever comes first, and tell a thief of memory nothing."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue.national.psc_claims import Situation
from passevue.status.roles import RIGHTS, Method, Person, Right, Role
from passevue.status.session import MOST, Ended, Session, Sessions

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
HERE = Situation("1750803447", "CENTRE", "SA08", "10", "SM44", "", "RADIOLOGUE", "CAMILLE")


def person(*situations: Situation) -> Person:
    return Person("899700367909", "RADIOLOGUE", "CAMILLE", "10", situations)


def opened(sessions: Sessions, now: datetime = NOON, card: int | None = None) -> tuple[str, Session]:
    return sessions.open(now, Role.PRACTITIONER, Method.CARD, "8997", person=person(HERE), card=card)


def test_a_token_is_found_and_no_other() -> None:
    sessions = Sessions()
    token, session = opened(sessions)
    assert sessions.find(token, NOON) is session
    for wrong in ("", token[:-1], token + "A", "A" * 43, "é" * 43, "\udc80" * 43):
        assert sessions.find(wrong, NOON) is None


def test_tokens_are_never_the_same_and_are_not_kept() -> None:
    sessions = Sessions()
    tokens = {opened(sessions)[0] for _ in range(50)}
    assert len(tokens) == 50
    assert not any(token.encode() in repr(sessions.__dict__).encode() for token in tokens)


@pytest.mark.parametrize(("role", "idle"), [(Role.PRACTITIONER, 5), (Role.ADMIN, 15)])
def test_idleness_ends_it(role: Role, idle: int) -> None:
    sessions = Sessions()
    token, _ = sessions.open(NOON, role, Method.PASSWORD, "x")
    almost = NOON + timedelta(minutes=idle, seconds=-1)
    assert sessions.find(token, almost, touch=False) is not None  # a live view does not count
    assert sessions.find(token, NOON + timedelta(minutes=idle)) is None
    assert sessions.why_ended(token, NOON + timedelta(minutes=idle)) is Ended.IDLE


def test_four_hours_end_it_and_no_sign_in_lasts_longer() -> None:
    sessions = Sessions()
    token, session = sessions.open(
        NOON, Role.ADMIN, Method.PASSWORD, "x", ends_at=NOON + timedelta(days=1), person=None
    )
    assert session.ends_at == NOON + timedelta(hours=4)
    for minutes in range(10, 240, 10):
        assert sessions.find(token, NOON + timedelta(minutes=minutes)) is session
    assert sessions.find(token, NOON + timedelta(hours=4)) is None
    assert session.ended is Ended.TOO_LONG


def test_a_clock_set_back_ends_it() -> None:
    sessions = Sessions()
    token, session = opened(sessions)
    assert sessions.find(token, NOON - timedelta(seconds=2)) is session  # a correction
    assert sessions.find(token, NOON - timedelta(minutes=1)) is None
    assert session.ended is Ended.CLOCK


def test_ending_tells_once_and_sets_the_event() -> None:
    told: list[Session] = []
    sessions = Sessions(told.append)
    token, session = opened(sessions, card=7)
    assert sessions.end_all(lambda one: one.card == 8, Ended.CARD_OUT, NOON) == 0
    assert sessions.end_all(lambda one: one.card == 7, Ended.CARD_OUT, NOON) == 1
    sessions.end(session, Ended.LEFT, NOON)
    assert told == [session]
    assert session.over.is_set()
    assert sessions.why_ended(token, NOON) is Ended.CARD_OUT
    assert sessions.why_ended(token, NOON + timedelta(minutes=11)) is None


def test_too_many_make_room_by_the_one_idle_for_longest() -> None:
    sessions = Sessions()
    first, session = opened(sessions)
    for n in range(MOST - 1):
        opened(sessions, NOON + timedelta(seconds=n + 1))
    assert len(sessions) == MOST
    opened(sessions, NOON + timedelta(minutes=2))
    assert len(sessions) == MOST
    assert session.ended is Ended.CROWDED
    assert sessions.find(first, NOON) is None


def test_the_sweep_ends_what_nobody_asks_for() -> None:
    sessions = Sessions()
    _, session = opened(sessions)
    sessions.sweep(NOON + timedelta(minutes=5))
    assert session.ended is Ended.IDLE
    assert len(sessions) == 0


def test_one_situation_is_chosen_by_itself_and_two_are_not() -> None:
    sessions = Sessions()
    assert opened(sessions)[1].situation == HERE
    other = Situation("x", "", "", "", "", "", "", "")
    _, two = sessions.open(NOON, Role.PRACTITIONER, Method.CARD, "x", person=person(HERE, other))
    assert two.situation is None


@pytest.mark.parametrize("right", list(Right))
def test_rights_are_those_of_the_role_and_need_a_situation(right: Right) -> None:
    sessions = Sessions()
    _, practitioner = opened(sessions)
    _, stranger = sessions.open(NOON, Role.PRACTITIONER, Method.CARD, "x", person=person())
    _, admin = sessions.open(NOON, Role.ADMIN, Method.PASSWORD, "x")
    assert practitioner.may(right) == (right in RIGHTS[Role.PRACTITIONER])
    assert admin.may(right) == (right in RIGHTS[Role.ADMIN])
    assert not stranger.may(right)
    assert not admin.may(Right.SEE_PATIENT)


@given(st.lists(st.integers(-400, 20_000), max_size=30))
def test_no_order_of_moments_lets_a_session_live_past_its_bounds(moments: list[int]) -> None:
    sessions = Sessions()
    token, session = opened(sessions)
    last = NOON
    for seconds in moments:
        now = NOON + timedelta(seconds=seconds)
        if sessions.find(token, now) is not None:
            assert now < session.ends_at
            assert now - last < timedelta(minutes=5)
            last = max(now, last)


def test_nobody_is_in_a_traceback() -> None:
    _, session = opened(Sessions())
    assert "RADIOLOGUE" not in repr(session) + repr(session.person)
