"""An object while it arrives: in memory as long as it is small, in a file of its own beyond that.

Nothing of it is visible to anyone before the writer has taken it. `discard` leaves nothing behind; what a crash leaves
in the spool folder is removed at the next start.
"""

import asyncio
import errno
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Self
from uuid import uuid4

from passevue.errors import NoRoom, StoreError, Unreadable
from passevue.intake.disk import Disk

INLINE_BYTES = 1 << 20  # a CT slice is 512 KiB raw; 40 associations of these are 40 MiB
PIECE_BYTES = 1 << 20


class Incoming:
    """One object under way: `head` (preamble and file meta information), then its data set as it comes.

    `fragment` takes bytes; when it says True, await `spill` before the next one.
    """

    def __init__(self, folder: Path, disk: Disk, head: bytes, max_bytes: int) -> None:
        self.buffer = bytearray(head)
        self.head_bytes = len(head)
        self.length = len(head)
        self.crc = zlib.crc32(head)  # of everything so far: taken while the rest is still on its way
        self.path: Path | None = None
        self._fd = -1
        self._work: asyncio.Future[None] | None = None  # on a thread: it ends by itself, whoever gives the object up
        self._folder = folder
        self._disk = disk
        self._max_bytes = max_bytes

    def fragment(self, data: memoryview) -> bool:
        """Raises: Unreadable: the object is longer than it may be."""
        self.length += len(data)
        if self.length > self._max_bytes:
            raise Unreadable(f"object longer than {self._max_bytes} bytes")
        self.buffer += data
        self.crc = zlib.crc32(data, self.crc)
        return len(self.buffer) > INLINE_BYTES

    async def spill(self) -> None:
        """Move what is in memory to the file. Raises: StoreError: it cannot be written."""
        await self._on_thread(self._spill)

    def _spill(self) -> None:
        try:
            if self.path is None:
                path = self._folder / f"{uuid4().hex}.part"
                self._fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600)
                self.path = path
            self._disk.append(self._fd, memoryview(self.buffer))
        except OSError as err:
            raise store_error(err) from err
        self.buffer = bytearray()

    async def finish(self) -> None:
        """For an object in a file: everything in it, and synced."""
        await self._on_thread(self._finish)

    def _finish(self) -> None:
        self._spill()
        try:
            self._disk.sync(self._fd)
        except OSError as err:
            raise store_error(err) from err

    async def _on_thread(self, work: Callable[[], None]) -> None:
        self._work = asyncio.ensure_future(asyncio.to_thread(work))
        await asyncio.shield(self._work)

    async def whole(self) -> bytes:
        """The DICOM file as it is now: for small objects, wherever they are."""
        if self.path is None:
            return bytes(self.buffer)
        await self.spill()
        return await asyncio.to_thread(self.path.read_bytes)

    async def discard(self) -> None:
        """Forget the object; harmless when the writer has taken its file over."""
        self.buffer = bytearray()
        if self._work is not None:
            await asyncio.shield(self._discard(self._work))

    async def _discard(self, work: asyncio.Future[None]) -> None:
        """What is under way ends first: closed under it, its file's number would lead into another file."""
        await asyncio.wait([work])
        work.exception()  # told to whoever waited for it, if anyone still did
        if self.path is not None:
            await asyncio.to_thread(self._remove, self.path)

    def _remove(self, path: Path) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        path.unlink(missing_ok=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.discard()


def store_error(err: OSError) -> StoreError:
    """Our error for one of the disk's: no room, or worse."""
    if err.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return NoRoom(f"no room for an object: {err.strerror}")
    return StoreError(f"an object cannot be written: {err.strerror}")
