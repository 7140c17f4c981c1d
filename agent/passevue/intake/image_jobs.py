"""What the loop asks of the writer's thread, and how the answers come back: values and a few lines, no disk."""

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from passevue.errors import StoreError
from passevue.intake import segment
from passevue.intake.incoming import store_error
from passevue.intake.segment import Kind
from passevue.intake.shelf import Addition
from passevue.intake.stored import Stored


@dataclass(frozen=True, slots=True)
class Kept:
    """The object is on the disk."""

    stored: Stored
    duplicate: bool = False
    conflict: bool = False


@dataclass(slots=True)
class Put:
    """An object to keep, and who waits for it. `file` is set when it is in a file of its own, then `data` is empty."""

    facts: dict[str, Any]
    data: bytes | bytearray
    crc: int  # of `data`
    answer: asyncio.Future[Kept]
    file: Path | None = None

    @property
    def sop_uid(self) -> str:
        return str(self.facts["sop_uid"])

    def addition(self, *, conflict: bool) -> Addition:
        facts = {**self.facts, "conflict": conflict} if conflict else self.facts
        return Addition(Kind.FILE if self.file else Kind.OBJECT, facts, segment.write_facts(facts), self.data, self.crc)


@dataclass(slots=True)
class Call:
    """Something else to do on the thread."""

    work: Callable[[], Any]
    answer: asyncio.Future[Any]


Settled = tuple[asyncio.Future[Any], Any]


def settle(settled: list[Settled]) -> None:
    for answer, result in settled:
        if answer.done():  # cancelled by who waited
            continue
        if isinstance(result, BaseException):
            answer.set_exception(result)
        else:
            answer.set_result(result)


def outcome(work: Callable[[], Any]) -> Any:
    """What `work` returns or raises."""
    try:
        return work()
    except OSError as err:
        return store_error(err)
    except sqlite3.Error as err:
        return StoreError(f"index of images: {err}")
    except Exception as err:  # whoever called gets it
        return err


def index_behind() -> StoreError:
    return StoreError("index of images cannot be written")
