"""An update changes the schema, and is undone: a snapshot before, and the way back with everything since (U-14)."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from passevue import config
from passevue.errors import NoRoom, StoreError
from passevue.queue import going_back
from passevue.queue.lock import Locks
from passevue.queue.opening import make_ready
from passevue.queue.room import Limits
from passevue.queue.salvage import sound
from passevue.queue.snapshot import KEPT, drop, drop_old, snapshot_of, take, under_way
from passevue.queue.states import State
from passevue.queue.store import Store
from passevue.queue.version import SCHEMA, Release, schema_in
from tests.peers.disk import ROOMY
from tests.unit.queue.far_end import NOON, message, publish
from tests.unit.queue.releases import bring, change, next_releases, rows, take_in

T = TypeVar("T")
ROOT = Path(__file__).parents[3]
NUMBERS = "SELECT number FROM entry ORDER BY number"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """SQLite only: who runs PostgreSQL has its own backups, and more than one box in it."""
    return tmp_path / "queue.sqlite"


def in_store(path: Path, act: Callable[[Store], Awaitable[T]]) -> T:
    """What a process of this release does with the store, from opening to closing."""

    async def life() -> T:
        store = await Store.open(
            config.Queue(), path.parent, roles={"intake", "national"}, limits=ROOMY, machine="box-a"
        )
        try:
            return await act(store)
        finally:
            await store.close()

    return asyncio.run(life())


def filled(path: Path, count: int) -> None:
    async def put(store: Store) -> None:
        for number in range(1, count + 1):
            await store.put(message(str(number)), [publish(number)])

    in_store(path, put)


async def waiting(store: Store) -> int:
    return (await store.counters()).waiting


def test_the_first_start_of_a_newer_schema_keeps_the_store_as_it_was(path: Path) -> None:
    filled(path, 3)
    before = rows(path, "SELECT * FROM entry")
    assert bring(path, next_releases(path.parent)) is None
    assert schema_in(path) == SCHEMA + 2
    kept = snapshot_of(path)
    assert schema_in(kept) == SCHEMA
    assert sound(kept)
    assert rows(kept, "SELECT * FROM entry") == before
    assert kept.stat().st_mode & 0o777 == path.stat().st_mode & 0o777
    assert not under_way(path)


def test_what_is_only_in_the_log_is_in_the_snapshot(path: Path) -> None:
    async def put_and_copy(store: Store) -> None:
        await store.put(message("1"), [publish(1)])
        assert (await asyncio.to_thread(path.with_name("queue.sqlite-wal").stat)).st_size > 0
        await asyncio.to_thread(take, path, ROOMY)

    in_store(path, put_and_copy)
    assert rows(snapshot_of(path), NUMBERS) == [(1,)]


def test_neither_a_new_store_nor_one_of_the_same_schema_is_copied(path: Path) -> None:
    filled(path, 1)
    filled(path, 1)
    assert not snapshot_of(path).exists()


def test_without_room_for_it_the_schema_stays_and_people_are_told(path: Path) -> None:
    filled(path, 2)
    locks = Locks(path.parent, patience_s=5)
    locks.share()
    with pytest.raises(NoRoom) as told:
        make_ready(f"sqlite:///{path}", locks, NOON, Limits(min_free_bytes=1 << 60), next_releases(path.parent))
    locks.release()
    assert "libérez du disque" in told.value.hint
    assert schema_in(path) == SCHEMA
    assert not list(path.parent.glob("*before-update*"))
    assert in_store(path, waiting) == 2


def test_the_release_before_has_the_store_again_with_what_happened_since(path: Path) -> None:
    filled(path, 3)
    bring(path, next_releases(path.parent))
    assert take_in(path, "4", 4) == 4
    change(path, "UPDATE entry SET state = 'settled', lane = NULL, due_at = NULL, settled_at = 1 WHERE number = 1")
    change(path, "DELETE FROM content WHERE received_id = 2")

    async def go_on(store: Store) -> None:
        assert store.salvaged is None
        assert store.restored == "", "all of it came over: it goes on by itself"
        (first,) = [line for line in await store.entries() if line.number == 1]
        assert first.state is State.SETTLED, "what was sent is not sent again"
        assert await waiting(store) == 3
        assert (await store.put(message("5"), [publish(5)])).number == 5
        assert (await store.put(message("4"), [publish(4)])).duplicate, "a copy is known as one"

    in_store(path, go_on)
    assert schema_in(path) == SCHEMA
    assert not snapshot_of(path).exists()
    assert rows(path, "SELECT received_id FROM content ORDER BY 1") == [(1,), (3,), (4,), (5,)], "purged is purged"
    (aside,) = path.parent.glob("newer-*")
    assert schema_in(aside / path.name) == SCHEMA + 2
    assert rows(aside / path.name, NUMBERS) == [(1,), (2,), (3,), (4,)]


def test_a_number_given_and_purged_meanwhile_is_not_given_again(path: Path) -> None:
    filled(path, 1)
    bring(path, next_releases(path.parent))
    number = take_in(path, "2", 2)
    for table, column in [("entry", "number"), ("content", "received_id"), ("received", "id")]:
        change(path, f"DELETE FROM {table} WHERE {column} = ?", number)
    assert in_store(path, lambda store: store.put(message("3"), [publish(3)])).number == 3


def test_after_rows_that_could_not_come_nothing_is_sent_until_a_person_says_so(path: Path) -> None:
    filled(path, 2)
    bring(path, next_releases(path.parent, "op.drop_column('archive', 'record')"))
    change(
        path, "INSERT INTO archive (study_uid, state, record_sha256, changed_at) VALUES ('1.2', 'published', x'00', 1)"
    )

    async def look(store: Store) -> None:
        assert store.salvaged is not None
        assert (store.salvaged.lost, store.salvaged.entries) == (1, 2)
        assert await asyncio.to_thread(store.salvaged.kept_aside.is_dir)
        assert store.restored == "older-copy"
        await store.confirm_restored("anna")
        assert store.restored == ""

    in_store(path, look)


def test_one_schema_ahead_the_live_store_is_used_and_the_snapshot_kept(path: Path) -> None:
    filled(path, 1)
    newer = next_releases(path.parent)
    (newer.steps[0] / "v9999.py").unlink()
    bring(path, Release(SCHEMA + 1, newer.steps))
    take_in(path, "2", 2)
    assert in_store(path, waiting) == 2
    assert rows(snapshot_of(path), NUMBERS) == [(1,)]
    assert schema_in(path) == SCHEMA + 1


def test_without_a_snapshot_that_can_be_used_the_store_is_left_alone(path: Path) -> None:
    filled(path, 1)
    bring(path, next_releases(path.parent))
    snapshot_of(path).write_bytes(b"x" * 8192)
    with pytest.raises(StoreError):
        bring(path)
    drop(path)
    with pytest.raises(StoreError) as told:
        bring(path)
    assert "plus récente" in told.value.hint
    assert rows(path, NUMBERS) == [(1,)]
    assert not list(path.parent.glob("newer-*"))


def test_a_damaged_store_is_salvaged_although_there_is_a_snapshot(path: Path) -> None:
    filled(path, 3)
    take(path, ROOMY)
    path.write_bytes(b"x" * 8192 + path.read_bytes()[8192:])
    salvaged = bring(path)
    assert salvaged is not None
    assert salvaged.kept_aside.name.startswith("damaged-")
    assert schema_in(path) == SCHEMA


def test_the_next_update_takes_a_new_snapshot(path: Path) -> None:
    filled(path, 1)
    newer = next_releases(path.parent)
    snapshot_of(path).write_bytes(b"of an update that was never made")
    path.with_name("queue.before-update.new").write_bytes(b"cut")
    bring(path, newer)
    assert rows(snapshot_of(path), NUMBERS) == [(1,)]
    bring(path)
    take_in(path, "2", 2)
    bring(path, newer)
    assert rows(snapshot_of(path), NUMBERS) == [(1,), (2,)]


def test_a_way_back_that_was_begun_is_not_gone_once_the_newer_release_has_the_store_again(path: Path) -> None:
    filled(path, 1)
    newer = next_releases(path.parent)
    bring(path, newer)
    snapshot_of(path).rename(path.with_name("queue.back.sqlite"))  # as after a cut
    path.with_name("queue.back.sqlite-wal").touch()
    bring(path, newer)
    assert not list(path.parent.glob("queue.back*"))
    assert schema_in(path) == SCHEMA + 2
    assert not going_back.needed(path, newer)
    take_in(path, "2", 2)
    bring(path)
    assert rows(path, NUMBERS) == [(1,), (2,)]


def test_a_snapshot_goes_when_the_update_is_done_or_long_ago(path: Path) -> None:
    filled(path, 1)
    kept = take(path, ROOMY)
    nearly = (NOON - KEPT + timedelta(minutes=1)).timestamp()
    os.utime(kept, (nearly, nearly))
    drop_old(path, NOON)
    assert kept.exists()
    drop_old(path, NOON + timedelta(minutes=2))
    assert not kept.exists()
    take(path, ROOMY)
    drop(path)
    assert not kept.exists()
    drop(path)


def test_who_waits_for_a_snapshot_waits_longer_than_for_anything_else(tmp_path: Path) -> None:
    asked = 0

    def at_work() -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:
            holder.release()
        return True

    holder = Locks(tmp_path, patience_s=0)
    assert holder.alone(lambda: False)
    with pytest.raises(StoreError, match="does not let go"):
        Locks(tmp_path, patience_s=0).share()
    patient = Locks(tmp_path, patience_s=0, at_work=at_work)
    patient.share()
    assert asked == 3
    patient.release()


def test_kills_at_every_step_there_and_back_lose_nothing(tmp_path: Path) -> None:
    """In a process of its own: it forks. Some of the kills; all by hand: `python -m tests.unit.queue.update_kills`."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.queue.update_kills", str(tmp_path), "--every", "7"],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    told = json.loads(done.stdout)
    assert told["there"]["kills"] > 10
    assert told["back"]["kills"] > 10
    assert told["wrong"] == []
