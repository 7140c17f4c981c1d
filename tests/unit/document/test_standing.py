"""Which of several reports speaks for a study, and what becomes of the others."""

from dataclasses import replace

import pytest

from passevue.document.header import Report
from passevue.document.patient import Identifier
from passevue.document.record import Record
from passevue.document.report import read_report
from passevue.document.standing import MAX_OTHERS, is_older, less, same_report, taking_over
from tests.peers.ris import PAT_TROIS, invented_document_id, invented_exam
from tests.peers.ris import report as made


def header(number: int, version: int = 1, replaces: int = 0) -> bytes:
    """Version `version` of report `number`; `replaces` is the version that it names."""
    return made(
        PAT_TROIS,
        invented_exam(1),
        document_id=invented_document_id(number, version),
        set_id=invented_document_id(number, 99),
        version=version,
        replaces=invented_document_id(number, replaces) if replaces else "",
    )


def record(number: int, version: int = 1, *others: Record) -> Record:
    return Record(
        header=header(number, version), kos_series_uid="2.25.1", instance_number=4, rejected=("1.2",), others=others
    )


def bare(number: int, version: int = 1) -> Record:
    return Record(header=header(number, version))


def report(number: int, version: int = 1, replaces: int = 0) -> Report:
    return read_report(header(number, version, replaces))


def without_set(told: Report) -> Report:
    return replace(told, set_id=None)


def test_versions_are_known_by_their_set_id_whichever_came_first() -> None:
    assert same_report(report(1, 1), report(1, 5))
    assert not same_report(report(1), report(2))


def test_versions_without_a_set_id_are_known_by_the_id_that_one_replaces() -> None:
    first, second = without_set(report(1, 1)), without_set(report(1, 2, replaces=1))
    assert same_report(first, second)
    assert same_report(second, first)
    assert not same_report(first, without_set(report(1, 3, replaces=2)))


@pytest.mark.parametrize(
    ("asked", "standing", "older"),
    [((1, 1), (1, 2), True), ((1, 2), (1, 2), False), ((1, 3), (1, 2), False), ((1, 1), (2, 9), False)],
)
def test_a_version_below_the_one_that_stands_is_older(
    asked: tuple[int, int], standing: tuple[int, int], older: bool
) -> None:
    assert is_older(report(*asked), record(*standing)) is older
    assert is_older(report(*asked), record(7, 1, bare(*standing))) is older


def test_what_names_the_standing_version_as_replaced_is_newer_whatever_its_number() -> None:
    assert not is_older(report(1, 1, replaces=2), record(1, 2))


def test_a_version_that_says_no_number_is_never_taken_for_older() -> None:
    assert not is_older(replace(report(1), version=0), record(1, 2))


def test_the_report_that_came_last_speaks_and_the_others_are_kept_without_the_study() -> None:
    known = record(1, 1, bare(2))
    now = taking_over(record(3), report(3), known)
    assert now == record(3, 1, bare(1), bare(2))
    assert taking_over(record(2, 2), report(2, 2), now).others == (bare(3), bare(1))


def test_others_are_bounded() -> None:
    known = record(1, 1, *(bare(number) for number in range(2, 2 + MAX_OTHERS)))
    assert len(taking_over(record(99), report(99), known).others) == MAX_OTHERS


def test_without_the_one_that_speaks_the_next_one_does_for_the_same_study() -> None:
    left = less(record(1, 1, bare(2), bare(3)), report(1, 1))
    assert left == record(2, 1, bare(3))


def test_without_the_last_one_nobody_speaks_and_the_study_is_remembered() -> None:
    left = less(record(1), report(1))
    assert left == replace(record(1), header=b"")


def test_without_another_one_nothing_changes_for_the_one_that_speaks() -> None:
    assert less(record(1, 1, bare(2)), report(2)) == record(1)
    assert less(record(1), report(9)) == record(1)
    assert less(record(1), None) == record(1)


def test_ids_with_an_extension_are_told_apart() -> None:
    one = replace(report(1), set_id=Identifier("1.2.3", "A"))
    assert not same_report(one, replace(one, set_id=Identifier("1.2.3", "B")))
