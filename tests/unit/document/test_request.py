"""Whether message and report speak of one thing, and which no is said where (hl7v2.md §§ 3.6, 4, 5; N-05)."""

from dataclasses import replace
from typing import Any

import pytest

from passevue.document.header import Order
from passevue.document.patient import Identifier
from passevue.document.request import (
    Action,
    Request,
    Task,
    earlier_versions,
    left_out,
    publishable,
    read_request,
    report_key,
    same_exam,
    tasks,
    tasks_of_key_object,
)
from passevue.errors import Ack, Hl7Error, Refused
from passevue.intake.received import Kind
from passevue.intake.ris_values import Demand, RisMessage
from passevue.intake.study import Reference
from tests.unit.document.given import CDA, CDA_NEW, exam, message, note, report

STUDIES = [f"1.2.250.1.3.152.235.2.12.18763647{last}" for last in (4, 5, 6)]
REPLACED = "90E1C8EC-F951-4B26-A305-A34848818DD6"


def replacement(**changes: Any) -> RisMessage:
    return message(**{"demand": Demand.REPLACE, "cda": CDA, "replaced_document_id": REPLACED, **changes})


def refusal(told: RisMessage, realm: str = "test") -> tuple[int, int | None]:
    with pytest.raises(Hl7Error) as caught:
        read_request(told, realm)
    assert caught.value.ack is Ack.AE
    for identity in ("PAT-TROIS", "DOMINIQUE", "279035121518989", "1234567890121", *STUDIES):
        assert identity not in str(caught.value)
    return caught.value.code, caught.value.application_code


def test_a_new_report_publishes_each_of_its_studies() -> None:
    request = read_request(message(), "test")
    key = report_key(request.report)
    assert tasks(request) == tuple(Task(Action.PUBLISH, study_uid, key) for study_uid in STUDIES)
    publishable(request)


@pytest.mark.parametrize("demand", [Demand.REPLACE, Demand.VISIBILITY])
def test_a_replacement_publishes_each_study_again(demand: Demand) -> None:
    request = read_request(replacement(demand=demand), "test")
    assert [task.action for task in tasks(request)] == [Action.PUBLISH] * 3


@pytest.mark.parametrize("cda", [CDA, CDA_NEW])
def test_a_deletion_withdraws_each_study_whether_the_last_version_replaced_another_or_not(cda: bytes) -> None:
    request = read_request(message(demand=Demand.DELETE, cda=cda, replaced_document_id="1.2.3"), "test")
    key = report_key(request.report)
    assert tasks(request) == tuple(Task(Action.WITHDRAW, study_uid, key) for study_uid in STUDIES)


def test_changed_images_refresh_their_study() -> None:
    told = message(kind=Kind.EXAM_CHANGED, demand=Demand.IMAGES_REMOVED, cda=b"", study_uid=STUDIES[0], ins=None)
    assert tasks(read_request(told, "test")) == (Task(Action.REFRESH, STUDIES[0]),)
    assert refusal(replace(told, study_uid="1.02")) == (102, None)
    assert refusal(replace(told, study_uid="")) == (102, None)


def test_a_report_that_is_not_for_the_dmp_is_taken_with_or_without_ins() -> None:
    assert len(tasks(read_request(message(for_dmp=False), "test"))) == 3
    nobody = CDA_NEW.replace(b'<id extension="279035121518989" root="1.2.250.1.213.1.4.10"/>', b"")
    for ins in (None, message().ins):
        assert len(tasks(read_request(message(for_dmp=False, ins=ins, cda=nobody), "test"))) == 3


# At the door: AE


def test_an_unreadable_report() -> None:
    assert refusal(message(cda=b"%PDF-1.7")) == (102, 906)
    assert refusal(message(cda=b"<!DOCTYPE a><a/>")) == (102, 906)
    assert refusal(message(cda=b"<a/>")) == (103, None)


def test_two_patients_in_one_message() -> None:
    other = CDA_NEW.replace(b"279035121518989", b"162018885045327")
    assert refusal(message(cda=other)) == (204, 904)
    assert refusal(message(more_cdas=(other,))) == (204, 904)
    read_request(message(more_cdas=(CDA_NEW,)), "test")


def test_the_same_matricule_under_another_oid_is_another_patient() -> None:
    assert refusal(message(cda=CDA_NEW.replace(b"213.1.4.10", b"213.1.4.11"))) == (204, 904)


def test_no_ins_on_either_side() -> None:
    nobody = CDA_NEW.replace(b'<id extension="279035121518989" root="1.2.250.1.213.1.4.10"/>', b"")
    assert refusal(message(cda=nobody)) == (101, 903)
    assert refusal(message(ins=None)) == (101, 903)


def test_a_wrong_key_and_a_short_matricule() -> None:
    oid = "1.2.250.1.213.1.4.10"
    assert refusal(message(ins=("279035121518988", oid))) == (102, 905)
    assert refusal(message(ins=("2790351215189", oid))) == (102, 905)


def test_an_ins_of_the_other_realm() -> None:
    assert refusal(message(), "production") == (103, 906)
    real = message(ins=("279035121518989", "1.2.250.1.213.1.4.8"), cda=CDA_NEW.replace(b"213.1.4.10", b"213.1.4.8"))
    assert refusal(real, "test") == (103, 906)
    read_request(real, "production")


def test_txa_12_must_be_the_id_of_the_report() -> None:
    assert refusal(message(document_id="1.2.3")) == (207, 906)
    read_request(message(document_id=""), "test")  # an ORU has no TXA


def test_txa_12_of_an_id_with_an_extension() -> None:
    cda = CDA_NEW.replace(b'<id root="1.2.250.1.213.1.1.1.45.2"/>', b'<id root="1.2.3" extension="A7"/>')
    read_request(message(cda=cda, document_id="1.2.3^A7"), "test")
    assert refusal(message(cda=cda, document_id="1.2.3")) == (207, 906)


def test_txa_13_must_be_the_replaced_report() -> None:
    assert refusal(replacement(replaced_document_id="1.2.3")) == (207, 900)
    read_request(replacement(replaced_document_id=REPLACED.lower()), "test")
    read_request(replacement(replaced_document_id=""), "test")


def test_what_is_asked_and_what_the_report_replaces_must_agree() -> None:
    assert refusal(message(cda=CDA)) == (207, 906)
    assert refusal(replacement(cda=CDA_NEW)) == (207, 900)


def test_a_report_without_study_is_refused() -> None:
    start, end = CDA_NEW.index(b"<documentationOf>"), CDA_NEW.rindex(b"</documentationOf>") + 18
    assert refusal(message(cda=CDA_NEW[:start] + CDA_NEW[end:])) == (101, 906)


# After AA: set aside


def set_aside(told: RisMessage) -> str:
    with pytest.raises(Refused) as caught:
        publishable(read_request(told, "test"))
    assert caught.value.hint
    for identity in ("PAT-TROIS", "DOMINIQUE", "279035121518989", "PATIENTBIS"):
        assert identity not in str(caught.value) + caught.value.hint
    return caught.value.code


@pytest.mark.parametrize("reliability", ["", "PROV", "VIDE", "DOUB"])
def test_an_ins_that_is_not_qualified(reliability: str) -> None:
    assert set_aside(message(identity_reliability=reliability)) == "ins-not-qualified"


@pytest.mark.parametrize(
    "changes",
    [
        {"birth_name": "ANS-DRIM", "birth_given": "PATIENTBIS"},  # exam M, seen from the message
        {"birth_name": "PAT-QUATRE"},
        {"birth_given": "DOMINIQUES"},
        {"birth_date": "19790329"},
        {"birth_date": "1979"},
        {"sex": "M"},
        {"sex": "U"},
        {"birth_name": ""},
        {"birth_given": ""},
        {"birth_date": ""},
        {"ipp": (("1234567890122", "1.2.3.4.567.8.9.10"),)},
        {"ipp": (("1234567890121", "1.2.3.4"),)},
    ],
)
def test_traits_or_local_ids_that_differ(changes: dict[str, Any]) -> None:
    assert set_aside(message(**changes)) == "identity-mismatch"


@pytest.mark.parametrize(
    "changes",
    [
        {"birth_name": "Pat Trois", "birth_given": "Dominique"},
        {"ipp": (("1234567890121", ""),)},  # PID-3 without OID
        {"ipp": ()},
        {"ipp": (("9", "1.2.3"), ("1234567890121", "1.2.3.4.567.8.9.10"))},
        {"birth_date": "19790328120000"},
    ],
)
def test_what_is_the_same_identity_all_the_same(changes: dict[str, Any]) -> None:
    publishable(read_request(message(**changes), "test"))


# Changed images


def changed_images(**changes: Any) -> RisMessage:
    told: dict[str, Any] = {"ins": None, "identity_reliability": "", "study_uid": STUDIES[0], "cda": b""}
    return message(kind=Kind.EXAM_CHANGED, demand=Demand.IMAGES_CHANGED, **{**told, **changes})


def test_changed_images_are_refreshed_whatever_the_message_says_of_the_identity() -> None:
    publishable(read_request(changed_images(), "test"))
    same_exam(changed_images(), report())
    same_exam(changed_images(ins=message().ins, accession_number="105234751"), report())


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ins": ("162018885045327", "1.2.250.1.213.1.4.10")}, "identity-mismatch"),
        ({"accession_number": "105234752"}, "accession-mismatch"),
    ],
)
def test_changed_images_of_another_patient_or_order(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as caught:
        same_exam(changed_images(**changes), report())
    assert caught.value.code == code


def test_changed_images_may_bear_the_order_of_another_report_of_the_study() -> None:
    elsewhere = Identifier("1.2.250.1.999.7", "RIS2-0042")
    other = replace(report(), orders=(Order(None, elsewhere),))
    same_exam(changed_images(accession_number="RIS2-0042"), report(), (other,))
    with pytest.raises(Refused, match="accession-mismatch"):
        same_exam(changed_images(accession_number="RIS2-0043"), report(), (other,))


# Key objects


@pytest.mark.parametrize("title", ["113001", "113037", "113038", "113039"])
def test_a_rejection_note_refreshes_every_study_that_it_names(title: str) -> None:
    rejection = note(title, "1.2.3.1.1")
    rejection = replace(rejection, references=(*rejection.references, Reference("1.2.77", "1.2", "1.3", "1.4")))
    named = tasks_of_key_object(rejection)
    assert named == (Task(Action.REFRESH, exam().study_uid), Task(Action.REFRESH, "1.2.77"))


def test_a_key_image_note_refreshes_its_study() -> None:
    assert tasks_of_key_object(note("113000", "1.2.3.1.1")) == (Task(Action.REFRESH, exam().study_uid),)


@pytest.mark.parametrize("title", ["113030", "999999", ""])
def test_our_manifest_and_unknown_titles_do_nothing(title: str) -> None:
    assert tasks_of_key_object(note(title, "1.2.3.1.1")) == ()


def test_a_request_is_a_value() -> None:
    assert read_request(message(), "test") == read_request(message(), "test")
    assert Request(message()).report is None


def test_a_new_version_that_leaves_a_study_out_withdraws_it() -> None:
    request = Request(message(demand=Demand.REPLACE), report())
    dropped = left_out(request, {*STUDIES, "1.2.99"})
    assert dropped == (Task(Action.WITHDRAW, "1.2.99", report_key(report())),)


def test_only_a_replacement_has_earlier_versions() -> None:
    assert earlier_versions(Request(message(demand=Demand.NEW), report())) == frozenset()
    replacing = Request(message(demand=Demand.REPLACE), replace(report(), replaced_id=Identifier("1.2.3")))
    assert "1.2.3" in earlier_versions(replacing)
