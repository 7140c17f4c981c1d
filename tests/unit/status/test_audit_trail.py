"""The audit trail: synced before it counts, chained, whole after a cut, and honest about what was changed."""

import asyncio
import fcntl
import multiprocessing
import os
import resource
import stat
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from passevue.errors import StoreError
from passevue.status.audit import box_started, person_acted
from passevue.status.audit_trail import (
    LOCK_S,
    MAX_TORN_BYTES,
    MAX_WAITING,
    RETRY_S,
    AuditTrail,
    TrailRefused,
    trail_files,
    verify,
)

NOW = datetime(2026, 11, 21, tzinfo=UTC)


@asynccontextmanager
async def running(trail: AuditTrail) -> AsyncIterator[AuditTrail]:
    task = asyncio.create_task(trail.run())
    yield trail
    task.cancel()
    await asyncio.wait([task])


def _records(count: int, start: int = 0) -> list[bytes]:
    return [b"<AuditMessage n='%d'/>" % number for number in range(start, start + count)]


async def test_a_record_is_on_the_disk_when_recording_returns(tmp_path: Path) -> None:
    async with running(AuditTrail(tmp_path / "audit", "box")) as trail:
        await trail.record(box_started(NOW, "0.1"))
        (path,) = await asyncio.to_thread(lambda: list((tmp_path / "audit").glob("*.log")))
        assert b"110120" in await asyncio.to_thread(path.read_bytes)
    assert (await asyncio.to_thread(verify, tmp_path / "audit")).records == 1
    assert stat.S_IMODE((tmp_path / "audit").stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_what_waits_when_the_box_stops_is_still_written(tmp_path: Path) -> None:
    async with running(AuditTrail(tmp_path, "box")) as trail:
        await asyncio.sleep(0)
        for number in range(50):
            trail.note(person_acted(NOW, "root", "retry", number))
    assert (await asyncio.to_thread(verify, tmp_path)).records == 50
    with pytest.raises(StoreError):
        trail.note(box_started(NOW, "0.1"))


async def test_many_at_once_are_all_kept_in_order(tmp_path: Path) -> None:
    async with running(AuditTrail(tmp_path, "box", max_file_bytes=20_000)) as trail:
        await asyncio.gather(*(trail.record(person_acted(NOW, "root", "retry", n)) for n in range(100)))
        await asyncio.gather(*(trail.record(person_acted(NOW, "root", "retry", n)) for n in range(100)))
    found = await asyncio.to_thread(verify, tmp_path)
    assert (found.records, found.head.number, found.wrong) == (200, 200, ())
    assert found.files > 1


async def test_a_trail_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("not a folder")
    async with running(AuditTrail(tmp_path / "audit", "box")) as trail:
        with pytest.raises(StoreError) as failed:
            await trail.record(box_started(NOW, "0.1"))
        assert failed.value.hint


def test_more_than_can_wait_is_refused(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path, "box")
    event = box_started(NOW, "0.1")
    trail._waiting.extend([(b"", None)] * MAX_WAITING)
    with pytest.raises(StoreError):
        trail.note(event)


def test_a_new_process_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    assert AuditTrail(tmp_path, "a").append(_records(3)).number == 3
    assert AuditTrail(tmp_path, "b").append(_records(2, 3)).number == 5
    assert verify(tmp_path).wrong == ()


def test_two_writers_take_turns(tmp_path: Path) -> None:
    box, command = AuditTrail(tmp_path, "box"), AuditTrail(tmp_path, "cli")
    for number in range(6):
        (box if number % 2 else command).append(_records(1, number))
    assert verify(tmp_path).records == 6
    assert verify(tmp_path).wrong == ()


def _write_many(folder: Path) -> None:
    trail = AuditTrail(folder, "other", max_file_bytes=2_000)
    for number in range(40):
        trail.append(_records(1, number))


def test_two_processes_at_once_make_one_chain(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_write_many, args=(tmp_path,)) for _ in range(2)]
    for other in others:
        other.start()
    for other in others:
        other.join(60)
    found = verify(tmp_path)
    assert (found.records, found.wrong) == (80, ())
    assert found.files > 2


def test_a_record_torn_by_a_power_cut_is_set_aside_at_each_byte(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    AuditTrail(whole, "box").append(_records(2))
    (path,) = whole.glob("*.log")
    data = path.read_bytes()
    for cut in range(len(data)):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / path.name).write_bytes(data[:cut])
        head = AuditTrail(folder, "box").append([b"<after/>"])
        found = verify(folder)
        assert found.wrong == (), cut
        assert found.head == head
        assert head.number == data[:cut].count(b"\n") or cut < data.index(b"\n") + 1


LONG = b"<AuditMessage>" + b"x" * 5000 + b"</AuditMessage>"


def _room(size: int) -> None:
    """The kernel refuses this process each byte of a file past so many."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _half_a_record(folder: Path) -> None:
    _room(4096)
    trail = AuditTrail(folder, "box")
    for _ in range(3):
        with pytest.raises(TrailRefused) as refused:
            trail.append([LONG])
        assert refused.value.kept == 0
    with pytest.raises(TrailRefused) as refused:
        trail.append([*_records(2, 2), LONG, *_records(1)])
    assert refused.value.kept == 2
    trail.append(_records(1, 4))


def _half_a_header(folder: Path) -> None:
    _room(30)
    trail = AuditTrail(folder, "box")
    for _ in range(4):
        with pytest.raises(OSError, match="File too large"):
            trail.append(_records(1))
    _room(resource.RLIM_INFINITY)
    trail.append(_records(1))


def _a_torn_end_with_no_room_to_set_it_aside(folder: Path) -> None:
    _room(4096)
    AuditTrail(folder, "box").append(_records(1, 2))


def _backlog(folder: Path) -> None:
    asyncio.run(_more_waits_than_there_is_room_for(folder))


async def _more_waits_than_there_is_room_for(folder: Path) -> None:
    _room(20_000)
    async with running(AuditTrail(folder, "box")) as trail:
        asked = [asyncio.ensure_future(trail.record(person_acted(NOW, "root", "retry", n))) for n in range(100)]
        kept = [result is None for result in await asyncio.gather(*asked, return_exceptions=True)]
        assert kept == sorted(kept, reverse=True), "the first ones have their room, the others are refused"
        assert kept.count(True) == len(folder.joinpath("audit-0000000001.log").read_bytes().splitlines()) - 1
        assert 5 < kept.count(True) < 50


def _flood(folder: Path) -> None:
    asyncio.run(_notes_come_while_nothing_is_taken(folder))


async def _notes_come_while_nothing_is_taken(folder: Path) -> None:
    _room(10)
    clock = asyncio.get_running_loop().time
    begun = clock()
    with capture_logs() as logs:
        trail = AuditTrail(folder, "box")
        task = asyncio.create_task(trail.run())
        for number in range(150):
            trail.note(person_acted(NOW, "root", "retry", number))
            await asyncio.sleep(0.01)
        tries = sum(line["event"] == "audit_not_written" for line in logs)
        assert 1 <= tries <= (clock() - begun) / RETRY_S + 2, tries
        _room(resource.RLIM_INFINITY)
        task.cancel()
        await asyncio.wait([task])


def _in_a_process_of_its_own(act: Callable[[Path], None], folder: Path) -> None:
    child = multiprocessing.get_context("spawn").Process(target=act, args=(folder,))
    child.start()
    child.join(60)
    child.kill()
    assert child.exitcode == 0


def test_what_a_full_disk_takes_half_of_is_taken_back_and_what_is_whole_counts(tmp_path: Path) -> None:
    AuditTrail(tmp_path, "box").append(_records(2))
    _in_a_process_of_its_own(_half_a_record, tmp_path)
    assert (verify(tmp_path).records, verify(tmp_path).wrong) == (5, ())
    assert not list(tmp_path.glob("*.torn"))


def test_a_file_that_a_full_disk_lets_nobody_begin_is_begun_later(tmp_path: Path) -> None:
    _in_a_process_of_its_own(_half_a_header, tmp_path)
    AuditTrail(tmp_path, "box").append(_records(1))
    assert (verify(tmp_path).records, verify(tmp_path).wrong) == (2, ())
    assert not list(tmp_path.glob("*.torn"))


def test_a_torn_end_that_finds_no_room_aside_does_not_keep_the_trail_from_going_on(tmp_path: Path) -> None:
    AuditTrail(tmp_path, "box").append(_records(2))
    (path,) = tmp_path.glob("*.log")
    with path.open("ab") as file:
        file.write(b"3 " + b"0" * 64 + b" " + LONG)
    _in_a_process_of_its_own(_a_torn_end_with_no_room_to_set_it_aside, tmp_path)
    assert (verify(tmp_path).records, verify(tmp_path).wrong) == (3, ())
    assert not list(tmp_path.glob("*.torn"))


def test_a_flood_while_the_disk_is_full_is_not_tried_at_each_note(tmp_path: Path) -> None:
    _in_a_process_of_its_own(_flood, tmp_path)
    assert (verify(tmp_path).records, verify(tmp_path).wrong) == (150, ())


async def test_what_is_being_written_waits_too(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path, "box")
    await asyncio.to_thread(trail.append, _records(1))
    with await asyncio.to_thread((tmp_path / "lock").open) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        async with running(trail):
            await asyncio.sleep(0.05)
            for number in range(MAX_WAITING // 2):
                trail.note(person_acted(NOW, "root", "retry", number))
            await asyncio.sleep(0.05)
            for number in range(MAX_WAITING // 2):
                trail.note(person_acted(NOW, "root", "retry", number))
            with pytest.raises(StoreError, match="no more"):
                trail.note(person_acted(NOW, "root", "retry", 0))
            fcntl.flock(lock, fcntl.LOCK_UN)
    assert (await asyncio.to_thread(verify, tmp_path)).records == MAX_WAITING + 1


async def test_a_record_that_nobody_waits_for_any_more_is_not_written(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path, "box")
    asked = asyncio.ensure_future(trail.record(person_acted(NOW, "root", "retry", 1)))
    await asyncio.sleep(0)
    asked.cancel()
    trail.note(person_acted(NOW, "root", "retry", 2))
    async with running(trail):
        await asyncio.sleep(0)
    assert (await asyncio.to_thread(verify, tmp_path)).records == 1


async def test_a_zone_with_much_to_write_leaves_room_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a slow disk it holds the lock nearly always."""
    slowly = os.fdatasync

    def sync(handle: int) -> None:
        time.sleep(0.1)
        slowly(handle)

    monkeypatch.setattr(os, "fdatasync", sync)
    waits = []
    async with running(AuditTrail(tmp_path, "box")) as busy:

        async def notes() -> None:
            while True:
                busy.note(box_started(NOW, "0.1"))
                await asyncio.sleep(0.005)

        noting = asyncio.create_task(notes())
        other = AuditTrail(tmp_path, "box")
        for record in _records(8, 20_000):
            begun = time.monotonic()
            await asyncio.to_thread(other.append, [record])
            waits.append(time.monotonic() - begun)
            await asyncio.sleep(0.03)
        noting.cancel()
    assert max(waits) < LOCK_S / 4, waits


def test_a_lock_that_somebody_keeps_is_told_and_not_waited_for_for_ever(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path, "box")
    trail.append(_records(1))
    with (tmp_path / "lock").open() as lock, ThreadPoolExecutor(2) as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)
        written, read = pool.submit(trail.append, _records(1, 1)), pool.submit(verify, tmp_path)
        with pytest.raises(TrailRefused, match="lock") as refused:
            written.result(60)
        assert refused.value.kept == 0
        assert refused.value.hint
        with pytest.raises(TimeoutError, match="lock"):
            read.result(60)
    assert trail.append(_records(1, 1)).number == 2
    assert (verify(tmp_path).records, verify(tmp_path).wrong) == (2, ())


def _in_little_memory(folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, resource.RLIM_INFINITY))
    AuditTrail(folder, "box").append(_records(1, 2))


@pytest.mark.parametrize("name", ["audit-0000000001.log", "audit-9999999999.log"])
def test_an_end_without_end_is_cut_off_and_costs_no_record(tmp_path: Path, name: str) -> None:
    AuditTrail(tmp_path, "box").append(_records(2))
    with (tmp_path / name).open("ab") as file:
        file.write(b"3 half a record")
        file.truncate(1 << 40)
    _in_a_process_of_its_own(_in_little_memory, tmp_path)
    assert (verify(tmp_path).records, verify(tmp_path).wrong) == (3, ())
    (torn,) = tmp_path.glob("*.torn")
    assert torn.read_bytes().rstrip(b"\0") == b"3 half a record"
    assert torn.stat().st_size == MAX_TORN_BYTES


def test_a_folder_in_place_of_what_was_torn_keeps_nothing_from_going_on(tmp_path: Path) -> None:
    AuditTrail(tmp_path, "box").append(_records(2))
    (path,) = tmp_path.glob("*.log")
    path.with_suffix(f".{path.stat().st_size}.torn").mkdir()
    with path.open("ab") as file:
        file.write(b"3 half")
    AuditTrail(tmp_path, "box").append(_records(1, 2))
    assert (verify(tmp_path).records, verify(tmp_path).wrong) == (3, ())


def test_a_trail_that_cannot_be_listed_is_not_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / "audit").write_bytes(b"")
    with pytest.raises(OSError):
        trail_files(tmp_path / "audit")
    assert trail_files(tmp_path / "elsewhere") == []


def test_half_a_record_is_told_only_when_nobody_is_writing_it(tmp_path: Path) -> None:
    AuditTrail(tmp_path, "box").append(_records(2))
    (path,) = tmp_path.glob("*.log")
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with (tmp_path / "lock").open() as lock, ThreadPoolExecutor(1) as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)
        asked = pool.submit(verify, tmp_path)
        with pytest.raises(TimeoutError):
            asked.result(0.2)
        path.write_bytes(whole)
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert asked.result(60).wrong == ()
    path.write_bytes(whole[:-9])
    assert len(verify(tmp_path).wrong) == 1


def test_of_more_records_than_there_is_room_for_the_first_are_kept(tmp_path: Path) -> None:
    _in_a_process_of_its_own(_backlog, tmp_path)
    assert verify(tmp_path).wrong == ()


def test_a_changed_dropped_moved_or_added_record_is_found(tmp_path: Path) -> None:
    AuditTrail(tmp_path, "box").append(_records(5))
    (path,) = tmp_path.glob("*.log")
    lines = path.read_bytes().splitlines(keepends=True)
    forgeries = {
        "changed": [*lines[:3], lines[3].replace(b"n='2'", b"n='7'"), *lines[4:]],
        "dropped": [*lines[:3], *lines[4:]],
        "moved": [*lines[:2], lines[3], lines[2], *lines[4:]],
        "added": [*lines[:3], lines[2], *lines[3:]],
        "cut": [*lines[:5], lines[5][:-10]],
        "no header": lines[1:],
    }
    assert verify(tmp_path).wrong == ()
    for name, forged in forgeries.items():
        path.write_bytes(b"".join(forged))
        assert verify(tmp_path).wrong, name


def test_a_file_taken_out_is_found(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path, "box", max_file_bytes=100)
    for number in range(4):
        trail.append(_records(1, number))
    files = sorted(tmp_path.glob("*.log"))
    assert len(files) > 2
    files[1].unlink()
    assert len(verify(tmp_path).wrong) == 1


def test_one_change_is_told_once(tmp_path: Path) -> None:
    AuditTrail(tmp_path, "box").append(_records(50))
    (path,) = tmp_path.glob("*.log")
    path.write_bytes(path.read_bytes().replace(b"n='7'", b"n='8'"))
    assert len(verify(tmp_path).wrong) == 1


@pytest.mark.parametrize("content", ["passevue-audit 1 1 " + "0" * 64 + "\n", '{"number": 4711}'])
@pytest.mark.parametrize("name", ["audit-0000000001.log", "audit-9999999999.log"])
def test_what_a_link_in_place_of_a_file_names_is_left_as_it_is(tmp_path: Path, name: str, content: str) -> None:
    trail, folder, victim = AuditTrail(tmp_path / "audit", "box"), tmp_path / "audit", tmp_path / "victim"
    trail.append(_records(1))
    victim.write_text(content)
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(victim)
    for again in (trail, AuditTrail(folder, "box")):
        with pytest.raises(OSError):
            again.append(_records(1))
    assert victim.read_text() == content
    assert not list(folder.glob("*.torn"))


def test_a_pipe_in_place_of_a_file_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "audit-0000000001.log")
    with pytest.raises(OSError):
        AuditTrail(tmp_path, "box").append(_records(1))
    with pytest.raises(OSError):
        verify(tmp_path)


@given(
    data=st.binary(max_size=400)
    | st.lists(st.sampled_from([b"1 ", b"0" * 64, b" ", b"\n", b"passevue-audit 1 1 "])).map(b"".join)
)
def test_any_bytes_are_verified_without_another_error(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "any-audit"
    folder.mkdir(exist_ok=True)
    (folder / "audit-0000000001.log").write_bytes(data)
    verify(folder)
    os.unlink(folder / "audit-0000000001.log")


def test_each_of_several_writers_reads_only_what_the_others_added(tmp_path: Path) -> None:
    one, other = (AuditTrail(tmp_path / "audit", "box") for _ in range(2))
    for number in range(20):
        (one, other)[number % 2].append([f"<r{number}/>".encode()])
        (one, other)[number % 2].append([b"<again/>"])
    found = verify(tmp_path / "audit")
    assert (found.wrong, found.records) == ((), 40)


def test_writers_in_a_shared_folder_leave_files_that_the_others_may_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    AuditTrail(tmp_path / "audit", "box").append([b"<a/>"])
    assert stat.S_IMODE((tmp_path / "audit").stat().st_mode) == 0o2770
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "audit").iterdir()} == {0o660}
