"""The quiet moment before a restart: intake is asked to pause, and every zone says whether something is under way
(fleet.md § 6).

    <data_dir>/update/pause.json      written by host: {"until": …}; intake takes nothing new in until then
    <data_dir>/status/busy-ZONE.json  written by each zone while a pause is asked: {"at": …, "busy": 2, "what": "…"}

Quiet is: every zone that runs has said within ten seconds that nothing is under way. A pause ends by itself: a host
that dies leaves no box deaf. What is acknowledged is on the disk, so that quiet is for the neighbours' sake; entries
may wait in the queue.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from passevue.shared import make_folder, put_in_place, read_shared
from passevue.update.row_file import FOLDER, write_synced

FRESH = timedelta(seconds=10)
LONGEST = timedelta(minutes=6)
LOOK_EVERY_S = 1.0
MAX_BYTES = 4096

log = structlog.get_logger()


class Pause:
    """Whether intake is asked to pause. `look` reads it, on a thread; asking costs nothing."""

    def __init__(self, data_dir: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._path = data_dir / FOLDER / "pause.json"
        self._clock = clock
        self._until: datetime | None = None

    def __call__(self) -> bool:
        now = self._clock()
        return self._until is not None and now < self._until <= now + LONGEST

    def look(self) -> bool:
        self._until = _time_in(self._path, "until")
        return self()

    def ask(self, until: datetime) -> None:
        """By host alone. Raises: StoreError."""
        write_synced(self._path, json.dumps({"until": until.isoformat()}).encode())

    def end(self) -> None:
        self._path.unlink(missing_ok=True)


class Busy:
    """A zone's part: looks whether a pause is asked, and says what is under way meanwhile.

    Args:
        counts: by what: open exchanges, tries under way. Asked on the loop: what they count lives there.
        pause: told to who takes things in, in the same process.
    """

    def __init__(
        self,
        data_dir: Path,
        zone: str,
        counts: Mapping[str, Callable[[], int]],
        clock: Callable[[], datetime],
        pause: Pause | None = None,
    ) -> None:
        self._folder = data_dir / "status"
        self._zone = zone
        self._counts = counts
        self._clock = clock
        self._pause = pause or Pause(data_dir, clock)

    async def run(self) -> None:
        while True:
            if await asyncio.to_thread(self._pause.look):
                await self.tell()
            await asyncio.sleep(LOOK_EVERY_S)

    async def tell(self) -> None:
        """Counts at once; the file is a thread's."""
        await asyncio.to_thread(self._leave, {what: count() for what, count in self._counts.items()})

    def _leave(self, found: Mapping[str, int]) -> None:
        told = {"at": self._clock().isoformat(), "busy": sum(found.values()), "what": found}
        try:
            make_folder(self._folder)
            put_in_place(self._folder / f"busy-{self._zone}.json", json.dumps(told).encode())
        except OSError as err:
            log.warning("busy_not_told", error_class=type(err).__name__)


def is_quiet(data_dir: Path, zones: Iterable[str], now: datetime) -> bool:
    """Whether each of `zones` has just said that nothing is under way."""
    for zone in zones:
        told = _told(data_dir / "status" / f"busy-{zone}.json")
        at = _time(told, "at")
        if at is None or not timedelta(0) <= now - at + timedelta(seconds=1) < FRESH or told.get("busy") != 0:
            return False
    return True


def _time_in(path: Path, key: str) -> datetime | None:
    return _time(_told(path), key)


def _time(told: Mapping[str, object], key: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(told[key]))
        return found if found.tzinfo is not None else None
    except (KeyError, ValueError):
        return None


def _told(path: Path) -> Mapping[str, object]:
    try:
        found = json.loads(read_shared(path, MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
