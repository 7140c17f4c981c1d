"""Keeping SQLite's write-ahead log short, when nobody waits for it.

A checkpoint copies the log's pages into the database file and syncs it: on a slow disk that is seconds. SQLite would do
it inside the commit that passes 1,000 pages, that is in the face of a RIS that waits. Here a thread of its own does it
with its own connection: after 16 MiB as soon as the writer pauses, after 48 MiB without waiting for a pause. While
commits keep coming it never quite catches up; the writer then copies the small rest itself between two groups, so that
the log begins anew at its start.

Fact: the log file keeps its size after a checkpoint and is then overwritten from its start; a commit into it is a third
quicker than one that makes the file grow.
"""

import threading
import time
from collections.abc import Callable

from passevue.errors import BoxError, StoreError
from passevue.queue.connection import Connection

__all__ = ["Checkpointer", "checkpoint_all"]

IDLE_BYTES = 16 << 20
BUSY_BYTES = 48 << 20
MOST_BYTES = 256 << 20
PAUSE_S = 0.05
COMMIT_BYTES = 10 * 8192  # what a commit writes besides the content: the pages of rows and indexes


class Checkpointer:
    """Told of each commit by the writer's thread; does its work on its own thread."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._written = 0
        self._last_commit = 0.0
        self._wake = threading.Event()
        self._stopping = False
        self._nearly = False
        self._thread = threading.Thread(target=self._work, name="queue-checkpoint", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()

    def committed(self, weight: int) -> None:
        """The writer has committed a group with `weight` bytes of content."""
        self._written += weight + COMMIT_BYTES
        self._last_commit = time.monotonic()
        if self._written >= IDLE_BYTES:
            self._wake.set()

    def finish(self, conn: Connection) -> None:
        """On the writer's thread, between two groups: copy what is left, if most has been copied by the other thread.

        Raises:
            StoreError: the disk fails; the writer's next commit will say so.
        """
        if not self._nearly and self._written < MOST_BYTES:
            return
        self._nearly = False
        _busy, in_log, copied = conn.plain("PRAGMA wal_checkpoint(PASSIVE)")[0]
        if in_log == copied:
            self._written = 0

    def _work(self) -> None:
        conn: Connection | None = None
        while True:
            self._wake.wait()
            if self._stopping:
                break
            if self._written < BUSY_BYTES and time.monotonic() - self._last_commit < PAUSE_S:
                time.sleep(PAUSE_S / 2)
                continue
            self._wake.clear()
            try:
                conn = conn or self._connect()
                self._checkpoint(conn)
            except BoxError:
                # the writer meets the same disk and is the one that says so; the next commit wakes this thread again
                if conn is not None:
                    conn.close()
                conn = None
        if conn is not None:
            conn.close()

    def _checkpoint(self, conn: Connection) -> None:
        before = self._written
        _busy, in_log, copied = conn.plain("PRAGMA wal_checkpoint(PASSIVE)")[0]
        self._written = max(0, self._written - before)
        self._nearly = self._written > 0 or in_log > copied


def checkpoint_all(conn: Connection) -> None:
    """Carry the whole log into the database file and sync that.

    Raises:
        StoreError: it cannot be done now.
    """
    for _ in range(20):
        busy = conn.plain("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]
        if not busy:
            return
        time.sleep(0.05)
    raise StoreError("the log cannot be carried into the database: readers do not let go")
