"""Reading beside the writer: a few threads, each with its own connection, so that neither waits for the other."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from passevue.queue.connection import Connection

__all__ = ["Reader"]

T = TypeVar("T")
THREADS = 3  # the dispatcher's lanes, the page and the metrics; a read takes less than a millisecond


class Reader:
    """Runs functions of a connection outside the event loop and outside any transaction."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._local = threading.local()
        self._open: list[Connection] = []
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="queue-reader")

    async def run(self, function: Callable[[Connection], T]) -> T:
        """
        Raises:
            StoreError: the database failed; the connection is given up and the next read opens another.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, function)

    def stop(self) -> None:
        """Ends after what is under way; blocks."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for conn in self._open:
            conn.close()

    def _run(self, function: Callable[[Connection], T]) -> T:
        conn: Connection | None = getattr(self._local, "conn", None)
        if conn is None:
            conn = self._local.conn = self._connect()
            self._open.append(conn)
        try:
            return function(conn)
        finally:
            if conn.broken:
                self._local.conn = None
                self._open.remove(conn)
                conn.close()
