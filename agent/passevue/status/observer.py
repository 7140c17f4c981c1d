"""Draws the summary from where its facts lie: the store, the disk, the certificates, the neighbours' last words.

One for each process that shows something. Drawn at most once a second, however many people look; a store that cannot be
read is itself a finding, never an error page.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import structlog
from cryptography import x509

from passevue import __version__
from passevue.config import Config, Tls
from passevue.errors import StoreError
from passevue.queue.listing import Counters
from passevue.queue.states import State
from passevue.queue.store import Store, utc_now
from passevue.status import neighbours
from passevue.status.folders import status_folder
from passevue.status.neighbours import Neighbours
from passevue.status.protections import Protections
from passevue.status.summary import Certificate, Room, Summary, draw

FRESH = timedelta(seconds=1)
CERTIFICATES_FRESH = timedelta(minutes=10)
MOST_TROUBLES = 20
MOST_RECENT = 6
MAX_PEM_BYTES = 1 << 20

log = structlog.get_logger()


class Observer:
    """Looks at one box. `register` is what this very process hears; other processes' words come from their files.

    `protections` gives what the baseline has found; it may block.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        register: Neighbours | None = None,
        *,
        clock: Callable[[], datetime] = utc_now,
        in_box: bool = True,
        protections: Callable[[], Protections | None] = lambda: None,
    ) -> None:
        self._config = config
        self._store = store
        self._register = register
        self._clock = clock
        self._protections = protections
        self._started_at = clock() if in_box else None
        self._zone = ZoneInfo(config.box.timezone)
        self._drawing = asyncio.Lock()
        self._last: Summary | None = None
        self._certificates: tuple[Certificate, ...] = ()
        self._certificates_at: datetime | None = None

    async def summary(self) -> Summary:
        """The box as it is now, or was less than a second ago."""
        async with self._drawing:
            now = self._clock()
            if self._last is None or not timedelta() <= now - self._last.at < FRESH:
                self._last = await self._draw(now)
            return self._last

    async def _draw(self, now: datetime) -> Summary:
        await self._look_at_certificates(now)
        words = await asyncio.to_thread(neighbours.read, status_folder(self._config))
        if self._register is not None:
            words = neighbours.merge(words, self._register.words())
        blank = draw(
            now=now,
            box=self._config.box.name,
            version=__version__,
            counters=no_counters(),
            room=Room(self._store.room.volume, self._store.level),
            certificates=self._certificates,
            neighbours=words,
            started_at=self._started_at,
            store_alarm="failing",
            protections=await asyncio.to_thread(self._protections),
        )
        try:
            return await self._with_queue(blank)
        except StoreError as err:
            log.error("store_not_read", error=err)
            return blank

    async def _with_queue(self, blank: Summary) -> Summary:
        midnight = blank.at.astimezone(self._zone).replace(hour=0, minute=0, second=0, microsecond=0)
        counters = await self._store.counters(midnight)
        aside = await self._store.entries(State.SET_ASIDE, MOST_TROUBLES)
        held = await self._store.entries(State.HELD, MOST_TROUBLES)
        return draw(
            now=blank.at,
            box=blank.box,
            version=blank.version,
            counters=counters,
            troubles=(*aside, *held)[:MOST_TROUBLES],
            recent=await self._store.entries(State.SETTLED, MOST_RECENT),
            room=blank.room,
            certificates=blank.certificates,
            neighbours=blank.neighbours,
            started_at=blank.started_at,
            store_alarm=self._alarm(),
            protections=blank.protections,
        )

    def _alarm(self) -> str:
        if self._store.failing:
            return "failing"
        if self._store.restored:
            return "restored"
        return "salvaged" if self._store.salvaged is not None else ""

    async def _look_at_certificates(self, now: datetime) -> None:
        at = self._certificates_at
        if at is None or not timedelta() <= now - at < CERTIFICATES_FRESH:
            self._certificates = await asyncio.to_thread(lambda: tuple(certificates(self._config)))
            self._certificates_at = now


def no_counters() -> Counters:
    return Counters({state: 0 for state in State if state not in (State.SETTLED, State.CLOSED)}, 0, 0, None, (), 0)


def certificates(config: Config) -> Iterator[Certificate]:
    """Ours, one after the other, with their ends. Blocks."""
    several = len(config.structures) > 1
    for index, structure in enumerate(config.structures):
        name = structure.name if several else ""
        for setting in ("auth_certificate", "sign_certificate"):
            found = _certificate(f"structures.{index}.{setting}", getattr(structure, setting))
            yield replace(found, structure=name)
    listeners: dict[str, Tls | None] = {
        "ris.tls.certificate": config.ris.tls,
        "modality.tls.certificate": config.modality.tls,
        "page.tls.certificate": config.page.tls,
        "pacs.tls.certificate": config.pacs.tls if config.pacs is not None else None,
    }
    for setting, tls in listeners.items():
        if tls is not None:
            yield _certificate(setting, tls.certificate)


def _certificate(setting: str, path: Path) -> Certificate:
    try:
        with path.open("rb") as file:
            first = x509.load_pem_x509_certificates(file.read(MAX_PEM_BYTES))[0]
    except (OSError, ValueError):
        return Certificate(setting, None)
    return Certificate(setting, first.not_valid_after_utc)
