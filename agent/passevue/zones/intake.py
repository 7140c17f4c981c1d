"""The intake zone: RIS, modalities, the images that the box keeps. Hostile input, no key but its listeners'.

Gives the images to national: itself, when that is in the same process; by `zones.images`, when it is not.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from passevue.baseline.rule import Function
from passevue.document.request import earlier_versions, left_out, read_request, tasks, tasks_of_key_object
from passevue.intake.images import Images
from passevue.intake.mllp import MllpServer
from passevue.intake.modality import DicomServer
from passevue.intake.received import Receipt, Received
from passevue.intake.ris import RisDesk, RisMessage
from passevue.intake.session import Witness as DicomWitness
from passevue.intake.study import KeyObject
from passevue.national.arrivals import Arrivals
from passevue.queue.store import Store
from passevue.status.witness import Witness
from passevue.update.quiet import Busy, Pause
from passevue.zones.ground import Ground, Running
from passevue.zones.images import images_for_national
from passevue.zones.meeting import Place
from passevue.zones.part import Part


@dataclass(frozen=True, slots=True)
class Intake:
    """The zone, opened: `running` in the order in which it stops."""

    images: Images
    mllp: MllpServer
    dicom: DicomServer
    running: tuple[Running, ...]


async def open_intake(ground: Ground, open_things: AsyncExitStack, *, alone: bool) -> Intake:
    """`alone`: national is another process."""
    config, store = ground.config, ground.store
    images = Images(config.images, config.box.data_dir / "images", thresholds=ground.thresholds)
    await images.start()
    open_things.push_async_callback(images.stop)
    pause = Pause(config.box.data_dir, ground.clock)
    mllp, dicom = await asyncio.to_thread(_listeners, ground, images, pause)
    arrivals = await asyncio.to_thread(_arrivals, ground, images)
    running = [Running("mllp", mllp.run), Running("dicom", dicom.run), Running("arrivals", arrivals.run)]
    if alone:
        serve = images_for_national(images)
        door = await open_things.enter_async_context(ground.meeting.open_door(Place.IMAGES, Part.NATIONAL, serve))
        running.append(Running("images-door", door.run))

    async def keep_images() -> None:
        await images.run(lambda: published_studies(store))

    running.append(Running("images", keep_images))
    counts = exchanges(mllp, dicom)
    running.append(Running("intake-busy", Busy(config.box.data_dir, Part.INTAKE, counts, ground.clock, pause).run))
    return Intake(images, mllp, dicom, tuple(running))


def exchanges(mllp: MllpServer, dicom: DicomServer) -> Mapping[str, Callable[[], int]]:
    """What `Busy` counts before a restart: connections end as they fall silent, and what is left is told."""

    def connections() -> int:
        mllp.hush()
        return mllp.connections

    return {"mllp": connections, "dicom": lambda: dicom.associations}


def _listeners(ground: Ground, images: Images, pause: Pause) -> tuple[MllpServer, DicomServer]:
    """Both, made on a thread: they read their certificates."""
    config, witness = ground.config, ground.witness
    reception = Reception(ground.store, witness, config.box.realm)
    desk = RisDesk(
        reception.accept,
        applications=config.ris.applications,
        refused=witness.message_refused,
        clock=ground.clock,
    )
    told = DicomWitness(witness.objects_taken, witness.association_refused)
    mllp = MllpServer(config.ris, desk, sock=ground.passed("mllp"), paused=pause)
    accept = reception.accept_key_object
    sock = ground.passed("dicom")

    def wait() -> bool:
        """New images come later: the machine is about to restart, or the baseline holds them."""
        return pause() or bool(ground.leave.held(Function.IMAGES))

    return mllp, DicomServer(config.modality, images, accept, told, sock=sock, paused=wait)


def _arrivals(ground: Ground, images: Images) -> Arrivals:
    quiet = timedelta(seconds=ground.config.images.quiet_s)
    zone = ZoneInfo(ground.config.box.timezone)
    return Arrivals(images, ground.store, ground.store.archive, zone, quiet, ground.clock)


class Reception:
    """What happens to a thing that the intake has understood: read against its report, kept, told."""

    def __init__(self, store: Store, witness: Witness, realm: str) -> None:
        self._store = store
        self._witness = witness
        self._realm = realm

    async def accept(self, message: RisMessage, received: Received) -> Receipt:
        """Keep a message of the RIS; returns once it is on the disk.

        Raises:
            Hl7Error: message and report do not agree.
            StoreError: it could not be kept.
        """
        request = read_request(message, self._realm)
        earlier = earlier_versions(request)
        dropped = left_out(request, await self._store.studies_of(earlier)) if earlier else ()
        receipt = await self._store.put(received, (*tasks(request), *dropped))
        self._witness.message_taken(message, received)
        return receipt

    async def accept_key_object(self, note: KeyObject, received: Received) -> Receipt:
        """Keep a rejection note or key image note. Raises: StoreError."""
        return await self._store.put(received, tasks_of_key_object(note))


async def published_studies(store: Store) -> Collection[str]:
    """StudyInstanceUIDs whose images must stay: a manifest points at them, or soon will."""
    studies: set[str] = set()
    after = ""
    while page := await store.archive.studies(after):
        studies.update(page)
        after = page[-1]
    return studies | await store.open_studies()
