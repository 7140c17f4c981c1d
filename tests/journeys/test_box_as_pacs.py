"""A centre without PACS: the modality sends to the box, which is then the PACS."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from passevue.intake.key_object import read_key_object
from tests.peers import invented
from tests.peers.cabinet import Cabinet
from tests.peers.dmp_registry import APPROVED
from tests.peers.ris import PAT_TROIS, invented_exam


@pytest.fixture
async def alone(tmp_path: Path, pki_folder: Path) -> AsyncIterator[Cabinet]:
    async with Cabinet(tmp_path / "box", pki_folder, with_pacs=False) as cabinet:
        yield cabinet


def referenced(cabinet: Cabinet) -> set[str]:
    (manifest,) = (
        one for one in cabinet.dmp.documents.values() if one.mime_type == "application/dicom" and one.status == APPROVED
    )
    return {one.SOPInstanceUID for one in read_key_object(manifest.content).references}


async def test_images_sent_to_the_box_are_in_the_manifest(alone: Cabinet) -> None:
    exam = invented_exam(50)
    images = alone.examine(PAT_TROIS, exam)
    assert set(await alone.store(*images)) == {0x0000}
    await alone.send(alone.cda(PAT_TROIS, exam), PAT_TROIS)
    await alone.settled(1)
    assert referenced(alone) == {str(ds.SOPInstanceUID) for ds in images}


async def test_report_that_comes_before_its_images_waits_for_them(alone: Cabinet) -> None:
    exam = invented_exam(51)
    await alone.send(alone.cda(PAT_TROIS, exam), PAT_TROIS)
    await alone.until(lambda found: any(reason == "study-absent" for _, reason, _ in found.by_reason))
    images = alone.examine(PAT_TROIS, exam)
    await alone.store(*images)
    await alone.settled(1)
    await alone.until(lambda _: len(referenced(alone)) == len(images))  # perhaps by a second manifest


async def test_image_that_comes_after_the_publication_comes_into_the_manifest(alone: Cabinet) -> None:
    exam = invented_exam(54)
    images = alone.examine(PAT_TROIS, exam, slices=4)
    await alone.store(*images[:3])
    await alone.send(alone.cda(PAT_TROIS, exam), PAT_TROIS)
    await alone.settled(1)
    assert len(referenced(alone)) == 3
    await asyncio.sleep(1.1)  # a manifest tells its time in whole seconds
    await alone.store(images[3])
    await alone.until(lambda _: len(referenced(alone)) == 4)


async def test_note_that_rejects_everything_withdraws_the_manifest(alone: Cabinet) -> None:
    exam = invented_exam(52)
    images = alone.examine(PAT_TROIS, exam)
    await alone.store(*images)
    await alone.send(alone.cda(PAT_TROIS, exam), PAT_TROIS)
    await alone.settled(1)
    await alone.store(invented.rejection_note(images, title="113037"))
    await alone.settled(2)
    assert len(alone.dmp.withdrawn) == 1


async def test_images_outlive_a_restart(alone: Cabinet) -> None:
    exam = invented_exam(53)
    images = alone.examine(PAT_TROIS, exam)
    await alone.store(*images)
    await alone.stop()
    await alone.start()
    await alone.send(alone.cda(PAT_TROIS, exam), PAT_TROIS)
    await alone.settled(1)
    assert len(referenced(alone)) == len(images)
