"""A KOS of ours read back: the study that it was made of, or none, and never another one."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given as for_any
from hypothesis import settings
from hypothesis import strategies as st

from passevue.document.header import Exam
from passevue.document.kos import Maker, build_kos, same_content
from passevue.document.kos_header import read_kos_header
from passevue.document.kos_study import standing_study
from passevue.document.patient import Identifier
from passevue.document.study import check, without
from passevue.errors import Refused
from passevue.intake.study import Instance, Study
from tests.unit.document.given import IDENTITY, KO, MAKER, NOW, exam, note, report, series, study

SHOWN = (
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "StudyID",
    "ReferringPhysicianName",
    "series",
)


def made(of: Study, confirmed: Exam | None = None) -> bytes:
    return build_kos(of, report(), confirmed or exam(), MAKER, IDENTITY, NOW)


def back(kos: bytes, maker: Maker = MAKER) -> Study | None:
    return standing_study(kos, report(), exam(), maker, NOW)


def shown(one: Study | None) -> list[Any]:
    assert one is not None
    return [getattr(one, name) for name in SHOWN]


def test_the_study_comes_back_as_it_was() -> None:
    was = study(series(1, 3), series(2, 40), series(7, 1, modality="SR"))
    assert shown(back(made(was))) == shown(was)


def test_key_image_notes_come_back_with_what_they_mark() -> None:
    notes = (
        note(
            "113000", "1.2.3.1.1", "1.2.3.1.3", uid="1.2.3.9.1", title_meaning="Of Interest", description="à revoir\né"
        ),
        note("113005", "1.2.3.1.3", uid="1.2.3.9.2", title_meaning="For Conference"),
    )
    was = study(series(1), series(9, 2, KO, "KO"), key_objects=notes)
    found = back(made(was))
    assert found is not None
    assert [(one.SOPInstanceUID, one.title, one.description) for one in found.key_objects] == [
        ("1.2.3.9.1", "113000", "à revoir\né"), ("1.2.3.9.2", "113005", ""),
    ]  # fmt: skip
    assert same_content(made(was), build_kos(found, report(), exam(), MAKER, IDENTITY, NOW))


def test_less_of_it_is_published_like_any_study() -> None:
    found = back(made(study()))
    assert found is not None
    left = without(found, ["1.2.3.1.2"])
    assert check(left, exam(), report()) == exam()
    assert left.instance_count == 5


def test_the_order_that_was_confirmed_is_found_again() -> None:
    """Exam F: two studies, two accession numbers in one report."""
    order = exam().order
    assert order is not None
    two = replace(report(), orders=(order, replace(order, accession=Identifier("1.2", "ACC-2"))))
    confirmed = check(replace(study(), AccessionNumber="ACC-2"), exam(), two)
    kos = build_kos(study(), two, confirmed, MAKER, IDENTITY, NOW)
    found = standing_study(kos, two, exam(), MAKER, NOW)
    assert found is not None
    assert check(found, exam(), two) == confirmed


@pytest.mark.parametrize("kos", [b"", b"x" * 200, made(study())[:-20], made(study()) + b"\0\0"])
def test_what_is_no_whole_kos_is_none(kos: bytes) -> None:
    assert back(kos) is None


def test_one_of_another_maker_or_report_is_none() -> None:
    kos = made(study())
    assert back(kos, replace(MAKER, retrieve_url="https://other.example/wado")) is None
    named = replace(report(), patient=replace(report().patient, birth_family="ANOTHER"))
    assert standing_study(kos, named, exam(), MAKER, NOW) is None


LABELS = st.text(max_size=70)


@settings(max_examples=60)
@for_any(LABELS, LABELS, st.sampled_from(["CT", "", "X @  : Y"]), st.none() | st.integers(-5, 2**33), LABELS)
def test_any_labels_come_back_or_none_does(
    description: str, of_series: str, modality: str, number: int | None, physician: str
) -> None:
    one = replace(series(1), SeriesDescription=of_series, Modality=modality, SeriesNumber=number)
    instances = (*one.instances, Instance("1.2.3.1.9", KO, number, 12))
    was = replace(
        study(replace(one, instances=instances)), StudyDescription=description, ReferringPhysicianName=physician
    )
    try:
        kos = made(was)
    except Refused:
        return
    found = back(kos)
    if found is not None:
        assert same_content(kos, build_kos(found, report(), exam(), MAKER, IDENTITY, NOW))


def test_a_manifest_longer_than_any_note_still_says_its_study_and_is_not_read_back() -> None:
    """What bounds a stranger's note bounds ours too: such a study waits for its PACS."""
    kos = made(study(*(series(number, 2_000) for number in range(1, 7))))
    assert read_kos_header(kos).study_uid == study().StudyInstanceUID
    assert back(kos) is None
