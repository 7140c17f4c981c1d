"""The box: its zones, joined and kept running.

With `zones`, which it is made of, the only module that sees all stages. It opens the store, lets each zone of this
process open what it is (`zones.intake`, `national`, `page`, `host`), starts it all in one task group, and stops it in
order: the cabinet's side first, so that nothing comes in that cannot go out, the audit trail last. A part that fails
takes the process down; systemd brings it back, and the queue makes that safe (Q-15).

    box = Box(config.load(path))
    await box.run()                     # until `box.stop()` or SIGTERM

A laptop runs all zones in one process; the appliance runs each as its own (`passevue run --part intake`). Zones of
different processes share the data folder and meet at local sockets (`zones.meeting`). A process imports its own zones
and no other (`zones.loading`).
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from passevue.baseline.places import ROOT
from passevue.baseline.verdict import Leave, open_leave
from passevue.config import Config
from passevue.intake.room import Thresholds
from passevue.queue.retry import Policy
from passevue.status.audit_trail import AuditTrail
from passevue.status.folders import audit_folder, status_folder
from passevue.status.neighbours import Neighbours
from passevue.status.notify import Watchdog, notify
from passevue.status.tally import Tally
from passevue.status.witness import Witness
from passevue.status.zone_words import ZoneWords
from passevue.zones.ground import Ground, Running
from passevue.zones.loading import lasting, load
from passevue.zones.meeting import Meeting
from passevue.zones.part import Part

if TYPE_CHECKING:
    from passevue.queue.store import Store
    from passevue.zones.host import Host
    from passevue.zones.intake import Intake
    from passevue.zones.national import National
    from passevue.zones.page import PageZone

__all__ = ["SOCKETS", "Box", "Part"]

STOP_WITHIN_S = 20.0
EXIT_STUCK = 70
SOCKETS = Path("/run/passevue")
_STORE_USERS = frozenset({Part.INTAKE, Part.NATIONAL, Part.PAGE})

log = structlog.get_logger()


def utc_now() -> datetime:
    return datetime.now(UTC)


class Box:
    """One process of the box.

    Args:
        config: the whole configuration.
        parts: which zones this process is.
        policy: back-off of the queue; only tests and the demonstration give another than the default.
        thresholds: how full the disk may be; the same, as the disk of a work place is not the box's own.
        clock: aware UTC.
        meeting: where the zones of other processes are met; default: in the data folder.
        config_path: the file that `config` was read from, which the baseline looks at.
        system: the root of the system that it looks at; only tests give another than this machine's.
    """

    def __init__(
        self,
        config: Config,
        parts: Collection[Part] = tuple(Part),
        *,
        policy: Policy | None = None,
        thresholds: Thresholds | None = None,
        clock: Callable[[], datetime] = utc_now,
        meeting: Meeting | None = None,
        config_path: Path | None = None,
        system: Path = ROOT,
    ) -> None:
        self.config = config
        self._parts = frozenset(parts)
        load(self._parts)  # a second of imports, before there is a loop that they could hold up
        self._policy = policy
        self._thresholds = thresholds or Thresholds()
        self._clock = clock
        self._meeting = meeting or Meeting(config.box.data_dir / "run")
        self._config_path = config_path
        self._system = system
        self._stop = asyncio.Event()
        self._ready = asyncio.Event()
        self._intake: Intake | None = None
        self._page: PageZone | None = None
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
        found: dict[str, int] = {}
        if self._intake is not None:
            found |= {"ris": self._intake.mllp.port, "modality": self._intake.dicom.port}
        if self._page is not None:
            found["page"] = self._page.page.port
        return found

    async def run(self) -> None:
        """Until `stop`, SIGTERM or SIGINT; or until a part fails.

        Raises:
            ConfigError: a setting, certificate or key cannot be used.
            StoreError: the store cannot be opened, or another process has it.
            ExceptionGroup: a part failed.
        """
        async with self._assembled() as running:
            with _signals(self._stop), lasting():
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
        if self._intake is not None:
            await self._intake.mllp.started()
            await self._intake.dicom.started()
        if self._page is not None:
            await self._page.page.started()
        self._ready.set()
        notify("READY=1")
        log.info("box_ready", **{f"{name}_port": port for name, port in self.ports.items()})

    # Assembly

    @contextlib.asynccontextmanager
    async def _assembled(self) -> AsyncIterator[list[Running]]:
        """Every part of this process in the order in which they stop. Parts that read files are made on a thread."""
        async with contextlib.AsyncExitStack() as open_things:
            if self._parts & _STORE_USERS:
                self.store = await self._open_store()
                open_things.push_async_callback(self.store.close)
            leave = await asyncio.to_thread(open_leave, self.config, self._clock, self._system)
            ground = self._ground(leave)
            yield [
                *await self._zones(ground, open_things),
                Running(leave.name, leave.run),
                Running("neighbours", ground.register.run),
                Running("metrics", self._words(ground).run),
                Running("watchdog", Watchdog().run),
                Running("presence", ground.witness.run),
                Running("audit", ground.trail.run),
            ]

    def _words(self, ground: Ground) -> ZoneWords:
        """Who reads them is who shows them."""
        folder, zone = status_folder(self.config), zone_name(self._parts)
        return ZoneWords(ground.tally, folder, zone, self._clock, reads=Part.PAGE in self._parts)

    async def _open_store(self) -> "Store":
        from passevue.queue.room import Limits
        from passevue.queue.store import Store

        roles = {part.value for part in self._parts & {Part.INTAKE, Part.NATIONAL}}
        limits = Limits.like(self._thresholds)
        return await Store.open(
            self.config.queue,
            self.config.box.data_dir,
            roles=roles,
            limits=limits,
            clock=self._clock,
            apart=self._parts < set(Part),
        )

    def _ground(self, leave: Leave) -> Ground:
        config = self.config
        trail = AuditTrail(audit_folder(config), config.box.oid)
        register = Neighbours(status_folder(config), zone_name(self._parts))
        tally = Tally()
        witness = Witness(trail, register, tally, str(config.registry.url), self._clock)
        return Ground(
            config,
            self._clock,
            self._policy,
            self._thresholds,
            self._meeting,
            trail,
            register,
            tally,
            witness,
            self.store,
            leave,
            self._config_path,
            self._system,
        )

    async def _zones(self, ground: Ground, open_things: contextlib.AsyncExitStack) -> list[Running]:
        """The zones of this process, each given what another of them has; what they lack they meet elsewhere."""
        national: National | None = None
        host: Host | None = None
        running: list[Running] = []
        if Part.INTAKE in self._parts:
            from passevue.zones.intake import open_intake

            self._intake = await open_intake(ground, open_things, alone=Part.NATIONAL not in self._parts)
            running += self._intake.running
        if Part.NATIONAL in self._parts:
            from passevue.zones.national import open_national

            images = self._intake.images if self._intake is not None else None
            national = await open_national(ground, open_things, images, alone=Part.PAGE not in self._parts)
            running += national.running
        if Part.HOST in self._parts:
            from passevue.zones.host import open_host

            host = await open_host(ground, open_things, alone=Part.PAGE not in self._parts)
        if Part.PAGE in self._parts:
            from passevue.zones.page import open_page

            desk = host.cards if host is not None else None
            self._page = await open_page(ground, desk, national, alone=host is None)
            running += self._page.running
        return running + list(host.running if host is not None else ())


def zone_name(parts: Collection[Part]) -> str:
    """`intake`; `intake-national` where two are one process; `box` where all are."""
    return "box" if set(parts) == set(Part) else "-".join(sorted(parts))


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
