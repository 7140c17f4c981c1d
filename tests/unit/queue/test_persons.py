"""What people do and see, purge and export; no identity in what they are shown (Q-18 to Q-20)."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from passevue.errors import CredentialError, Failing, NetworkError, Refused, StudyAbsent
from passevue.queue.archive import Archived, ArchiveState
from passevue.queue.retry import Policy
from passevue.queue.states import State
from passevue.queue.store import Store
from passevue.queue.work import Entry, Submission
from tests.unit.queue.far_end import NOON, FarEnd, message, publish, study, withdraw
from tests.unit.queue.test_dispatcher import QUICK, dispatcher, drained, running, until

Open = Callable[..., Awaitable[Store]]


def refuse(submission: Submission) -> None:
    raise Refused("XDSUnknownPatientId", "unknown")


async def settled(store: Store, *control_ids: str) -> list[int]:
    numbers = [(await store.put(message(each), [publish(n)])).number for n, each in enumerate(control_ids)]
    async with running(dispatcher(store, FarEnd())):
        await until(store, drained)
    return numbers


async def test_closing_needs_a_reason_leaves_a_proof_and_is_final(store: Store) -> None:
    receipt = await store.put(message("1"), [publish(1)])
    async with running(dispatcher(store, FarEnd(on_send=refuse))):
        await until(store, drained)
    with pytest.raises(Refused, match="no-reason"):
        await store.close_entry(receipt.number, by="secretary", why=" ")
    await store.close_entry(receipt.number, by="secretary", why="renvoyé corrigé")
    shown = await store.show(receipt.number)
    assert shown is not None
    assert shown.proof is not None
    assert (shown.line.state, shown.proof.outcome) == (State.CLOSED, "closed")
    assert [(act.act, act.by, act.why) for act in shown.acts] == [("close", "secretary", "renvoyé corrigé")]
    for attempt in (store.retry(receipt.number, by="x"), store.close_entry(receipt.number, by="x", why="x")):
        with pytest.raises(Refused):
            await attempt


async def test_a_withdrawal_that_found_nothing_bars_an_earlier_publication(store: Store) -> None:
    """Or a deleted report would be published by a person's retry."""
    first = await store.put(message("1"), [publish(1)])
    async with running(dispatcher(store, FarEnd(on_send=refuse))):
        await until(store, drained)
    await store.put(message("2"), [withdraw(1)])
    async with running(dispatcher(store, FarEnd())):
        await until(store, drained)
    with pytest.raises(Refused, match="later-settled") as refused:
        await store.retry(first.number, by="secretary")
    assert "périmée" in refused.value.hint


async def test_a_withdrawal_that_was_set_aside_bars_an_earlier_publication_until_it_is_closed(store: Store) -> None:
    """The real work refuses to withdraw what it never published; the deleted report must still not go out."""
    first = await store.put(message("1"), [publish(1)])
    last = await store.put(message("2"), [withdraw(1)])
    async with running(dispatcher(store, FarEnd(on_send=refuse))):
        await until(store, lambda c: c.by_state[State.SET_ASIDE] == 2)
    with pytest.raises(Refused, match="later-withdrawal") as refused:
        await store.retry(first.number, by="secretary")
    assert str(last.number) in refused.value.hint
    await store.close_entry(last.number, by="secretary", why="à publier")
    await store.retry(first.number, by="secretary")


@pytest.mark.parametrize("how", ["away", "held", "failing"])
async def test_what_was_made_ready_without_an_earlier_publication_bars_it(store: Store, how: str) -> None:
    """Or both would go as first publications: two manifests of one examination, and the older one on top."""

    def send(submission: Submission) -> None:
        if len(work.sends) == 1:
            raise Refused("XDSUnknownPatientId", "unknown")
        if how == "away":
            raise NetworkError("away")
        raise CredentialError("expired") if how == "held" else Failing("XDSRegistryError", "again")

    work = FarEnd(on_send=send)
    first = await store.put(message("1"), [publish(1)])
    later = await store.put(message("2"), [publish(1)])
    stopped = {"away": State.READY, "held": State.HELD, "failing": State.SET_ASIDE}[how]
    policy = QUICK if how == "failing" else Policy(steps_s=(3600.0,), floor_s=3600.0)
    async with running(dispatcher(store, work, policy, minute_s=3600)):
        await until(store, lambda c: c.by_state[stopped] == 1 + (how == "failing"))
    with pytest.raises(Refused, match="later-prepared") as refused:
        await store.retry(first.number, by="secretary")
    assert str(later.number) in refused.value.hint
    await store.close_entry(later.number, by="secretary", why="la première suffit")
    await store.retry(first.number, by="secretary")


async def test_an_entry_that_nobody_knows_is_said_so(store: Store) -> None:
    assert await store.show(4711) is None
    for attempt in (store.retry(4711, by="x"), store.release(4711, by="x"), store.close_entry(4711, by="x", why="x"),
                    store.export(4711, Path("/nonexistent"))):  # fmt: skip
        with pytest.raises(Refused, match="no-entry"):
            await attempt


async def test_lists_and_counters_hold_no_identity(store: Store) -> None:
    def absent(entry: Entry) -> None:
        raise StudyAbsent("the PACS does not have it")

    receipt = await store.put(message("1", b"DUPONT^JEANNE 279035121518989"), [publish(1)])
    async with running(dispatcher(store, FarEnd(on_build=absent))):
        await until(store, lambda c: c.by_state[State.SET_ASIDE] == 1)
    shown = await store.show(receipt.number)
    assert shown is not None
    text = repr((await store.counters(), await store.entries(), asdict(shown)))
    for secret in ("DUPONT", "279035121518989", study(1)):
        assert secret not in text
    assert shown.line.hint


async def test_counters_are_those_of_the_store_not_of_the_process(opened: Open) -> None:
    one = await opened(roles={"national"})
    await settled(one, "1", "2", "3")
    await one.put(message("4"), [publish(9)])
    two = await opened()
    counters = await two.counters(datetime.fromisoformat("2000-01-01T00:00:00+00:00"))
    assert (counters.settled_today, counters.waiting, counters.open) == (3, 1, 1)
    assert counters.oldest_received_at == NOON
    assert counters == await one.counters(datetime.fromisoformat("2000-01-01T00:00:00+00:00"))


async def test_lists_go_on_where_they_stopped(store: Store) -> None:
    for n in range(25):
        await store.put(message(str(n)), [publish(n)])
    first = await store.entries(most=10)
    second = await store.entries(State.WAITING, most=10, below=first[-1].number)
    assert [line.number for line in first + second] == list(range(25, 5, -1))


async def test_an_export_has_what_came_and_what_went_for_the_owner_alone(store: Store, tmp_path: Path) -> None:
    (number,) = await settled(store, "1")
    files = await store.export(number, tmp_path / "out")
    assert {path.name for path in files} == {
        f"{number}-{name}" for name in ("message.bin", "kos.dcm", "metadata.xml", "signature.xml")
    }
    assert files[0].read_bytes() == message("1").content
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)


async def test_purge_takes_the_content_then_the_proof_and_leaves_the_archive(opened: Open, tmp_path: Path) -> None:
    now = NOON
    store = await opened(roles={"national"}, clock=lambda: now)
    numbers = await settled(store, "1", "2")
    waiting = await store.put(message("3"), [publish(5)])
    assert (await store.purge(7, 3650)).contents == 0
    now += timedelta(days=8)
    done = await store.purge(7, 3650)
    assert (done.contents, done.proofs) == (2, 0)
    shown = await store.show(numbers[0])
    assert shown is not None
    assert shown.proof is not None
    assert shown.proof.kos_sha256
    assert (await store.put(message("1"), [publish(0)])).duplicate  # still known
    kept = await store.archive.get(study(0))
    assert kept is not None
    assert kept.kos
    now += timedelta(days=3650)
    done = await store.purge(7, 3650)
    assert done.proofs == 2
    assert await store.show(numbers[0]) is None
    assert (await store.archive.get(study(0))) == kept
    assert (await store.put(message("new"), [publish(7)])).number > waiting.number  # numbers are not given twice
    assert (await store.counters()).waiting == 2


async def test_a_replaced_kos_of_a_purged_entry_goes_at_once(opened: Open) -> None:
    now = NOON
    store = await opened(roles={"national"}, clock=lambda: now)
    await settled(store, "1")
    now += timedelta(days=8)
    await store.purge(7, 3650)
    count = "SELECT count(*) FROM frozen"
    assert await store.read(lambda conn: conn.plain(count)) == [(1,)]
    await settled(store, "2")
    assert await store.read(lambda conn: conn.plain(count)) == [(1,)]


async def test_archive_names_the_studies_that_are_published_and_no_withdrawn_one(store: Store) -> None:
    """Images of these must stay; those of a withdrawn study may go when their time comes."""
    await settled(store, "1", "2", "3")
    await store.put(message("4"), [withdraw(1)])
    async with running(dispatcher(store, FarEnd())):
        await until(store, drained)
    archived = await store.archive.get(study(1))
    assert archived is not None
    assert archived.state is ArchiveState.WITHDRAWN
    assert await store.archive.studies() == [study(0), study(2)]


async def test_what_other_software_published_is_taken_into_the_archive_once(store: Store) -> None:
    foreign = Archived(study(1), ArchiveState.PUBLISHED, b"{}", NOON, "1.2.3", "1.2.4", "structure", None, b"DICM",
                       b"<m/>", b"<s/>")  # fmt: skip
    assert await store.archive.add(foreign)
    assert not await store.archive.add(foreign)
    assert await store.archive.get(study(1)) == foreign
    assert await store.archive.studies() == [study(1)]
    assert await store.archive.get(study(2)) is None
