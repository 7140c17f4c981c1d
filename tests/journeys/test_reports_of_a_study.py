"""Which report a manifest stands on: versions out of order, two reports of a study, deletions, a corrected patient."""

from dataclasses import replace

import pytest

from passevue.errors import Refused
from passevue.queue.states import State
from tests.peers.cabinet import Cabinet
from tests.peers.dmp_registry import APPROVED, DELETED, DEPRECATED
from tests.peers.ris import PAT_TROIS, Ask, invented_document_id, invented_exam, invented_person, omi

EXAM = invented_exam(50)
FIRST, SECOND, THIRD = (invented_document_id(50, version) for version in (1, 2, 3))
OF_ANOTHER, SET_OF_ANOTHER = invented_document_id(51, 1), invented_document_id(51, 99)


def statuses(cabinet: Cabinet) -> list[str]:
    return [one.status for one in cabinet.dmp.documents.values() if one.mime_type == "application/dicom"]


async def done(cabinet: Cabinet, count: int) -> list[str]:
    """Reasons of the last `count` entries once all have settled or been set aside."""
    await cabinet.until(
        lambda found: found.settled_today + found.nothing_today + found.by_state[State.SET_ASIDE] >= count
    )
    assert cabinet.running.store is not None
    return [line.reason for line in reversed(await cabinet.running.store.entries())]


async def test_original_that_comes_after_its_replacement_undoes_nothing(cabinet: Cabinet) -> None:
    """The RIS was told to send the original again (AR), and sent the replacement meanwhile."""
    cabinet.examine(PAT_TROIS, EXAM)
    replacing = cabinet.cda(PAT_TROIS, EXAM, document_id=SECOND, replaces=FIRST, version=2)
    await cabinet.send(replacing, PAT_TROIS, Ask.REPLACE)
    await cabinet.settled(1)
    await cabinet.send(cabinet.cda(PAT_TROIS, EXAM, document_id=FIRST), PAT_TROIS)
    assert await done(cabinet, 2) == ["published", "older-version"]
    assert statuses(cabinet) == [APPROVED]


async def test_late_version_withdraws_no_study_that_a_newer_one_names(cabinet: Cabinet) -> None:
    """Version 2 leaves the second study out, version 3 takes it in again, and version 2 comes last."""
    exams = (EXAM, invented_exam(52))
    for exam in exams:
        cabinet.examine(PAT_TROIS, exam)
    await cabinet.send(cabinet.cda(PAT_TROIS, exams, document_id=FIRST), PAT_TROIS)
    third = cabinet.cda(PAT_TROIS, exams, document_id=THIRD, replaces=SECOND, version=3)
    await cabinet.send(third, PAT_TROIS, Ask.REPLACE)
    second = cabinet.cda(PAT_TROIS, EXAM, document_id=SECOND, replaces=FIRST, version=2)
    await cabinet.send(second, PAT_TROIS, Ask.REPLACE)
    assert (await done(cabinet, 6))[-2:] == ["older-version", "older-version"]
    assert sorted(statuses(cabinet)) == sorted([APPROVED, APPROVED, DEPRECATED, DEPRECATED])


async def test_deleting_one_of_two_reports_leaves_the_manifest_to_the_other(cabinet: Cabinet) -> None:
    cabinet.examine(PAT_TROIS, EXAM)
    await cabinet.send(cabinet.cda(PAT_TROIS, EXAM, document_id=FIRST), PAT_TROIS)
    other = cabinet.cda(PAT_TROIS, EXAM, document_id=OF_ANOTHER, set_id=SET_OF_ANOTHER)
    await cabinet.send(other, PAT_TROIS)
    await cabinet.settled(2)
    await cabinet.send(other, PAT_TROIS, Ask.DELETE)
    assert await done(cabinet, 3) == ["published", "replaced", "replaced"]
    assert statuses(cabinet) == [DEPRECATED, DEPRECATED, APPROVED]
    await cabinet.send(cabinet.cda(PAT_TROIS, EXAM, document_id=FIRST), PAT_TROIS, Ask.DELETE)
    await cabinet.settled(4)
    assert statuses(cabinet) == [DEPRECATED, DEPRECATED, DELETED]


async def test_deleting_the_report_that_does_not_speak_changes_nothing_and_is_remembered(cabinet: Cabinet) -> None:
    cabinet.examine(PAT_TROIS, EXAM)
    first = cabinet.cda(PAT_TROIS, EXAM, document_id=FIRST)
    other = cabinet.cda(PAT_TROIS, EXAM, document_id=OF_ANOTHER, set_id=SET_OF_ANOTHER)
    for cda, ask in ((first, Ask.NEW), (other, Ask.NEW), (first, Ask.DELETE), (other, Ask.DELETE)):
        await cabinet.send(cda, PAT_TROIS, ask)
    assert await done(cabinet, 4) == ["published", "replaced", "another-report-stands", "withdrawn"]
    assert statuses(cabinet) == [DEPRECATED, DELETED]


async def test_deletion_withdraws_whatever_destdmp_says(cabinet: Cabinet) -> None:
    cabinet.examine(PAT_TROIS, EXAM)
    cda = cabinet.cda(PAT_TROIS, EXAM, document_id=FIRST)
    await cabinet.send(cda, PAT_TROIS)
    await cabinet.send(cda, PAT_TROIS, Ask.DELETE, flags={"DESTDMP": "N"})
    await cabinet.settled(2)
    assert statuses(cabinet) == [DELETED]


async def test_new_version_that_is_not_for_the_dmp_is_told_to_a_person(cabinet: Cabinet) -> None:
    cabinet.examine(PAT_TROIS, EXAM)
    await cabinet.send(cabinet.cda(PAT_TROIS, EXAM, document_id=FIRST), PAT_TROIS)
    replacing = cabinet.cda(PAT_TROIS, EXAM, document_id=SECOND, replaces=FIRST, version=2)
    await cabinet.send(replacing, PAT_TROIS, Ask.REPLACE, flags={"DESTDMP": "N"})
    assert await done(cabinet, 2) == ["published", "published-not-for-dmp"]
    assert statuses(cabinet) == [APPROVED]


async def test_corrected_ins_is_told_to_a_person_and_a_deletion_frees_the_way(cabinet: Cabinet) -> None:
    """The registry replaces no document across patients; the deletion finds what stands under the old INS."""
    cabinet.examine(PAT_TROIS, EXAM)
    await cabinet.send(cabinet.cda(PAT_TROIS, EXAM, document_id=FIRST), PAT_TROIS)
    right = replace(invented_person(50), ipp=PAT_TROIS.ipp)
    corrected = cabinet.cda(right, EXAM, document_id=SECOND, replaces=FIRST, version=2)
    await cabinet.send(corrected, right, Ask.REPLACE)
    assert await done(cabinet, 2) == ["published", "patient-changed"]
    await cabinet.send(corrected, right, Ask.DELETE)
    await done(cabinet, 3)
    assert statuses(cabinet) == [DELETED]
    await cabinet.send(cabinet.cda(right, EXAM, document_id=THIRD), right)
    await done(cabinet, 4)
    (stands,) = (one for one in cabinet.dmp.documents.values() if one.status == APPROVED and one.replaces is None
                 and one.mime_type == "application/dicom")  # fmt: skip
    assert stands.patient.startswith(right.ins)


async def test_report_deleted_while_its_images_are_gone_is_not_published_by_new_images(cabinet: Cabinet) -> None:
    cabinet.examine(PAT_TROIS, EXAM)
    cda = cabinet.cda(PAT_TROIS, EXAM, document_id=FIRST)
    await cabinet.send(cda, PAT_TROIS)
    await cabinet.settled(1)
    cabinet.pacs.remove_study(EXAM.study_uid)
    async with cabinet.ris() as ris:
        await ris.send(omi(EXAM, PAT_TROIS, orc_1="CA"))
        await cabinet.settled(2)
        await cabinet.send(cda, PAT_TROIS, Ask.DELETE)
        await cabinet.settled(3)
        cabinet.examine(PAT_TROIS, EXAM)
        await ris.send(omi(EXAM, PAT_TROIS))
    await cabinet.settled(4)
    assert statuses(cabinet) == [DELETED]


async def test_report_that_was_set_aside_and_then_deleted_is_not_published_by_a_retry(cabinet: Cabinet) -> None:
    cabinet.examine(PAT_TROIS, EXAM)
    cda = cabinet.cda(PAT_TROIS, EXAM, document_id=FIRST)
    cabinet.dmp.unknown_patients.add(f"{PAT_TROIS.ins}^^^&{PAT_TROIS.ins_oid}&ISO^NH")
    await cabinet.send(cda, PAT_TROIS)
    await cabinet.send(cda, PAT_TROIS, Ask.DELETE)
    assert await done(cabinet, 2) == ["no-dmp", "never-published"]
    assert cabinet.running.store is not None
    with pytest.raises(Refused, match="later-withdrawal"):
        await cabinet.running.store.retry(1, by="essai")
