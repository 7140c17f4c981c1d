from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue.document.times import utc_of, utc_stamp, whole_date

PARIS = "Europe/Paris"


@pytest.mark.parametrize(
    ("stamp", "utc"),
    [
        ("20210108102500+0100", "20210108092500"),
        ("20210708102500", "20210708082500"),  # no offset: the centre's time, summer
        ("20210108002500", "20210107232500"),
        ("202101081025+0100", "202101080925"),
        ("2021010810+0100", "202101080900"),
        ("20210108102500.123+0100", "20210108092500"),
        ("20210409", "20210409"),  # a date has no hour to be moved by
        ("202104", "202104"),
        ("2021", "2021"),
        ("", ""),
        ("20210230", ""),
        ("20210108256000", ""),
        ("yesterday", ""),
        ("20210108102500+9999", ""),
        ("00010101000000+0200", ""),
    ],
)
def test_a_stamp_in_utc(stamp: str, utc: str) -> None:
    assert utc_of(stamp, PARIS) == utc


def test_a_moment_in_utc() -> None:
    assert utc_stamp(datetime(2026, 11, 21, 13, 0, tzinfo=ZoneInfo(PARIS))) == "20261121120000"


def test_a_whole_date() -> None:
    assert whole_date("19790328") == "19790328"
    for partial in ("1979", "197903", "19790300", "19790230", "", "1979032x"):
        assert whole_date(partial) == ""


@given(st.text(max_size=30) | st.from_regex(r"[0-9]{4,14}(\.[0-9]+)?([+-][0-9]{4})?", fullmatch=True))
def test_any_stamp_gives_digits_or_nothing(stamp: str) -> None:
    utc = utc_of(stamp, PARIS)
    assert utc == "" or (utc.isdigit() and len(utc) in (4, 6, 8, 12, 14))
    assert whole_date(stamp) == "" or len(whole_date(stamp)) == 8
