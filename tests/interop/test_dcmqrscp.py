"""dcmtk's dcmqrscp as the PACS of the centre: C-FIND, notes by C-GET and C-MOVE.

It gives no SOPClassUID, so that a whole study cannot be had from it: that is said, and the rest is tried apart.
"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from passevue.errors import CabinetError, NetworkError
from passevue.intake.key_object import read_key_object
from passevue.intake.pacs import arrived_in, open_pacs
from passevue.intake.pacs_answers import SERIES_KEYS, STUDY_KEYS, series_of, study_of
from passevue.intake.pacs_association import Address, associated
from passevue.intake.pacs_dicom import FIND, DicomPacs
from passevue.intake.pacs_query import find
from passevue.intake.study import Reference
from tests.interop import dicom_files
from tests.interop.dicom_files import STUDY, NoImages, settings_of
from tests.interop.orthanc import stop
from tests.peers.pacs import PacsPeer, part_10
from tests.peers.ports import free_port

pytestmark = [
    pytest.mark.skipif(shutil.which("dcmqrscp") is None, reason="dcmtk is not installed (Debian package dcmtk)"),
    pytest.mark.asyncio(loop_scope="module"),
]
CONFIGURATION = """
NetworkTCPPort = {port}
MaxPDUSize = 16384
MaxAssociations = 16

HostTable BEGIN
passevue = (PASSEVUE, 127.0.0.1, {box_port})
HostTable END

VendorTable BEGIN
VendorTable END

AETable BEGIN
ARCHIVE {folder} RW (200, 1024mb) ANY
AETable END
"""


@dataclass(frozen=True)
class Archive:
    port: int
    note: Reference


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def box() -> AsyncIterator[PacsPeer]:
    """Takes what dcmqrscp moves to the box."""
    async with PacsPeer("PASSEVUE") as box:
        yield box


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pacs(tmp_path_factory: pytest.TempPathFactory, box: PacsPeer) -> AsyncIterator[Archive]:
    folder = tmp_path_factory.mktemp("dcmqrscp")
    archive, study, file, port = folder / "archive", folder / "study", folder / "dcmqrscp.cfg", free_port()
    archive.mkdir()
    note = await asyncio.to_thread(dicom_files.write_study, study)
    file.write_text(CONFIGURATION.format(port=port, box_port=box.port, folder=archive))
    process = await asyncio.create_subprocess_exec(
        "dcmqrscp", "-c", str(file), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await listens(port)
        await dicom_files.store(study, "ARCHIVE", port)
        yield Archive(port, note)
    finally:
        await stop(process)


async def listens(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                await writer.wait_closed()
                return
            await asyncio.sleep(0.05)


async def test_study_and_series_are_found_with_their_accents(pacs: Archive) -> None:
    keys = {"StudyInstanceUID": STUDY}
    async with associated(Address("127.0.0.1", pacs.port, "ARCHIVE", "PASSEVUE"), (FIND,), 20) as assoc:
        study = study_of(await find(assoc, "STUDY", keys, STUDY_KEYS), STUDY)
        rows = await find(assoc, "SERIES", {**keys, "SeriesInstanceUID": ""}, SERIES_KEYS)
        series = sorted(series_of(rows, STUDY), key=lambda one: one.SeriesNumber or 0)
    assert study is not None
    assert (study.StudyDescription, study.PatientID) == ("CT inventé", dicom_files.PATIENT)
    assert [one.SeriesNumber for one in series] == [1, 2, 3, 1003]
    assert [one.Modality for one in series] == ["CT", "CT", "CT", "KO"]


async def test_a_pacs_that_does_not_give_the_class_of_its_instances_is_for_a_person(pacs: Archive) -> None:
    with pytest.raises(CabinetError, match="SOPClassUID") as caught:
        await open_pacs(settings_of(pacs.port, "ARCHIVE"), NoImages()).find_study(STUDY)
    assert "SOPClassUID" in caught.value.hint


@pytest.mark.parametrize("retrieve", ["c-get", "c-move"])
async def test_the_note_is_fetched(pacs: Archive, box: PacsPeer, retrieve: str) -> None:
    images = NoImages()
    box.on_store = lambda ds: images.files.update({str(ds.SOPInstanceUID): part_10(ds)})
    archive = DicomPacs(settings_of(pacs.port, "ARCHIVE", retrieve=retrieve), arrived_in(images))
    async with archive.session() as fetch:
        note = read_key_object(await fetch(pacs.note))
    assert (note.title, note.description, len(note.references)) == ("113000", "Lésion à revoir", 2)
    assert box.asked.count("C-STORE") == (1 if retrieve == "c-move" else 0)


async def test_a_study_that_is_not_there_is_nothing(pacs: Archive) -> None:
    assert await open_pacs(settings_of(pacs.port, "ARCHIVE"), NoImages()).find_study("2.25.404") is None


async def test_a_pacs_that_does_not_know_its_called_title_refuses(pacs: Archive) -> None:
    with pytest.raises(NetworkError, match="not recognized"):
        await open_pacs(settings_of(pacs.port, "NOBODY"), NoImages()).find_study(STUDY)
