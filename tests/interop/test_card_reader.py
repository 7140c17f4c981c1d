"""Readers and cards through a real pcscd and its driver: events, sessions, what is pulled, cut, restarted, held."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from smartcard import scard
from typer.testing import CliRunner

from passevue.card.cps import KeyUse
from passevue.card.pcsc import Context, Look, ServiceAway
from passevue.card.reader import CardIn, CardOut, Event, ReaderIn, ReaderOut, Readers
from passevue.cli.commands import app
from passevue.errors import CardAbsent, CardError, CardFault, PinNeeded, PinWrong, UnknownCard
from tests.peers.card import Kind, Profile, VirtualCard
from tests.peers.pcsc import Pcscd, Slot, why_not
from tests.unit.card.in_hand import verifies

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
DIGEST = bytes(range(32))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pcscd]:
    with Pcscd(tmp_path_factory.mktemp("pcscd")) as pcscd:
        yield pcscd


@pytest.fixture
def pcscd(daemon: Pcscd, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pcscd]:
    for name, value in daemon.environment.items():
        monkeypatch.setenv(name, value)
    if daemon.process is None or daemon.process.poll() is not None:
        daemon.start()
    yield daemon
    for slot in daemon.slots:
        slot.link.remove()
    _ = daemon.environment  # whoever was asked for by the test
    _wait_for(daemon, lambda looks: not any(look.atr for look in looks))


def _wait_for(pcscd: Pcscd, true: Callable[[tuple[Look, ...]], bool], seconds: float = 10) -> None:
    """Until PC/SC sees what was done to the readers: it looks every 400 ms."""
    context = Context()
    deadline = time.monotonic() + seconds
    while not true(context.look([slot.name for slot in pcscd.slots])) and time.monotonic() < deadline:
        time.sleep(0.02)
    context.release()


@asynccontextmanager
async def watched(**bounds: float) -> AsyncIterator[tuple[Readers, list[Event]]]:
    """Readers at work, and every event so far."""
    readers = Readers(**bounds)
    events: list[Event] = []

    async def follow() -> None:
        async for event in readers.events():
            events.append(event)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(readers.run()), group.create_task(follow())]
        try:
            await readers.first_look()
            yield readers, events
        finally:
            for task in tasks:
                task.cancel()


async def until(true: Callable[[], object], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - what is waited for is seen in PC/SC, not told by ours
            await asyncio.sleep(0.005)


async def put_in(readers: Readers, slot: Slot, card: VirtualCard) -> CardIn:
    before = readers.seats[slot.name].insertion if slot.name in readers.seats else 0
    slot.link.insert(card)
    await until(lambda: (seat := readers.seats.get(slot.name)) and seat.insertion not in (0, before))
    seat = readers.seats[slot.name]
    return CardIn(slot.name, seat.atr, seat.insertion)


# --- events ----------------------------------------------------------------------------------------------------------


async def test_cards_come_and_go(pcscd: Pcscd) -> None:
    slot = pcscd.slots[0]
    async with watched() as (readers, events):
        await until(lambda: len(events) == 2)
        assert {event.reader for event in events if isinstance(event, ReaderIn)} == {each.name for each in pcscd.slots}
        card = VirtualCard()
        put = await put_in(readers, slot, card)
        assert put.atr == card.atr
        slot.link.remove()
        await until(lambda: isinstance(events[-1], CardOut))
        assert events[2:] == [put, CardOut(slot.name, put.insertion)]
    assert readers.seats == {}


async def test_an_event_is_told_within_20_ms_of_pcsc(pcscd: Pcscd) -> None:
    """Beside us a program that only waits in SCardGetStatusChange."""
    slot = pcscd.slots[0]
    theirs: list[float] = []
    stop = threading.Event()

    def look() -> None:
        _, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
        state = 0
        while not stop.is_set():
            _, ((_, now, _),) = scard.SCardGetStatusChange(context, 200, [(slot.name, state)])
            if (now ^ state) & scard.SCARD_STATE_PRESENT and state:
                theirs.append(time.monotonic())
            state = now & ~scard.SCARD_STATE_CHANGED
        scard.SCardReleaseContext(context)

    thread = threading.Thread(target=look)
    ours: list[float] = []
    async with watched() as (readers, _):
        thread.start()

        async def note() -> None:
            async for event in readers.events():
                if isinstance(event, (CardIn, CardOut)):
                    ours.append(time.monotonic())

        task = asyncio.ensure_future(note())
        await asyncio.sleep(0.3)
        for turn in range(3):
            await put_in(readers, slot, VirtualCard())
            slot.link.remove()
            await until(lambda turn=turn: len(ours) == 2 * turn + 2 and len(theirs) == 2 * turn + 2)
        stop.set()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    thread.join()
    late = sorted(our - their for our, their in zip(ours, theirs, strict=True))
    assert late[len(late) // 2] < 0.02, late


async def test_a_swap_within_10_ms_is_a_removal(pcscd: Pcscd) -> None:
    slot = pcscd.slots[0]
    async with watched() as (readers, events):
        first = await put_in(readers, slot, VirtualCard())
        await asyncio.sleep(
            1.5
        )  # a swap in the half second after an insertion is one that pcscd with vpcd does not see
        other = VirtualCard(Profile(number="10000000"))
        slot.link.swap(other, gap=0.01)
        await until(lambda: isinstance(events[-1], CardIn) and events[-1].insertion > first.insertion)
        assert CardOut(slot.name, first.insertion) in events
        with pytest.raises(CardAbsent):
            async with readers.session(first):
                pass
        async with readers.session(slot.name) as session:
            assert (await session.identify()).number == "10000000"


async def test_two_cards_in_two_readers_at_once(pcscd: Pcscd) -> None:
    cards = [VirtualCard(), VirtualCard()]  # of the same number
    async with watched() as (readers, _):
        put = [await put_in(readers, slot, card) for slot, card in zip(pcscd.slots, cards, strict=True)]

        async def use(each: CardIn) -> str:
            async with readers.session(each) as session:
                await session.identify()
                await session.verify(b"1234")
                await session.sign(KeyUse.AUTH, DIGEST)
                return session.reader

        assert await asyncio.gather(*map(use, put)) == [slot.name for slot in pcscd.slots]
    assert [verifies(card) for card in cards] == [1, 1]


async def test_pcscd_restarts_and_everything_is_there_again(pcscd: Pcscd) -> None:
    slot = pcscd.slots[0]
    async with watched() as (readers, events):
        first = await put_in(readers, slot, VirtualCard())
        for end in (pcscd.stop, pcscd.kill):
            await asyncio.to_thread(end)
            await until(lambda: not readers.seats and not readers.service_up)
            await until(lambda: isinstance(events[-1], ReaderOut))
            with pytest.raises(ServiceAway) as caught:
                async with readers.session(slot.name):
                    pass
            assert "redémarre" in caught.value.hint
            await asyncio.to_thread(pcscd.start)
            await until(lambda: (seat := readers.seats.get(slot.name)) and seat.insertion > first.insertion)
        async with readers.session(slot.name) as session:
            assert (await session.identify()).number == "99213845"


async def test_no_pcscd_at_the_start_is_no_error(pcscd: Pcscd) -> None:
    await asyncio.to_thread(pcscd.stop)
    async with watched() as (readers, _):
        assert not readers.service_up
        assert readers.seats == {}
        await asyncio.to_thread(pcscd.start)
        await until(lambda: readers.service_up and readers.seats)


async def test_two_readers_of_the_same_name_are_one_and_keep_nobody_busy(tmp_path: Path, pcscd: Pcscd) -> None:
    """pcscd numbers readers by driver: two may be alike to the last byte."""
    with Pcscd(tmp_path, names=("Same", "Same")) as other:
        _ = other.environment  # this process's clients go to it from now on
        async with watched() as (readers, events):
            await until(lambda: readers.seats)
            before = time.process_time()
            await asyncio.sleep(1)
            assert time.process_time() - before < 0.3
            card = VirtualCard()
            put = await put_in(readers, other.slots[0], card)
            async with readers.session(put) as session:
                assert (await session.identify()).number == "99213845"
            names = [event.reader for event in events if isinstance(event, ReaderIn)]
            assert len(names) == len(set(names))


# --- sessions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.CPS3, Kind.CPS3_CONTACTLESS, Kind.CPS4])
async def test_a_card_is_read_and_signs(pcscd: Pcscd, kind: Kind) -> None:
    card = VirtualCard(Profile(kind=kind))
    async with watched() as (readers, _):
        put = await put_in(readers, pcscd.slots[0], card)
        async with readers.session(put) as session:
            cps = await session.identify()
            if cps.pin is not None:
                await session.verify(bytearray(b"1234"))
                assert len((await session.situations()).situations or ()) >= 2
            for key in cps.keys:
                assert await session.sign(key.use, DIGEST)
                taken = await session.key(key.use)
                assert await taken.sign_digest(DIGEST, "sha256")
        async with readers.session(put) as session:  # a second time, after the reset of the first
            assert (await session.identify()).number == cps.number


async def test_a_session_leaves_nothing_verified(pcscd: Pcscd) -> None:
    card = VirtualCard()
    async with watched() as (readers, _):
        put = await put_in(readers, pcscd.slots[0], card)
        async with readers.session(put) as session:
            await session.verify(b"1234")
            assert card.machine.codes.pin.verified
        assert not card.machine.codes.pin.verified
        with pytest.raises(PinWrong):
            async with readers.session(put) as session:
                await session.verify(b"0000")
        assert not card.machine.codes.pin.verified
        async with readers.session(put) as session:
            with pytest.raises(PinNeeded):
                await session.sign(KeyUse.AUTH, DIGEST)


async def test_a_cancelled_session_ends_with_reset_too(pcscd: Pcscd) -> None:
    card = VirtualCard()
    async with watched() as (readers, _):
        put = await put_in(readers, pcscd.slots[0], card)

        async def stay() -> None:
            async with readers.session(put) as session:
                await session.verify(b"1234")
                await asyncio.Event().wait()

        task = asyncio.ensure_future(stay())
        await until(lambda: card.machine.codes.pin.verified)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await until(lambda: not card.machine.codes.pin.verified)
        async with readers.session(put) as session:
            await session.identify()


@pytest.mark.parametrize("after", [0, 1, 7, 20])
async def test_a_card_pulled_in_the_middle_is_absent_and_the_next_one_works(pcscd: Pcscd, after: int) -> None:
    card = VirtualCard()
    card.faults.once(after=after, remove=True)
    async with watched() as (readers, events):
        put = await put_in(readers, pcscd.slots[0], card)
        with pytest.raises(CardError):
            async with readers.session(put) as session:
                await session.identify()
        await until(lambda: CardOut(put.reader, put.insertion) in events)
        put = await put_in(readers, pcscd.slots[0], VirtualCard())
        async with readers.session(put) as session:
            assert (await session.identify()).holder is not None


async def test_removal_closes_the_session_at_once(pcscd: Pcscd) -> None:
    slot = pcscd.slots[0]
    async with watched() as (readers, _):
        put = await put_in(readers, slot, VirtualCard())
        async with readers.session(put) as session:
            await session.verify(b"1234")
            slot.link.swap(VirtualCard())
            async with asyncio.timeout(2):  # CARD-02
                await session.gone.wait()
            with pytest.raises(CardAbsent):
                await session.sign(KeyUse.AUTH, DIGEST)


async def test_a_card_that_says_nothing_is_given_up(pcscd: Pcscd) -> None:
    card = VirtualCard()
    card.faults.once(after=6, mute=True)
    slot = pcscd.slots[0]
    waiting, slot.link.waiting_time = slot.link.waiting_time, 4.0
    try:
        async with watched(exchange_s=0.5) as (readers, _):
            put = await put_in(readers, slot, card)
            start = time.monotonic()
            with pytest.raises(CardFault) as caught:
                async with readers.session(put) as session:
                    await session.identify()
            assert "ne répond plus" in caught.value.hint
            assert time.monotonic() - start < 4
            await asyncio.to_thread(slot.link.remove)
            await until(lambda: not readers.seats[slot.name].insertion)
            put = await put_in(readers, slot, VirtualCard())
            async with readers.session(put) as session:
                await session.identify()
    finally:
        slot.link.waiting_time = waiting


async def test_a_pcscd_that_hangs_holds_nobody(pcscd: Pcscd) -> None:
    async with watched(exchange_s=0.5) as (readers, _):
        put = await put_in(readers, pcscd.slots[0], VirtualCard())
        assert pcscd.process is not None
        pcscd.process.send_signal(signal.SIGSTOP)
        try:
            start = time.monotonic()
            with pytest.raises(CardError):
                async with readers.session(put) as session:
                    await session.identify()
            assert time.monotonic() - start < 5
        finally:
            pcscd.process.send_signal(signal.SIGCONT)
    await asyncio.sleep(0.2)


async def test_stopping_does_not_wait_for_a_pcscd_that_hangs(pcscd: Pcscd) -> None:
    assert pcscd.process is not None
    async with watched() as (readers, _):
        await until(lambda: readers.service_up)
        pcscd.process.send_signal(signal.SIGSTOP)
        start = time.monotonic()
    assert time.monotonic() - start < 5
    pcscd.process.send_signal(signal.SIGCONT)


async def test_pcscd_killed_in_a_signature_is_an_error(pcscd: Pcscd) -> None:
    card = VirtualCard()
    async with watched() as (readers, _):
        put = await put_in(readers, pcscd.slots[0], card)
        async with readers.session(put) as session:
            await session.verify(b"1234")
            card.faults.once(ins=0x88, delay=0.5)
            signing = asyncio.ensure_future(session.sign(KeyUse.AUTH, DIGEST))
            await asyncio.sleep(0.3)
            await asyncio.to_thread(pcscd.kill)
            with pytest.raises(CardError):
                await signing
        await asyncio.to_thread(pcscd.start)
        await until(lambda: (seat := readers.seats.get(pcscd.slots[0].name)) and seat.insertion)
    assert verifies(card) == 1


async def test_one_session_at_a_time_and_the_other_waits_its_turn(pcscd: Pcscd) -> None:
    async with watched(wait_s=0.3) as (readers, _):
        put = await put_in(readers, pcscd.slots[0], VirtualCard())
        async with readers.session(put):
            with pytest.raises(CardFault) as caught:
                async with readers.session(put):
                    pass
            assert "déjà utilisée" in caught.value.hint
        async with readers.session(put) as session:
            await session.pin_state()


async def test_another_program_that_holds_the_card_is_told(pcscd: Pcscd) -> None:
    async with watched(exchange_s=0.5) as (readers, _):
        put = await put_in(readers, pcscd.slots[0], VirtualCard())
        other = await asyncio.to_thread(Context)
        held = await asyncio.to_thread(other.connect, put.reader)
        await asyncio.to_thread(held.transaction)
        with pytest.raises(CardFault) as caught:
            async with readers.session(put) as session:
                await session.identify()
        assert "autre programme" in caught.value.hint
        await asyncio.to_thread(held.end)
        await asyncio.to_thread(other.release)
        async with readers.session(put) as session:
            await session.identify()


@pytest.mark.parametrize("kind", [Kind.CPS2TER, Kind.FOREIGN])
async def test_other_cards_are_refused_with_words(pcscd: Pcscd, kind: Kind) -> None:
    async with watched() as (readers, _):
        put = await put_in(readers, pcscd.slots[0], VirtualCard(Profile(kind=kind)))
        with pytest.raises(UnknownCard):
            async with readers.session(put) as session:
                await session.identify()


async def test_the_loop_never_waits_for_a_card(pcscd: Pcscd) -> None:
    """Time between two turns of the loop while a slow card is read and signs (design § 8: under 20 ms)."""
    card = VirtualCard()
    gaps: list[float] = []

    async def beat() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            gaps.append(time.perf_counter() - last)
            last = time.perf_counter()

    async with watched() as (readers, _):
        put = await put_in(readers, pcscd.slots[0], card)
        beating = asyncio.ensure_future(beat())
        async with readers.session(put) as session:
            await session.identify()
            await session.verify(b"1234")
            card.faults.once(ins=0x88, delay=1.0)
            await session.sign(KeyUse.AUTH, DIGEST)
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating
    assert sorted(gaps)[int(len(gaps) * 0.99)] < 0.02, max(gaps)


async def test_cycles_and_restarts_leak_nothing_and_miss_no_final_state(pcscd: Pcscd) -> None:
    """The short of it; the whole 1,000 and 100 are in tests/bench/bench_card.py."""
    slot = pcscd.slots[0]
    async with watched() as (readers, events):
        put = await put_in(readers, slot, VirtualCard())
        async with readers.session(put) as session:
            await session.pin_state()
        before = (threading.active_count(), len(os.listdir("/proc/self/fd")))
        for turn in range(6):
            put = await put_in(readers, slot, VirtualCard())
            async with readers.session(put) as session:
                await session.pin_state()
            if turn % 2:
                slot.link.remove()
                await until(lambda: not readers.seats[slot.name].insertion)
            if turn % 3 == 2:
                await asyncio.to_thread(pcscd.restart)
                await until(lambda: slot.name in readers.seats)
        await put_in(readers, slot, VirtualCard())
        slot.link.remove()
        await until(lambda: not readers.seats[slot.name].insertion)
        assert isinstance(events[-1], CardOut)
        await asyncio.sleep(0.2)
        after = (threading.active_count(), len(os.listdir("/proc/self/fd")))
    assert after[0] <= before[0]
    assert after[1] <= before[1] + 1


# --- what people type, and OpenSC ------------------------------------------------------------------------------------


def typed(*words: str, code: str = "") -> Any:
    return CliRunner().invoke(app, ["card", *words], input=code, env={"COLUMNS": "200"})


def inserted(pcscd: Pcscd, card: VirtualCard) -> VirtualCard:
    """In, and seen by pcscd."""
    pcscd.slots[0].link.insert(card)
    _wait_for(pcscd, lambda looks: bool(looks[0].atr))
    return card


def test_card_show_prints_what_opensc_prints(pcscd: Pcscd) -> None:
    tool = shutil.which("pkcs15-tool")
    if tool is None:
        pytest.skip("pkcs15-tool is not installed (Debian package opensc)")
    card = inserted(pcscd, VirtualCard(Profile(contactless_first=True)))
    shown = json.loads(typed("show", "--json").stdout)
    ours = len(card.trace)
    done = subprocess.run(
        [tool, "--dump", "--reader", "0"],
        env=os.environ | pcscd.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    theirs = len(card.trace) - ours
    dump = done.stdout
    assert done.returncode == 0, done.stderr
    for key in shown["keys"]:
        assert f"Private RSA Key [{key['label']}]" in dump
        assert f"X.509 Certificate [{key['certificate']['label']}]" in dump
        assert dump.count(f": {key['id']}") == 2  # the key's and its certificate's
        assert f": {key['bits']}" in dump
    for code in shown["codes"]:
        assert f"PIN [{code['label']}]" in dump
        assert f"min_len:{code['least']}, max_len:{code['most']}, stored_len:{code['stored']}" in dump
    for listed in shown["data"]:
        assert listed["label"] in dump
    assert shown["number"] in dump
    assert ours < theirs, f"{ours} exchanges of ours, {theirs} of OpenSC"


def test_card_commands_answer_in_french_and_in_json(pcscd: Pcscd) -> None:
    assert json.loads(typed("list", "--json").stdout)[0]["card"] is None
    assert "vide" in typed("list").stdout
    none = typed("show")
    assert (none.exit_code, "Insérez votre carte" in none.stderr) == (5, True)
    card = inserted(pcscd, VirtualCard())
    assert "carte présente" in typed("list").stdout
    shown = typed("show")
    assert "CAMILLE RADIOLOGUE" in shown.stdout
    assert "99213845" in shown.stdout
    assert json.loads(typed("show", "--json").stdout)["situations"] is None
    told = json.loads(typed("show", "--pin", "--json", code="1234\n").stdout)
    assert [each["number"] for each in told["situations"]] == [1, 3]
    tried = json.loads(typed("test", "--json", code="1234\n").stdout)
    assert [(each["use"], each["ok"]) for each in tried["trials"]] == [("sign", True), ("auth", True)]
    assert verifies(card) == 2


def test_the_code_is_checked_changed_and_unblocked_by_hand(pcscd: Pcscd) -> None:
    card = inserted(pcscd, VirtualCard())
    wrong = typed("pin", code="0000\n")
    assert (wrong.exit_code, "2 essais" in wrong.stderr) == (5, True)
    assert json.loads(typed("pin", "--json", code="1234\n").stdout)["act"] == "verified"
    assert typed("pin", "--change", code="1234\n4321\n4322\n").exit_code == 2
    assert typed("pin", "--change", code="1234\n4321\n4321\n").exit_code == 0
    assert typed("pin", code="4321\n").exit_code == 0
    card.machine.codes.pin.left = 1
    assert "essai avant le blocage" in typed("pin", code="4321\n").stderr
    assert typed("pin", "--last-try", code="4321\n").exit_code == 0
    assert typed("pin", "--unblock", code="87654321\n5678\n5678\n").exit_code == 0
    assert typed("pin", code="5678\n").exit_code == 0
    assert typed("pin", "--unblock", "--change").exit_code == 2


def test_watch_tells_cards_as_they_come(pcscd: Pcscd) -> None:
    inserted(pcscd, VirtualCard())
    lines = [json.loads(line) for line in typed("watch", "--json", "--count", "3").stdout.splitlines()]
    assert [line["event"] for line in lines[:3]] == ["reader_in", "card_in", "card"] or {
        line["event"] for line in lines
    } == {"reader_in", "card_in", "card"}
    assert lines[-1]["event"] in ("card", "reader_in")


def test_without_pcscd_a_command_says_so(pcscd: Pcscd) -> None:
    pcscd.stop()
    try:
        done = typed("list")
    finally:
        pcscd.start()
    assert (done.exit_code, "pcscd" in done.stderr) == (5, True)
