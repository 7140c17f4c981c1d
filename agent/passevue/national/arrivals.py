"""Studies that grew after their manifest was made: the box's own way of seeing that images were added (kos.md § 8).

Modalities send to the box one object after the other, and nobody says "that was the last". So a published study is
looked at again once nothing has come for it during `quiet`: a refresh is put, which replaces the manifest if it now
says something else. Nothing is remembered here: what came last is in the images, what was published in the archive,
and a refresh put twice for the same last arrival is one entry (Q-08).
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

import structlog

from passevue.document.kos_header import read_kos_header
from passevue.document.request import Action, Task
from passevue.errors import BoxError, Unreadable
from passevue.intake.received import Kind, Receipt, Received
from passevue.intake.retention import Holding
from passevue.queue.archive import Archived, ArchiveState

LOOK_EVERY_S = 5.0
UNPUBLISHED_AGAIN = timedelta(minutes=1)  # a month of studies whose report never comes is not asked for at each look

log = structlog.get_logger()


class Images(Protocol):
    """The box's own images; `intake.images.Images` is one."""

    async def holdings(self) -> list[Holding]: ...


class Queue(Protocol):
    """Where a refresh is put; `queue.store.Store` is one."""

    async def put(self, received: Received, tasks: Sequence[Task]) -> Receipt: ...


class Archive(Protocol):
    """What was published; `queue.store.Archive` is one."""

    async def get(self, study_uid: str) -> Archived | None: ...


class Arrivals:
    """A part of the box: looks every few seconds, until cancelled. `zone` is that of the manifests' times."""

    name = "arrivals"

    def __init__(
        self,
        images: Images,
        queue: Queue,
        archive: Archive,
        zone: ZoneInfo,
        quiet: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        self._images = images
        self._queue = queue
        self._archive = archive
        self._zone = zone
        self._quiet = quiet
        self._clock = clock
        self._seen: dict[str, datetime] = {}  # last arrival that has been judged, by study: spares the archive
        self._unpublished: dict[str, tuple[datetime, datetime]] = {}  # last arrival, and when nothing stood yet

    async def run(self) -> None:
        every_s = min(LOOK_EVERY_S, self._quiet.total_seconds())
        while True:
            try:
                await self.look()
            except BoxError as err:
                log.error("arrivals_not_judged", reason=err.message)
            await asyncio.sleep(every_s)

    async def look(self) -> int:
        """Put a refresh for every published study that has grown; gives how many were put."""
        now, count = self._clock(), 0
        holdings = await self._images.holdings()
        held = {one.study_uid for one in holdings}
        self._seen = {uid: last for uid, last in self._seen.items() if uid in held}
        self._unpublished = {uid: asked for uid, asked in self._unpublished.items() if uid in held}
        for holding in holdings:
            last = holding.last_received_at
            if self._seen.get(holding.study_uid) == last or now - last < self._quiet or self._waits(holding, now):
                continue
            archived = await self._archive.get(holding.study_uid)
            if archived is None or archived.state is not ArchiveState.PUBLISHED:
                self._unpublished[holding.study_uid] = (last, now)  # what is published later is looked at then
                continue
            if made_before(archived, last, self._zone):
                await self._queue.put(_grown(holding, now), (Task(Action.REFRESH, holding.study_uid),))
                log.info("study_grown")
                count += 1
            self._seen[holding.study_uid] = last
        return count

    def _waits(self, holding: Holding, now: datetime) -> bool:
        """Nothing stood of it a moment ago, and nothing has come since."""
        last, asked = self._unpublished.get(holding.study_uid, (None, now))
        return last == holding.last_received_at and timedelta() <= now - asked < UNPUBLISHED_AGAIN


def made_before(archived: Archived, last: datetime, zone: ZoneInfo) -> bool:
    """Whether the published manifest was made before `last`; one that does not say when is taken as older."""
    try:
        created = read_kos_header(archived.kos).created
        return datetime.strptime(created[:14], "%Y%m%d%H%M%S").replace(tzinfo=zone) <= last
    except (Unreadable, ValueError):
        return True


def _grown(holding: Holding, now: datetime) -> Received:
    return Received(
        kind=Kind.IMAGES,
        content=holding.last_received_at.isoformat().encode(),
        sender="passevue",
        peer="",
        control_id=holding.study_uid,
        received_at=now,
    )
