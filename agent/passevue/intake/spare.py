"""The next segment, made ready while nothing comes: its blocks are written once with zeros.

Why: a block that was reserved but never written costs a journal commit of the file system when it is first written, and
that commit waits for whatever else is being synced. Into blocks that were written before, a synced write is one write
and one flush: measured 150 µs instead of 220 for 120 kB on a quiet disk, and far apart on a busy one. The price is that
every block is written twice in its life. While objects come, nothing is prepared: the two would wait for each other.
"""

import contextlib
import mmap
import os
from collections.abc import Callable
from pathlib import Path

from passevue.intake.disk import Disk

PIECE_BYTES = 1 << 20

Pause = Callable[[], bool]  # waits for a quiet moment; False: stop altogether


class Spare:
    """At most one spare file, named `path`. `prepare` and `take` may be called from two threads."""

    def __init__(self, path: Path, disk: Disk, size: int) -> None:
        self._path = path
        self._draft = path.with_suffix(".part")
        self._disk = disk
        self._size = size

    def prepare(self, pause: Pause) -> None:
        """Make the file if there is none; a disk that does not let us is the writer's business, not ours."""
        if self._path.exists():
            return
        with contextlib.suppress(OSError):
            self._draft.unlink(missing_ok=True)
            fd = self._disk.create(self._draft, self._size)
            try:
                whole = self._fill(fd, pause)
            finally:
                os.close(fd)
            if whole:
                self._draft.rename(self._path)
        with contextlib.suppress(OSError):
            self._draft.unlink(missing_ok=True)

    def _fill(self, fd: int, pause: Pause) -> bool:
        with mmap.mmap(-1, PIECE_BYTES) as zeros, memoryview(zeros) as view:
            for at in range(0, self._size, PIECE_BYTES):
                if not pause():
                    return False
                with view[: min(PIECE_BYTES, self._size - at)] as piece:
                    self._disk.write(fd, piece, at)
        self._disk.sync(fd)
        return True

    def take(self, path: Path) -> int | None:
        """Move the spare to `path` and open it; None when there is none of the right size."""
        try:
            if self._path.stat().st_size != self._size:
                self._path.unlink()
                return None
            self._path.rename(path)
        except FileNotFoundError:
            return None
        return self._disk.open(path)
