"""What each process of the box leaves for `/metrics`: its counters, its memory, that it lives. No identities, ever.

A zone writes `metrics-<zone>.json` in the status folder every few seconds; the page reads those of the others. Losing
one loses nothing: a counter begins again, as after any restart.

    part = ZoneWords(metrics, status_folder(config), "intake", clock, reads=False)
    … part.run()
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import structlog
from pydantic import TypeAdapter

from passevue.shared import make_folder, put_in_place, read_shared

WRITE_EVERY_S = 5.0
FRESH = timedelta(seconds=30)  # a zone that says nothing for longer is down
REMEMBERED = timedelta(days=1)  # and is not spoken of any more after that: the box may have been cut otherwise since
MAX_FILE_BYTES = 256 << 10

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Sample:
    name: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with all its samples; `kind` is Prometheus's."""

    name: str
    kind: str
    documentation: str
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class ZoneWord:
    """One process as it last said."""

    zone: str
    at: datetime
    resident_bytes: int
    families: tuple[Family, ...] = ()


_WORD = TypeAdapter(ZoneWord)


class Teller(Protocol):
    """The metrics of this process: `metrics.Metrics` is one."""

    def families(self) -> tuple[Family, ...]:
        """Its counters as they are now."""
        ...

    def hear(self, words: tuple[ZoneWord, ...]) -> None:
        """All zones' last words, this one's own first."""
        ...


class ZoneWords:
    """A part of every process. `reads`: the others are listened to as well."""

    name = "metrics"

    def __init__(self, teller: Teller, folder: Path, zone: str, clock: Callable[[], datetime], *, reads: bool) -> None:
        self._teller = teller
        self._folder = folder
        self._zone = zone
        self._clock = clock
        self._reads = reads

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                self._teller.hear(await asyncio.to_thread(self._exchange, self._teller.families()))
            except OSError as err:
                log.warning("metrics_not_written", error_class=type(err).__name__)
            await asyncio.sleep(WRITE_EVERY_S)

    def _exchange(self, families: tuple[Family, ...]) -> tuple[ZoneWord, ...]:
        mine = ZoneWord(self._zone, self._clock(), resident_bytes(), families)
        write(self._folder, mine)
        return (mine, *(word for word in read(self._folder) if word.zone != self._zone)) if self._reads else (mine,)


def write(folder: Path, word: ZoneWord) -> None:
    make_folder(folder)
    put_in_place(folder / f"metrics-{word.zone}.json", _WORD.dump_json(word))


def read(folder: Path) -> tuple[ZoneWord, ...]:
    """All zones' words; a file that makes no sense counts for nothing."""
    return tuple(word for path in sorted(folder.glob("metrics-*.json")) if (word := _read_one(path)) is not None)


def _read_one(path: Path) -> ZoneWord | None:
    try:
        word = _WORD.validate_json(read_shared(path, MAX_FILE_BYTES))
    except (OSError, ValueError):
        return None
    return word if word.at.tzinfo is not None else None


def resident_bytes() -> int:
    """Memory of this process that is in use now (proc(5), statm)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
