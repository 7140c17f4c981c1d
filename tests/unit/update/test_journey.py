"""passevue.update.journey and window: what follows from a row, for every state."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue.errors import Refused, Unreadable
from passevue.update import journey
from passevue.update.journey import Act, Facts, Row, State, next_act
from passevue.update.row_file import MAX_BYTES, RowFile, plain, row_of
from passevue.update.version import order
from passevue.update.window import Window

PARIS = ZoneInfo("Europe/Paris")
NIGHT = Window.of(("sunday", "monday", "tuesday", "wednesday", "thursday"), time(22), time(5), PARIS)
NOON = datetime(2026, 11, 23, 11, tzinfo=UTC)  # a Monday, noon in Paris
LATE = datetime(2026, 11, 23, 22, tzinfo=UTC)  # 23:00


def begun(**changes: object) -> Row:
    row = journey.begun("1", "b.raucb", "1.5.0", "1.4.2", "site-admin", NOON, kind="feature", now=False)
    return replace(row, **changes)  # type: ignore[arg-type]


def facts(now: datetime = LATE, boot: str = "one", running: str = "1.4.2", **more: object) -> Facts:
    return Facts(now, boot, running, **more)  # type: ignore[arg-type]


def test_an_update_waits_for_its_window_and_then_is_written() -> None:
    assert next_act(begun(), facts(NOON), NIGHT) is Act.STAY
    assert next_act(begun(), facts(LATE), NIGHT) is Act.WRITE


def test_now_and_the_deadline_do_not_wait_for_the_window() -> None:
    assert next_act(begun(now=True), facts(NOON), NIGHT) is Act.WRITE
    assert next_act(begun(), facts(NOON + timedelta(days=30)), NIGHT) is Act.WRITE
    assert begun().deadline == NOON + timedelta(days=30)
    security = journey.begun("1", "b", "1.5.0", "1.4.2", "x", NOON, kind="security", now=False)
    assert security.deadline == NOON + timedelta(days=7)


def test_a_person_postpones_three_times_at_most_and_never_past_the_deadline() -> None:
    row, now = begun(), NOON
    for count in (1, 2, 3):
        row = journey.postponed(row, now)
        assert (row.postponed, row.not_before) == (count, NOON + count * timedelta(days=1))
        assert next_act(row, facts(LATE), NIGHT) is Act.STAY
    with pytest.raises(Refused, match="postponed-enough"):
        journey.postponed(row, now)
    with pytest.raises(Refused, match="past-deadline"):
        journey.postponed(begun(), NOON + timedelta(days=29, hours=12))
    with pytest.raises(Refused, match="not-waiting"):
        journey.postponed(begun().at(State.WRITING, NOON), NOON)


@pytest.mark.parametrize("state", [state for state in State if state is not State.WAITING])
def test_only_an_update_that_waits_is_cancelled(state: State) -> None:
    assert journey.cancelled(begun(), NOON).state is State.IDLE
    with pytest.raises(Refused, match="not-waiting"):
        journey.cancelled(begun().at(state, NOON), NOON)


def test_writing_that_was_cut_starts_over() -> None:
    assert next_act(begun().at(State.WRITING, NOON), facts(NOON), NIGHT) is Act.START_OVER


def test_a_restart_waits_for_the_window_and_for_quiet() -> None:
    row = begun(boot_id="one").at(State.WRITTEN, NOON)
    assert next_act(row, facts(NOON), NIGHT) is Act.STAY
    assert next_act(row, facts(LATE), NIGHT) is Act.PAUSE
    pausing = replace(row, pausing_since=LATE)
    assert next_act(pausing, facts(LATE + timedelta(minutes=1)), NIGHT) is Act.PAUSE
    assert next_act(pausing, facts(LATE + timedelta(minutes=1), quiet=True), NIGHT) is Act.REBOOT
    assert next_act(pausing, facts(LATE + timedelta(minutes=5)), NIGHT) is Act.RESUME
    again = journey.resumed(pausing, LATE + timedelta(minutes=5))
    assert next_act(again, facts(LATE + timedelta(minutes=6)), NIGHT) is Act.STAY
    assert next_act(again, facts(LATE + timedelta(minutes=21)), NIGHT) is Act.PAUSE


def test_after_three_attempts_in_vain_it_restarts_all_the_same() -> None:
    row = begun(boot_id="one", pausing_since=LATE, unquiet=2).at(State.WRITTEN, NOON)
    assert next_act(row, facts(LATE + timedelta(minutes=5)), NIGHT) is Act.REBOOT


@pytest.mark.parametrize("state", [State.WAITING, State.WRITING])
@pytest.mark.parametrize("boot", ["one", "two"])
def test_power_that_went_before_written_was_noted_leaves_a_new_version_to_prove(state: State, boot: str) -> None:
    row = begun(boot_id="one", writes=1).at(state, LATE)
    assert next_act(row, facts(boot=boot, running="1.5.0"), NIGHT) is Act.PROVE


@pytest.mark.parametrize("state", [State.IDLE, State.FAILED])
def test_what_is_over_and_runs_all_the_same_must_prove_itself(state: State) -> None:
    """RAUC came to its end after we had given up."""
    row = begun(boot_id="one", writes=3).at(state, LATE)
    assert next_act(row, facts(boot="two", running="1.5.0"), NIGHT) is Act.PROVE
    assert next_act(row, facts(boot="two"), NIGHT) is Act.STAY
    assert next_act(replace(row, version="1.4.2"), facts(boot="two"), NIGHT) is Act.STAY, "it ran before"
    assert next_act(replace(row, version=""), facts(running=""), NIGHT) is Act.STAY


def test_what_has_been_written_is_not_cancelled_even_when_it_was_cut() -> None:
    with pytest.raises(Refused, match="not-waiting") as refused:
        journey.cancelled(begun(writes=1), NOON)
    assert "Trop tard" in str(refused.value.hint)
    kept = journey.cancelled(begun(), NOON)
    assert (kept.state, kept.version, kept.version_before) == (State.IDLE, "1.5.0", "1.4.2")


@pytest.mark.parametrize("state", [State.WRITTEN, State.REBOOTING])
def test_which_version_runs_after_a_restart_says_everything(state: State) -> None:
    row = begun(boot_id="one").at(state, LATE)
    assert next_act(row, facts(boot="two", running="1.5.0"), NIGHT) is Act.PROVE
    assert next_act(row, facts(boot="two", running="1.4.2"), NIGHT) is Act.UNDO


def test_a_restart_that_does_not_come_is_asked_for_again() -> None:
    row = begun(boot_id="one").at(State.REBOOTING, LATE)
    assert next_act(row, facts(LATE + timedelta(seconds=30)), NIGHT) is Act.STAY
    assert next_act(row, facts(LATE + timedelta(minutes=2)), NIGHT) is Act.REBOOT


def test_the_gate_says_when_it_is_done() -> None:
    row = begun().at(State.PROVING, LATE)
    assert next_act(row, facts(running="1.5.0"), NIGHT) is Act.STAY
    assert next_act(row, facts(running="1.5.0", gate="failed"), NIGHT) is Act.STAY  # the machine goes back by itself
    assert next_act(row, facts(running="1.5.0", gate="passed"), NIGHT) is Act.FINISH
    assert next_act(row, facts(running="1.4.2"), NIGHT) is Act.UNDO


@pytest.mark.parametrize("state", sorted(journey.OVER))
def test_what_is_over_stays_over(state: State) -> None:
    running = "1.5.0" if state is State.DONE else "1.4.2"
    assert next_act(begun(now=True).at(state, NOON), facts(LATE, boot="two", running=running), NIGHT) is Act.STAY


def test_what_was_done_and_starts_no_more_is_undone() -> None:
    done = begun().at(State.DONE, NOON)
    assert next_act(done, facts(boot="two", running="1.4.2"), NIGHT) is Act.UNDO
    assert next_act(done, facts(boot="two", running="1.6.0"), NIGHT) is Act.STAY, "a third version is no way back"


# --- the window -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        ("2026-11-22T22:00", True),  # Sunday evening
        ("2026-11-22T21:59", False),
        ("2026-11-23T04:59", True),  # still Sunday's
        ("2026-11-23T05:00", False),
        ("2026-11-27T23:00", False),  # Friday
        ("2026-11-27T03:00", True),  # Thursday's end
        ("2026-11-28T03:00", False),
    ],
)
def test_a_window_belongs_to_the_day_on_which_it_opens(at: str, is_open: bool) -> None:
    assert NIGHT.is_open(datetime.fromisoformat(at).replace(tzinfo=PARIS).astimezone(UTC)) is is_open


def test_the_night_of_a_clock_change_has_its_window_once() -> None:
    for day in ("2026-03-29", "2026-10-25"):  # both Sundays at 3:00
        night = Window.of(("saturday",), time(22), time(5), PARIS)
        begin = datetime.fromisoformat(f"{day}T00:00").replace(tzinfo=PARIS).astimezone(UTC)
        states = [night.is_open(begin + timedelta(minutes=minutes)) for minutes in range(0, 10 * 60, 10)]
        assert states == sorted(states, reverse=True), "open, then shut, once"
        assert states[0] is True
        assert states[-1] is False


# --- versions, the row ----------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 99), min_size=2, max_size=4), st.lists(st.integers(0, 99), min_size=2, max_size=4))
def test_versions_are_compared_as_the_boot_programs_do(one: list[int], other: list[int]) -> None:
    from tests.peers.boot_disk import boot

    a, b = ".".join(map(str, one)), ".".join(map(str, other))
    assert (order(a) < order(b), order(a) == order(b)) == (
        boot.order(a) < boot.order(b),
        boot.order(a) == boot.order(b),
    )


@pytest.mark.parametrize("text", ["", "1", "1.", "v1.2", "1.2.3.4.5", "1.2-rc1", "1.2\n", "٣.٤", "1" * 12 + ".0"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        order(text)


def test_a_row_comes_back_as_it_was_kept(tmp_path: object) -> None:
    from pathlib import Path

    file = RowFile(Path(str(tmp_path)))
    assert file.read() == Row()
    row = begun(boot_id="one", pausing_since=LATE, noted="{}", detail="é", percent=40).at(State.WRITTEN, NOON)
    file.write(row)
    assert file.read() == row
    assert file.path.stat().st_mode & 0o777 == 0o640


@given(st.binary(max_size=300))
def test_any_bytes_are_a_row_or_refused(data: bytes) -> None:
    with pytest.raises(Unreadable):
        row_of(data)


@given(st.data())
def test_a_row_with_other_values_is_taken_or_refused(data: st.DataObject) -> None:
    import json

    told = plain(begun())
    key = data.draw(st.sampled_from(sorted(told)))
    values = st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.lists(st.integers(), max_size=2)
    told[key] = data.draw(values)
    try:
        row = row_of(json.dumps(told).encode())
    except Unreadable:
        return
    assert isinstance(row.state, State)
    next_act(row, facts(), NIGHT)


def test_a_row_above_its_bound_is_refused() -> None:
    with pytest.raises(Unreadable):
        row_of(b'{"schema":1,"state":"idle","detail":"' + b"x" * MAX_BYTES + b'"}')
