"""Nothing acknowledged is lost at a power cut, wherever it falls (F-02), and none is acknowledged on a failing disk.

The story puts, freezes, settles and checkpoints through the store's own statements, alone and in groups, on a disk that
forgets what was not synced. It is cut at each write, sync and truncate in turn; for each cut the disk comes back with
nothing unsynced and with random torn patterns. What had been acknowledged must be there whole.

A seed: the patterns are drawn from the operation's number, so a failure names all it takes to see it again.
"""

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import apsw
import pytest
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from passevue.errors import BoxError
from passevue.queue import moves
from passevue.queue.connection import Connection
from passevue.queue.frozen import thaw
from passevue.queue.indexes import metadata
from passevue.queue.seal import sha256
from passevue.queue.states import State
from passevue.queue.taking_in import Keep, keep
from passevue.queue.wal import checkpoint_all
from passevue.queue.work import Answer
from passevue.queue.writer import Pending, commit_group
from tests.unit.queue.far_end import message, publish, submission_for
from tests.unit.queue.power_cut import Disk, File, PowerCut, connect

TORN_PATTERNS = 4  # `tests.unit.queue.test_power_cut` takes some seconds; the bound of the page is 20 (make bench)


@dataclass
class Ledger:
    """What was acknowledged, as the far ends would have it written down."""

    kept: dict[int, bytes] = field(default_factory=dict)
    settled: dict[int, str] = field(default_factory=dict)


def ddl() -> Iterator[str]:
    dialect = sqlite.dialect()
    for table in metadata.sorted_tables:
        yield str(CreateTable(table).compile(dialect=dialect))
        for index in sorted(table.indexes, key=lambda each: str(each.name)):
            yield str(CreateIndex(index).compile(dialect=dialect))


def fresh_disk() -> Disk:
    disk = Disk()
    conn, _vfs = connect(disk)
    for statement in ddl():
        conn.plain(statement)
    checkpoint_all(conn)
    conn.close()
    disk.operations = 0
    return disk


def put(conn: Connection, ledger: Ledger, *names: str) -> list[int]:
    """Several messages in one group; noted only after the commit has returned."""
    things = [message(name, f"report {name} ".encode() * 200) for name in names]
    group = [Pending(_keeping(thing, n), 0, lambda *_: None) for n, thing in enumerate(things)]
    commit_group(conn, group)
    numbers = []
    for thing, each in zip(things, group, strict=True):
        assert each.error is None
        ledger.kept[each.result.number] = thing.content
        numbers.append(each.result.number)
    return numbers


def _keeping(thing, n):  # type: ignore[no-untyped-def]
    return lambda conn: keep(conn, Keep(thing, sha256(thing.content), [publish(n)], 1))


def settle_first(conn: Connection, ledger: Ledger) -> None:
    """Take, freeze and start, settle: a commit each."""

    def alone(operation):  # type: ignore[no-untyped-def]
        pending = Pending(operation, 0, lambda *_: None)
        commit_group(conn, [pending])
        return pending.result

    taken = alone(lambda c: moves.take(c, "box", moves.Rank.FRESH, 1, frozenset({State.WAITING}), 2))[0]
    made = submission_for(moves.read_entry(conn, taken))
    started = alone(lambda c: moves.freeze_and_start(c, taken, made, 3))
    alone(lambda c: moves.settle(c, started, made, Answer("Success"), "answer", 4))
    ledger.settled[taken.number] = made.set_unique_id


def story(conn: Connection, ledger: Ledger) -> None:
    put(conn, ledger, "a")
    put(conn, ledger, "b", "c", "d")
    settle_first(conn, ledger)
    checkpoint_all(conn)
    put(conn, ledger, "e", "f")
    settle_first(conn, ledger)
    put(conn, ledger, "a", "g")  # a copy among them


def check(disk: Disk, ledger: Ledger) -> None:
    """Switched on again: whole, and everything acknowledged is there."""
    conn, _vfs = connect(disk)
    assert conn.plain("PRAGMA integrity_check") == [("ok",)]
    for number, content in ledger.kept.items():
        rows = list(conn.raw.execute(
            "SELECT c.bytes FROM entry e JOIN content c ON c.received_id = e.received_id WHERE e.number = ?", (number,)
        ))  # fmt: skip
        assert rows == [(content,)]
    for number, set_unique_id in ledger.settled.items():
        rows = list(conn.raw.execute(
            "SELECT e.state, p.set_unique_id, a.submission_id FROM entry e JOIN proof p ON p.number = e.number "
            "JOIN archive a ON a.study_uid = e.study_uid WHERE e.number = ?", (number,)
        ))  # fmt: skip
        assert rows[0][:2] == ("settled", set_unique_id)
        assert thaw(conn, rows[0][2]) is not None
    orphans = list(conn.raw.execute("SELECT count(*) FROM received WHERE id NOT IN (SELECT received_id FROM content)"))
    assert orphans == [(0,)]
    put(conn, Ledger(), "afterwards")
    conn.close()


def play(disk: Disk, *pragmas: str) -> Ledger:
    """Until the end or the cut; what the ledger then has is what the box had acknowledged."""
    ledger = Ledger()
    conn, _vfs = connect_or_none(disk)
    if conn is not None:
        with contextlib.suppress(PowerCut, BoxError, apsw.Error):
            for pragma in pragmas:
                conn.plain(pragma)
            story(conn, ledger)
    disk.over = True
    if conn is not None:
        conn.close()
    return ledger


def connect_or_none(disk: Disk):  # type: ignore[no-untyped-def]
    try:
        return connect(disk)
    except (PowerCut, BoxError, apsw.Error):
        return None, None


def length_of_the_story() -> int:
    disk = fresh_disk()
    ledger = play(disk)
    assert len(ledger.kept) == 7
    assert len(ledger.settled) == 2
    return disk.operations


@pytest.mark.timeout(300)
def test_no_acknowledged_entry_is_lost_at_any_cut() -> None:
    trials = 0
    for cut in range(1, length_of_the_story() + 1):
        disk = fresh_disk()
        disk.cut_at = cut
        ledger = play(disk)
        check(disk.after_cut(None), ledger)
        for pattern in range(TORN_PATTERNS):
            check(disk.after_cut(random.Random(cut * 1000 + pattern)), ledger)
        trials += 1 + TORN_PATTERNS
    assert trials > 200


def test_the_simulated_disk_does_lose_what_is_not_synced() -> None:
    """The bench itself: with `synchronous=OFF` acknowledged rows must go missing, or it proves nothing."""
    lost = 0
    for cut in range(1, 200, 3):
        disk = fresh_disk()
        disk.cut_at = cut
        ledger = play(disk, "PRAGMA synchronous=OFF")
        again, _vfs = connect(disk.after_cut(None))
        found = {row[0] for row in again.raw.execute("SELECT number FROM entry")}
        lost += len(set(ledger.kept) - found)
        again.close()
    assert lost > 0


@pytest.mark.parametrize(("error", "kinds"), [
    (apsw.FullError, ("write",)),
    (apsw.IOError, ("write", "sync", "truncate")),
    (apsw.IOError, ("sync",)),
])  # fmt: skip
def test_a_disk_that_fails_at_any_operation_gets_no_false_acknowledgement(error, kinds) -> None:  # type: ignore[no-untyped-def]
    for failing in range(1, length_of_the_story() + 1, 2):
        disk = fresh_disk()
        disk.fail = lambda number, kind, at=failing: error if number == at and kind in kinds else None
        ledger = play(disk)
        check(disk.after_cut(None), ledger)


def kernel_that_dropped_the_pages(disk: Disk) -> Disk:
    """Everything is still shown, and no later sync will write what the failed one should have written."""
    later = Disk()
    for name, file in disk.files.items():
        later.files[name] = File(bytearray(file.shown), bytearray(file.synced))
    disk.over = True
    return later


def test_after_a_failed_sync_the_log_is_carried_over_before_anything_is_trusted() -> None:
    """F-06: the kernel drops the pages, says EIO once and then "succeeds"; a copy must not be taken for kept."""
    disk = fresh_disk()
    conn, _vfs = connect(disk)
    disk.fail = lambda number, kind: apsw.IOError if kind == "sync" else None
    with pytest.raises(BoxError):
        put(conn, Ledger(), "a")
    assert conn.broken
    disk = kernel_that_dropped_the_pages(disk)
    again, _vfs2 = connect(disk)
    checkpoint_all(again)  # the writer's `mend`
    ledger = Ledger()
    put(again, ledger, "a")
    disk.over = True
    check(disk.after_cut(None), ledger)
