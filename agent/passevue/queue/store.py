"""The durable centre: what is put here is on the disk when `put` returns, and leaves only settled or through a person.

`Store` opens the database, keeps one writer (group commit), a few readers, the log short and room in sight, and offers
the queue's operations as coroutines. It decides nothing: states are in `states`, trying again in `retry`.

    store = await Store.open(config.queue, config.box.data_dir, roles={"intake", "national"})
    receipt = await store.put(received, tasks)          # returns after the sync (Q-01)
    ...
    await store.close()

SQLite is the default; another `queue.url` makes it PostgreSQL, shared by several boxes, with the same statements.
A process that only looks (`passevue queue list`) opens it without roles.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from passevue import config
from passevue.document.request import Task
from passevue.errors import Damaged, Refused, StoreError
from passevue.intake.received import Receipt, Received
from passevue.queue import listing, moves, persons, purge, recovery
from passevue.queue.archive import Archive
from passevue.queue.connection import FILE_NAME, Connection, connector, is_sqlite, sqlite_file
from passevue.queue.export import write_files
from passevue.queue.frozen import thaw
from passevue.queue.listing import Counters, Line, Shown
from passevue.queue.lock import PATIENCE_S, Locks
from passevue.queue.marks import RELEASED, RESTORED, bump, read_mark
from passevue.queue.moves import Taken
from passevue.queue.opening import claim_for_sending, machine_name, make_ready, who_may_send
from passevue.queue.purge import Purged
from passevue.queue.reader import Reader
from passevue.queue.retry import Policy, Step
from passevue.queue.room import Level, Limits, Room
from passevue.queue.salvage import Salvaged
from passevue.queue.snapshot import under_way
from passevue.queue.stamp import SECOND, stamp
from passevue.queue.states import State
from passevue.queue.taking_in import Keep, keep, storable
from passevue.queue.wal import Checkpointer, checkpoint_all
from passevue.queue.work import Answer, Entry, Nothing, Submission
from passevue.queue.writer import Writer
from passevue.shared import make_folder

__all__ = ["FILE_NAME", "Outlook", "Store", "utc_now"]

T = TypeVar("T")
INLINE_HASH_BYTES = 1 << 20  # 0.6 ms of hashing on the loop; more goes to a thread
SENDER = "national"  # the role that sends: the one that claims the store (F-37)
TEND_EVERY_S = 1.0


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Outlook:
    """Ranks in which something is due now; seconds until the next is (0: none); what changes at each release."""

    ranks: frozenset[int]
    next_in_s: float
    released: str


class Store:
    """An open store. Made by `open`; all coroutines belong to one event loop.

    Attributes:
        arrived: set whenever something may have become due through this process.
        archive: the published studies.
        salvaged: what `open` had to carry over from a damaged store, or from one of a newer release, and lost part
            of; else None: an alarm for page and audit.
        restored: why nothing is sent until a person confirms (`other-machine`, `older-copy`); empty: nothing.
    """

    def __init__(self, url: str, folder: Path, limits: Limits, box: str, clock: Callable[[], datetime]) -> None:
        self.url = url
        self.box = box
        self.arrived = asyncio.Event()
        self.salvaged: Salvaged | None = None
        self.restored = ""
        self.archive = Archive(self)
        self.room = Room(folder, limits)
        self._limits = limits
        self._folder = folder
        self._clock = clock
        self._connect = connector(url)
        self._sqlite = is_sqlite(url)
        self._locks: Locks | None = None
        self._reader = Reader(self._connect)
        self._checkpointer = Checkpointer(self._connect) if self._sqlite else None
        self._writer = Writer(self._connect, self._mend, self._after_commit, self._on_failure)
        self._tended_at = 0.0
        self._measured_at = 0.0

    @classmethod
    async def open(
        cls,
        settings: config.Queue,
        data_dir: Path,
        *,
        roles: Collection[str] = (),
        limits: Limits | None = None,
        machine: str | None = None,
        clock: Callable[[], datetime] = utc_now,
        patience_s: float = PATIENCE_S,
        apart: bool = False,
    ) -> "Store":
        """Lock, check, migrate, claim. `roles` are the parts of the box that this process runs; `machine` names the
        machine (default: its machine-id), `clock` gives aware UTC. `apart`: what a new schema needs is loaded by a
        process that ends.

        Raises:
            StoreError: another process has a role; a schema too far ahead; no room, for the snapshot before a new
                schema too; the database cannot be reached.
        """
        url = settings.url or f"sqlite:///{data_dir / FILE_NAME}"
        name = await asyncio.to_thread(machine_name, data_dir) if machine is None else machine
        store = cls(url, data_dir, limits or Limits(), name, clock)
        await asyncio.to_thread(store._open, frozenset(roles), patience_s, apart)
        return store

    async def close(self) -> None:
        """Ends after what is already waiting to be written; asked again, does nothing."""
        await asyncio.to_thread(self._close)

    # ── intake ──────────────────────────────────────────────────────────────────────────────────────────────

    async def put(self, received: Received, tasks: Sequence[Task]) -> Receipt:
        """Keep what came in; returns once it is committed and synced. A copy gets the first receipt (Q-08).

        Raises:
            NoRoom: intake must say no (reliability § 5).
            StoreError: nothing is kept, or nobody can say: nothing may be acknowledged.
        """
        if self.level is Level.STOP:
            await self._look_again()
        self.room.admit(len(received.content))
        asked = Keep(received, await _digest(received.content), tasks, self._stamp())
        receipt = await self.write(lambda conn: keep(conn, asked), weight=len(received.content))
        if not receipt.duplicate:
            self.arrived.set()
        return receipt

    @property
    def level(self) -> Level:
        """What may be taken in now: for intake, DICOM, peers and the page (reliability § 5)."""
        return self.room.level

    # ── dispatcher ──────────────────────────────────────────────────────────────────────────────────────────

    async def recover(self, policy: Policy) -> recovery.Recovered:
        """At start: put back what this box, or one that is gone, had in work."""
        now = self._stamp()
        return await self.write(lambda conn: recovery.recover(conn, self.box, (), policy, now))

    async def recover_others(self, busy: Collection[int], policy: Policy) -> recovery.Recovered:
        """While running: put back what boxes that are gone had in work; `busy` is at work here."""
        now = self._stamp()
        return await self.write(lambda conn: recovery.recover(conn, "", busy, policy, now))

    async def put_back(self, lost: Taken, policy: Policy) -> None:
        """One entry whose outcome could not be written when the store failed."""
        now = self._stamp()
        await self.write(lambda conn: recovery.put_back(conn, lost, policy, now))

    async def rebase(self, policy: Policy) -> int:
        """After a jump of the clock: nobody waits longer than the cap. Gives how many waited longer."""
        now = self._stamp()
        return await self.write(lambda conn: recovery.rebase(conn, policy, now))

    async def take(self, wanted: Sequence[tuple[int, int]], most: int, allowed: frozenset[State]) -> list[Taken]:
        """Begin up to `most` due entries in states of `allowed`: of each (rank, how many) in `wanted`, in that order.

        None while the store is a restored copy that nobody has confirmed.
        """
        if self.restored:
            return []
        now = self._stamp()
        return await self.write(lambda conn: moves.take_some(conn, self.box, wanted, most, allowed, now))

    async def look(self) -> Outlook:
        """What is due, and whether a person, in any process, let something go. It also sees that a restored copy was
        confirmed. A read: an idle box writes nothing."""
        due, released, self.restored = await self.read(
            lambda conn: (moves.first_due(conn), read_mark(conn, RELEASED), read_mark(conn, RESTORED))
        )
        now = self._stamp()
        ranks = frozenset(rank for rank, at in due.items() if at <= now and not self.restored)
        later = [at - now for at in due.values() if at > now]
        return Outlook(ranks, min(later, default=0) / SECOND, released)

    async def hand_back(self) -> int:
        """The dispatcher is stopping: what it had in work is given back without a crash counted."""
        now = self._stamp()
        return await self.write(lambda conn: recovery.hand_back(conn, self.box, now))

    async def read_entry(self, taken: Taken) -> Entry:
        """
        Raises:
            Damaged: its bytes are not what was written.
        """
        return await self.read(lambda conn: moves.read_entry(conn, taken))

    async def read_submission(self, taken: Taken) -> Submission:
        """
        Raises:
            Damaged: a part is not what was frozen, or is gone.
        """
        found = await self.read(lambda conn: thaw(conn, taken.submission_id))
        if found is None:
            raise Damaged("the submission of an entry is missing")
        return found

    async def freeze_and_start(self, taken: Taken, made: Submission) -> Taken:
        now = self._stamp()
        weight = len(made.kos) + len(made.metadata)
        return await self.write(lambda conn: moves.freeze_and_start(conn, taken, made, now), weight=weight)

    async def leave(self, taken: Taken, step: Step) -> Taken:
        """
        Raises:
            Lost: the turn is over.
        """
        now = self._stamp()
        return await self.write(lambda conn: moves.leave(conn, taken, step, now))

    async def settle(self, taken: Taken, made: Submission, answer: Answer, how: str) -> Taken:
        """Proof, archive and state in one commit. `how` is `answer` or `look-up`."""
        now = self._stamp()
        return await self.write(lambda conn: moves.settle(conn, taken, made, answer, how, now))

    async def settle_nothing(self, taken: Taken, nothing: Nothing) -> Taken:
        now = self._stamp()
        return await self.write(lambda conn: moves.settle_nothing(conn, taken, nothing, now))

    async def renew(self, held: Sequence[Taken]) -> None:
        now = self._stamp()
        await self.write(lambda conn: moves.renew(conn, tuple(held), now))

    async def probe_held(self) -> int:
        """One held entry for each thing that is missing is due now; gives how many."""
        now = self._stamp()
        if not await self.read(persons.any_held):
            return 0
        return await self.write(lambda conn: persons.probe_held(conn, now))

    async def release_held(self, reason: str, detail: str) -> int:
        """All that was held for this goes on: it is there again."""
        now = self._stamp()
        count = await self.write(lambda conn: persons.release_held(conn, reason, detail, now))
        self.arrived.set()
        return count

    # ── people ──────────────────────────────────────────────────────────────────────────────────────────────

    async def counters(self, midnight: datetime | None = None) -> Counters:
        """How the queue stands, read from the store (Q-19). `midnight`: since when `settled_today` counts."""
        start = midnight or self._clock().replace(hour=0, minute=0, second=0, microsecond=0)
        return await self.read(lambda conn: listing.counters(conn, stamp(start)))

    async def entries(self, state: State | None = None, most: int = 100, below: int | None = None) -> tuple[Line, ...]:
        """The newest first, of one state or all; `below` continues after the last number of the list before."""
        return await self.read(lambda conn: listing.lines(conn, state, most, below))

    async def open_studies(self) -> frozenset[str]:
        """StudyInstanceUIDs of the entries that are not done: their images must stay."""
        return await self.read(listing.open_studies)

    async def studies_of(self, reports: Collection[str]) -> frozenset[str]:
        """StudyInstanceUIDs that any version of these reports has named, done or not."""
        keys = [storable(report) for report in reports]
        return await self.read(lambda conn: listing.studies_of(conn, keys))

    async def show(self, number: int) -> Shown | None:
        """Everything of one entry but its content; None when there is none."""
        return await self.read(lambda conn: listing.shown(conn, number))

    async def retry(self, number: int, by: str, why: str = "") -> None:
        """Try again what was set aside.

        Raises:
            Refused: `no-entry`, `not-set-aside`, `later-settled`, `later-under-way`, `later-prepared`,
                `later-withdrawal`; `hint` is for the person.
        """
        now = self._stamp()
        await self.write(lambda conn: persons.retry(conn, number, by, why, now))
        self.arrived.set()

    async def release(self, *numbers: int, by: str, why: str = "") -> int:
        """Let what waits or is held go now: these entries, or without numbers all of them. Gives how many.

        Raises:
            Refused: `no-entry`.
        """
        now = self._stamp()
        if numbers:
            count = await self.write(lambda conn: sum(persons.release(conn, n, by, why, now) for n in numbers))
        else:
            count = await self.write(lambda conn: persons.release_all(conn, by, why, now))
        self.arrived.set()
        return count

    async def close_entry(self, number: int, by: str, why: str) -> None:
        """This one shall not go; final, with a reason.

        Raises:
            Refused: `no-entry`, `no-reason`, `not-closable`.
        """
        now = self._stamp()
        await self.write(lambda conn: persons.close(conn, number, by, why, now))
        self.arrived.set()

    async def confirm_restored(self, by: str, why: str = "") -> None:
        """A person says that this restored copy may send (F-37)."""
        now = self._stamp()
        await self.write(lambda conn: persons.confirm_restored(conn, by, why, now))
        self.restored = ""
        self.arrived.set()

    async def export(self, number: int, folder: Path) -> tuple[Path, ...]:
        """Write what is kept of an entry into `folder`: the received bytes and the parts of its submission.

        These hold identities: the caller is a person, and audits it. Files are readable by the owner alone.

        Raises:
            Refused: `no-entry`, `content-purged`. StoreError: the folder cannot be written.
        """
        received, made = await self.read(lambda conn: moves.read_for_export(conn, number))
        parts = {"received": received}
        if made is not None:
            parts |= {"kos": made.kos, "metadata": made.metadata, "signature": made.signature}
        kept = {name: data for name, data in parts.items() if data}
        if not kept:
            raise Refused("content-purged", f"the content of entry {number} is gone or was never kept",
                          hint=f"Le contenu de la demande {number} n’est plus conservé.")  # fmt: skip
        return await asyncio.to_thread(write_files, folder, number, kept)

    async def purge(self, content_days: int, proof_days: int) -> Purged:
        """Remove what is older; gives what went, for the audit trail (Q-18)."""
        now = self._clock()
        before, proofs_before = stamp(now - timedelta(days=content_days)), stamp(now - timedelta(days=proof_days))
        contents = await self._in_batches(lambda conn: purge.purge_content(conn, before))
        proofs = await self._in_batches(lambda conn: purge.purge_proof(conn, proofs_before))
        return Purged(contents, proofs)

    async def tend(self) -> Level:
        """Measure the room; after a failed write, try one. Called every second by the dispatcher or the box."""
        reusable = 0
        try:
            if self._writer.failing:
                await self.write(lambda conn: bump(conn, "probe"))
            reusable = await self.read(_reusable_bytes)
        except StoreError:
            reusable = 0
        self._tended_at = asyncio.get_running_loop().time()
        return await asyncio.to_thread(self.room.refresh, self._writer.failing, reusable)

    @property
    def failing(self) -> bool:
        """The last write failed, and none has succeeded since."""
        return self._writer.failing

    # ── what the operations stand on ────────────────────────────────────────────────────────────────────────

    async def write(self, operation: Callable[[Connection], T], weight: int = 0) -> T:
        return await self._writer.run(operation, weight)

    async def read(self, function: Callable[[Connection], T]) -> T:
        return await self._reader.run(function)

    def _stamp(self) -> int:
        return stamp(self._clock())

    async def _in_batches(self, operation: Callable[[Connection], int]) -> int:
        total = 0
        while count := await self.write(operation):
            total += count
        return total

    def _open(self, roles: frozenset[str], patience_s: float, apart: bool) -> None:
        try:
            make_folder(self._folder)
        except OSError as err:
            raise StoreError(f"the data folder cannot be made: {err.strerror}") from err
        self._locks = Locks(self._folder, patience_s, self._another_at_work)
        try:
            self._locks.take_roles(sorted(roles))
            self._locks.share()
            self.salvaged = make_ready(self.url, self._locks, self._clock(), self._limits, apart=apart)
            self._writer.start()
            if self._checkpointer is not None:
                self._checkpointer.start()
            self._claim(SENDER in roles)
        except BaseException:
            self._close()
            raise

    def _another_at_work(self) -> bool:
        return self._sqlite and under_way(sqlite_file(self.url))

    def _close(self) -> None:
        if self._locks is None:
            return
        if self._checkpointer is not None:
            self._checkpointer.stop()
        self._writer.stop()
        self._reader.stop()
        self._locks.release()
        self._locks = None

    def _mend(self, conn: Connection) -> None:
        if self._sqlite:
            checkpoint_all(conn)

    def _after_commit(self, conn: Connection, weight: int) -> None:
        """On the writer's thread."""
        if self._checkpointer is not None:
            self._checkpointer.committed(weight)
            self._checkpointer.finish(conn)
        if time.monotonic() - self._measured_at >= TEND_EVERY_S:  # a process that only takes in has nobody who tends
            self._measured_at = time.monotonic()
            self.room.refresh(self._writer.failing, _reusable_bytes(conn))

    def _on_failure(self, _error: BaseException) -> None:
        """On the writer's thread: first of all, room to write a settlement."""
        self.room.drop_ballast()
        self.room.level = Level.STOP

    async def _look_again(self) -> None:
        """Intake is stopped: is there still no room? Once a second, whoever asks."""
        if asyncio.get_running_loop().time() - self._tended_at >= TEND_EVERY_S:
            await self.tend()

    def _claim(self, sending: bool) -> None:
        conn = self._connect()
        try:
            marker = self._folder / "queue.marker"
            self.restored = claim_for_sending(conn, self.box, marker) if sending else who_may_send(conn)
            self.room.refresh(False, _reusable_bytes(conn))
        finally:
            conn.close()


async def _digest(data: bytes) -> bytes:
    if len(data) <= INLINE_HASH_BYTES:
        return hashlib.sha256(data).digest()
    return await asyncio.to_thread(lambda: hashlib.sha256(data).digest())


def _reusable_bytes(conn: Connection) -> int:
    """What a purge has freed inside an SQLite file; PostgreSQL has a volume of its own."""
    if conn.engine != "sqlite":
        return 0
    return int(conn.plain("PRAGMA freelist_count")[0][0] * conn.plain("PRAGMA page_size")[0][0])
