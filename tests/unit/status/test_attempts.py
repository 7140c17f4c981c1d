"""Failures pause, longer each time; one address does not lock the others out, nor the network the box."""

from hypothesis import given
from hypothesis import strategies as st

from passevue.status.attempts import LONGEST_PAUSE_S, MOST_KEPT, PAUSE_S, Attempts, Pace


def fail(attempts: Attempts, address: str, times: int, now: float, *, shared: bool = True) -> None:
    for _ in range(times):
        attempts.failed(address, now, shared=shared)


def test_five_failures_pause_for_a_quarter_of_an_hour() -> None:
    attempts = Attempts()
    fail(attempts, "a", 4, 0)
    assert attempts.wait_s("a", 0) == 0
    fail(attempts, "a", 1, 0)
    assert attempts.wait_s("a", 0) == PAUSE_S
    assert attempts.wait_s("b", 0) == 0
    assert attempts.wait_s("a", PAUSE_S) == 0


def test_pauses_double_up_to_four_hours() -> None:
    attempts, now, pauses = Attempts(limit_of_all=10_000), 0.0, []
    for _ in range(7):
        fail(attempts, "a", 5, now)
        pauses.append(attempts.wait_s("a", now))
        now += pauses[-1]
    assert pauses[:5] == [PAUSE_S * 2**n for n in range(5)]
    assert pauses[-1] == LONGEST_PAUSE_S


def test_a_success_forgets() -> None:
    attempts = Attempts()
    fail(attempts, "a", 4, 0)
    attempts.succeeded("a")
    fail(attempts, "a", 4, 0)
    assert attempts.wait_s("a", 0) == 0


def test_successes_do_not_add_up_to_a_pause_of_all() -> None:
    attempts = Attempts()
    for _ in range(100):
        attempts.failed("a", 0)  # before it is looked at
        attempts.succeeded("a", counted=True)
    assert attempts.wait_s("b", 0) == 0


def test_many_addresses_together_pause_the_network_but_not_the_box() -> None:
    attempts = Attempts()
    for n in range(40):
        attempts.failed(f"10.0.0.{n}", 0)
    assert attempts.wait_s("10.0.0.200", 0) > 0
    assert attempts.wait_s("127.0.0.1", 0, shared=False) == 0


@given(st.lists(st.tuples(st.text(max_size=3), st.floats(0, 1e6)), max_size=200))
def test_what_is_remembered_is_bounded_and_waits_are_sane(events: list[tuple[str, float]]) -> None:
    attempts = Attempts()
    for address, now in events:
        attempts.failed(address, now)
        assert 0 <= attempts.wait_s(address, now) <= LONGEST_PAUSE_S + 1e6
    assert len(attempts._counts) <= MOST_KEPT


def test_a_flood_of_addresses_does_not_wash_a_pause_away() -> None:
    attempts = Attempts(limit_of_all=1_000_000)
    fail(attempts, "guesser", 5, 0)
    for n in range(MOST_KEPT * 2):
        attempts.failed(f"{n}", 1)
    assert attempts.wait_s("guesser", 1) > 0
    assert len(attempts._counts) <= MOST_KEPT


def test_the_pace_lets_so_many_through_in_a_window() -> None:
    pace = Pace(2, 10.0)
    assert [pace.take("a", at) for at in (0, 1, 2, 9.9, 10, 11)] == [True, True, False, False, True, True]
    assert pace.take("b", 2)
