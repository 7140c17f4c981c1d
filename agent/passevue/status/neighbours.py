"""What each neighbour last said: noted by the parts through the box, shown on the page. No identities, ever.

A register belongs to one process. It leaves a small file in the data folder, so that the page and the command line see
what the other processes heard; losing it loses nothing, so it is not synced.
"""

import asyncio
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import structlog

from passevue.shared import make_folder, put_in_place, read_shared

MAX_FILE_BYTES = 64 << 10
WRITE_EVERY_S = 2.0
DOWN_AFTER = timedelta(minutes=5)  # of failures without one success between

log = structlog.get_logger()


class Neighbour(StrEnum):
    """Who the box speaks with."""

    RIS = "ris"
    MODALITY = "modality"
    PACS = "pacs"
    DMP = "dmp"


CALLERS = frozenset({Neighbour.RIS, Neighbour.MODALITY})  # they speak first: silence is no fault of theirs


class Health(StrEnum):
    """How it stands with a neighbour."""

    QUIET = "quiet"  # nothing heard yet since it is known: says nothing about it
    OK = "ok"  # its last word was a good one
    REFUSED = "refused"  # a caller's last message was not taken
    LATE = "late"  # its last words were failures, since a few minutes at most
    DOWN = "down"  # failures only for longer, or its breaker is open


@dataclass(frozen=True, slots=True)
class Word:
    """What one neighbour last said.

    `what` is a stable code: `ORU^R01`, `C-STORE`, `TD2.1a`, or the class of the error.
    """

    neighbour: Neighbour
    ok_at: datetime | None = None
    failed_at: datetime | None = None
    failing_since: datetime | None = None
    what: str = ""
    breaker_open: bool = False

    @property
    def at(self) -> datetime | None:
        return max((at for at in (self.ok_at, self.failed_at) if at is not None), default=None)

    def health(self, now: datetime) -> Health:
        if self.breaker_open:
            return Health.DOWN
        if self.failing_since is not None and self.neighbour in CALLERS:
            return Health.REFUSED
        if self.failing_since is not None:
            return Health.DOWN if now - self.failing_since >= DOWN_AFTER else Health.LATE
        return Health.QUIET if self.ok_at is None else Health.OK


def heard(word: Word, what: str, at: datetime) -> Word:
    """It spoke, and well."""
    return replace(word, ok_at=at, failing_since=None, what=_code(what))


def failed(word: Word, what: str, at: datetime) -> Word:
    """It did not answer, or answered nonsense."""
    return replace(word, failed_at=at, failing_since=word.failing_since or at, what=_code(what))


def _code(what: str) -> str:
    """Codes only: words of another's message never get this far."""
    return what if re.fullmatch(r"[A-Za-z0-9^_.:/ -]{1,40}", what) else "?"


class Neighbours:
    """The register of one process; `part` names its file."""

    name = "neighbours"

    def __init__(self, folder: Path, part: str = "box") -> None:
        self._path = folder / f"neighbours-{part}.json"
        self._words = {neighbour: Word(neighbour) for neighbour in Neighbour}
        self._changed = False

    def heard(self, neighbour: Neighbour, what: str, at: datetime) -> None:
        self._put(heard(self._words[neighbour], what, at))

    def failed(self, neighbour: Neighbour, what: str, at: datetime) -> None:
        self._put(failed(self._words[neighbour], what, at))

    def breaker(self, neighbour: Neighbour, *, is_open: bool) -> None:
        if self._words[neighbour].breaker_open != is_open:
            self._put(replace(self._words[neighbour], breaker_open=is_open))

    def _put(self, word: Word) -> None:
        self._words[word.neighbour] = word
        self._changed = True

    def words(self) -> tuple[Word, ...]:
        return tuple(self._words.values())

    async def run(self) -> None:
        """Leave the file when something has changed, until cancelled."""
        while True:
            if self._changed:
                self._changed = False
                try:
                    await asyncio.to_thread(write, self._path, self.words())
                except OSError as err:
                    log.warning("neighbours_not_written", error_class=type(err).__name__)
            await asyncio.sleep(WRITE_EVERY_S)


# --- the files -----------------------------------------------------------------------------------------------------


def write(path: Path, words: Iterable[Word]) -> None:
    make_folder(path.parent)
    put_in_place(path, json.dumps([_plain(word) for word in words]).encode(), owned=True)  # the health gate believes it


def _plain(word: Word) -> dict[str, Any]:
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in asdict(word).items()}


def read(folder: Path) -> tuple[Word, ...]:
    """What all processes heard, the last word of each neighbour; a file that makes no sense counts for nothing."""
    files = [_read_one(path) for path in sorted(folder.glob("neighbours-*.json"))]
    return merge(*files)


def merge(*registers: Iterable[Word]) -> tuple[Word, ...]:
    """The last word of each neighbour, in their order."""
    words = {neighbour: Word(neighbour) for neighbour in Neighbour}
    for register in registers:
        for word in register:
            words[word.neighbour] = _merged(words[word.neighbour], word)
    return tuple(words.values())


def _read_one(path: Path) -> list[Word]:
    try:
        rows = json.loads(read_shared(path, MAX_FILE_BYTES))
        return [_word(row) for row in rows]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []


def _word(row: dict[str, Any]) -> Word:
    def when(name: str) -> datetime | None:
        at = None if row[name] is None else datetime.fromisoformat(row[name])
        if at is not None and at.tzinfo is None:
            raise ValueError(f"{name} has no time zone")
        return at

    return Word(
        neighbour=Neighbour(row["neighbour"]),
        ok_at=when("ok_at"),
        failed_at=when("failed_at"),
        failing_since=when("failing_since"),
        what=_code(str(row["what"])),
        breaker_open=row["breaker_open"] is True,
    )


def _merged(one: Word, other: Word) -> Word:
    """Of two processes' words the later one; an open breaker counts wherever it is."""
    if one.at is None or (other.at is not None and other.at > one.at):
        one, other = other, one
    return replace(one, breaker_open=one.breaker_open or other.breaker_open)
