"""The box's own images on a real disk, opened for a test, and objects put into them as an association does it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydicom.dataset import Dataset

from passevue import config
from passevue.intake.disk import Disk
from passevue.intake.image_jobs import Kept
from passevue.intake.images import Identity, Images
from passevue.intake.room import Thresholds
from passevue.intake.storage import look
from tests.peers.dicom_intake import SEGMENT_BYTES
from tests.peers.disk import ROOMY_IMAGES
from tests.peers.invented import data_set_of

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


@asynccontextmanager
async def opened(
    folder: Path,
    *,
    disk: Disk | None = None,
    thresholds: Thresholds = ROOMY_IMAGES,
    settings: config.Images | None = None,
) -> AsyncIterator[Images]:
    images = Images(settings or config.Images(), folder, disk=disk, thresholds=thresholds, segment_bytes=SEGMENT_BYTES)
    await images.start()
    try:
        yield images
    finally:
        await images.stop()


async def put(images: Images, ds: Dataset, now: datetime = NOW) -> Kept:
    identity = Identity(ds.SOPInstanceUID, ds.SOPClassUID, str(ds.file_meta.TransferSyntaxUID))
    data = memoryview(data_set_of(ds))
    async with images.receive(identity, "CT1") as incoming:
        for at in range(0, len(data), 100_000):
            if incoming.fragment(data[at : at + 100_000]):
                await incoming.spill()
        seen = await images.look_into(incoming, lambda whole: look(whole, identity))
        return await images.put(incoming, identity, (seen.study_uid, seen.series_uid), seen.attributes, now)


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "segments").glob("*.segment"))


BIG = {"size": 1300}  # 3.4 MB: a file of its own
