"""National asks intake for the images of a box without a PACS, and gets what intake itself would find."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, time
from pathlib import Path
from typing import Any

import pytest

from passevue.errors import NetworkError, StoreError, ZoneAway
from passevue.intake.study import Instance, KeyObject, Reference, Series, Study
from passevue.zones.images import FarImages, images_for_national
from passevue.zones.meeting import Meeting, Place
from passevue.zones.part import Part
from tests.peers import invented
from tests.peers.dicom_intake import running
from tests.peers.modality import Modality

UID = "1.2.826.0.1.3680043.8.498.1"


@asynccontextmanager
async def asked(meeting: Meeting, images: Any) -> AsyncIterator[FarImages]:
    far = FarImages(meeting)
    async with meeting.open_door(Place.IMAGES, Part.NATIONAL, images_for_national(images)) as door:
        tasks = [asyncio.create_task(one) for one in (door.run(), far.line.run())]
        while far.line.link is None:  # noqa: ASYNC110 - it has no event for it
            await asyncio.sleep(0.01)
        yield far
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


class Told:
    """Images that say what a test wants."""

    def __init__(self, says: Study | StoreError) -> None:
        self.says = says

    async def find_study(self, _study_uid: str) -> Study:
        if isinstance(self.says, StoreError):
            raise self.says
        return self.says


@pytest.fixture
def meeting(tmp_path: Path) -> Meeting:
    return Meeting(tmp_path / "run")


async def test_studies_and_notes_are_what_intake_finds_itself(meeting: Meeting, tmp_path: Path) -> None:
    images = invented.study(UID, slices=3)
    note = invented.rejection_note(images[:1], title="113037")
    async with running(tmp_path / "images") as intake:
        modality = Modality("127.0.0.1", intake.port, "MODALITE")
        assert set(await asyncio.to_thread(modality.store, [*images, note])) == {0}
        async with asked(meeting, intake.images) as far:
            study = await far.find_study(UID)
            assert study == await intake.images.find_study(UID)
            assert study is not None
            assert study.instance_count >= 3
            assert len(study.key_objects) == 1
            assert await far.find_study("1.2.3") is None
            uid = str(note.SOPInstanceUID)
            assert await far.open(uid) == await intake.images.open(uid)
            with pytest.raises(KeyError):
                await far.open("1.2.3")


async def test_a_study_of_many_instances_crosses_whole(meeting: Meeting) -> None:
    instances = tuple(
        Instance(f"{UID}.{number}", "1.2.840.10008.5.1.4.1.1.2", number, None) for number in range(20_000)
    )
    reference = Reference(UID, f"{UID}.1", "1.2.840.10008.5.1.4.1.1.2", f"{UID}.1.1")
    note = KeyObject(UID, f"{UID}.9", f"{UID}.9.1", "113000", references=(reference,))
    study = Study(
        UID, date(2026, 11, 21), time(8, 30, 15, 120000), "Étude", "7", "Dr^Ô", "ACN", "IPP",
        (Series(f"{UID}.1", "CT", 1, "série", instances),), (note,),
    )  # fmt: skip
    async with asked(meeting, Told(study)) as far:
        assert await far.find_study(UID) == study


async def test_what_intake_cannot_do_is_told_as_it_says_it(meeting: Meeting) -> None:
    async with asked(meeting, Told(StoreError("the index is damaged", hint="Appelez."))) as far:
        with pytest.raises(StoreError, match="damaged") as caught:
            await far.find_study(UID)
    assert caught.value.hint == "Appelez."


async def test_while_intake_is_away_it_is_a_pacs_that_does_not_answer(meeting: Meeting) -> None:
    far = FarImages(meeting)
    with pytest.raises(NetworkError):
        await far.find_study(UID)
    with pytest.raises(ZoneAway):
        await far.open(UID)
