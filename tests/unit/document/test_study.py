"""Whose images they are, and what of them may be seen (kos.md §§ 6, 8.2, 10)."""

from dataclasses import replace

import pytest

from passevue.document.header import Code, Order
from passevue.document.patient import Identifier
from passevue.document.study import check, event_modalities, key_image_notes, without
from passevue.errors import CabinetError, Refused
from passevue.intake.pacs_answers import instances_of, series_of
from passevue.intake.study import Instance, Study
from passevue.queue.retry import Facts, Phase, Policy, after
from passevue.queue.states import State
from tests.unit.document.given import KO, exam, note, report, series, study


def refusal(**changes: str) -> str:
    with pytest.raises(Refused) as caught:
        check(replace(study(), **changes), exam(), report())
    assert caught.value.hint
    assert "105234751" not in str(caught.value)
    return caught.value.code


def test_the_study_of_the_report_passes() -> None:
    assert check(study(), exam(), report()) == exam()
    assert (
        check(replace(study(), PatientID=" 1234567890121 ", AccessionNumber="105234751 "), exam(), report()) == exam()
    )


def test_another_patient_or_accession_number_is_refused() -> None:
    assert refusal(PatientID="1234567890122") == "patient-mismatch"
    assert refusal(AccessionNumber="105234752") == "accession-mismatch"


def test_what_cannot_be_compared_is_not_passed() -> None:
    assert refusal(PatientID="") == "patient-mismatch"
    assert refusal(AccessionNumber="") == "accession-mismatch"
    nobody = replace(report(), patient=replace(report().patient, local_ids=()))
    with pytest.raises(Refused, match="patient-mismatch"):
        check(study(), exam(), nobody)


def test_a_report_without_order_has_no_accession_number_to_compare() -> None:
    without_order = replace(report(), orders=(), exams=(replace(exam(), order=None),))
    assert check(study(), without_order.exams[0], without_order).order is None


def test_an_empty_study_is_refused() -> None:
    for empty in (None, replace(study(), series=()), replace(study(), series=(replace(series(1), instances=()),))):
        with pytest.raises(Refused, match="study-empty"):
            check(empty, exam(), report())


def test_the_pacs_confirms_which_order_goes_with_which_study() -> None:
    """Exam F, had the RIS written the two orders the other way round."""
    root = "1.2.250.1.925.994044785528.27"
    orders = tuple(Order(Identifier("1.2.6", "OPN107"), Identifier(root, text)) for text in ("ACN107", "ACN106"))
    paired = replace(exam(), order=orders[0])
    whole = replace(report(), orders=orders, exams=(paired,))
    confirmed = check(replace(study(), AccessionNumber="ACN106"), paired, whole)
    assert confirmed.accession == Identifier(root, "ACN106")
    assert check(replace(study(), AccessionNumber="ACN107"), paired, whole) == paired
    unpaired = replace(paired, order=None)
    assert check(replace(study(), AccessionNumber="ACN106"), unpaired, whole).order == orders[1]
    with pytest.raises(Refused, match="accession-mismatch"):
        check(replace(study(), AccessionNumber="ACN108"), unpaired, whole)


@pytest.mark.parametrize(
    "senseless",
    [
        replace(study(), StudyInstanceUID="1.2.9"),
        study(series(1), series(1)),
        study(series(1), replace(series(2), instances=series(1).instances)),
        study(replace(series(1), instances=(Instance("../../x", KO),))),
        study(replace(series(1), instances=(Instance("1.2.3", "CT"),))),
        study(replace(series(1), SeriesInstanceUID="")),
    ],
)
def test_an_answer_that_makes_no_sense_is_the_pacs_s_fault(senseless: object) -> None:
    with pytest.raises(CabinetError):
        check(senseless, exam(), report())  # type: ignore[arg-type]


def test_rejected_instances_go_and_empty_series_with_them() -> None:
    left = without(study(), {"1.2.3.1.1", "1.2.3.1.2", "1.2.3.1.3", "1.2.3.2.2", "9.9"})
    assert [(each.SeriesInstanceUID, len(each.instances)) for each in left.series] == [("1.2.3.2", 2)]


def test_nothing_rejected_changes_nothing() -> None:
    assert without(study(), ()) is not None
    assert without(study(), ()) == study()
    assert without(study(), ["9.9"]) == study()


@pytest.mark.parametrize("title", ["113001", "113037", "113038", "113039"])
def test_a_rejection_note_in_the_pacs_goes_with_what_it_rejects(title: str) -> None:
    notes = replace(series(9, 1, KO, "KO"), instances=(Instance("1.2.3.9.1", KO),))
    held = study(series(1), notes, key_objects=(note(title, "1.2.3.1.2"),))
    left = without(held, ())
    assert [instance.SOPInstanceUID for instance in left.series[0].instances] == ["1.2.3.1.1", "1.2.3.1.3"]
    assert len(left.series) == 1
    assert left.key_objects == ()


def test_key_image_notes_stay_and_our_manifest_goes() -> None:
    notes = replace(series(9, 1, KO, "KO"), instances=(Instance("1.2.3.9.1", KO), Instance("1.2.3.9.2", KO)))
    held = study(
        series(1), notes, key_objects=(note("113000", "1.2.3.1.2"), note("113030", "1.2.3.1.2", uid="1.2.3.9.2"))
    )
    left = without(held, ())
    assert [instance.SOPInstanceUID for instance in left.series[1].instances] == ["1.2.3.9.1"]
    assert len(left.series[0].instances) == 3
    assert [each.title for each in left.key_objects] == ["113000"]


def test_images_and_the_notes_that_mark_them() -> None:
    first, second = note("113000", "1.2.3.1.2", "1.2.3.1.2"), note("113005", "1.2.3.1.2", "1.2.3.1.3", uid="1.2.3.9.2")
    rejection = note("113001", "1.2.3.1.1", uid="1.2.3.9.3")
    marked = key_image_notes(study(key_objects=(first, second, rejection)))
    assert marked == {"1.2.3.1.2": (first, second), "1.2.3.1.3": (second,)}


def test_modalities_are_the_report_s_unless_it_has_one_that_is_none() -> None:
    held = study(series(1, modality="MR"), series(2, modality="KO"), series(3, modality="MR"), series(4, modality="SR"))
    assert [code.code for code in event_modalities(held, exam())] == ["CT"]
    french = replace(exam(), modalities=(Code("RM"),))
    assert [(code.code, code.system) for code in event_modalities(held, french)] == [("MR", "1.2.250.1.213.1.1.5.618")]
    silent = replace(exam(), modalities=())
    assert [code.code for code in event_modalities(held, silent)] == ["MR"]


# --- UIDs with leading zeros, as real devices write them (PS3.5 § 9.1 forbids them)

PADDED = "1.2.250.1.03.7"


def as_the_pacs_tells_it(
    series_uid: str = "1.2.250.7", sop_uid: str = "1.2.250.7.1", sop_class: str = "1.2.84"
) -> Study:
    """From the rows of its answers, which are taken with such UIDs."""
    whole = study()
    row = {"StudyInstanceUID": whole.StudyInstanceUID, "SeriesInstanceUID": series_uid}
    (one,) = series_of([row], whole.StudyInstanceUID)
    image = row | {"SOPInstanceUID": sop_uid, "SOPClassUID": sop_class}
    instances = instances_of([image], whole.StudyInstanceUID, series_uid)
    return replace(whole, series=(*whole.series, replace(one, instances=instances)))


@pytest.mark.parametrize("padded", [{"series_uid": PADDED}, {"sop_uid": PADDED}, {"sop_class": PADDED}])
def test_a_study_with_such_a_uid_waits_for_a_person_who_is_told_what_to_correct(padded: dict[str, str]) -> None:
    assert check(as_the_pacs_tells_it(), exam(), report()) == exam()
    with pytest.raises(Refused, match="uid-padded: 1 UIDs") as refused:
        check(as_the_pacs_tells_it(**padded), exam(), report())
    assert PADDED not in str(refused.value)
    step = after(refused.value, Phase.BUILD, Facts(), 0.5, Policy())
    assert (step.state, step.facts.reason, step.facts.resume) == (State.SET_ASIDE, "uid-padded", State.WAITING)
    assert "commence par un zéro" in step.facts.hint
    assert "relancez" in step.facts.hint


def test_the_whole_study_waits_none_of_it_is_left_out() -> None:
    """A manifest without that image would hide it from whoever looks at the others."""
    most = as_the_pacs_tells_it(sop_uid=PADDED)
    assert most.instance_count > 1
    with pytest.raises(Refused, match="uid-padded"):
        check(most, exam(), report())


def test_a_uid_that_is_none_at_all_is_still_the_pacs_s_fault() -> None:
    both = as_the_pacs_tells_it(sop_uid=PADDED)
    none = replace(series(9), SeriesInstanceUID="1..2", instances=(Instance("1.2.250.8", "1.2.84"),))
    both = replace(both, series=(*both.series, none))
    with pytest.raises(CabinetError, match="a UID that is none"):
        check(both, exam(), report())


def test_a_rejected_object_with_such_a_uid_is_no_hindrance() -> None:
    kept = without(as_the_pacs_tells_it(sop_uid=PADDED), (PADDED,))
    assert check(kept, exam(), report()) == exam()
