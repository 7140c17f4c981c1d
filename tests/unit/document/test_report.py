"""The header of a report, in every generation of the samples (cda-report.md)."""

import contextlib

import pytest
from hypothesis import given as for_any
from hypothesis import strategies as st

from passevue.document.patient import Identifier, Ins
from passevue.document.report import Report, header_of, read_report
from passevue.errors import Hl7Error, Unreadable
from tests.unit.document.given import CDA, CDA_2019, CDA_2023

NAME_START, NAME_END = CDA.index(b"<name>"), CDA.index(b"</name>")


def with_name(name: str) -> Report:
    return read_report(CDA[:NAME_START] + b"<name>" + name.encode() + CDA[NAME_END:])


def changed(old: str, new: str, count: int = 1) -> bytes:
    assert old.encode() in CDA
    return CDA.replace(old.encode(), new.encode(), count)


def with_events(events: str, orders: str = "") -> Report:
    """The sample with other inFulfillmentOf and documentationOf."""
    start, end = CDA.index(b"<inFulfillmentOf>"), CDA.rindex(b"</documentationOf>") + len(b"</documentationOf>")
    return read_report(CDA[:start] + orders.encode() + events.encode() + CDA[end:])


def event(*ids: str, code: str = '<code code="24727-0" codeSystem="2.16.840.1.113883.6.1"/>') -> str:
    return f"<documentationOf><serviceEvent>{''.join(ids)}{code}</serviceEvent></documentationOf>"


def order(accession: str, placer: str) -> str:
    return (
        f'<inFulfillmentOf><order><id root="1.2.6" extension="{placer}"/>'
        f'<ps3-20:accessionNumber root="1.2.5" extension="{accession}"/></order></inFulfillmentOf>'
    )


def test_the_sample_of_2023() -> None:
    report = read_report(CDA_2023)
    assert report.id == Identifier("1.2.250.1.213.1.1.1.45.2")
    assert report.set_id == Identifier("D52DE737-001D-4031-B571-0A0ED7C42300")
    assert report.replaced_id == Identifier("90E1C8EC-F951-4B26-A305-A34848818DD6")
    assert report.version == 2
    assert report.patient.ins == Ins("279035121518989", "1.2.250.1.213.1.4.10")
    assert report.patient.ipp == Identifier("1.2.3.4.567.8.9.10", "1234567890121")
    assert (report.patient.birth_family, report.patient.birth_given) == ("PAT-TROIS", "DOMINIQUE")
    assert (report.patient.used_family, report.patient.used_given) == ("PAT-TROIS", "DOMINIQUE")
    assert (report.patient.sex, report.patient.birth_date, report.patient.birth_place) == ("F", "19790328", "63220")
    assert report.author is not None
    assert (report.author.id, report.author.family, report.author.given) == ("801234560801", "BIDEAULT", "Jacques")
    assert (report.author.profession_code, report.author.profession) == ("G15_10/SM44", "10")
    assert report.author.specialty == "SM44"
    assert report.facility is not None
    assert report.facility.code == "SA08"
    assert report.practice_setting is not None
    assert report.practice_setting.code == "AMBULATOIRE"


def test_three_studies_share_the_only_order_and_the_screening_event_is_ignored() -> None:
    exams = read_report(CDA_2023).exams
    assert [exam.study_uid for exam in exams] == [f"1.2.250.1.3.152.235.2.12.18763647{last}" for last in (4, 5, 6)]
    assert {exam.accession for exam in exams} == {Identifier("1.2.250.1.925.994044785528.27", "105234751")}
    first = exams[0]
    assert [code.code for code in first.acts] == ["24727-0", "ACQH004"]
    assert [code.code for code in first.modalities] == ["CT"]
    assert [code.code for code in first.regions] == ["774007"]
    assert (first.start, first.stop) == ("20210108102500+0100", "20210108111700+0100")


def test_the_sample_of_2019() -> None:
    report = read_report(CDA_2019)
    assert report.set_id is None
    assert report.version == 0
    assert report.replaced_id is None
    assert report.patient.birth_family == "PAT-TROIS"  # qualifier SP
    assert report.patient.birth_given == "DOMINIQUE"
    assert report.patient.birth_place == ""
    assert [exam.study_uid for exam in report.exams] == ["2.16.840.1.113669.632.20.1211.10000231621"]
    assert [code.label for code in report.exams[0].regions] == ["Thorax"]  # region as the act, in the OID of the CCAM
    assert report.exams[0].acts == ()
    structure = report.structure_of(report.exams[0])
    assert structure is not None
    assert structure.id == "300000000023911"


@pytest.mark.parametrize(
    ("block", "family", "first", "listed", "used"),
    [
        (  # 2024.01
            '<family qualifier="BR">A</family><given>B C-D</given><given qualifier="BR">B</given>'
            '<family qualifier="CL">E</family><given qualifier="CL">F</given>',
            *("A", "B", "B C-D", ("E", "F")),
        ),
        (  # exams of DRIM-M_DATA, other order
            '<given qualifier="CL">F</given><given qualifier="BR">B</given><given>B C</given>'
            '<family qualifier="CL">E</family><family qualifier="BR">A</family>',
            *("A", "B", "B C", ("E", "F")),
        ),
        ('<family qualifier="BR">A</family><given>B C</given>', "A", "B", "B C", ("", "")),  # 2023.11
        ('<family qualifier="SP">A</family><given>B</given>', "A", "B", "B", ("", "")),  # 2019
        ("<family>A</family><given>B</given><given>C</given>", "A", "B", "B C", ("", "")),
        ('<family qualifier="BR">A</family><given qualifier="BR">B</given>', "A", "B", "B", ("", "")),
        ('<family qualifier="SP">S</family><family qualifier="BR">A</family>', "A", "", "", ("", "")),
        ('<family qualifier="BR">A<!-- x -->A</family><given> B \n C </given>', "AA", "B", "B C", ("", "")),
        ('<family nullFlavor="UNK"/>', "", "", "", ("", "")),
    ],
)
def test_name_generations(block: str, family: str, first: str, listed: str, used: tuple[str, str]) -> None:
    patient = with_name(block).patient
    assert (patient.birth_family, patient.birth_given, patient.birth_given_names) == (family, first, listed)
    assert (patient.used_family, patient.used_given) == used


@pytest.mark.parametrize(
    ("value", "kept"),
    [("1979", "1979"), ("197903", "197903"), ("19790328120000+0100", "19790328"), ("", ""), ("hier", "")],
)
def test_partial_birth_dates_are_kept(value: str, kept: str) -> None:
    cda = changed('<birthTime value="19790328"/>', f'<birthTime value="{value}"/>')
    assert read_report(cda).patient.birth_date == kept


@pytest.mark.parametrize(("code", "sex"), [("M", "M"), ("F", "F"), ("UN", "U"), ("", "U"), ("f", "F")])
def test_sex(code: str, sex: str) -> None:
    cda = changed('administrativeGenderCode code="F"', f'administrativeGenderCode code="{code}"')
    assert read_report(cda).patient.sex == sex


def test_the_ins_is_known_by_its_root_and_not_by_its_place() -> None:
    ins, ipp = (
        '<id extension="279035121518989" root="1.2.250.1.213.1.4.10"/>',
        '<id extension="1234567890121" root="1.2.3.4.567.8.9.10" />',
    )
    swapped = CDA.replace(ins.encode(), b"\0").replace(ipp.encode(), ins.encode()).replace(b"\0", ipp.encode())
    assert read_report(swapped).patient == read_report(CDA).patient


def test_two_ids_in_one_event_pair_with_the_orders_by_rank() -> None:
    """Exam F."""
    report = with_events(
        event('<id root="1.2.106"/>', '<id root="1.2.107"/>'), order("ACN1", "OPN7") + order("ACN2", "OPN7")
    )
    paired = [(exam.study_uid, exam.accession, exam.placer_order) for exam in report.exams]
    assert paired == [
        ("1.2.106", Identifier("1.2.5", "ACN1"), Identifier("1.2.6", "OPN7")),
        ("1.2.107", Identifier("1.2.5", "ACN2"), Identifier("1.2.6", "OPN7")),
    ]


def test_orders_that_are_neither_one_nor_as_many_pair_with_none() -> None:
    report = with_events(event('<id root="1.2.1"/>'), order("A", "P") + order("B", "P"))
    assert report.exams[0].order is None
    assert len(report.orders) == 2


def test_a_report_without_order() -> None:
    assert with_events(event('<id root="1.2.1"/>')).exams[0].order is None


def test_events_of_one_study_are_one_exam() -> None:
    second = '<code code="X" codeSystem="2.16.840.1.113883.6.1"/>'
    report = with_events(event('<id root="1.2.1"/>') + event('<id root="1.2.1"/>', code=second))
    assert [[act.code for act in exam.acts] for exam in report.exams] == [["24727-0", "X"]]


@pytest.mark.parametrize(
    "bad",
    [
        '<id root="1.2.03"/>',
        '<id root="../../etc/cron.d/x"/>',
        f'<id root="1.{"2" * 63}"/>',
        '<id nullFlavor="UNK"/>',
        '<id root="1.2.3" extension="17"/>',
        '<id root="D52DE737-001D-4031-B571-0A0ED7C42300"/>',
    ],
)
def test_what_is_no_study_uid_is_not_taken(bad: str) -> None:
    assert with_events(event(bad)).exams == ()
    assert [exam.study_uid for exam in with_events(event(bad, '<id root="1.2.9"/>')).exams] == ["1.2.9"]


def test_the_extension_study_instance_uid_is_a_label() -> None:
    report = with_events(event('<id root="1.2.3" extension="studyInstanceUID"/>'))
    assert report.exams[0].study_uid == "1.2.3"


def test_both_oids_of_the_ccam_and_a_wrong_modality_are_kept() -> None:
    code = (
        '<code code="24802-1" codeSystem="2.16.840.1.113883.6.1">'
        '<translation code="NZQN001" codeSystem="1.2.250.1.215.300.1"/>'
        '<translation code="RM" codeSystem="1.2.840.10008.2.16.4"><qualifier><name code="121139"/></qualifier>'
        "</translation></code>"
    )
    exam = with_events(event('<id root="1.2.1"/>', code=code)).exams[0]
    assert [act.code for act in exam.acts] == ["24802-1", "NZQN001"]
    assert [modality.code for modality in exam.modalities] == ["RM"]


def test_an_accession_number_under_any_prefix() -> None:
    cda = CDA.replace(b"ps3-20:", b"sdtc:").replace(b"xmlns:ps3-20", b"xmlns:sdtc")
    assert read_report(cda).exams[0].accession == read_report(CDA).exams[0].accession


def test_two_authors_in_tele_radiology() -> None:
    start, end = CDA.index(b"<author>"), CDA.index(b"</author>") + len(b"</author>")
    second = CDA[start:end].replace(b"801234560801", b"801234560802")
    report = read_report(CDA[:end] + second + CDA[end:])
    assert [author.id for author in report.authors] == ["801234560801", "801234560802"]


def test_a_device_as_author() -> None:
    start, end = CDA.index(b"<assignedPerson>"), CDA.index(b"</assignedPerson>") + len(b"</assignedPerson>")
    device = b"<assignedAuthoringDevice><softwareName>Dictee</softwareName></assignedAuthoringDevice>"
    author = read_report(CDA[:start] + device + CDA[end:]).author
    assert author is not None
    assert author.device == "Dictee"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('code="18748-4"', 'code="11488-4"', 103),
        ('codeSystem="2.16.840.1.113883.6.1" codeSystemName="LOINC">', 'codeSystem="1.2.3">', 103),
        ('<id root="1.2.250.1.213.1.1.1.45.2"/>', "", 102),
        ('<id root="1.2.250.1.213.1.1.1.45.2"/>', '<id root="x"/>', 102),
        ('xmlns="urn:hl7-org:v3"', 'xmlns="urn:hl7-org:v2"', 103),
        ("<patientRole>", "<patientRole/><patientRole>", 198),
        ('root="1.2.3.4.567.8.9.10"', 'root="1.2.250.1.213.1.4.8"', 198),
    ],
)
def test_what_is_no_imaging_report_is_said(old: str, new: str, code: int) -> None:
    with pytest.raises(Hl7Error) as caught:
        read_report(changed(old, new))
    assert caught.value.code == code
    assert "PAT-TROIS" not in str(caught.value)
    assert "279035121518989" not in str(caught.value)


def test_the_header_reads_like_the_whole_and_is_a_fraction_of_it() -> None:
    for cda in (CDA_2023, CDA_2019):
        header = header_of(cda)
        assert read_report(header) == read_report(cda)
        assert len(header) < len(cda) / 4
        assert b"JVBERi" not in header
        assert header_of(header) == header


def test_a_header_beyond_reason_is_refused() -> None:
    with pytest.raises(Unreadable, match="header"):
        header_of(CDA.replace(b"<title>", b"<title>" + b"x" * (1 << 20)))


def test_numbers_and_lengths_are_bounded() -> None:
    code = '<code code="A" codeSystem="2.16.840.1.113883.6.1">{}</code>'
    for events in (
        event('<id root="1.2.1"/>') * 201,
        event(*(f'<id root="1.2.{number}"/>' for number in range(1, 102))),
        event('<id root="1.2.1"/>', code=code.format('<translation code="B"/>' * 200)),
    ):
        with pytest.raises(Hl7Error) as caught:
            with_events(events)
        assert caught.value.code == 198
    assert len(with_events(event(*(f'<id root="1.2.{number}"/>' for number in range(1, 101)))).exams) == 100
    for old, new in ((">PAT-TROIS<", f">{'A' * 4001}<"), ('value="19790328"', f'value="{"1" * 4001}"')):
        with pytest.raises(Unreadable, match="4000"):
            read_report(changed(old, new))


def test_a_hundred_thousand_ids_are_refused_quickly() -> None:
    with pytest.raises(Hl7Error):
        with_events(event(*(f'<id root="1.2.{number}"/>' for number in range(1, 100_000))))


@for_any(st.binary(max_size=300), st.integers(0, len(CDA)), st.integers(0, 60))
def test_any_bytes_are_a_report_or_our_error_and_the_next_good_one_is_read(junk: bytes, at: int, cut: int) -> None:
    for data in (junk, CDA[:at] + junk + CDA[at + cut :]):
        with contextlib.suppress(Unreadable, Hl7Error):
            read_report(data)
            header_of(data)
    assert read_report(CDA).version == 2
