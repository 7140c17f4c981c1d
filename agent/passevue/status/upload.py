"""A multipart form with files, read with bounds: texts first, then files, each straight to the disk among the orders.

What is typed (a password, the token of the form) comes before the files and is checked before the first of them:
nothing that a stranger sends is kept. What was begun and not finished is removed; so is what nobody carried out
(`forgotten`).
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from passevue.errors import NoRoom, StoreError, Unreadable
from passevue.status.refusals import NotTaken, Reason
from passevue.update.orders import Orders

TEXT_BYTES = 2048
MOST_PARTS = 12
PIECE = 1 << 20
RESERVE = 1 << 30
"""Bytes that stay free: the queue's own (reliability § 5)."""

_READ_ONLY = "Le disque n’accepte pas l’écriture."

Check = Callable[[dict[str, bytearray]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file field."""

    suffix: str
    most: int  # bytes
    too_large: str  # what a person reads
    mode: int = 0o600  # 0640 where another zone reads it


async def receive(
    request: web.Request, orders: Orders, wanted: Mapping[str, Wanted], check: Check, within_s: float
) -> tuple[dict[str, bytearray], dict[str, str]]:
    """Texts, and the files' names among the orders: all of `wanted`.

    Raises:
        BoxError: what `check` raises. Unreadable: not such a form. NotTaken: a file too large, or one missing; only
        once `check` has passed. StoreError, NoRoom: it cannot be kept.
    """
    if not request.content_type.startswith("multipart/form-data"):
        raise Unreadable("not a form with files", hint="Choisissez le fichier demandé.")
    texts: dict[str, bytearray] = {}
    names: dict[str, str] = {}
    checked = False
    try:
        async with asyncio.timeout(within_s):
            parts = await request.multipart()
            for _ in range(MOST_PARTS):
                part = await parts.next()
                if part is None:
                    break
                if not isinstance(part, BodyPartReader) or not part.name:
                    raise _unfit(checked, Reason.MALFORMED, "a part that is no field", "Ce formulaire ne se lit pas.")
                if part.name in wanted and part.name not in names:
                    if not checked:
                        await check(texts)
                        checked = True
                    names[part.name] = await kept(_pieces(part), orders, wanted[part.name])
                elif part.name not in wanted and part.name not in texts and not checked:
                    texts[part.name] = await _text(part)
        if set(names) != set(wanted):
            raise _unfit(checked, Reason.MISSING, "a file is missing", "Choisissez tous les fichiers demandés.")
    except (TimeoutError, ValueError, ConnectionError, HttpProcessingError) as err:
        await forget(orders, names)
        said = f"the form did not come whole: {type(err).__name__}"
        raise _unfit(checked, Reason.BROKEN_OFF, said, "L’envoi a été interrompu.") from err
    except BaseException:
        await forget(orders, names)
        raise
    return texts, names


def _unfit(checked: bool, reason: Reason, said: str, hint: str) -> Unreadable:
    return NotTaken(reason, said, hint=hint) if checked else Unreadable(said, hint=hint)


async def _text(part: BodyPartReader) -> bytearray:
    found = bytearray()
    while chunk := await part.read_chunk(TEXT_BYTES):
        found += chunk
        if len(found) > TEXT_BYTES:
            raise Unreadable("a text that is too long", hint="Ce formulaire ne se lit pas.")
    return found


async def _pieces(part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(PIECE):
        yield bytes(chunk)


async def kept(pieces: AsyncIterator[bytes], orders: Orders, wanted: Wanted) -> str:
    """A file's name among the orders, where it is whole and on the disk.

    Raises:
        NotTaken: too large, or empty; or what `pieces` raises. StoreError, NoRoom: it cannot be kept.
    """
    path, file = await asyncio.to_thread(_begun, orders, wanted)
    size = 0
    try:
        async for chunk in pieces:
            size += len(chunk)
            if size > wanted.most:
                raise NotTaken(Reason.TOO_LARGE, f"expected at most {wanted.most} bytes", hint=wanted.too_large)
            await asyncio.to_thread(_written, file, chunk)
        if not size:
            raise NotTaken(Reason.EMPTY, "an empty file", hint="Le fichier choisi est vide.")
        await asyncio.to_thread(_ended, file)
    except BaseException:
        await asyncio.to_thread(_dropped, file, path)
        raise
    return path.name


def _begun(orders: Orders, wanted: Wanted) -> tuple[Path, IO[bytes]]:
    try:
        return orders.draft(wanted.suffix, wanted.mode)
    except OSError as err:
        raise StoreError(f"an upload cannot be kept: {err.strerror}", hint=_READ_ONLY) from err


def _written(file: IO[bytes], chunk: bytes | bytearray) -> None:
    try:
        found = os.fstatvfs(file.fileno())
        if found.f_bavail * found.f_frsize < min(RESERVE, found.f_blocks * found.f_frsize // 10):
            raise NoRoom("an upload would take the queue's reserve", hint="La place manque sur le boîtier.")
        file.write(chunk)
    except OSError as err:
        raise StoreError(f"an upload cannot be kept: {err.strerror}", hint="La place manque sur le boîtier.") from err


def _ended(file: IO[bytes]) -> None:
    try:
        with file:
            file.flush()
            os.fsync(file.fileno())
    except OSError as err:
        raise StoreError(f"an upload cannot be kept: {err.strerror}", hint=_READ_ONLY) from err


def _dropped(file: IO[bytes], path: Path) -> None:
    path.unlink(missing_ok=True)
    with suppress(OSError):  # what was still to be written has no room
        file.close()


@asynccontextmanager
async def forgotten(orders: Orders, names: Mapping[str, str]) -> AsyncIterator[None]:
    """While in it, an error takes what was received with it: it may hold keys, and nobody comes for it any more."""
    try:
        yield
    except BaseException:
        await forget(orders, names)
        raise


async def forget(orders: Orders, names: Mapping[str, str]) -> None:
    """Remove files from among the orders."""
    for name in names.values():
        await asyncio.to_thread((orders.folder / name).unlink, missing_ok=True)
