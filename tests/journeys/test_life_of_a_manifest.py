"""What happens to a published manifest when its report or its images change (kos.md § 8)."""

import pytest

from passevue.intake.key_object import read_key_object
from passevue.queue.states import State
from tests.peers import invented
from tests.peers.cabinet import Cabinet
from tests.peers.dmp import UPDATE
from tests.peers.dmp_registry import APPROVED, DELETED, DEPRECATED, Document
from tests.peers.ris import PAT_TROIS, Ask, Exam, invented_document_id, invented_exam, invented_person, omi

FIRST, SECOND = invented_document_id(7, 1), invented_document_id(7, 2)
CONFIDENTIALITY = "urn:uuid:f4f85eac-e6cb-4883-b524-f2705394840f"


def manifests(cabinet: Cabinet, status: str = APPROVED) -> list[Document]:
    return [
        one for one in cabinet.dmp.documents.values() if one.mime_type == "application/dicom" and one.status == status
    ]


def instances(document: Document) -> set[str]:
    return {one.SOPInstanceUID for one in read_key_object(document.content).references}


def confidentiality(document: Document) -> set[str]:
    path = f"{{*}}Classification[@classificationScheme='{CONFIDENTIALITY}']"
    return {one.get("nodeRepresentation", "") for one in document.metadata.findall(path)}


async def published(cabinet: Cabinet, exam: Exam, **details: object) -> list[object]:
    images = cabinet.examine(PAT_TROIS, exam)
    await cabinet.send(cabinet.cda(PAT_TROIS, exam, document_id=FIRST), PAT_TROIS, **details)
    await cabinet.settled(1)
    return images


async def test_replaced_report_replaces_the_manifest(cabinet: Cabinet) -> None:
    exam = invented_exam(7)
    await published(cabinet, exam)
    await cabinet.send(
        cabinet.cda(PAT_TROIS, exam, document_id=SECOND, replaces=FIRST, version=2), PAT_TROIS, Ask.REPLACE, by="mdm"
    )
    await cabinet.settled(2)
    (old,), (new,) = manifests(cabinet, DEPRECATED), manifests(cabinet)
    assert new.replaces == old.entry_uuid
    assert read_key_object(new.content).SeriesInstanceUID == read_key_object(old.content).SeriesInstanceUID


async def test_visibility_change_is_a_replacement_with_other_codes(cabinet: Cabinet) -> None:
    exam = invented_exam(7)
    await published(cabinet, exam, flags={"INVISIBLE_PATIENT": "Y"})
    assert confidentiality(manifests(cabinet)[0]) == {"N", "INVISIBLE_PATIENT"}
    await cabinet.send(
        cabinet.cda(PAT_TROIS, exam, document_id=SECOND, replaces=FIRST, version=2), PAT_TROIS, Ask.VISIBILITY, by="mdm"
    )
    await cabinet.settled(2)
    assert confidentiality(manifests(cabinet)[0]) == {"N"}
    assert len(manifests(cabinet, DEPRECATED)) == 1


async def test_rejection_note_takes_its_images_out_even_while_the_pacs_still_shows_them(cabinet: Cabinet) -> None:
    exam = invented_exam(7)
    images = await published(cabinet, exam)
    assert await cabinet.store(invented.rejection_note(images[:1])) == [0x0000]
    await cabinet.settled(2)
    (manifest,) = manifests(cabinet)
    assert instances(manifest) == {str(ds.SOPInstanceUID) for ds in images[1:]}


@pytest.mark.parametrize("left", [2, 0])
async def test_images_rejected_for_safety_leave_at_once_while_the_pacs_is_away(cabinet: Cabinet, left: int) -> None:
    """kos.md § 10, 113037: what stands says which others there are. The PACS, back, changes nothing."""
    exam = invented_exam(12)
    images = await published(cabinet, exam)
    cabinet.pacs.faults.refuse = True
    note = invented.rejection_note(images[: 3 - left], title="113037")
    assert await cabinet.store(note) == [0x0000]
    await cabinet.settled(2)
    standing = {str(ds.SOPInstanceUID) for ds in images[3 - left :]}
    assert [instances(one) for one in manifests(cabinet)] == ([standing] if left else [])
    assert len(manifests(cabinet, DEPRECATED if left else DELETED)) == 1
    cabinet.pacs.faults.refuse = False
    async with cabinet.ris() as ris:
        await ris.send(omi(exam, PAT_TROIS))
    found = await cabinet.settled(3)
    assert found.nothing_today == 1
    assert [instances(one) for one in manifests(cabinet)] == ([standing] if left else [])


@pytest.mark.parametrize("whose", ["two patients'", "another patient's"])
async def test_images_rejected_for_safety_leave_at_once_whatever_the_pacs_says(cabinet: Cabinet, whose: str) -> None:
    """A study that makes no sense, and one that may not be published: both would stop a manifest made anew."""
    exam = invented_exam(12)
    images = await published(cabinet, exam)
    if whose == "two patients'":
        cabinet.pacs.faults.second_patient = "AUTRE"
    else:
        for held in cabinet.pacs.held(exam.study_uid):
            held.PatientID = "AUTRE"
    assert await cabinet.store(invented.rejection_note(images[:1], title="113037")) == [0x0000]
    await cabinet.settled(2)
    assert [instances(one) for one in manifests(cabinet)] == [{str(ds.SOPInstanceUID) for ds in images[1:]}]


async def test_images_rejected_for_another_reason_wait_for_the_pacs(cabinet: Cabinet) -> None:
    exam = invented_exam(12)
    images = await published(cabinet, exam)
    cabinet.pacs.faults.refuse = True
    await cabinet.store(invented.rejection_note(images[:1]))
    await cabinet.until(lambda found: (State.WAITING, "network", 1) in found.by_reason)
    assert not manifests(cabinet, DEPRECATED)
    cabinet.pacs.faults.refuse = False
    await cabinet.settled(2, within_s=90)
    assert len(instances(manifests(cabinet)[0])) == 2


async def test_omi_after_new_images_adds_them(cabinet: Cabinet) -> None:
    exam = invented_exam(7)
    await published(cabinet, exam)
    more = cabinet.examine(PAT_TROIS, exam, slices=5)
    async with cabinet.ris() as ris:
        assert (await ris.send(omi(exam, PAT_TROIS))).code == "AA"
    await cabinet.settled(2)
    assert instances(manifests(cabinet)[0]) == {str(ds.SOPInstanceUID) for ds in more}


async def test_omi_without_any_change_publishes_nothing(cabinet: Cabinet) -> None:
    exam = invented_exam(7)
    await published(cabinet, exam)
    async with cabinet.ris() as ris:
        await ris.send(omi(exam, PAT_TROIS))
    await cabinet.settled(2)
    assert len(cabinet.dmp.committed) == 1


async def test_nothing_left_in_the_study_withdraws_and_new_images_publish_again(cabinet: Cabinet) -> None:
    exam = invented_exam(7)
    await published(cabinet, exam)
    cabinet.pacs.remove_study(exam.study_uid)
    async with cabinet.ris() as ris:
        await ris.send(omi(exam, PAT_TROIS, orc_1="CA"))
        await cabinet.settled(2)
        assert not manifests(cabinet)
        assert len(manifests(cabinet, DELETED)) == 1
        cabinet.examine(PAT_TROIS, exam)
        await ris.send(omi(exam, PAT_TROIS))
        await cabinet.settled(3)
    assert len(manifests(cabinet)) == 1


async def test_deleted_report_withdraws_the_manifest(cabinet: Cabinet) -> None:
    exam = invented_exam(7)
    await published(cabinet, exam)
    await cabinet.send(cabinet.cda(PAT_TROIS, exam, document_id=FIRST), PAT_TROIS, Ask.DELETE, by="mdm")
    await cabinet.settled(2)
    assert not manifests(cabinet)
    assert len(cabinet.dmp.withdrawn) == 1


async def test_a_manifest_that_the_patient_archived_is_withdrawn_all_the_same(cabinet: Cabinet) -> None:
    exam = invented_exam(7)
    await published(cabinet, exam)
    cabinet.dmp.memory.archive(manifests(cabinet)[0].unique_id)
    await cabinet.send(cabinet.cda(PAT_TROIS, exam, document_id=FIRST), PAT_TROIS, Ask.DELETE, by="mdm")
    await cabinet.settled(2)
    assert len(cabinet.dmp.withdrawn) == 1
    asked = [one.result for one in cabinet.dmp.requests if one.action == UPDATE]
    assert asked == ["XDSMetadataUpdateError", "ok"]  # INDIRECTE mode is not told the status


async def test_images_that_change_after_the_report_was_deleted_publish_nothing(cabinet: Cabinet) -> None:
    exam = invented_exam(7)
    await published(cabinet, exam)
    await cabinet.send(cabinet.cda(PAT_TROIS, exam, document_id=FIRST), PAT_TROIS, Ask.DELETE, by="mdm")
    await cabinet.settled(2)
    cabinet.examine(PAT_TROIS, exam, slices=5)
    async with cabinet.ris() as ris:
        await ris.send(omi(exam, PAT_TROIS))
    await cabinet.settled(3)
    assert not manifests(cabinet)


async def test_two_studies_in_one_report_make_two_manifests(cabinet: Cabinet) -> None:
    exams = (invented_exam(8), invented_exam(9))
    for exam in exams:
        cabinet.examine(PAT_TROIS, exam)
    await cabinet.send(cabinet.cda(PAT_TROIS, exams, one_service_event=True), PAT_TROIS)
    await cabinet.settled(2)
    assert {read_key_object(one.content).StudyInstanceUID for one in manifests(cabinet)} == {
        exam.study_uid for exam in exams
    }


async def test_study_left_out_of_the_replacing_report_is_withdrawn(cabinet: Cabinet) -> None:
    exams = (invented_exam(8), invented_exam(9))
    for exam in exams:
        cabinet.examine(PAT_TROIS, exam)
    await cabinet.send(cabinet.cda(PAT_TROIS, exams, document_id=FIRST), PAT_TROIS)
    await cabinet.settled(2)
    await cabinet.send(
        cabinet.cda(PAT_TROIS, exams[0], document_id=SECOND, replaces=FIRST, version=2), PAT_TROIS, Ask.REPLACE
    )
    await cabinet.settled(4)
    (left,) = manifests(cabinet)
    assert read_key_object(left.content).StudyInstanceUID == exams[0].study_uid


async def test_study_that_comes_to_the_pacs_later_is_published_then(cabinet: Cabinet) -> None:
    exam = invented_exam(10)
    await cabinet.send(cabinet.cda(PAT_TROIS, exam), PAT_TROIS)
    await cabinet.until(lambda found: any(reason == "study-absent" for _, reason, _ in found.by_reason))
    cabinet.examine(PAT_TROIS, exam)
    await cabinet.settled(1)
    assert len(manifests(cabinet)) == 1


async def test_study_that_never_comes_is_set_aside_for_a_person(cabinet: Cabinet) -> None:
    await cabinet.send(cabinet.cda(PAT_TROIS, invented_exam(11)), PAT_TROIS)
    await cabinet.set_aside(1, within_s=30)
    assert not cabinet.dmp.committed


async def test_report_of_another_identity_than_its_message_is_set_aside(cabinet: Cabinet) -> None:
    """Exam M of the ANS: the INS of one person, the name and birth date of another."""
    exam = invented_exam(12)
    cabinet.examine(PAT_TROIS, exam)
    other = invented_person(12)
    wrong = type(other)(**{**vars(other), "ins": PAT_TROIS.ins, "ins_oid": PAT_TROIS.ins_oid, "ipp": PAT_TROIS.ipp})
    ack = await cabinet.send(cabinet.cda(wrong, exam), PAT_TROIS)
    assert ack.code == "AA"
    await cabinet.set_aside()
    assert not cabinet.dmp.committed


async def test_images_of_another_patient_are_not_published(cabinet: Cabinet) -> None:
    exam = invented_exam(13)
    cabinet.examine(invented_person(13), exam)
    await cabinet.send(cabinet.cda(PAT_TROIS, exam), PAT_TROIS)
    found = await cabinet.set_aside()
    assert [reason for state, reason, _ in found.by_reason if state is State.SET_ASIDE] == ["patient-mismatch"]
    assert not cabinet.dmp.committed


async def test_report_not_meant_for_the_dmp_is_acknowledged_and_goes_nowhere(cabinet: Cabinet) -> None:
    exam = invented_exam(14)
    cabinet.examine(PAT_TROIS, exam)
    ack = await cabinet.send(cabinet.cda(PAT_TROIS, exam), PAT_TROIS, flags={"DESTDMP": "N"})
    assert ack.code == "AA"
    await cabinet.settled(1)
    assert not cabinet.dmp.requests


async def test_patient_without_a_dmp_is_told_to_a_person(cabinet: Cabinet) -> None:
    exam = invented_exam(15)
    cabinet.examine(PAT_TROIS, exam)
    cabinet.dmp.unknown_patients.add(f"{PAT_TROIS.ins}^^^&{PAT_TROIS.ins_oid}&ISO^NH")
    await cabinet.send(cabinet.cda(PAT_TROIS, exam), PAT_TROIS)
    found = await cabinet.set_aside()
    assert ("no-dmp") in {reason for _, reason, _ in found.by_reason}


async def test_same_report_sent_under_a_new_control_id_is_not_published_twice(cabinet: Cabinet) -> None:
    exam = invented_exam(16)
    cabinet.examine(PAT_TROIS, exam)
    cda = cabinet.cda(PAT_TROIS, exam)
    await cabinet.send(cda, PAT_TROIS)
    await cabinet.settled(1)
    await cabinet.send(cda, PAT_TROIS)
    await cabinet.settled(2)
    assert len(cabinet.dmp.committed) == 1


async def test_key_image_note_comes_into_the_manifest(cabinet: Cabinet) -> None:
    exam = invented_exam(17)
    images = await published(cabinet, exam)
    note = invented.key_image_note(images[:1], "Nodule à surveiller")
    cabinet.pacs.add(note)
    assert await cabinet.store(note) == [0x0000]
    await cabinet.settled(2)
    (manifest,) = manifests(cabinet)
    assert str(note.SOPInstanceUID) in instances(manifest)
    assert "Nodule à surveiller".encode("latin-1") in manifest.content


async def test_omi_about_another_patient_changes_nothing_and_is_told(cabinet: Cabinet) -> None:
    exam = invented_exam(18)
    await published(cabinet, exam)
    cabinet.examine(PAT_TROIS, exam, slices=5)
    async with cabinet.ris() as ris:
        await ris.send(omi(exam, invented_person(18)))
    found = await cabinet.set_aside()
    assert {reason for _, reason, _ in found.by_reason} == {"identity-mismatch"}
    assert len(cabinet.dmp.committed) == 1
