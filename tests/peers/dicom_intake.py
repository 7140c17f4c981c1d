"""The DICOM intake on its own, as the tests use it: real sockets, real disk, and a list in place of the queue.

By hand, it says on its first line which port it got, and prints each note it would queue:
    python -m tests.peers.dicom_intake FOLDER [--port 11112]
"""

import argparse
import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from passevue import config
from passevue.errors import StoreError
from passevue.intake.disk import Disk
from passevue.intake.images import Images
from passevue.intake.modality import DicomServer
from passevue.intake.received import Receipt, Received
from passevue.intake.room import Thresholds
from passevue.intake.study import KeyObject
from tests.peers.disk import ROOMY_IMAGES

LOOPBACK = (IPv4Network("127.0.0.0/8"),)
CALLERS = {"MODALITE": LOOPBACK, "STORESCU": LOOPBACK, "ECHOSCU": LOOPBACK}
SEGMENT_BYTES = 9 << 20


def settings(**changes: Any) -> config.Modality:
    """Defaults, the callers of the tests, and a port that the system chooses."""
    return config.Modality(callers=CALLERS).model_copy(update={"port": 0, **changes})


@dataclass
class Intake:
    """A running intake."""

    server: DicomServer
    images: Images
    notes: list[tuple[KeyObject, Received]] = field(default_factory=list)
    refuse_notes: StoreError | None = None

    @property
    def port(self) -> int:
        return self.server.port

    async def accept(self, note: KeyObject, received: Received) -> Receipt:
        if self.refuse_notes:
            raise self.refuse_notes
        self.notes.append((note, received))
        return Receipt(len(self.notes))


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    *,
    disk: Disk | None = None,
    thresholds: Thresholds = ROOMY_IMAGES,
    images: config.Images | None = None,
    segment_bytes: int = SEGMENT_BYTES,
    **changes: Any,
) -> AsyncIterator[Intake]:
    """The intake, listening, until the block ends."""
    kept = Images(images or config.Images(), folder, disk=disk, thresholds=thresholds, segment_bytes=segment_bytes)
    intake: Intake

    async def accept(note: KeyObject, received: Received) -> Receipt:
        return await intake.accept(note, received)

    server = DicomServer(settings(**changes), kept, accept)
    intake = Intake(server, kept)
    await kept.start()
    task = asyncio.get_running_loop().create_task(server.run())
    try:
        ready = asyncio.get_running_loop().create_task(server.started())
        await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if task.done():
            task.result()
        yield intake
    finally:
        task.cancel()
        await asyncio.wait([task])
        await kept.stop()


async def serve(folder: Path, port: int, called: str) -> None:
    async with running(folder, port=port, ae_title=called, segment_bytes=256 << 20) as intake:
        print(intake.port, flush=True)
        while True:
            await asyncio.sleep(1)
            while intake.notes:
                note, _ = intake.notes.pop(0)
                print(f"note {note.title} with {len(note.references)} references", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--called", default="PASSEVUE")
    asked = parser.parse_args()
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(asked.folder, asked.port, asked.called))
    else:
        uvloop.run(serve(asked.folder, asked.port, asked.called))
