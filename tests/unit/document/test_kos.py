"""The KOS, against pydicom's idea of the same object, and in its corner cases (kos.md)."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given as for_any
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset

from passevue.document.header import Order, Report, Structure
from passevue.document.kos import KosIdentity, build_kos, other_patient_names, same_content
from passevue.document.patient import Identifier, Patient
from passevue.document.study import without
from passevue.errors import Refused
from passevue.intake.key_object import is_manifest, read_key_object
from passevue.intake.study import Instance, Study
from tests.unit.document.given import IDENTITY, KO, MAKER, NOW, exam, note, report, series, study
from tests.unit.document.reference_kos import reference_kos, written


def built(held: Study | None = None, told: Report | None = None, **changes: Any) -> bytes:
    told = told or report()
    facts = {"maker": MAKER, "identity": IDENTITY, "now": NOW, "exam": told.exams[0], **changes}
    return build_kos(held or study(), told, **facts)


def read(kos: bytes) -> Dataset:
    return dcmread(io.BytesIO(kos))


def with_patient(**changes: Any) -> Report:
    return replace(report(), patient=replace(report().patient, **changes))


def test_it_is_byte_for_byte_what_pydicom_writes() -> None:
    expected = reference_kos(study(), report(), exam(), MAKER, IDENTITY, NOW)
    assert read(built()) == expected
    assert built() == written(expected)


def test_a_large_study_too() -> None:
    large = study(*(series(number, 200) for number in range(1, 6)))
    assert built(large) == written(reference_kos(large, report(), exam(), MAKER, IDENTITY, NOW))


def test_the_intake_reads_it_as_a_manifest_of_the_study() -> None:
    note_of_ours = read_key_object(built())
    assert is_manifest(note_of_ours.title)
    assert len(note_of_ours.references) == 6


def test_one_text_item_and_it_is_the_last() -> None:
    items = read(built()).ContentSequence
    assert [item.ValueType for item in items] == ["IMAGE"] * 6 + ["TEXT"]
    assert items[-1].TextValue == (
        "Examen : Scanner tête\nActe = CT Head W contrast IV\n"
        "Série-1.2.3.1 : CT @  : Série 1\nSérie-1.2.3.2 : CT @  : Série 2\n"
    )


@pytest.mark.parametrize(
    ("used_family", "used_given", "value"),
    [
        ("", "", "^DOMINIQUE"),
        ("PAT-TROIS", "", "^DOMINIQUE\\PAT-TROIS"),
        ("", "DOMINIQUE", "^DOMINIQUE\\^DOMINIQUE"),
        ("PAT-TROIS", "DOMINIQUE", "^DOMINIQUE\\PAT-TROIS^DOMINIQUE"),
    ],
)
def test_other_patient_names(used_family: str, used_given: str, value: str) -> None:
    """The four cases of the cross-validator (kos.md § 3)."""
    told = with_patient(used_family=used_family, used_given=used_given)
    assert other_patient_names(told.patient) == value
    found = read(built(told=told)).OtherPatientNames
    assert "\\".join(map(str, [found] if isinstance(found, str) or not hasattr(found, "append") else found)) == value


def test_a_patient_without_given_names_has_no_other_names() -> None:
    patient = Patient(report().patient.ins, birth_family="SEUL")
    kos = read(built(told=replace(report(), patient=patient)))
    assert "OtherPatientNames" not in kos
    assert kos.PatientName == "SEUL"


def test_the_offset_is_that_of_the_day() -> None:
    for now, date, hour, offset in (
        (datetime(2026, 1, 31, 23, 30, tzinfo=UTC), "20260201", "003000", "+0100"),
        (datetime(2026, 7, 1, 12, 0, tzinfo=UTC), "20260701", "140000", "+0200"),
    ):
        kos = read(built(now=now))
        assert (kos.InstanceCreationDate, kos.InstanceCreationTime, kos.TimezoneOffsetFromUTC) == (date, hour, offset)
    overseas = replace(MAKER, timezone="Indian/Reunion")
    assert read(built(maker=overseas)).TimezoneOffsetFromUTC == "+0400"


def test_what_latin_1_cannot_say_is_written_in_utf_8() -> None:
    kos = read(built(told=with_patient(birth_family="ŁUKASZ")))
    assert kos.SpecificCharacterSet == "ISO_IR 192"
    assert kos.PatientName == "ŁUKASZ^DOMINIQUE"
    assert kos.StudyDescription == "Scanner tête"
    assert read(built()).SpecificCharacterSet == "ISO_IR 100"


@pytest.mark.parametrize(
    ("birth_date", "sex", "written_date", "written_sex"),
    [("19790328", "F", "19790328", "F"), ("1979", "U", "", "O"), ("19790300", "M", "", "M")],
)
def test_dates_and_sexes(birth_date: str, sex: str, written_date: str, written_sex: str) -> None:
    kos = read(built(told=with_patient(birth_date=birth_date, sex=sex)))
    assert (kos.PatientBirthDate, kos.PatientSex) == (written_date, written_sex)


def with_structure(structure: Structure) -> Report:
    performer = replace(exam().performer, structure=structure)  # type: ignore[type-var]
    return replace(report(), exams=(replace(exam(), performer=performer),))


def test_a_long_name_of_the_structure_is_shortened_and_its_id_is_not() -> None:
    name = read(built(told=with_structure(Structure("499700367909006", "Groupement " * 9)))).InstitutionName
    assert len(name) <= 64
    assert name.startswith("Groupement Groupement")
    assert name.endswith("^^^^^^^^^499700367909006")


@pytest.mark.parametrize(
    "order",
    [
        Order(Identifier("1.2", "P"), Identifier("1.3", "A" * 17)),
        Order(Identifier("1.2", "P" * 65), Identifier("1.3", "A")),
        Order(Identifier("1.2", "P"), Identifier("1.3", "A\\B")),
    ],
)
def test_an_identifier_is_never_cut(order: Order) -> None:
    with pytest.raises(Refused, match="identifier-too-long"):
        built(exam=replace(exam(), order=order))


def test_identifiers_at_their_limits_fit() -> None:
    order = Order(Identifier("1.2", "P" * 64), Identifier("1.3", "A" * 16))
    request = read(built(exam=replace(exam(), order=order))).ReferencedRequestSequence[0]
    assert request.AccessionNumber == "A" * 16
    assert request.PlacerOrderNumberImagingServiceRequest == "P" * 64


def test_without_an_order_the_numbers_are_empty_and_have_no_issuer() -> None:
    request = read(built(exam=replace(exam(), order=None))).ReferencedRequestSequence[0]
    assert request.AccessionNumber == ""
    assert request.PlacerOrderNumberImagingServiceRequest == ""
    assert "IssuerOfAccessionNumberSequence" not in request
    assert "OrderPlacerIdentifierSequence" not in request


def test_without_an_ins_there_is_no_kos() -> None:
    with pytest.raises(Refused, match="no-ins"):
        built(told=with_patient(ins=None))


def test_long_descriptions_and_names_are_cut_at_what_dicom_holds() -> None:
    held = replace(study(), StudyDescription="é" * 80, StudyID="x" * 17, ReferringPhysicianName="N" * 80)
    kos = read(built(held, told=with_patient(birth_family="F" * 80, birth_given_names="G " * 60)))
    assert kos.StudyDescription == "é" * 64
    assert kos.StudyID == ""
    assert len(kos.ReferringPhysicianName) == 64
    assert len(kos.PatientName) <= 64
    assert max(len(name) for name in kos.OtherPatientNames) <= 64


def test_delimiters_in_a_name_do_not_make_components() -> None:
    told = with_patient(birth_family="A^B=C\\D", birth_given="E\nF", used_family="", used_given="")
    kos = read(built(told=told))
    assert kos.PatientName == "A B C D^E F"


def test_numbers_that_the_pacs_did_not_give_are_left_out() -> None:
    held = study(
        replace(series(1), SeriesNumber=None, instances=(Instance("1.2.3.1.1", series(1).instances[0].SOPClassUID),))
    )
    item = read(built(held)).CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert "SeriesNumber" not in item
    assert "InstanceNumber" not in item.ReferencedSOPSequence[0]


def test_frames_are_told_in_both_places() -> None:
    held = study(replace(series(1), instances=(Instance("1.2.3.1.1", "1.2.840.10008.5.1.4.1.1.2.1", 1, 120),)))
    kos = read(built(held))
    evidence = kos.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert evidence.NumberOfFrames == 120
    assert kos.ContentSequence[0].ReferencedSOPSequence[0].NumberOfFrames == 120


def noted() -> Study:
    notes = replace(series(9, 1, KO, "KO"), instances=(Instance("1.2.3.9.1", KO, 1),))
    first = note("113000", "1.2.3.1.2", title_meaning="Of Interest", description="Nodule à revoir")
    second = note("113005", "1.2.3.1.2", uid="1.2.3.9.2", title_meaning="For Conference")
    return study(series(1), notes, key_objects=(first, second))


def test_a_key_image_tells_its_notes() -> None:
    kos = read(built(noted()))
    marked = kos.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert ["ReferencedSOPSequence" in item for item in marked] == [False, True, False]
    first, second = marked[1].ReferencedSOPSequence
    assert first.ReferencedSOPInstanceUID == "1.2.3.9.1"
    assert first.SeriesInstanceUID == "1.2.3.9"
    title = first.ConceptNameCodeSequence[0]
    assert (title.CodeValue, title.CodingSchemeDesignator, title.CodeMeaning) == ("113000", "DCM", "Of Interest")
    assert first.ContentSequence[0].TextValue == "Nodule à revoir"
    assert "ContentSequence" not in second
    assert [item.ValueType for item in kos.ContentSequence] == ["IMAGE"] * 3 + ["COMPOSITE", "TEXT"]
    assert all("ReferencedSOPSequence" not in item.ReferencedSOPSequence[0] for item in kos.ContentSequence[:-1])


def test_a_refresh_that_changes_nothing_has_the_same_content() -> None:
    later = built(
        identity=KosIdentity("2.25.99", IDENTITY.series_instance_uid, 2), now=NOW + timedelta(days=200)
    )  # another offset too
    assert later != built()
    assert same_content(built(), later)


def test_the_order_of_the_pacs_s_answers_changes_nothing() -> None:
    turned = study(*(replace(each, instances=each.instances[::-1]) for each in study().series[::-1]))
    assert built(turned) == built()


def test_what_a_reader_would_see_is_another_content() -> None:
    before = built(noted())
    assert not same_content(before, built(without(noted(), {"1.2.3.1.1"})))
    assert not same_content(before, built(replace(noted(), key_objects=())))
    assert not same_content(before, built(noted(), told=with_patient(birth_place="75112")))
    assert not same_content(before, built(noted(), maker=replace(MAKER, retrieve_url="https://other.example")))


def test_a_kos_of_another_form_is_never_the_same() -> None:
    for other in (b"", b"x" * 200, built()[:-1], built() + b"\0", built()[:140] + b"\xff\xff\xff\xff" + built()[144:]):
        assert not same_content(other, built())
        assert not same_content(built(), other)


HOSTILE = [
    "<script>alert(1)</script>",
    "'; DROP TABLE entry; --",
    "ÉLÉONORE-ÇA",
    "مريم",
    "שרה",
    "李 小龍",
    "A\u202eB",
    "%s%n{0}",
    "=cmd|' /C calc'!A0",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text: str) -> None:
    kos = read(built(replace(study(), StudyDescription=text), told=with_patient(birth_family=text)))
    assert kos.StudyDescription == text
    assert str(kos.PatientName).startswith(text.replace("=", " ").strip())


@for_any(st.text(max_size=80), st.text(max_size=80), st.text(max_size=80))
def test_any_text_gives_a_kos_that_pydicom_reads_whole(description: str, family: str, given: str) -> None:
    told = with_patient(birth_family=family, birth_given=given, birth_given_names=given, used_family=family)
    kos = read(built(replace(study(), StudyDescription=description), told=told))
    assert len(kos.ContentSequence) == 7
    assert kos.PatientID == "279035121518989"


@for_any(st.binary(max_size=300))
def test_any_bytes_can_be_compared(data: bytes) -> None:
    assert not same_content(data, built())
