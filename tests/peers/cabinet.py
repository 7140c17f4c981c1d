"""A whole imaging centre on loopback: RIS, modality, PACS, the DMP behind, and the box between them.

    async with Cabinet(tmp_path) as cabinet:
        exam = cabinet.examine(PAT_TROIS, number=1)          # images in the PACS
        await cabinet.report(PAT_TROIS, exam)                # the RIS sends, the box answers AA
        await cabinet.settled(1)
        assert cabinet.dmp.committed

The box is the real one, in this process, on a configuration such as a site writes. Every far end is a real server.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from passevue.box import Box
from passevue.config import Config
from passevue.queue.listing import Counters
from passevue.queue.retry import Policy
from passevue.queue.states import State
from passevue.zones.loading import load
from passevue.zones.part import Part
from tests.peers import invented
from tests.peers.disk import ROOMY_IMAGES
from tests.peers.dmp import DmpPeer
from tests.peers.modality import Modality
from tests.peers.pacs import PacsPeer
from tests.peers.pki import Pki
from tests.peers.pki_authority import write
from tests.peers.ris import Ack, Ask, Details, Exam, Person, Ris, Site, invented_document_id, mdm, oru, report

load(Part)  # before there is an event loop, as `passevue run` does it: its modules read files
QUICK = Policy(steps_s=(0.2, 0.5, 1.0), floor_s=0.05, cap_s=1.0, look_again_s=0.3, absent_after_s=5.0)
SITE = Site()


@dataclass
class Cabinet:
    """One centre. `pacs=False`: the modality sends to the box itself; `policy`: back-off of the queue."""

    folder: Path
    pki_folder: Path
    with_pacs: bool = True
    policy: Policy = QUICK
    more: dict[str, Any] = field(default_factory=dict)  # sections over the configuration
    structure: dict[str, Any] = field(default_factory=dict)  # settings over those of the first structure
    other_sites: tuple[Site, ...] = ()  # in whose names the box speaks too
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    system: Path = Path("/")  # what the baseline looks at
    lists: bool = True  # revocation lists of the DMP's authorities are there; else the box fetches them, or has none

    def __post_init__(self) -> None:
        self.pki = Pki(self.pki_folder)
        self.pacs = PacsPeer()
        self.dmp = DmpPeer(self.pki)
        self.box: Box | None = None
        self._running: asyncio.Task[None] | None = None
        self._stack = contextlib.AsyncExitStack()
        self._reports = 0

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self.dmp)
            if self.with_pacs:
                await stack.enter_async_context(self.pacs)
            await self.start()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        await self._stack.aclose()

    # The box

    def _lay_lists(self) -> None:
        """Where the box keeps them, as if it had fetched them before."""
        folder = self.folder / "crl" / "test"
        for path in self.pki.lists.iterdir() if self.lists else ():
            folder.mkdir(parents=True, exist_ok=True)
            write(folder / path.name, path.read_bytes())

    def config(self) -> Config:
        self._lay_lists()
        keys = self.pki.structure(SITE.id)
        others = [{**self.pki.structure(one.id).as_config(), "name": one.name} for one in self.other_sites]
        settings: dict[str, Any] = {
            "box": {
                "name": "Boîtier d'essai",
                "data_dir": self.folder,
                "oid": "1.2.250.1.999.1.1.8121",
                "realm": "test",
                "retrieve_url": "https://db.essai.example/wado",
            },
            "registry": {
                "url": self.dmp.url,
                "authority": self.pki.authority,
                "lps_homologation": "ESSAI-0001",
                "timeout_s": 5,
            },
            "structures": [{"id": SITE.id, "name": SITE.name, **keys.as_config(), **self.structure}, *others],
            "ris": {"port": 0},
            "modality": {"port": 0, "callers": {"MODALITE": ["127.0.0.0/8"], "PACS": ["127.0.0.0/8"]}},
            "images": {"quiet_s": 0.3},
            "page": {"port": 0},
        }
        if self.with_pacs:
            settings["pacs"] = {"host": "127.0.0.1", "port": self.pacs.port, "ae_title": "PACS"}
        for section, values in self.more.items():
            settings[section] = {**settings.get(section, {}), **values}
        return Config.model_validate(settings)

    async def start(self) -> None:
        self.box = Box(self.config(), policy=self.policy, thresholds=ROOMY_IMAGES, clock=self.clock, system=self.system)
        self._running = asyncio.create_task(self.box.run(), name="box")
        ready = asyncio.create_task(self.box.started())
        await asyncio.wait([self._running, ready], return_when=asyncio.FIRST_COMPLETED)
        if self._running.done():
            ready.cancel()
            await self._running

    async def stop(self) -> None:
        if self.box is not None and self._running is not None:
            self.box.stop()
            await self._running
        self.box = self._running = None

    @property
    def running(self) -> Box:
        assert self.box is not None
        return self.box

    # What people of the centre do

    def ris(self) -> Ris:
        return Ris("127.0.0.1", self.running.ports["ris"])

    async def store(self, *datasets: Any) -> list[int]:
        """The modality sends objects to the box; gives the status of each."""
        modality = Modality("127.0.0.1", self.running.ports["modality"], "MODALITE")
        return await asyncio.to_thread(modality.store, list(datasets))

    def examine(self, patient: Person, exam: Exam, slices: int = 3) -> list[Any]:
        """The modality makes the images of `exam`; with a PACS they are there at once."""
        images = invented.study(exam.study_uid, patient_id=patient.ipp, accession=exam.accession, slices=slices)
        if self.with_pacs:
            self.pacs.add(*images)
        return images

    def cda(self, patient: Person, *exams: Exam, **more: Any) -> bytes:
        """A new version of a report: each call has a document id of its own unless given."""
        self._reports += 1
        more.setdefault("document_id", invented_document_id(self._reports))
        return report(patient, *exams, **more)

    async def send(self, cda: bytes, patient: Person, ask: Ask = Ask.NEW, *, by: str = "oru", **details: Any) -> Ack:
        message = {"oru": oru, "mdm": mdm}[by](cda, patient, ask, details=Details(**details))
        async with self.ris() as ris:
            return await ris.send(message)

    # What is waited for

    async def counters(self) -> Counters:
        assert self.running.store is not None
        return await self.running.store.counters(datetime(2000, 1, 1, tzinfo=UTC))

    async def until(self, done: Callable[[Counters], bool], within_s: float = 20) -> Counters:
        """The counters once `done` says so.

        Raises:
            TimeoutError: with the counters as they were.
        """
        deadline = asyncio.get_running_loop().time() + within_s
        while not done(found := await self.counters()):
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"still {found}")
            await asyncio.sleep(0.02)
        return found

    async def settled(self, count: int, within_s: float = 20) -> Counters:
        return await self.until(lambda found: found.settled_today + found.nothing_today >= count, within_s)

    async def set_aside(self, count: int = 1, within_s: float = 20) -> Counters:
        return await self.until(lambda found: found.by_state[State.SET_ASIDE] >= count, within_s)
