"""The way of entries through the lanes: order, doubt, back-off, crashes, holds, breakers (Q-04 to Q-15)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from passevue.errors import (
    CabinetError,
    CredentialError,
    Damaged,
    Failing,
    InDoubt,
    NetworkError,
    Refused,
    StoreError,
    StudyAbsent,
    TrustError,
)
from passevue.queue.breaker import Breaker
from passevue.queue.dispatcher import Dispatcher
from passevue.queue.lane import Deadlines, Endpoints
from passevue.queue.listing import Counters
from passevue.queue.moves import Lost, Taken, read_for_export
from passevue.queue.pace import Pace
from passevue.queue.retry import Phase, Policy, interrupted
from passevue.queue.states import State
from passevue.queue.store import Store
from passevue.queue.work import Answer, Entry, Nothing, Submission
from tests.unit.queue.far_end import FarEnd, message, publish, refresh, study, withdraw

Open = Callable[..., Awaitable[Store]]
QUICK = Policy(steps_s=(0.01, 0.02), floor_s=0.01, cap_s=3600, look_again_s=0.05, absent_after_s=0.03)


def endpoints(probe_every_s: float = 0.2) -> Endpoints:
    return Endpoints(Breaker(probe_every_s=probe_every_s), Breaker(probe_every_s=probe_every_s))


def dispatcher(store: Store, work: FarEnd, policy: Policy = QUICK, **more: object) -> Dispatcher:
    usual: dict[str, object] = {"endpoints": endpoints(), "minute_s": 0.1, "pace": Pace(per_second=1000, burst=1000)}
    return Dispatcher(store, work, policy=policy, **{**usual, **more})  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def running(part: Dispatcher) -> AsyncIterator[Dispatcher]:
    task = asyncio.get_running_loop().create_task(part.run())
    try:
        yield part
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(store: Store, holds: Callable[[Counters], bool], within_s: float = 15.0) -> Counters:
    async with asyncio.timeout(within_s):
        while not holds(  # noqa: ASYNC110 - the store is the only witness
            counters := await store.counters(datetime.fromisoformat("2000-01-01T00:00:00+00:00"))
        ):
            await asyncio.sleep(0.01)
    return counters


def drained(counters: Counters) -> bool:
    return counters.open == 0


async def state_of(store: Store, number: int) -> tuple[State, str]:
    shown = await store.show(number)
    assert shown is not None
    return shown.line.state, shown.line.reason


async def test_what_is_put_reaches_the_registry_and_leaves_a_proof(store: Store) -> None:
    work = FarEnd()
    async with running(dispatcher(store, work)):
        receipt = await store.put(message("1"), [publish(1)])
        await until(store, drained)
    shown = await store.show(receipt.number)
    assert shown is not None
    assert shown.proof is not None
    assert (shown.line.state, shown.proof.outcome, shown.proof.how) == (State.SETTLED, "published", "answer")
    assert shown.proof.set_unique_id in work.registry.committed
    kept = await store.archive.get(study(1))
    assert kept is not None
    assert (kept.state, kept.set_unique_id) == ("published", shown.proof.set_unique_id)
    assert kept.kos == b"DICM" + message("1").content


async def test_one_examination_keeps_its_order_while_others_pass(store: Store) -> None:
    work = FarEnd(pause_s=0.01)
    for n in range(10):
        await store.put(message(f"a{n}"), [publish(1)])
    await store.put(message("w"), [withdraw(1)])
    for n in range(10):
        await store.put(message(f"b{n}"), [publish(2 + n)])
    async with running(dispatcher(store, work)):
        await until(store, drained)
    first = [uid for lane, uid in work.registry.order if lane == study(1)]
    assert len(first) == 11
    assert first == sorted(first, key=lambda uid: int(uid.split(".")[-1][:-6]))
    assert work.most_running > 1
    assert len(work.registry.order) == 21
    kept = await store.archive.get(study(1))
    assert kept is not None
    assert kept.state == "withdrawn"


async def test_every_outcome_that_could_not_be_written_is_put_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the one that fails while another is put back; else its lease would keep it for a quarter of an hour."""
    settle, put_back = store.settle, store.put_back
    failed: set[int] = set()
    tending = asyncio.Event()

    async def failing_once(taken: Taken, made: Submission, answer: Answer, how: str) -> object:
        if taken.number in failed:
            return await settle(taken, made, answer, how)
        failed.add(taken.number)
        if len(failed) == 2:
            await tending.wait()
        raise StoreError("the disk failed")

    async def slow(lost: Taken, policy: Policy) -> None:
        tending.set()
        await asyncio.sleep(0.1)
        await put_back(lost, policy)

    monkeypatch.setattr(store, "settle", failing_once)
    monkeypatch.setattr(store, "put_back", slow)
    await store.put(message("1"), [publish(1), publish(2)])
    async with running(dispatcher(store, FarEnd())):
        await until(store, drained, within_s=5)


async def test_a_later_one_waits_for_an_earlier_one_that_is_in_back_off(store: Store) -> None:
    def away(submission: Submission) -> None:
        raise NetworkError("away")

    work = FarEnd(on_send=away)
    slow = replace(QUICK, steps_s=(3600.0,), floor_s=3600.0)
    first = await store.put(message("1"), [publish(1)])
    async with running(dispatcher(store, work, slow)):
        await until(store, lambda c: c.by_state[State.READY] == 1)
        second = await store.put(message("2"), [withdraw(1)])
        await asyncio.sleep(0.3)
        assert (await state_of(store, second.number))[0] is State.WAITING
        work.on_send = lambda _: None
        await store.release(first.number, by="test")
        await until(store, drained)
    assert [lane for lane, _ in work.registry.order] == [study(1), study(1)]
    assert len(work.builds) == 2


@pytest.mark.parametrize("landed", [True, False])
async def test_a_cut_connection_is_looked_up_before_anything_is_sent_again(store: Store, landed: bool) -> None:
    def cut(submission: Submission) -> None:
        if len(work.sends) == 1:
            raise InDoubt("reset")

    work = FarEnd(**({"after_send": cut} if landed else {"on_send": cut}))  # type: ignore[arg-type]
    receipt = await store.put(message("1"), [publish(1)])
    async with running(dispatcher(store, work)):
        await until(store, drained)
    shown = await store.show(receipt.number)
    assert shown is not None
    assert shown.proof is not None
    assert len(work.registry.committed) == 1
    assert len(work.builds) == 1
    if landed:
        assert (shown.proof.how, len(work.sends), len(work.look_ups)) == ("look-up", 1, 1)
    else:
        assert (shown.proof.how, len(work.sends), len(work.look_ups)) == ("answer", 2, 2)
        assert work.sends[0] == work.sends[1]
    assert shown.proof.tries == len(work.sends)


async def test_nothing_is_sent_blindly_while_the_look_up_is_away(store: Store) -> None:
    def cut(submission: Submission) -> None:
        raise InDoubt("reset")

    def away(submission: Submission) -> None:
        raise NetworkError("away")

    work = FarEnd(after_send=cut, on_look_up=away)
    await store.put(message("1"), [publish(1)])
    async with running(dispatcher(store, work)):
        await until(store, lambda c: c.in_doubt == 1)
        await asyncio.sleep(0.4)
        assert len(work.sends) == 1
        assert len(work.look_ups) > 1
        work.on_look_up = lambda _: None
        await until(store, drained)
    assert len(work.sends) == 1


async def test_the_network_away_and_back_sends_the_same_content_once(store: Store) -> None:
    def away(submission: Submission) -> None:
        raise NetworkError("away")

    work = FarEnd(on_send=away)
    for n in range(8):
        await store.put(message(str(n)), [publish(n)])
    async with running(dispatcher(store, work)) as part:
        await until(store, lambda c: part.endpoints.registry.open)
        work.on_send = lambda _: None
        await until(store, drained)
    assert len(work.registry.committed) == 8
    assert len(work.builds) == len(set(work.builds)) == 8


async def test_an_open_breaker_lets_one_probe_through_at_a_time(store: Store) -> None:
    def away(submission: Submission) -> None:
        raise NetworkError("away")

    work = FarEnd(on_send=away)
    for n in range(50):
        await store.put(message(str(n)), [publish(n)])
    async with running(dispatcher(store, work, endpoints=endpoints(30.0))):
        await asyncio.sleep(1.0)
    assert 5 <= len(work.sends) <= 5 + 4


async def test_retry_after_keeps_the_endpoint_quiet(store: Store) -> None:
    def busy(submission: Submission) -> None:
        raise NetworkError("busy", retry_after_s=3600)

    work = FarEnd(on_send=busy)
    for n in range(12):
        await store.put(message(str(n)), [publish(n)])
    async with running(dispatcher(store, work)):
        await asyncio.sleep(0.6)
        assert len(work.sends) <= 4
        work.on_send = lambda _: None
        await store.release(by="test")
        await until(store, drained)


async def test_a_refusal_is_set_aside_at_once_and_later_ones_pass(store: Store) -> None:
    def refuse(submission: Submission) -> None:
        if len(work.sends) == 1:
            raise Refused("XDSUnknownPatientId", "unknown", hint="Identité inconnue du DMP.")

    work = FarEnd(on_send=refuse)
    first = await store.put(message("1"), [publish(1)])
    second = await store.put(message("2"), [publish(1)])
    async with running(dispatcher(store, work)):
        await until(store, drained)
        assert await state_of(store, first.number) == (State.SET_ASIDE, "XDSUnknownPatientId")
        assert (await state_of(store, second.number))[0] is State.SETTLED
        with pytest.raises(Refused, match="later-settled"):
            await store.retry(first.number, by="secretary")
    shown = await store.show(first.number)
    assert shown is not None
    assert shown.line.hint == "Identité inconnue du DMP."


async def test_a_refused_one_that_is_tried_again_is_built_anew_with_other_identifiers(store: Store) -> None:
    def refuse(submission: Submission) -> None:
        if len(work.sends) == 1:
            raise Refused("XDSRepositoryMetadataError", "no")

    work = FarEnd(on_send=refuse)
    first = await store.put(message("1"), [publish(1)])
    async with running(dispatcher(store, work)):
        await until(store, drained)
        await store.put(message("2"), [refresh(1)])
        await until(store, drained)
        work.on_build = lambda entry: None
    # a refresh that published something has replaced it: covered by the test above; here nothing came after
    third = await store.put(message("3"), [publish(3)])
    work.sends.clear()
    async with running(dispatcher(store, work)):
        await until(store, drained)
        assert (await state_of(store, third.number))[0] is State.SET_ASIDE
        await store.retry(third.number, by="secretary", why="corrigé")
        await until(store, lambda c: c.open == 0 and c.by_state[State.SET_ASIDE] == 1)
    assert work.sends[0] != work.sends[1]
    assert (await state_of(store, third.number))[0] is State.SETTLED
    assert (await state_of(store, first.number))[0] is State.SET_ASIDE


async def test_five_equal_failures_of_the_far_side_set_it_aside(store: Store) -> None:
    def fail(submission: Submission) -> None:
        raise Failing("XDSRegistryError", "internal")

    work = FarEnd(on_send=fail)
    receipt = await store.put(message("1"), [publish(1)])
    async with running(dispatcher(store, work)):
        await until(store, drained)
    assert await state_of(store, receipt.number) == (State.SET_ASIDE, "XDSRegistryError")
    assert len(work.sends) == 5
    assert len(set(work.sends)) == 1


@pytest.mark.parametrize("phase", ["on_build", "on_send", "on_look_up"])
async def test_an_entry_that_crashes_the_work_is_set_aside_at_the_third_time(store: Store, phase: str) -> None:
    def crash(what: Entry | Submission) -> None:
        lane = what.study_uid if isinstance(what, Entry) else what.structure
        if lane == study(1):
            raise KeyError("a name that must not be logged")

    def cut(submission: Submission) -> None:
        if submission.structure == study(1) and phase == "on_look_up":
            raise InDoubt("reset")

    work = FarEnd(**{phase: crash, "after_send": cut})  # type: ignore[arg-type]
    receipt = await store.put(message("1"), [publish(1)])
    for n in range(2, 8):
        await store.put(message(str(n)), [publish(n)])
    async with running(dispatcher(store, work)):
        await until(store, drained)
    assert (await state_of(store, receipt.number))[0] is State.SET_ASIDE
    tried = {"on_build": work.builds.count(receipt.number), "on_look_up": len(work.look_ups),
             "on_send": len(work.sends) - 6}[phase]  # fmt: skip
    assert tried == 3
    assert len(work.registry.order) == 6 + (phase == "on_look_up")


async def test_an_endless_build_is_ended_and_set_aside_while_others_pass(store: Store) -> None:
    class Stuck(FarEnd):
        async def build(self, entry: Entry) -> Submission | Nothing:
            if entry.study_uid == study(1):
                self.builds.append(entry.number)
                await asyncio.Event().wait()
            return await super().build(entry)

    work = Stuck()
    receipt = await store.put(message("1"), [publish(1)])
    await store.put(message("2"), [publish(2)])
    async with running(dispatcher(store, work, deadlines=Deadlines(build_s=0.1))):
        await until(store, drained)
    assert await state_of(store, receipt.number) == (State.SET_ASIDE, "overdue")
    assert work.builds.count(receipt.number) == 3


@pytest.mark.parametrize("error", [CredentialError("card out"), TrustError("wrong certificate")])
async def test_what_lacks_a_credential_is_held_burns_no_try_and_goes_when_it_is_back(
    store: Store, error: Exception
) -> None:
    def lacking(submission: Submission) -> None:
        raise error

    work = FarEnd(on_send=lacking)
    receipts = [await store.put(message(str(n)), [publish(n)]) for n in range(12)]
    async with running(dispatcher(store, work)):
        await until(store, lambda c: c.by_state[State.HELD] == 12)
        sends = len(work.sends)
        await asyncio.sleep(0.55)
        assert len(work.sends) - sends <= 7  # one probe a (short) minute, not twelve
        work.on_send = lambda _: None
        await until(store, drained)
    for receipt in receipts:
        shown = await store.show(receipt.number)
        assert shown is not None
        assert shown.proof is not None
        assert shown.proof.tries == 1
    assert len(work.builds) == 12


async def test_while_the_box_is_not_sound_everything_is_taken_in_and_nothing_begins(store: Store) -> None:
    work, sound = FarEnd(), False
    async with running(dispatcher(store, work, may_begin=lambda: sound)):
        await store.put(message("1"), [publish(1)])
        await asyncio.sleep(0.3)  # several minutes of the dispatcher's own
        assert work.registry.order == []
        counters = await until(store, lambda counters: counters.by_state[State.WAITING] == 1)
        assert counters.open == 1
        sound = True
        await until(store, drained)
    assert len(work.registry.committed) == 1


async def test_a_released_hold_is_tried_at_once(store: Store) -> None:
    def lacking(entry: Entry) -> None:
        raise CredentialError("no certificate")

    work = FarEnd(on_build=lacking)
    receipt = await store.put(message("1"), [publish(1)])
    async with running(dispatcher(store, work, minute_s=60)):
        await until(store, lambda c: c.by_state[State.HELD] == 1)
        work.on_build = lambda _: None
        assert await store.release(receipt.number, by="admin") == 1
        await until(store, drained)


@pytest.mark.parametrize(
    ("error", "reason"), [(StudyAbsent("not yet"), "study-absent"), (CabinetError("odd"), "cabinet")]
)
async def test_a_study_that_never_comes_is_set_aside_in_the_end(store: Store, error: Exception, reason: str) -> None:
    def absent(entry: Entry) -> None:
        raise error

    work = FarEnd(on_build=absent)
    receipt = await store.put(message("1"), [publish(1)])
    async with running(dispatcher(store, work)):
        await until(store, drained)
        assert await state_of(store, receipt.number) == (State.SET_ASIDE, reason)
        assert len(work.builds) > 2
        work.on_build = lambda _: None
        await store.retry(receipt.number, by="secretary")
        await until(store, lambda c: c.open == 0 and c.by_state[State.SET_ASIDE] == 0)


async def test_a_pacs_that_is_away_is_waited_for_and_what_is_built_still_goes(store: Store) -> None:
    def away(entry: Entry) -> None:
        raise NetworkError("pacs away")

    work = FarEnd(on_build=away)
    await store.put(message("1"), [publish(1)])
    async with running(dispatcher(store, work)) as part:
        await until(store, lambda c: part.endpoints.pacs.open)
        work.on_build = lambda _: None
        await until(store, drained)


async def test_nothing_to_send_is_settled_with_its_reason_and_its_memory(store: Store) -> None:
    work = FarEnd(on_build=lambda entry: Nothing("never-published", b'{"rejected":1}'))
    receipt = await store.put(message("1"), [refresh(1)])
    async with running(dispatcher(store, work)):
        await until(store, drained)
    assert await state_of(store, receipt.number) == (State.SETTLED, "never-published")
    kept = await store.archive.get(study(1))
    assert kept is not None
    assert (kept.state, kept.record, kept.kos) == ("unpublished", b'{"rejected":1}', b"")
    found = await store.counters(datetime(2000, 1, 1, tzinfo=UTC))
    assert (found.settled_today, found.nothing_today) == (0, 1)


async def test_content_that_is_damaged_sets_aside_that_entry_only(store: Store) -> None:
    receipt = await store.put(message("1"), [publish(1)])
    await store.put(message("2"), [publish(2)])
    await store.write(lambda conn: conn.plain("UPDATE content SET bytes = 'x' WHERE received_id = 1"))
    work = FarEnd()
    async with running(dispatcher(store, work)):
        await until(store, drained)
    assert await state_of(store, receipt.number) == (State.SET_ASIDE, "damaged")
    assert work.builds == [receipt.number + 1]
    with pytest.raises(Damaged):
        await store.read(lambda conn: read_for_export(conn, receipt.number))


async def test_an_entry_of_another_process_is_seen_within_a_second(opened: Open) -> None:
    intake, national = await opened(roles={"intake"}), await opened(roles={"national"})
    work = FarEnd()
    async with running(dispatcher(national, work)):
        await asyncio.sleep(0.05)
        await intake.put(message("1"), [publish(1)])
        await until(national, drained, within_s=2.5)


async def test_stopping_in_the_middle_of_a_try_leaves_it_in_doubt_without_a_crash(opened: Open) -> None:
    class Slow(FarEnd):
        async def send(self, submission: Submission):  # type: ignore[no-untyped-def]
            self.registry.commit(submission)
            await asyncio.sleep(30)

    first = await opened(roles={"national"})
    work = Slow()
    receipt = await first.put(message("1"), [publish(1)])
    async with running(dispatcher(first, work)):
        await until(first, lambda c: c.by_state[State.STARTED] == 1)
        await asyncio.sleep(0.05)
    assert await state_of(first, receipt.number) == (State.IN_DOUBT, "")
    await first.close()
    second = await opened(roles={"national"})
    async with running(dispatcher(second, work)):
        await until(second, drained)
    assert len(work.registry.committed) == 1
    assert work.look_ups


async def test_a_restored_copy_sends_nothing_until_a_person_confirms(opened: Open, queue_url: str) -> None:
    first = await opened(roles={"intake", "national"}, machine="box-a")
    await first.put(message("1"), [publish(1)])
    await first.close()
    if queue_url.startswith("postgresql"):
        pytest.skip("several boxes may share one PostgreSQL: another machine is no restored copy there")
    copy = await opened(roles={"intake", "national"}, machine="box-b")
    assert copy.restored == "other-machine"
    work = FarEnd()
    async with running(dispatcher(copy, work)):
        await copy.put(message("2"), [publish(2)])
        await asyncio.sleep(0.3)
        assert work.builds == []
        await copy.confirm_restored(by="admin", why="the old box is broken")
        await until(copy, drained)
    assert len(work.registry.committed) == 2


async def test_two_boxes_on_one_queue_share_the_work_and_keep_the_order(opened: Open, queue_url: str) -> None:
    if queue_url.startswith("sqlite"):
        pytest.skip("several boxes share a PostgreSQL, never an SQLite file")
    one, two = await opened(machine="box-a"), await opened(machine="box-b")
    work = FarEnd(pause_s=0.005)
    async with running(dispatcher(one, work)), running(dispatcher(two, work)):
        for n in range(60):
            await (one, two)[n % 2].put(message(str(n)), [publish(n % 12)])
        await until(one, drained, within_s=30)
    assert len(work.registry.order) == len(work.registry.committed) == 60
    for lane in range(12):
        uids = [int(uid.split(".")[-1][:-6]) for name, uid in work.registry.order if name == study(lane)]
        assert uids == sorted(uids)


async def test_a_box_that_is_gone_loses_its_lease_and_another_goes_on(opened: Open, queue_url: str) -> None:
    now = datetime.fromisoformat("2026-11-21T12:00:00+00:00")
    one = await opened(machine="box-a", clock=lambda: now)
    await one.put(message("1"), [publish(1)])
    taken = await one.take([(0, 1)], 1, frozenset({State.WAITING}))
    assert taken
    if queue_url.startswith("sqlite"):
        pytest.skip("several boxes share a PostgreSQL, never an SQLite file")
    two = await opened(machine="box-b", clock=lambda: now + timedelta(seconds=890))
    assert (await two.recover(QUICK)).waiting == 0
    three = await opened(machine="box-c", clock=lambda: now + timedelta(seconds=910))
    assert (await three.recover_others((), QUICK)).waiting == 1
    with pytest.raises(Lost):
        await one.leave(taken[0], interrupted(Phase.BUILD, taken[0].facts))
