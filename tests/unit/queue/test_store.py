"""Putting in, copies, conflicts, room, one writer: the promise towards the cabinet (Q-01, Q-08, Q-13)."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from passevue.errors import Refused
from passevue.intake.received import Receipt
from passevue.queue.states import State
from passevue.queue.store import Store
from tests.unit.queue.far_end import FarEnd, message, publish
from tests.unit.queue.test_dispatcher import dispatcher, drained, running, until

Open = Callable[..., Awaitable[Store]]


async def test_what_is_put_is_there_after_the_store_is_opened_again(opened: Open) -> None:
    first = await opened(roles={"intake"})
    receipt = await first.put(message("1"), [publish(1), publish(2)])
    await first.close()
    again = await opened(roles={"national"})
    assert [line.number for line in await again.entries()] == [receipt.number + 1, receipt.number]
    assert (await again.counters()).waiting == 2


async def test_the_same_thing_twice_is_one_entry_and_the_same_receipt(store: Store) -> None:
    first = await store.put(message("1"), [publish(1)])
    second = await store.put(message("1"), [publish(1)])
    assert (second.number, second.duplicate, second.conflict) == (first.number, True, False)
    assert len(await store.entries()) == 1


async def test_the_same_control_id_with_other_content_is_a_new_entry_flagged(store: Store) -> None:
    first = await store.put(message("1", b"one"), [publish(1)])
    second = await store.put(message("1", b"other"), [publish(1)])
    assert second.number != first.number
    assert second.conflict
    assert not second.duplicate
    assert (await store.counters()).conflicts == 1
    copy = await store.put(message("1", b"other"), [publish(1)])
    assert (copy.number, copy.duplicate) == (second.number, True)


@pytest.mark.parametrize("how", ["DELETE FROM content", "UPDATE content SET bytes = 'rot'"])
async def test_what_comes_again_after_its_content_was_lost_is_kept_anew(store: Store, how: str) -> None:
    """A copy is answered as the first one was: it must not be, of bytes that the store has no more."""
    receipt = await store.put(message("1"), [publish(1)])
    await store.write(lambda conn: conn.plain(how))
    async with running(dispatcher(store, FarEnd())):
        await until(store, lambda counters: counters.by_state[State.SET_ASIDE] == 1)
        assert await store.put(message("1"), [publish(1)]) == Receipt(receipt.number, duplicate=True)
        await store.retry(receipt.number, by="secretary")
        await until(store, drained)
    shown = await store.show(receipt.number)
    assert shown is not None
    assert shown.line.state is State.SETTLED


async def test_another_sender_with_the_same_control_id_is_no_copy(store: Store) -> None:
    await store.put(message("1"), [publish(1)])
    other = await store.put(message("1", sender="RIS2|AUTRE"), [publish(1)])
    assert not other.duplicate
    assert not other.conflict


async def test_a_thousand_copies_at_once_on_two_stores_are_one_entry(opened: Open) -> None:
    one, two = await opened(roles={"intake"}), await opened(roles={"national"})
    puts = [(one, two)[n % 2].put(message("1"), [publish(1)]) for n in range(1000)]
    receipts = await asyncio.gather(*puts)
    assert len({receipt.number for receipt in receipts}) == 1
    assert sum(not receipt.duplicate for receipt in receipts) == 1
    assert len(await one.entries()) == 1


async def test_a_thing_that_asks_for_nothing_is_kept_and_settled_at_once(store: Store) -> None:
    receipt = await store.put(message("1"), [])
    shown = await store.show(receipt.number)
    assert shown is not None
    assert shown.line.state is State.SETTLED
    assert shown.proof is not None
    assert shown.proof.outcome == "nothing-asked"
    assert (await store.put(message("1"), [])).duplicate
    with pytest.raises(Refused, match="no-entry"):
        await store.retry(receipt.number, by="someone")


async def test_any_text_a_neighbour_may_send_is_kept_and_recognised(store: Store) -> None:
    for control_id in ("nul\0", "é\ud800", "x" * 100_000, "", "'; DROP TABLE entry; --"):
        first = await store.put(message(control_id, b"body"), [publish(1)])
        assert (await store.put(message(control_id, b"body"), [publish(1)])).number == first.number


async def test_many_puts_at_once_are_all_kept(store: Store) -> None:
    receipts = await asyncio.gather(*(store.put(message(str(n)), [publish(n)]) for n in range(300)))
    assert len({receipt.number for receipt in receipts}) == 300
    assert (await store.counters()).waiting == 300
