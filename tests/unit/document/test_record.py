"""What the archive keeps comes back as it was, and what a newer box added does no harm."""

import json
from dataclasses import replace

import pytest
from hypothesis import given as for_any
from hypothesis import strategies as st

from passevue.document.patient import Identifier
from passevue.document.record import Record, record_of
from passevue.errors import Damaged
from passevue.intake.ris_values import Participant, Visibility
from tests.unit.document.given import CDA_NEW, message, report

text = st.text(st.characters(codec="utf-8"), max_size=30)
identifiers = st.builds(Identifier, text, text)
alone = st.builds(
    Record,
    header=text.map(str.encode),
    patient_class=text,
    participant=st.none() | st.builds(Participant, *[text] * 8),
    visibility=st.builds(Visibility, st.booleans(), st.booleans(), st.booleans()),
    secret_connection=st.booleans(),
    kos_series_uid=text,
    instance_number=st.integers(0, 10_000),
    rejected=st.lists(text, max_size=5).map(tuple),
    report_id=identifiers,
    ipp=identifiers,
)
records = st.builds(replace, alone, others=st.lists(alone, max_size=2).map(tuple))


def whole() -> Record:
    told = message()
    return record_of(
        CDA_NEW,
        patient_class=told.patient_class,
        participant=told.participant,
        visibility=told.visibility,
        secret_connection=told.secret_connection,
        kos_series_uid="2.25.1",
        instance_number=3,
        rejected=("1.2.3",),
    )


@for_any(records)
def test_any_record_comes_back_as_it_was(record: Record) -> None:
    assert Record.from_bytes(record.to_bytes()) == record


def test_a_record_holds_the_report_without_its_body() -> None:
    record = Record.from_bytes(whole().to_bytes())
    assert record == whole()
    assert record.report == report()
    assert b"JVBERi" not in record.to_bytes()


def test_a_record_of_an_older_box_names_no_imported_report() -> None:
    content = json.loads(whole().to_bytes())
    del content["report_id"], content["ipp"]
    assert Record.from_bytes(json.dumps(content).encode()) == whole()


def test_no_bytes_are_an_empty_record() -> None:
    assert Record.from_bytes(b"") == Record()
    assert Record().report is None


def test_rejections_are_remembered_once_each_before_anything_is_published() -> None:
    record = Record().with_rejected(("1.2", "1.3")).with_rejected(("1.3", "1.4"))
    assert Record.from_bytes(record.to_bytes()).rejected == ("1.2", "1.3", "1.4")


def test_fields_of_a_newer_version_are_ignored() -> None:
    content = json.loads(whole().to_bytes())
    content.update(version=7, weather="fine")
    content["participant"]["badge"] = "blue"
    content["visibility"]["to_nobody"] = True
    assert Record.from_bytes(json.dumps(content).encode()) == whole()


def test_a_record_of_before_there_were_other_reports_is_read() -> None:
    content = json.loads(whole().to_bytes())
    del content["others"]
    assert Record.from_bytes(json.dumps(content).encode()) == whole()


@pytest.mark.parametrize(
    "change",
    [
        {"others": [1]},
        {"others": 5},
        {"header": 1},
        {"participant": {}},
        {"visibility": {"masque_ps": "yes"}},
        {"visibility": None},
        {"rejected": [1]},
        {"rejected": 5},
        {"instance_number": True},
        {"secret_connection": 1},
    ],
)
def test_a_record_of_another_form_is_damaged(change: dict[str, object]) -> None:
    with pytest.raises(Damaged):
        Record.from_bytes(json.dumps({**json.loads(whole().to_bytes()), **change}).encode())


def test_a_header_that_cannot_be_read_any_more_is_damaged() -> None:
    with pytest.raises(Damaged):
        _ = Record(header=b"<a").report


@for_any(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_damaged(data: bytes) -> None:
    try:
        Record.from_bytes(data)
    except Damaged as err:
        assert err.message  # noqa: PT017
