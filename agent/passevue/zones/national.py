"""The national zone: the dispatcher and the DMP behind it. Holds the structures' keys and the tokens of Pro Santé
Connect; opens nothing to anybody.

Takes the images from intake where the box is its own PACS, and consents from the page: themselves, when they are in the
same process; by `zones.images` and `zones.in_person`, when they are not.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta

import structlog

from passevue.baseline.rule import Function
from passevue.card.crl_store import crl_folder
from passevue.config import Config
from passevue.document.kos import Maker
from passevue.errors import BoxError, StoreError, Unsound
from passevue.intake.images import Images
from passevue.intake.pacs import OwnImages, Pacs, open_pacs
from passevue.intake.study import Study
from passevue.national.personal import InPerson
from passevue.national.psc import Psc, open_psc
from passevue.national.publication import Publication
from passevue.national.registry import Registry
from passevue.national.servers import Servers
from passevue.national.structures import Structures
from passevue.national.submission import Origin
from passevue.queue.dispatcher import Dispatcher
from passevue.queue.retry import Policy
from passevue.queue.store import Store
from passevue.status.neighbours import Neighbour, Neighbours
from passevue.status.witness import Witness
from passevue.update.quiet import Busy, Pause
from passevue.zones.ground import Ground, Running
from passevue.zones.images import FarImages
from passevue.zones.in_person import NearConsents
from passevue.zones.meeting import Place
from passevue.zones.part import Part

PURGE_EVERY = timedelta(hours=1)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class National:
    """The zone, opened: `running` in the order in which it stops."""

    in_person: InPerson
    psc: Psc | None
    running: tuple[Running, ...]


async def open_national(ground: Ground, open_things: AsyncExitStack, images: Images | None, *, alone: bool) -> National:
    """`images` None: intake is another process; `alone`: the page is."""
    config = ground.config
    running: list[Running] = []
    own: OwnImages | None = images
    in_person = InPerson()
    if own is None:
        far = FarImages(ground.meeting)
        own = far
        if needs_images(config):
            running.append(Running("images-line", far.line.run))
    heard: Callable[[], Awaitable[None]] | None = None
    psc = await asyncio.to_thread(open_psc, config, ground.clock)
    if psc is not None:
        await open_things.enter_async_context(psc)
        running.append(Running("psc", psc.run))
    if alone:
        consents = NearConsents(in_person, psc)
        door = ground.meeting.open_door(Place.IN_PERSON, Part.PAGE, consents.serve)
        running.insert(0, Running("in-person-door", (await open_things.enter_async_context(door)).run))
        heard = consents.heard
    return National(in_person, psc, (*await _publishing(ground, open_things, own, in_person, heard), *running))


def needs_images(config: Config) -> bool:
    """Whether what the modalities, or the PACS, sent to the box itself is asked for."""
    return config.pacs is None or config.pacs.retrieve == "c-move"


async def _publishing(
    ground: Ground,
    open_things: AsyncExitStack,
    images: OwnImages,
    in_person: InPerson,
    heard: Callable[[], Awaitable[None]] | None,
) -> tuple[Running, ...]:
    config, store, witness = ground.config, ground.store, ground.witness
    box, settings = config.box, config.registry
    servers = Servers("registry.authority", settings.authority, crl_folder(config), ground.clock)
    structures = Structures(config.structures, servers, box.realm, box.credentials_dir, ground.clock)
    await asyncio.to_thread(structures.load)
    leave = ground.leave

    async def admit() -> None:
        """What must hold whenever a try begins: the box is sound (APP-01), the audit trail writes (LOG-01)."""
        if rules := leave.held(Function.PUBLICATION):
            raise Unsound(f"the baseline holds publications: {' '.join(rules)}")
        await witness.traced()

    registry = Registry(settings, structures, box.oid, witness.exchanged, ground.clock, admit, in_person)
    open_things.push_async_callback(registry.close)
    pacs = WatchedPacs(await asyncio.to_thread(open_pacs, config.pacs, images), witness)
    maker = Maker(box.manufacturer, str(box.retrieve_url).rstrip("/"), box.timezone)
    origin = Origin(maker, box.oid, settings.digest)
    policy = ground.policy or Policy(absent_after_s=config.queue.absent_study_h * 3600.0)
    work = Publication(
        pacs, store.archive, registry, structures, origin, box.realm, ground.clock, in_person,
        shown_after_s=policy.look_again_s,
    )  # fmt: skip
    pause = Pause(box.data_dir, ground.clock)
    dispatcher = Dispatcher(
        store,
        work,
        config.queue.lanes,
        policy=policy,
        may_begin=lambda: not leave.held(Function.PUBLICATION) and not pause(),
    )
    house = Housekeeping(store, config, dispatcher, ground.register, witness)
    busy = Busy(box.data_dir, Part.NATIONAL, {"tries": lambda: dispatcher.in_work}, ground.clock, pause)

    async def dispatch() -> None:
        if heard is not None:  # who is still signed in elsewhere, and has agreed to what is about to go
            await heard()
        await dispatcher.run()

    return (
        Running("dispatcher", dispatch),
        Running("certificates", structures.run),
        Running("revocation", servers.run),
        Running("housekeeping", house.run),
        Running("national-busy", busy.run),
    )


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
