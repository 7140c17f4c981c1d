"""Orthanc as the PACS of the centre: C-FIND and QIDO-RS, notes by C-GET, C-MOVE and WADO-RS."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from passevue.intake.pacs import open_pacs
from passevue.intake.study import Reference
from tests.interop import dicom_files, orthanc
from tests.interop.dicom_files import STUDY, NoImages, assert_whole, settings_of
from tests.interop.orthanc import Orthanc
from tests.peers.pacs import PacsPeer, part_10

MISSING = orthanc.missing() or dicom_files.missing()
pytestmark = [pytest.mark.skipif(bool(MISSING), reason=MISSING), pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def study_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Reference]:
    folder = tmp_path_factory.mktemp("study")
    return folder, dicom_files.write_study(folder)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def box() -> AsyncIterator[PacsPeer]:
    """Takes what Orthanc moves to the box."""
    async with PacsPeer("PASSEVUE") as box:
        yield box


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pacs(study_files: tuple[Path, Reference], box: PacsPeer) -> AsyncIterator[Orthanc]:
    async with orthanc.orthanc({"PASSEVUE": ("127.0.0.1", box.port)}) as pacs:
        await dicom_files.store(study_files[0], pacs.ae_title, pacs.dicom_port)
        yield pacs


async def test_found_by_c_find_with_the_note_by_c_get(pacs: Orthanc, study_files: tuple[Path, Reference]) -> None:
    settings = settings_of(pacs.dicom_port, pacs.ae_title)
    assert_whole(await open_pacs(settings, NoImages()).find_study(STUDY), study_files[1])


async def test_found_by_c_find_with_the_note_by_c_move(
    pacs: Orthanc, study_files: tuple[Path, Reference], box: PacsPeer
) -> None:
    images = NoImages()
    box.on_store = lambda ds: images.files.update({str(ds.SOPInstanceUID): part_10(ds)})
    settings = settings_of(pacs.dicom_port, pacs.ae_title, retrieve="c-move")
    assert_whole(await open_pacs(settings, images).find_study(STUDY), study_files[1])
    assert box.asked.count("C-STORE") == 1


async def test_found_by_qido_rs_with_the_note_by_wado_rs(pacs: Orthanc, study_files: tuple[Path, Reference]) -> None:
    settings = settings_of(pacs.dicom_port, pacs.ae_title, retrieve="wado-rs", dicomweb_url=pacs.dicomweb_url)
    assert_whole(await open_pacs(settings, NoImages()).find_study(STUDY), study_files[1])


async def test_found_by_qido_rs_with_the_note_by_c_get(pacs: Orthanc, study_files: tuple[Path, Reference]) -> None:
    settings = settings_of(pacs.dicom_port, pacs.ae_title, dicomweb_url=pacs.dicomweb_url)
    assert_whole(await open_pacs(settings, NoImages()).find_study(STUDY), study_files[1])


async def test_a_study_that_is_not_there_is_nothing(pacs: Orthanc) -> None:
    for changes in ({}, {"retrieve": "wado-rs", "dicomweb_url": pacs.dicomweb_url}):
        settings = settings_of(pacs.dicom_port, pacs.ae_title, **changes)
        assert await open_pacs(settings, NoImages()).find_study("2.25.404") is None


async def test_many_studies_at_once(pacs: Orthanc, study_files: tuple[Path, Reference]) -> None:
    box = open_pacs(settings_of(pacs.dicom_port, pacs.ae_title, max_associations=3), NoImages())
    for study in await asyncio.gather(*[box.find_study(STUDY) for _ in range(10)]):
        assert_whole(study, study_files[1])
