"""What may be believed of the rows that a PACS answers."""

from datetime import date, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue.errors import CabinetError
from passevue.intake import pacs_answers
from passevue.intake.pacs_answers import (
    assembled,
    instances_of,
    is_uid,
    read_date,
    read_integer,
    read_time,
    series_of,
    study_of,
)
from passevue.intake.study import Instance, Series, Study

CT = "1.2.840.10008.5.1.4.1.1.2"


def row(**keys: str) -> dict[str, str]:
    return keys


def image(uid: str, **keys: str) -> dict[str, str]:
    return {"SOPInstanceUID": uid, "SOPClassUID": CT, **keys}


def test_a_study_has_the_values_of_its_row() -> None:
    study = study_of(
        [
            row(
                StudyInstanceUID="1.2",
                StudyDate="20261120",
                StudyTime="091500.25",
                StudyDescription="Épaule\x07 droite",
                StudyID="12",
                ReferringPhysicianName="DUPONT^JEAN",
                AccessionNumber="A1",
                PatientID="P1",
            )
        ],
        "1.2",
    )
    assert study == Study(
        "1.2", date(2026, 11, 20), time(9, 15, 0, 250000), "Épaule  droite", "12", "DUPONT^JEAN", "A1", "P1"
    )


def test_a_study_that_is_not_the_one_asked_for_is_nothing() -> None:
    assert study_of([], "1.2") is None
    assert study_of([row(StudyInstanceUID="1.3")], "1.2") is None


def test_the_same_study_twice_is_once_unless_the_patients_differ() -> None:
    one = row(StudyInstanceUID="1.2", PatientID="P1")
    assert study_of([one, one, row(StudyInstanceUID="1.2")], "1.2") == Study("1.2", PatientID="P1")
    with pytest.raises(CabinetError, match="PatientID"):
        study_of([one, row(StudyInstanceUID="1.2", PatientID="P2")], "1.2")


def test_series_of_other_studies_and_duplicates_are_dropped() -> None:
    rows = [
        row(SeriesInstanceUID="1.2.1", Modality="CT", SeriesNumber="3", SeriesDescription="Axial"),
        row(SeriesInstanceUID="1.2.1", Modality="CT"),
        row(SeriesInstanceUID="1.3.1", StudyInstanceUID="1.3"),
        row(SeriesInstanceUID="1.2.2", StudyInstanceUID="1.2", SeriesNumber="x"),
    ]
    assert series_of(rows, "1.2") == (Series("1.2.1", "CT", 3, "Axial"), Series("1.2.2"))


def test_instances_of_other_series_and_duplicates_are_dropped() -> None:
    rows = [
        image("1.2.1.2", InstanceNumber=" 2", NumberOfFrames="10"),
        image("1.2.1.1", SeriesInstanceUID="1.2.1"),
        image("1.2.1.2"),
        image("1.2.9.9", SeriesInstanceUID="1.2.9"),
        image("1.3.1.1", StudyInstanceUID="1.3"),
    ]
    assert instances_of(rows, "1.2", "1.2.1") == (Instance("1.2.1.2", CT, 2, 10), Instance("1.2.1.1", CT))


@pytest.mark.parametrize(
    "bad", [row(SOPClassUID=CT), row(SOPInstanceUID="1.2"), image("../../etc/passwd"), image("1." + "2" * 64)]
)
def test_an_instance_without_its_uids_is_an_error(bad: dict[str, str]) -> None:
    with pytest.raises(CabinetError):
        instances_of([bad], "1.2", "1.2.1")


def test_the_bounds_hold() -> None:
    at_the_bound = [row(SeriesInstanceUID=f"1.2.{number}") for number in range(pacs_answers.MAX_SERIES)]
    assert len(series_of(at_the_bound, "1.2")) == pacs_answers.MAX_SERIES
    with pytest.raises(CabinetError):
        series_of([*at_the_bound, row(SeriesInstanceUID="1.3")], "1.2")
    many = [image(f"1.2.{number}") for number in range(pacs_answers.MAX_INSTANCES + 1)]
    assert len(instances_of(many[1:], "1.2", "1.2.1")) == pacs_answers.MAX_INSTANCES
    with pytest.raises(CabinetError):
        instances_of(many, "1.2", "1.2.1")


def test_an_instance_in_two_series_is_in_the_first_and_empty_series_go() -> None:
    one, two = Instance("1.1", CT), Instance("1.2", CT)
    study = assembled(Study("1"), [Series("1.1", instances=(one, two)), Series("1.2", instances=(one,)), Series("1.3")])
    assert study.series == (Series("1.1", instances=(one, two)),)


@pytest.mark.parametrize("good", ["1.2", "2.25.329800735698586629295641978511506172918", "0.0", "1.02.3"])
def test_uids(good: str) -> None:
    assert is_uid(good)


@pytest.mark.parametrize("bad", ["", "1", "1.", ".1", "1..2", "1.2\n", "1.2/..", "a.b", "1.٢", "1." + "2" * 63])
def test_what_is_no_uid(bad: str) -> None:
    assert not is_uid(bad)


def test_dates_times_and_integers_that_are_none_are_missing() -> None:
    assert read_date("2026.11.20") == date(2026, 11, 20)
    assert [read_date(value) for value in ("99999999", "2026112", "", "20261320", "²0261120")] == [None] * 5
    assert [read_time(value) for value in ("09", "0915", "09:15:01", "091501.000001")] == [
        time(9),
        time(9, 15),
        time(9, 15, 1),
        time(9, 15, 1, 1),
    ]
    assert [read_time(value) for value in ("", "9", "240000", "096100", "0915.5", "09150A")] == [None] * 6
    assert [read_integer(value) for value in ("-1", "+2", " 3 ", "2147483647")] == [-1, 2, 3, 2147483647]
    assert [read_integer(value) for value in ("", "1.5", "2147483648", "1" * 400, "²")] == [None] * 5


@given(st.text(max_size=20))
def test_any_text_is_a_value_or_missing(text: str) -> None:
    read_date(text)
    read_time(text)
    read_integer(text)
    is_uid(text)
