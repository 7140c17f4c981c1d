"""The page's end: asks who reads the stick, and takes the files as they come.

async with asked(SOCKET, Want.BUNDLE, serial) as answer:
    while (file := await answer.next()) is not None:
        async for piece in answer.pieces(): …
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from passevue.errors import Refused, Unreadable, ZoneAway
from passevue.stick import wire
from passevue.stick.chosen import Want
from passevue.stick.wire import Kind

SOCKET = Path("/run/passevue/stick.sock")
SILENT_S = 60.0
_AWAY = "Le lecteur de clés USB du boîtier ne répond pas : recommencez dans une minute."
_BROKEN = "La lecture de la clé s’est interrompue : recommencez."


@dataclass(frozen=True, slots=True)
class Incoming:
    """A file that begins: the field that it is for, its size in bytes."""

    field: str
    size: int


class Answer:
    """Files, one after the other; each must be taken whole before the next."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._missing = 0

    async def next(self) -> Incoming | None:
        """
        Raises:
            Refused: with the reader's words. Unreadable: it does not keep to its own protocol, or has stopped.
        """
        kind, content = await self._frame()
        match kind:
            case Kind.FILE:
                field, self._missing = wire.read_file(content)
                return Incoming(field, self._missing)
            case Kind.DONE:
                return None
        raise Unreadable("data without a file", hint=_BROKEN)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Raises: as `next`."""
        while self._missing:
            kind, content = await self._frame()
            if kind is not Kind.DATA or not 0 < len(content) <= self._missing:
                raise Unreadable("a file of another size than was told", hint=_BROKEN)
            self._missing -= len(content)
            yield content

    async def _frame(self) -> tuple[Kind, bytes]:
        try:
            async with asyncio.timeout(SILENT_S):
                kind, length = wire.read_head(await self._reader.readexactly(wire.HEAD.size))
                content = await self._reader.readexactly(length)
        except (TimeoutError, OSError, EOFError) as err:
            raise Unreadable(f"the stick's reader stopped: {type(err).__name__}", hint=_BROKEN) from err
        if kind is Kind.TROUBLE:
            code, hint = wire.read_trouble(content)
            raise Refused(code, "the stick's reader refused", hint=hint)
        return kind, content


@asynccontextmanager
async def asked(path: Path, want: Want, serial: str) -> AsyncIterator[Answer]:
    """
    Raises:
        ZoneAway: nobody answers there.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(str(path), limit=2 * wire.MOST_DATA)
    except OSError as err:
        raise ZoneAway(f"nobody reads sticks: {err.strerror}", hint=_AWAY) from err
    try:
        writer.write(wire.asking(want, serial))
        yield Answer(reader)
    finally:
        writer.close()
