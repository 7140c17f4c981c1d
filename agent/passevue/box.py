"""The box: every part, joined and kept running.

The only module that sees all stages. It opens the store, hands each part the few things it needs, starts them in one
task group, and stops them in order: the cabinet's side first, so that nothing comes in that cannot go out, the audit
trail last. A part that fails takes the process down; systemd brings it back, and the queue makes that safe (Q-15).

    box = Box(config.load(path))
    await box.run()                     # until `box.stop()` or SIGTERM

A laptop runs all parts in one process; the appliance runs each trust zone as its own (`passevue run --part intake`).
Zones share nothing but the data folder.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from passevue.card.card_trust import open_card_trust
from passevue.card.reader import Readers
from passevue.card.usb import INSTALLED, Arrival, UsbWatch, read_reader_files
from passevue.config import Config
from passevue.document.kos import Maker
from passevue.document.request import earlier_versions, left_out, read_request, tasks, tasks_of_key_object
from passevue.errors import BoxError, ConfigError, StoreError
from passevue.intake.images import Images
from passevue.intake.mllp import MllpServer
from passevue.intake.modality import DicomServer
from passevue.intake.pacs import Pacs, open_pacs
from passevue.intake.received import Receipt, Received
from passevue.intake.ris import RisDesk, RisMessage
from passevue.intake.room import Thresholds
from passevue.intake.session import Witness as DicomWitness
from passevue.intake.study import KeyObject, Study
from passevue.national.arrivals import Arrivals
from passevue.national.personal import InPerson
from passevue.national.psc import open_psc
from passevue.national.publication import Publication
from passevue.national.registry import Registry
from passevue.national.structures import Structures
from passevue.national.submission import Origin
from passevue.queue.dispatcher import Dispatcher
from passevue.queue.retry import Policy
from passevue.queue.room import Limits
from passevue.queue.store import Store, utc_now
from passevue.status.audit_trail import AuditTrail
from passevue.status.metrics import Metrics
from passevue.status.neighbours import Neighbour, Neighbours
from passevue.status.notify import Watchdog, notify
from passevue.status.observer import Observer, audit_folder, status_folder
from passevue.status.page import Page
from passevue.status.people import open_people
from passevue.status.people_pages import People
from passevue.status.witness import Witness

STOP_WITHIN_S = 20.0
EXIT_STUCK = 70
PURGE_EVERY = timedelta(hours=1)

log = structlog.get_logger()


class Part(StrEnum):
    """A trust zone of design.md § 4 that a process can be."""

    INTAKE = "intake"  # RIS, modalities, images: hostile input, no key
    NATIONAL = "national"  # dispatcher, registry: the structures' keys
    PAGE = "page"  # status page, health, metrics


@dataclass(frozen=True, slots=True)
class Running:
    """One thing that runs until cancelled, under its own name."""

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]


class Box:
    """One process of the box.

    Args:
        config: the whole configuration.
        parts: which zones this process is.
        policy: back-off of the queue; only tests and the demonstration give another than the default.
        thresholds: how full the disk may be; the same, as the disk of a work place is not the box's own.
        clock: aware UTC.
    """

    def __init__(
        self,
        config: Config,
        parts: Collection[Part] = tuple(Part),
        *,
        policy: Policy | None = None,
        thresholds: Thresholds | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.config = config
        self._parts = frozenset(parts)
        self._policy = policy
        self._thresholds = thresholds or Thresholds()
        self._clock = clock
        self._stop = asyncio.Event()
        self._ready = asyncio.Event()
        self._mllp: MllpServer | None = None
        self._dicom: DicomServer | None = None
        self._page: Page | None = None
        self.store: Store | None = None

    # What it offers to who runs it

    async def started(self) -> None:
        """Returns once every listener of this process listens."""
        await self._ready.wait()

    def stop(self) -> None:
        self._stop.set()

    @property
    def ports(self) -> dict[str, int]:
        """Where it listens, once started: `ris`, `modality`, `page`."""
        listeners = {"ris": self._mllp, "modality": self._dicom, "page": self._page}
        return {name: listener.port for name, listener in listeners.items() if listener is not None}

    async def run(self) -> None:
        """Until `stop`, SIGTERM or SIGINT; or until a part fails.

        Raises:
            ConfigError: a setting, certificate or key cannot be used.
            StoreError: the store cannot be opened, or another process has it.
            ExceptionGroup: a part failed.
        """
        async with self._assembled() as running:
            with _signals(self._stop):
                await self._keep(running)

    # Life of the parts

    async def _keep(self, running: list[Running]) -> None:
        stop = asyncio.create_task(self._stop.wait(), name="stop")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each.run(), name=each.name) for each in running]
            announced = group.create_task(self._announce(), name="announce")
            await stop
            notify("STOPPING=1")
            announced.cancel()
            if not await _stopped_in_order(tasks):
                os._exit(EXIT_STUCK)  # a part that will not end: a crash, which is as safe

    async def _announce(self) -> None:
        for listener in (self._mllp, self._dicom, self._page):
            if listener is not None:
                await listener.started()
        self._ready.set()
        notify("READY=1")
        log.info("box_ready", **{f"{name}_port": port for name, port in self.ports.items()})

    # Assembly

    @contextlib.asynccontextmanager
    async def _assembled(self) -> AsyncIterator[list[Running]]:
        """Every part of this process in the order in which they stop. Parts that read files are made on a thread."""
        box, data_dir = self.config.box, self.config.box.data_dir
        roles = {part.value for part in self._parts & {Part.INTAKE, Part.NATIONAL}}
        limits = Limits.like(self._thresholds)
        store = await Store.open(self.config.queue, data_dir, roles=roles, limits=limits, clock=self._clock)
        try:
            self.store = store
            trail = AuditTrail(audit_folder(self.config), box.oid)
            register = Neighbours(status_folder(self.config), "-".join(sorted(self._parts)))
            metrics = Metrics()
            witness = Witness(trail, register, metrics, str(self.config.registry.url), self._clock)
            images = Images(self.config.images, data_dir / "images", thresholds=self._thresholds)
            in_person = InPerson(reaches=Part.NATIONAL in self._parts)
            async with contextlib.AsyncExitStack() as open_things:
                running: list[Running] = []
                if Part.INTAKE in self._parts:
                    await images.start()
                    open_things.push_async_callback(images.stop)
                    running += await asyncio.to_thread(self._intake, store, images, witness)
                if Part.NATIONAL in self._parts:
                    running += await self._national(store, images, witness, register, in_person, open_things)
                running.append(Running("neighbours", register.run))
                running.append(Running("watchdog", Watchdog().run))
                if Part.PAGE in self._parts:
                    running += await self._page_parts(store, trail, witness, register, metrics, in_person, open_things)
                running.append(Running("presence", witness.run))
                running.append(Running("audit", trail.run))
                yield running
        finally:
            await store.close()

    def _intake(self, store: Store, images: Images, witness: Witness) -> list[Running]:
        reception = Reception(store, witness, self.config.box.realm)
        desk = RisDesk(
            reception.accept,
            applications=self.config.ris.applications,
            refused=witness.message_refused,
            clock=self._clock,
        )
        self._mllp = MllpServer(self.config.ris, desk)
        told = DicomWitness(witness.objects_taken, witness.association_refused)
        self._dicom = DicomServer(self.config.modality, images, reception.accept_key_object, told)

        async def keep_images() -> None:
            await images.run(lambda: published_studies(store))

        return [
            Running("mllp", self._mllp.run),
            Running("dicom", self._dicom.run),
            Running("arrivals", self._arrivals(store, images).run),
            Running("images", keep_images),
        ]

    def _arrivals(self, store: Store, images: Images) -> Arrivals:
        quiet = timedelta(seconds=self.config.images.quiet_s)
        return Arrivals(images, store, store.archive, ZoneInfo(self.config.box.timezone), quiet, self._clock)

    async def _national(
        self,
        store: Store,
        images: Images,
        witness: Witness,
        register: Neighbours,
        in_person: InPerson,
        open_things: contextlib.AsyncExitStack,
    ) -> list[Running]:
        box, settings = self.config.box, self.config.registry
        if self.config.pacs is None and Part.INTAKE not in self._parts:
            raise ConfigError(
                "pacs",
                "without a PACS, intake and national must be one process",
                hint="Sans PACS, lancez intake et national dans le même processus.",
            )
        structures = Structures(self.config.structures, settings.authority, box.realm, box.credentials_dir, self._clock)
        await asyncio.to_thread(structures.load)
        registry = Registry(settings, structures, box.oid, witness.exchanged, self._clock, witness.traced, in_person)
        open_things.push_async_callback(registry.close)
        pacs = WatchedPacs(await asyncio.to_thread(open_pacs, self.config.pacs, images), witness)
        maker = Maker(box.manufacturer, str(box.retrieve_url).rstrip("/"), box.timezone)
        origin = Origin(maker, box.oid, settings.digest)
        work = Publication(pacs, store.archive, registry, structures, origin, box.realm, self._clock, in_person)
        policy = self._policy or Policy(absent_after_s=self.config.queue.absent_study_h * 3600.0)
        dispatcher = Dispatcher(store, work, self.config.queue.lanes, policy=policy)
        house = Housekeeping(store, self.config, dispatcher, register, witness)
        return [
            Running("dispatcher", dispatcher.run),
            Running("certificates", structures.run),
            Running("housekeeping", house.run),
        ]

    async def _page_parts(
        self,
        store: Store,
        trail: AuditTrail,
        witness: Witness,
        register: Neighbours,
        metrics: Metrics,
        in_person: InPerson,
        open_things: contextlib.AsyncExitStack,
    ) -> list[Running]:
        """The page, and what lets people sign in at it: readers of cards, revocation lists, Pro Santé Connect."""
        trust = await asyncio.to_thread(open_card_trust, self.config, self._clock)
        readers = Readers() if trust is not None else None
        psc = await asyncio.to_thread(open_psc, self.config, self._clock)
        running: list[Running] = []
        if trust is not None and readers is not None:
            running += [Running("crl", trust.run), Running("readers", readers.run)]
        if await asyncio.to_thread(INSTALLED.is_dir):  # the appliance: its kernel waits for a verdict on each device
            usb = UsbWatch(await asyncio.to_thread(read_reader_files, INSTALLED), enforce=True)
            running += [Running("usb", usb.run), Running("usb-told", lambda: _tell_refused_devices(usb, witness))]
        if psc is not None:
            await open_things.enter_async_context(psc)
            running.append(Running("psc", psc.run))
        opened = await asyncio.to_thread(
            open_people, self.config, store, trail, self._clock,
            readers=readers, trust=trust, psc=psc, in_person=in_person,
        )  # fmt: skip
        await opened.people.sign_in.account.start()
        self._page = await asyncio.to_thread(self._page_of, store, register, metrics, opened.people)
        return [
            Running("page", self._page.run),
            *(Running(part.name, part.run) for part in opened.parts),
            *reversed(running),
        ]

    def _page_of(self, store: Store, register: Neighbours, metrics: Metrics, people: People) -> Page:
        observer = Observer(self.config, store, register, clock=self._clock)
        zone = ZoneInfo(self.config.box.timezone)
        return Page(self.config.page, observer.summary, zone, metrics=metrics, people=people)


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


class WatchedPacs:
    """A PACS whose last word is noted."""

    def __init__(self, pacs: Pacs, witness: Witness) -> None:
        self._pacs = pacs
        self._witness = witness

    async def find_study(self, study_uid: str) -> Study | None:
        try:
            study = await self._pacs.find_study(study_uid)
        except BoxError as err:
            self._witness.pacs_asked(err)
            raise
        self._witness.pacs_asked(None)
        return study


class Housekeeping:
    """Once a second what the breakers say, once an hour what is old enough to go (Q-18)."""

    def __init__(
        self, store: Store, config: Config, dispatcher: Dispatcher, register: Neighbours, witness: Witness
    ) -> None:
        self._store = store
        self._settings = config.queue
        self._dispatcher = dispatcher
        self._register = register
        self._witness = witness

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        next_purge = loop.time()
        while True:
            self._register.breaker(Neighbour.DMP, is_open=self._dispatcher.endpoints.registry.open)
            self._register.breaker(Neighbour.PACS, is_open=self._dispatcher.endpoints.pacs.open)
            if loop.time() >= next_purge:
                next_purge = loop.time() + PURGE_EVERY.total_seconds()
                await self._purge()
            await asyncio.sleep(1)

    async def _purge(self) -> None:
        try:
            gone = await self._store.purge(self._settings.content_days, self._settings.proof_days)
        except StoreError as err:
            log.error("queue_not_purged", error=err.message)
            return
        if gone.contents or gone.proofs:
            self._witness.purged("queue", {"contents": gone.contents, "proofs": gone.proofs})


async def _tell_refused_devices(usb: UsbWatch, witness: Witness) -> None:
    async for event in usb.events():
        if isinstance(event, Arrival) and not event.verdict.allowed:
            witness.device_refused(event.verdict.reason)


async def published_studies(store: Store) -> Collection[str]:
    """StudyInstanceUIDs whose images must stay: a manifest points at them, or soon will."""
    studies: set[str] = set()
    after = ""
    while page := await store.archive.studies(after):
        studies.update(page)
        after = page[-1]
    return studies | await store.open_studies()


async def _stopped_in_order(tasks: list[asyncio.Task[None]]) -> bool:
    """Each part is stopped and waited for before the next; False when they are not all done in time (Q-15)."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + STOP_WITHIN_S
    for task in tasks:
        task.cancel()
        await asyncio.wait([task], timeout=max(0.0, deadline - loop.time()))
    stuck = [task.get_name() for task in tasks if not task.done()]
    if stuck:
        log.critical("box_stuck", part=" ".join(stuck))
    return not stuck


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT ask for a clean stop, where this thread may listen to signals."""
    loop = asyncio.get_running_loop()
    listening = []
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, stop.set)
            listening.append(number)
    try:
        yield
    finally:
        for number in listening:
            loop.remove_signal_handler(number)
