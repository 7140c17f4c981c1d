"""Two ends of a local connection: what is asked is answered, what breaks the rules ends it, nobody waits for ever."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from passevue.errors import CardAbsent, PinWrong, Unreadable, ZoneAway
from passevue.zones.link import HEAD, MOST_WAITING, Asked, Bounds, Kind, Link, Told, WithData

SMALL = Bounds(max_json=1000, max_data=100, most_at_once=2, timeout_s=2)


@dataclass(frozen=True, slots=True)
class Add:
    one: int
    other: int


@dataclass(frozen=True, slots=True)
class Sum:
    value: int


@dataclass(frozen=True, slots=True)
class Shout:
    words: str


def pair() -> tuple[socket.socket, socket.socket]:
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    return ends


async def added(question: Add, data: bytearray) -> WithData:
    return WithData(Sum(question.one + question.other), bytes(reversed(data)))


@asynccontextmanager
async def linked(
    answer: Callable[[Add, bytearray], Awaitable[Any]] = added, heard: Callable[[Shout], None] = lambda _: None
) -> AsyncIterator[tuple[Link, Link]]:
    """Who asks, and who answers."""
    near, far = pair()
    one = Link(near, SMALL)
    other = Link(far, SMALL, asked=[Asked(Add, answer)], told=[Told(Shout, heard)])
    tasks = [asyncio.create_task(each.run()) for each in (one, other)]
    yield one, other
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert not [task for task in tasks if not task.cancelled() and task.exception()]


@asynccontextmanager
async def against(**settings: Any) -> AsyncIterator[tuple[socket.socket, Link, asyncio.Task[None]]]:
    """A link whose far side is a test that speaks bytes."""
    near, far = pair()
    link = Link(near, SMALL, asked=[Asked(Add, added)], **settings)
    task = asyncio.create_task(link.run())
    try:
        yield far, link, task
    finally:
        far.close()
        await asyncio.wait_for(task, 5)


def frame(kind: int, name: bytes = b"Add", number: int = 1, json: bytes = b"", data: bytes = b"") -> bytes:
    return HEAD.pack(kind, len(name), number, len(json), len(data)) + name + json + data


async def test_a_question_gets_its_answer_and_the_bytes_with_it() -> None:
    async with linked() as (near, _):
        assert await near.ask(Add(2, 3), b"abc", gives=Sum) == (Sum(5), bytearray(b"cba"))


async def test_answers_find_their_questions_whatever_their_order() -> None:
    async def slower_first(question: Add, _data: bytearray) -> Sum:
        await asyncio.sleep(0.1 / question.one)
        return Sum(question.one)

    async with linked(slower_first) as (near, _):
        found = await asyncio.gather(*(near.ask(Add(number, 0), gives=Sum) for number in (1, 9)))
    assert [one.value for one, _ in found] == [1, 9]


async def test_notices_are_heard_in_their_order() -> None:
    heard: list[str] = []
    async with linked(heard=lambda told: heard.append(told.words)) as (near, _):
        for number in range(50):
            near.tell(Shout(str(number)))
        await near.ask(Add(0, 0), gives=Sum)
    assert heard == [str(number) for number in range(50)]


async def test_an_error_comes_back_as_itself() -> None:
    async def wrong(_question: Add, _data: bytearray) -> Sum:
        raise PinWrong("the code is wrong", 2)

    async with linked(wrong) as (near, _):
        with pytest.raises(PinWrong) as caught:
            await near.ask(Add(0, 0), gives=Sum)
    assert (caught.value.tries_left, caught.value.message) == (2, "the code is wrong")
    assert "2 essais" in caught.value.hint


async def test_what_is_no_error_of_ours_is_told_as_a_failure_and_the_link_goes_on(capsys: Any) -> None:
    async def broken(question: Add, _data: bytearray) -> Sum:
        if question.one:
            raise KeyError("DUPONT")
        return Sum(0)

    async with linked(broken) as (near, _):
        with pytest.raises(Exception, match="the other zone failed") as caught:
            await near.ask(Add(1, 0), gives=Sum)
        assert "DUPONT" not in str(caught.value)
        assert await near.ask(Add(0, 0), gives=Sum)


async def test_a_question_without_answer_ends_in_time() -> None:
    async def never(_question: Add, _data: bytearray) -> Sum:
        await asyncio.Event().wait()
        raise AssertionError

    async with linked(never) as (near, _):
        with pytest.raises(ZoneAway):
            await near.ask(Add(0, 0), gives=Sum, timeout_s=0.1)


async def test_when_one_side_goes_questions_fail_and_answers_under_way_are_given_up() -> None:
    given_up = asyncio.Event()

    async def never(_question: Add, _data: bytearray) -> Sum:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()
        raise AssertionError

    near_sock, far_sock = pair()
    near, far = Link(near_sock, SMALL), Link(far_sock, SMALL, asked=[Asked(Add, never)])
    tasks = [asyncio.create_task(near.run()), asyncio.create_task(far.run())]
    asking = asyncio.create_task(near.ask(Add(0, 0), gives=Sum))
    await asyncio.sleep(0.05)
    tasks[0].cancel()
    with pytest.raises(ZoneAway):
        await asking
    await asyncio.wait_for(tasks[1], 2)
    assert given_up.is_set()
    assert near.over
    assert far.over
    with pytest.raises(ZoneAway):
        await near.ask(Add(0, 0), gives=Sum)
    with pytest.raises(ZoneAway):
        near.tell(Shout(""))


async def test_a_secret_is_overwritten_once_it_has_left_and_arrives() -> None:
    seen: list[bytearray] = []

    async def take(_question: Add, data: bytearray) -> Sum:
        seen.append(bytearray(data))
        return Sum(len(data))

    async with linked(take) as (near, _):
        pin = bytearray(b"1234")
        await near.ask(Add(0, 0), pin, gives=Sum, secret=True)
        assert seen == [bytearray(b"1234")]
        assert pin == bytearray(4)


async def test_a_secret_that_cannot_leave_is_overwritten_too() -> None:
    near_sock, far_sock = pair()
    far_sock.close()
    near = Link(near_sock, SMALL)
    await near.run()
    pin = bytearray(b"1234")
    with pytest.raises(ZoneAway):
        await near.ask(Add(0, 0), pin, gives=Sum, secret=True)
    assert pin == bytearray(4)


@pytest.mark.parametrize("much", [Add(1, 0), Shout("x" * 2000)])
async def test_what_is_above_the_bounds_is_not_sent(much: Any) -> None:
    async with linked() as (near, _):
        with pytest.raises(Unreadable):
            await near.ask(much, bytes(101) if isinstance(much, Add) else b"", gives=Sum)
        assert await near.ask(Add(1, 1), gives=Sum)


@pytest.mark.parametrize(
    "wrong",
    [
        frame(Kind.ASK, b"Drop", 1, b"{}"),
        frame(Kind.ASK, b"Add", 1, b'{"one": 1}'),
        frame(Kind.ASK, b"Add", 1, b'{"one": "1", "other": 2}'),
        frame(Kind.ASK, b"Add", 1, b"["),
        frame(Kind.TELL, b"Add", 0, b'{"one": 1, "other": 2}'),
        frame(9),
        HEAD.pack(Kind.ASK, 3, 1, 1001, 0),
        HEAD.pack(Kind.ASK, 3, 1, 0, 101),
        HEAD.pack(Kind.ASK, 3, 1, 0xFFFFFFFF, 0xFFFFFFFF),
        frame(Kind.ASK, b"\xff\xff", 1),
    ],
)
async def test_what_breaks_the_rules_ends_the_link_at_once(wrong: bytes) -> None:
    async with against() as (far, _, task):
        await asyncio.get_running_loop().sock_sendall(far, wrong)
        await asyncio.wait_for(task, 1)


async def test_more_questions_at_once_than_allowed_end_it() -> None:
    async def slow(_question: Add, _data: bytearray) -> Sum:
        await asyncio.sleep(1)
        return Sum(0)

    near, far = pair()
    task = asyncio.create_task(Link(near, SMALL, asked=[Asked(Add, slow)]).run())
    question = b'{"one": 1, "other": 2}'
    await asyncio.get_running_loop().sock_sendall(far, b"".join(frame(Kind.ASK, b"Add", n, question) for n in range(3)))
    await asyncio.wait_for(task, 1)
    far.close()


async def test_an_answer_that_nobody_waits_for_is_passed_over() -> None:
    async with against() as (far, link, task):
        await asyncio.get_running_loop().sock_sendall(far, frame(Kind.ANSWER, b"Sum", 77, b'{"value": 1}'))
        await asyncio.sleep(0.05)
        assert not link.over
        assert not task.done()


async def test_a_far_side_that_reads_nothing_is_given_up() -> None:
    async with against() as (_, link, task):

        async def flood() -> None:
            for _ in range(100 * MOST_WAITING):
                link.tell(Shout("x" * 900))
                await asyncio.sleep(0)

        with pytest.raises(ZoneAway):
            await flood()
        await asyncio.wait_for(task, 5)


async def test_a_far_side_that_says_nothing_is_given_up() -> None:
    async with against(silent_s=0.1) as (_, link, task):
        await asyncio.wait_for(task, 6)
        assert link.over


async def test_a_link_that_is_cancelled_while_it_ends_is_cancelled() -> None:
    ending = asyncio.Event()

    async def lingers(_question: Add, _data: bytearray) -> Sum:
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await asyncio.sleep(0.05)
        raise AssertionError

    near, far = pair()
    task = asyncio.create_task(Link(near, SMALL, asked=[Asked(Add, lingers)]).run())
    await asyncio.get_running_loop().sock_sendall(far, frame(Kind.ASK, b"Add", 1, b'{"one": 1, "other": 2}'))
    await asyncio.sleep(0.01)
    far.close()  # the link ends by itself
    await ending.wait()
    task.cancel()
    await asyncio.wait([task], timeout=1)
    assert task.cancelled()


async def test_two_that_have_nothing_to_say_stay_linked() -> None:
    near, far = pair()
    links = [Link(end, SMALL, silent_s=3.0) for end in (near, far)]
    tasks = [asyncio.create_task(link.run()) for link in links]
    await asyncio.sleep(4)
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


@given(st.lists(st.binary(max_size=60) | st.builds(frame, st.integers(0, 5), st.binary(max_size=8)), max_size=4))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_any_bytes_are_answered_or_end_the_link(pieces: list[bytes]) -> None:
    async def attempt() -> None:
        async with against() as (far, _, _task):
            try:
                await asyncio.get_running_loop().sock_sendall(far, b"".join(pieces))
            except OSError:
                return

    asyncio.run(attempt())


def test_an_error_known_to_its_own_module_only_arrives_as_the_nearest_of_the_tree() -> None:
    from passevue.zones.carried import Trouble, error_of, trouble_of

    class Narrow(CardAbsent):
        pass

    found = error_of(trouble_of(Narrow("gone")))
    assert type(found) is CardAbsent
    assert found.hint == CardAbsent.usual_hint
    assert type(error_of(Trouble("SystemExit", "no"))).__name__ == "BoxError"
