from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue.baseline.report import MAX_REPORT_BYTES, Report, Result, read_report
from passevue.baseline.rule import MAX_OBSERVED, Effect, Level, Status, failed
from passevue.errors import Unreadable
from tests.unit.baseline.rules_made_up import START

RESULT = Result(
    "TIME-01", "time_synchronised", Level.MUST, Effect.HOLD, Status.FAIL, "offset 1.84 s", "|offset| <= 1 s",
    "time.source", START - timedelta(minutes=3), START, fires=True,
)  # fmt: skip


def report(*results: Result) -> Report:
    return Report("1.2.3", "1.4.2", "boot", START, results)


def test_a_report_is_read_back_as_it_was() -> None:
    written = report(RESULT, replace(RESULT, id="TIME-02", status=Status.PASS, fires=False))
    assert read_report(written.to_json().encode()) == written


@pytest.mark.parametrize(
    ("effects", "worst", "code"),
    [
        ([], "none", 0),
        ([Effect.WARN], "warn", 1),
        ([Effect.WARN, Effect.HOLD], "hold", 2),
        ([Effect.HOLD, Effect.BLOCK, Effect.WARN], "block", 3),
    ],
)
def test_the_exit_code_says_the_worst_effect_in_force(effects: list[Effect], worst: str, code: int) -> None:
    found = report(*(replace(RESULT, effect=effect) for effect in effects))
    assert (found.worst, found.exit_code) == (worst, code)


def test_what_does_not_fire_yet_does_not_count() -> None:
    found = report(replace(RESULT, effect=Effect.BLOCK, fires=False))
    assert (found.worst, found.counts["fail"]) == ("none", 1)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_report_or_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        read_report(data)


@pytest.mark.parametrize(
    ("piece", "instead"),
    [('"schema": 1', '"schema": 2'), ("hold", "explode"), ('"M"', '"X"'), ("Z", ""), ('"rules": [', '"rules": [3,')],
)
def test_another_shape_is_unreadable(piece: str, instead: str) -> None:
    text = report(RESULT).to_json()
    assert piece in text
    with pytest.raises(Unreadable):
        read_report(text.replace(piece, instead).encode())


def test_a_report_has_a_bound() -> None:
    with pytest.raises(Unreadable):
        read_report(bytes(MAX_REPORT_BYTES + 1))


def test_what_was_observed_is_one_line_with_an_end() -> None:
    observed = failed("a\nb\x1b[31m" + "c" * 1000).observed
    assert observed.startswith("a b [31mc")
    assert len(observed) == MAX_OBSERVED
