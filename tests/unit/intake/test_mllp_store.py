"""The RIS's way in with the real desk, request and store: what is acknowledged is kept, once (F-11 to F-14, F-34)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from passevue import config
from passevue.document.request import read_request, tasks
from passevue.intake.mllp import MllpServer
from passevue.intake.received import Receipt, Received
from passevue.intake.ris import RisDesk, RisMessage
from passevue.queue.store import Store
from tests.peers.disk import ROOMY
from tests.peers.ris import (
    PAT_TROIS,
    Ack,
    Envelope,
    Ris,
    framed,
    invented_document_id,
    invented_exam,
    oru,
    report,
)


def message(number: int, control_id: str = "1") -> bytes:
    cda = report(PAT_TROIS, invented_exam(number), document_id=invented_document_id(number), pdf_bytes=700)
    return oru(cda, PAT_TROIS, envelope=Envelope(control_id=control_id, when="20261121"))


class Box:
    """Listener, desk and store joined as `box.py` joins them; each receipt is kept beside."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.receipts: list[Receipt] = []
        ris = config.Ris().model_copy(update={"port": 0})
        self.server = MllpServer(ris, RisDesk(self._accept))

    async def _accept(self, message: RisMessage, received: Received) -> Receipt:
        receipt = await self.store.put(received, tasks(read_request(message, "test")))
        self.receipts.append(receipt)
        return receipt

    @property
    def numbers(self) -> set[int]:
        return {receipt.number for receipt in self.receipts}

    def ris(self) -> Ris:
        return Ris("127.0.0.1", self.server.port)

    async def send(self, *messages: bytes) -> list[Ack]:
        async with self.ris() as ris:
            return [await ris.send(each) for each in messages]


@asynccontextmanager
async def _running(folder: Path) -> AsyncIterator[Box]:
    store = await Store.open(config.Queue(), folder, roles={"intake"}, limits=ROOMY, machine="box-a")
    box = Box(store)
    task = asyncio.create_task(box.server.run())
    await box.server.started()
    try:
        yield box
    finally:
        task.cancel()
        await asyncio.wait([task])
        await store.close()


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    async with _running(tmp_path) as running:
        yield running


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for is in the box
            await asyncio.sleep(0.01)


async def test_the_same_message_a_hundred_times_makes_one_entry_and_one_answer(box):
    async with box.ris() as ris:
        acks = await ris.resend(message(1), 100)
    assert {(ack.code, ack.control_id) for ack in acks} == {("AA", "1")}
    assert len(box.numbers) == 1
    assert [receipt.duplicate for receipt in box.receipts] == [False] + [True] * 99


async def test_the_same_message_on_two_connections_at_once_makes_one_entry(box):
    raw = message(1)
    acks = await asyncio.gather(*(box.send(*[raw] * 10) for _ in range(4)))
    assert {ack.code for each in acks for ack in each} == {"AA"}
    assert len(box.numbers) == 1
    assert sum(not receipt.duplicate for receipt in box.receipts) == 1


async def test_the_same_control_id_with_other_content_makes_a_second_entry_that_is_flagged(box):
    assert [ack.code for ack in await box.send(message(1), message(2))] == ["AA", "AA"]
    first, second = box.receipts
    assert first.number != second.number
    assert (first.conflict, second.conflict, second.duplicate) == (False, True, False)


async def test_a_sender_that_missed_its_ack_sends_again_and_nothing_is_doubled(box):
    raw = message(1)
    await box.ris().leave(raw)
    await until(lambda: len(box.receipts) == 1)
    (ack,) = await box.send(raw)
    assert ack.code == "AA"
    assert len(box.numbers) == 1


async def test_nothing_of_a_cut_message_is_kept(box):
    frame = framed(message(1))
    for cut in range(0, len(frame), 131):
        await box.ris().cut(frame[1:-2], cut)
    (ack,) = await box.send(message(2, "2"))
    assert ack.code == "AA"
    assert len(box.receipts) == 1


async def test_what_was_acknowledged_is_still_known_after_a_restart(tmp_path):
    raws = [message(number, str(number)) for number in range(5)]
    async with _running(tmp_path) as box:
        await box.send(*raws)
        numbers = box.numbers
    async with _running(tmp_path) as again:
        await again.send(*raws)
        assert again.numbers == numbers
        assert all(receipt.duplicate for receipt in again.receipts)


async def test_a_burst_from_a_ris_that_dies_in_the_middle_agrees_with_its_ledger(box):
    raws = [message(number, str(number)) for number in range(40)]
    ris = box.ris()
    await ris.together(raws[:10])
    for raw in raws[10:20]:
        await ris.leave(raw)
    await until(lambda: len(box.receipts) == 20)
    acknowledged = {line.control_id for line in ris.ledger.acknowledged}
    await box.send(*raws)
    assert acknowledged == {str(number) for number in range(10)}
    assert len(box.numbers) == 40
    assert sum(not receipt.duplicate for receipt in box.receipts) == 40
