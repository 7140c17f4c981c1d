"""The verdict: who is called, when, and in which words."""

import json
from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue.queue import retry
from passevue.queue.room import Level, Volume
from passevue.queue.states import State
from passevue.status import words
from passevue.status.neighbours import Health, Neighbour, Word, failed, heard
from passevue.status.plain import to_json
from passevue.status.summary import Certificate, Finding, Room, Summary, Verdict, draw
from passevue.status.words import Language
from tests.unit.status.states import ALL, CERTIFICATES, NOW, ROOM, counters, line, minutes

HOUR = timedelta(hours=1)


def _draw(**facts: object) -> Summary:
    given = {"counters": counters(), "room": ROOM, "certificates": CERTIFICATES} | facts
    return draw(now=NOW, box="b", version="1", **given)


def _codes(**facts: object) -> dict[str, Verdict]:
    return {finding.code: finding.verdict for finding in _draw(**facts).findings}


def test_an_idle_box_is_fine() -> None:
    assert _draw().verdict is Verdict.FINE
    assert _draw().findings == ()


@pytest.mark.parametrize(
    ("state", "code", "verdict"),
    [("set_aside", "set_aside", Verdict.ACT), ("held", "held", Verdict.ACT), ("in_doubt", "in_doubt", Verdict.WATCH)],
)
def test_entries_that_cannot_go_on_alone_call_someone(state: str, code: str, verdict: Verdict) -> None:
    assert _codes(counters=counters(**{state: 2})) == {code: verdict}


@pytest.mark.parametrize(
    ("age", "found"),
    [
        (HOUR - timedelta(seconds=1), {}),
        (HOUR, {"oldest": Verdict.WATCH}),
        (24 * HOUR - timedelta(seconds=1), {"oldest": Verdict.WATCH}),
        (24 * HOUR, {"oldest": Verdict.ACT}),
        (-10 * 365 * 24 * HOUR, {}),  # the clock was set back
    ],
)
def test_a_long_wait_is_told_at_an_hour_and_calls_at_a_day(age: timedelta, found: dict[str, Verdict]) -> None:
    assert _codes(counters=counters(waiting=1, oldest_at=NOW - age)) == found


@pytest.mark.parametrize(
    ("days", "found"),
    [
        (61, {}),
        (60, {"certificate_soon": Verdict.WATCH}),
        (15, {"certificate_soon": Verdict.WATCH}),
        (14, {"certificate_soon": Verdict.ACT}),
        (0, {"certificate_soon": Verdict.ACT}),
        (-1, {"certificate_expired": Verdict.ACT}),
    ],
)
def test_a_certificate_is_told_two_months_before_its_end(days: int, found: dict[str, Verdict]) -> None:
    certificate = Certificate("structures.0.sign_certificate", NOW + timedelta(days=days))
    assert _codes(certificates=(certificate,)) == found


@pytest.mark.parametrize(
    ("level", "verdict"),
    [
        (Level.NORMAL, Verdict.FINE),
        (Level.WARN, Verdict.WATCH),
        (Level.HOLD_BULK, Verdict.ACT),
        (Level.STOP, Verdict.ACT),
    ],
)
def test_the_room_speaks_by_level(level: Level, verdict: Verdict) -> None:
    assert _draw(room=Room(Volume(1, 1), level)).verdict is verdict


def test_an_outage_of_the_dmp_calls_someone_after_four_hours() -> None:
    word = failed(Word(Neighbour.DMP), "NetworkError", NOW)
    found = [word.health(NOW), word.health(NOW + timedelta(minutes=5))]
    assert found == [Health.LATE, Health.DOWN]
    for hours, verdict in ((0, Verdict.WATCH), (3.99, Verdict.WATCH), (4, Verdict.ACT)):
        since = replace(word, failing_since=NOW - hours * HOUR)
        assert _draw(neighbours=(since,)).verdict is verdict
    again = heard(word, "TD2.1a", NOW)
    assert again.health(NOW) is Health.OK


def test_a_refused_message_is_no_outage_of_the_ris() -> None:
    word = failed(Word(Neighbour.RIS), "AE 101", minutes(600))
    assert word.health(NOW) is Health.REFUSED
    assert _codes(neighbours=(word,)) == {"neighbour_refused": Verdict.WATCH}


def test_what_hinders_everything_is_told_before_what_hinders_one() -> None:
    codes = list(_codes(counters=counters(set_aside=1), room=Room(Volume(1, 1), Level.STOP), store_alarm="restored"))
    assert codes == ["room_stop", "store_restored", "set_aside"]


def test_every_finding_state_action_and_reason_has_words_in_both_languages() -> None:
    sample = {"count": 2, "hours": 2, "percent": 2, "days": 2, "neighbour": "dmp", "certificate": "x", "structure": ""}
    for code in words.FINDINGS:
        for language in Language:
            for number in (1, 2):
                values = {name: number if isinstance(value, int) else value for name, value in sample.items()}
                told = words.sentence(Finding(code, Verdict.ACT, values), language)
                assert told.endswith(".")
                assert "{" not in told
    assert set(words.STATES) == set(State)
    assert set(retry.HINTS) - {"refused", "failing"} <= set(words.ENGLISH_HINTS)


def test_every_finding_that_can_be_drawn_has_words() -> None:
    for make in ALL.values():
        for finding in make().findings:
            for language in Language:
                assert words.sentence(finding, language)


def test_a_hint_without_english_is_told_in_french_and_marked() -> None:
    unknown = line(1, State.SET_ASIDE, reason="XDSUnknownPatientId", hint="Corrigez l’identité.")
    assert words.hint(unknown, Language.EN) == ("Corrigez l’identité.", Language.FR)
    known = line(1, State.SET_ASIDE, reason="crashed", hint="…")
    assert words.hint(known, Language.EN)[1] is Language.EN


def test_french_signs_do_not_stand_alone_on_a_line() -> None:
    told = words.sentence(Finding("room_stop", Verdict.ACT, {"percent": 97}))
    assert "97\u00a0%" in told
    assert "\u00a0: plus rien" in told


@pytest.mark.parametrize(
    ("delta", "told"),
    [
        (timedelta(seconds=-5), "moins d’une minute"),
        (timedelta(seconds=59), "moins d’une minute"),
        (timedelta(minutes=59, seconds=59), "59 min"),
        (timedelta(hours=1), "1 h 00"),
        (timedelta(hours=47, minutes=59), "47 h 59"),
        (timedelta(hours=48), "2 jours"),
    ],
)
def test_ages_are_short_and_rounded_down(delta: timedelta, told: str) -> None:
    assert words.age(delta) == told


def test_times_are_the_centres_own() -> None:
    reunion = ZoneInfo("Indian/Reunion")
    assert words.clock(NOW, NOW, reunion) == "19:04"
    assert words.clock(NOW - timedelta(hours=20), NOW, reunion) == "20/11 à 23:04"


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 o"), (999, "999 o"), (391 * 10**9, "391 Go"), (2 * 10**12, "2,0 To")]
)
def test_sizes_are_read_as_disks_are_sold(count: int, told: str) -> None:
    assert words.size(count) == told


@pytest.mark.parametrize("name", ALL)
def test_the_json_has_one_shape(name: str) -> None:
    found = json.loads(to_json(ALL[name]()))
    assert list(found) == [
        "at", "box", "version", "started_at", "verdict", "sentence", "findings", "queue", "troubles", "recent", "room",
        "certificates", "neighbours",
    ]  # fmt: skip
    assert found["verdict"] in ("fine", "watch", "act")


@given(
    counts=st.dictionaries(
        st.sampled_from(["waiting", "held", "set_aside", "in_doubt", "checking"]), st.integers(0, 9)
    ),
    age=st.none() | st.timedeltas(timedelta(days=-4000), timedelta(days=4000)),
    days=st.none() | st.integers(-4000, 4000),
    level=st.sampled_from(Level),
    ages=st.lists(st.none() | st.timedeltas(timedelta(days=-400), timedelta(days=400)), min_size=4, max_size=4),
)
def test_any_facts_make_a_summary_that_can_be_shown(
    counts: dict[str, int],
    age: timedelta | None,
    days: int | None,
    level: Level,
    ages: list[timedelta | None],
) -> None:
    spoken = tuple(
        Word(neighbour) if since is None else failed(Word(neighbour), "X", NOW - since)
        for neighbour, since in zip(Neighbour, ages, strict=True)
    )
    summary = _draw(
        counters=counters(oldest_at=None if age is None else NOW - age, **counts),
        certificates=(Certificate("ris.tls.certificate", None if days is None else NOW + timedelta(days=days)),),
        room=Room(Volume(3, 0), level),
        neighbours=spoken,
    )
    assert summary.verdict is max((finding.verdict for finding in summary.findings), default=Verdict.FINE)
    json.loads(to_json(summary))
    assert all(words.sentence(finding, language) for finding in summary.findings for language in Language)
