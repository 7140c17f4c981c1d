"""The one thread that writes: operations that wait together go into one transaction and one sync (group commit).

Rules:
- a caller's future resolves only after COMMIT has returned, which is after the sync (Q-01);
- in a group each operation has its own savepoint: one that fails undoes itself alone; if the commit fails, all fail;
- a group is bounded by count and bytes, so that no caller waits behind an endless one;
- a full disk is said so, and the next small write finds the room of the ballast; after any other failed write the
  connection is never trusted again: it is closed, and a new one must first carry everything that the log holds into
  the database file and sync that (`mend`). Until then every write is refused (F-06: a failed sync may have marked lost
  pages as clean, and a copy of an unacknowledged message must not be taken for kept).

Measured on two processors that others used too: 8 callers with 325 kB each get twice the rate of one where a sync takes
2 ms, and nearly four times where it takes 16 ms; the faster the disk, the more it is the processor that bounds both.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from passevue.errors import BoxError, NoRoom
from passevue.queue.connection import Clash, Connection

__all__ = ["Operation", "Pending", "Writer", "commit_group"]

T = TypeVar("T")
Operation = Callable[[Connection], Any]

MAX_GROUP = 64
MAX_GROUP_BYTES = 8 << 20  # the writer's page cache: a bigger transaction would spill to the WAL and be written twice


@dataclass(slots=True)
class Pending:
    """One operation and whoever waits for it."""

    operation: Operation
    weight: int
    done: Callable[[Any, BaseException | None], None]
    result: Any = None
    error: BaseException | None = None


def commit_group(conn: Connection, group: list[Pending]) -> None:
    """Run and commit the whole group; each gets its result or its error.

    Raises:
        BoxError: the transaction as a whole failed; nothing of it is kept.
    """
    conn.begin()
    try:
        if len(group) == 1:
            group[0].result = group[0].operation(conn)
        else:
            for each in group:
                _run_apart(conn, each)
    except BaseException:
        _roll_back(conn)
        raise
    conn.commit()


def _run_apart(conn: Connection, each: Pending) -> None:
    conn.plain("SAVEPOINT one")
    try:
        each.result = each.operation(conn)
    except Exception as err:
        if conn.broken or isinstance(err, NoRoom):  # a full disk undoes the whole transaction, not the savepoint
            raise
        conn.plain("ROLLBACK TO SAVEPOINT one")
        each.error = err
    conn.plain("RELEASE SAVEPOINT one")


def _roll_back(conn: Connection) -> None:
    if not getattr(conn.raw, "in_transaction", True):
        return  # SQLite has done it by itself
    with contextlib.suppress(BoxError):  # the connection is gone: the next one starts clean
        conn.roll_back()


class Writer:
    """Owns the writing connection. `failing` is true from a failed write until `mend` has succeeded.

    Args:
        connect: opens a connection. mend: brings a store whose last write failed back to firm ground, or raises.
        after_commit: called on the writer's thread after each group, with its weight in bytes.
        on_failure: called on the writer's thread when a write has failed (the ballast is let go there).
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        mend: Callable[[Connection], None],
        after_commit: Callable[[Connection, int], None] | None = None,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._connect = connect
        self._mend = mend
        self._after_commit = after_commit
        self._on_failure = on_failure
        self._waiting: SimpleQueue[Pending | None] = SimpleQueue()
        self._conn: Connection | None = None
        self._thread = threading.Thread(target=self._work, name="queue-writer", daemon=True)
        self.failing = False
        self.last_error: BaseException | None = None

    def start(self) -> None:
        """Opens the connection here, so that a store that cannot be opened says so to its opener."""
        self._conn = self._connect()
        self._thread.start()

    def stop(self) -> None:
        """Ends after what is already waiting; blocks."""
        if self._thread.ident is not None:
            self._waiting.put(None)
            self._thread.join()
        if self._conn is not None:
            self._conn.close()

    async def run(self, operation: Callable[[Connection], T], weight: int = 0) -> T:
        """Run `operation` in a transaction; returns once it is committed and synced.

        Cancelling the caller does not undo it: the operation may be committed all the same.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def done(result: T, error: BaseException | None) -> None:
            loop.call_soon_threadsafe(_resolve, future, result, error)

        self._waiting.put(Pending(operation, weight, done))
        return await future

    def _work(self) -> None:
        while True:
            group, stopping = self._gather()
            if group:
                self._carry_out(group)
                for each in group:
                    _tell(each)
                if self._after_commit is not None and self._conn is not None:
                    with contextlib.suppress(BoxError):  # what it met, the next commit meets too, and says so
                        self._after_commit(self._conn, sum(each.weight for each in group))
            if stopping:
                return

    def _gather(self) -> tuple[list[Pending], bool]:
        """All that waits now, up to the bounds; blocks for the first. True: stop after these."""
        first = self._waiting.get()
        if first is None:
            return [], True
        group, weight = [first], first.weight
        while len(group) < MAX_GROUP and weight < MAX_GROUP_BYTES:
            try:
                each = self._waiting.get_nowait()
            except Empty:
                break
            if each is None:
                return group, True
            group.append(each)
            weight += each.weight
        return group, False

    def _carry_out(self, group: list[Pending]) -> None:
        """Every member of the group has its result or its error afterwards."""
        try:
            commit_group(self._sound(), group)
        except BaseException as err:
            self._look_after(err)
            if isinstance(err, Clash | NoRoom) or (len(group) > 1 and not self.failing):
                self._one_by_one(group)
                return
            for each in group:
                each.error = err
            return
        self.failing, self.last_error = False, None
        for each in group:
            if isinstance(each.error, Clash):
                self._one_by_one([each])

    def _one_by_one(self, group: list[Pending]) -> None:
        """Once more, each alone: a key that was taken is seen now; a settlement fits where a report did not."""
        for each in group:
            each.error = None
            try:
                commit_group(self._sound(), [each])
            except BaseException as err:
                self._look_after(err)
                each.error = err
            else:
                self.failing, self.last_error = False, None

    def _look_after(self, err: BaseException) -> None:
        """Was it the operation's own refusal, or has the store failed?"""
        conn = self._conn
        sound = conn is not None and not conn.broken
        if sound and not isinstance(err, NoRoom):
            return
        self.failing, self.last_error = True, err
        if self._on_failure is not None:
            self._on_failure(err)
        if conn is not None and not sound:
            _close(conn)
            self._conn = None

    def _sound(self) -> Connection:
        """The connection; a new one, mended, when the last was given up."""
        if self._conn is None:
            conn = self._connect()
            try:
                self._mend(conn)
            except BaseException:
                _close(conn)
                raise
            self._conn = conn
        return self._conn


def _close(conn: Connection) -> None:
    with contextlib.suppress(Exception):  # it is given up because it does not work
        conn.close()


def _tell(each: Pending) -> None:
    try:
        each.done(each.result, each.error)
    except RuntimeError:
        return  # its loop is closed: nobody waits any more


def _resolve(future: "asyncio.Future[T]", result: T, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
