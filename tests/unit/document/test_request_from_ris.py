"""Messages of the simulated RIS, through the HL7 reader, to tasks: both sides are written by another hand."""

from dataclasses import replace

import pytest

from passevue.document.request import Action, publishable, read_request, tasks
from passevue.errors import Hl7Error, Refused
from passevue.intake.ris import read_ris_message
from passevue.intake.ris_values import Demand
from tests.peers.ris_message import Ask, Details, Envelope, mdm, omi, oru
from tests.peers.ris_report import PAT_TROIS, Person, invented_document_id, invented_exam, invented_person, report

NUMBERS = range(1, 40)


def cda(patient: Person, number: int = 1, **more: object) -> bytes:
    version = int(bool(more.get("replaces"))) + 1
    exams = [invented_exam(number), invented_exam(number + 1000)]
    facts = {"document_id": invented_document_id(number, version), "version": version, "pdf_bytes": 400, **more}
    return report(patient, exams, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", NUMBERS)
def test_any_invented_patient_may_be_published(number: int) -> None:
    patient = invented_person(number)
    for raw in (oru(cda(patient, number), patient), mdm(cda(patient, number), patient)):
        request = read_request(read_ris_message(raw), "test")
        publishable(request)
        assert [task.study_uid for task in tasks(request)] == [
            f"1.2.250.1.213.4.5.2.1.{number}",
            f"1.2.250.1.213.4.5.2.1.{number + 1000}",
        ]


def test_replacement_visibility_and_deletion() -> None:
    second = cda(PAT_TROIS, replaces=invented_document_id(1))
    for ask, demand, action in (
        (Ask.REPLACE, Demand.REPLACE, Action.PUBLISH),
        (Ask.VISIBILITY, Demand.VISIBILITY, Action.PUBLISH),
        (Ask.DELETE, Demand.DELETE, Action.WITHDRAW),
    ):
        for raw in (oru(second, PAT_TROIS, ask), mdm(second, PAT_TROIS, ask)):
            request = read_request(read_ris_message(raw), "test")
            assert request.message.demand is demand
            assert {task.action for task in tasks(request)} == {action}


def test_exam_f_two_studies_in_one_event() -> None:
    request = read_request(read_ris_message(oru(cda(PAT_TROIS, one_service_event=True), PAT_TROIS)), "test")
    assert request.report is not None
    pairs = [(exam.study_uid.rpartition(".")[2], exam.accession) for exam in request.report.exams]
    assert [(study, accession.extension) for study, accession in pairs if accession] == [
        ("1", "ACN1"),
        ("1001", "ACN1001"),
    ]


def test_exam_m_another_identity_in_the_report() -> None:
    other = replace(
        PAT_TROIS, family="ANS-DRIM", given="PatientBis", givens="PatientBis", sex="M", birth_date="20120125"
    )
    request = read_request(read_ris_message(oru(cda(other), PAT_TROIS)), "test")
    with pytest.raises(Refused, match="identity-mismatch") as caught:
        publishable(request)
    assert "PID-5.1, PID-5.2, PID-7, PID-8" in str(caught.value)


def test_another_patient_altogether_is_refused_at_the_door() -> None:
    with pytest.raises(Hl7Error) as caught:
        read_request(read_ris_message(oru(cda(invented_person(1)), PAT_TROIS)), "test")
    assert caught.value.application_code == 904


def test_an_identity_that_is_not_validated() -> None:
    raw = oru(cda(PAT_TROIS), PAT_TROIS, details=Details(reliability="PROV"))
    with pytest.raises(Refused, match="ins-not-qualified"):
        publishable(read_request(read_ris_message(raw), "test"))


def test_changed_images() -> None:
    request = read_request(read_ris_message(omi(invented_exam(7), PAT_TROIS, orc_1="CA")), "test")
    assert [(task.action, task.study_uid) for task in tasks(request)] == [(Action.REFRESH, "1.2.250.1.213.4.5.2.1.7")]


def test_a_message_in_latin_9_agrees_with_its_report_in_utf_8() -> None:
    patient = replace(PAT_TROIS, family="ÉPREUVE-CŒUR", given="ZOÉ", givens="ZOÉ")
    raw = oru(cda(patient), patient, envelope=Envelope(charset="8859/15"))
    publishable(read_request(read_ris_message(raw), "test"))
