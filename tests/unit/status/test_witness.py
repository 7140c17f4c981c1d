"""What the parts saw becomes audit records and a neighbour's last word; nothing national goes on unseen (LOG-01)."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from passevue.errors import StoreError, TraceError
from passevue.national.registry import Exchange
from passevue.national.vihf import VihfFacts
from passevue.status.audit import box_started
from passevue.status.audit_trail import AuditTrail, verify
from passevue.status.neighbours import Health, Neighbour, Neighbours
from passevue.status.tally import Tally
from passevue.status.witness import Witness
from tests.unit.national.submissions import FACTS

NOW = datetime(2026, 11, 21, tzinfo=UTC)


class Seat:
    """A witness with its trail and register."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "audit"
        self.trail = AuditTrail(self.folder, "box")
        self.register = Neighbours(folder / "status")
        self.witness = Witness(self.trail, self.register, Tally(), "https://dmp.example/v2", lambda: NOW)

    def tell(self, result: str, facts: VihfFacts = FACTS) -> Health:
        self.witness.exchanged(Exchange("TD2.1a", "urn:uuid:1", "10B0127189", facts, "2.25.1", NOW, 0.1, result))
        return next(word for word in self.register.words() if word.neighbour is Neighbour.DMP).health(NOW)


@pytest.fixture
async def seat(tmp_path: Path) -> AsyncIterator[Seat]:
    seat = Seat(tmp_path)
    task = asyncio.create_task(seat.trail.run())
    yield seat
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize("result", ["ok", "Refused", "Failing"])
async def test_a_registry_that_answers_is_there_whatever_it_says(seat: Seat, result: str) -> None:
    assert seat.tell(result) is Health.OK


@pytest.mark.parametrize("result", ["NetworkError", "InDoubt", "CredentialError", "TrustError"])
async def test_a_registry_that_gave_no_word_of_its_own_is_not_shown_as_well(seat: Seat, result: str) -> None:
    """Least of all one whose certificate is wrong."""
    assert seat.tell(result) is Health.LATE


async def test_no_try_may_begin_while_the_trail_does_not_write(seat: Seat) -> None:
    await asyncio.to_thread(seat.folder.write_text, "not a folder")
    with pytest.raises(TraceError):
        await seat.witness.traced()


async def test_a_trail_that_has_just_written_is_not_asked_again(seat: Seat) -> None:
    await seat.trail.record(box_started(NOW, "0.1"))
    for _ in range(3):
        await seat.witness.traced()
    assert (await asyncio.to_thread(verify, seat.folder)).records == 1


async def test_what_was_noted_while_the_disk_refused_is_written_when_it_takes_it_again(seat: Seat) -> None:
    await asyncio.to_thread(seat.folder.write_text, "not a folder")
    seat.tell("ok")
    with pytest.raises(StoreError):
        await seat.trail.record(box_started(NOW, "0.1"))
    assert not seat.trail.sure
    await asyncio.to_thread(seat.folder.unlink)
    async with asyncio.timeout(10):
        while not seat.trail.sure:  # noqa: ASYNC110 - the trail tries by itself
            await asyncio.sleep(0.05)
    assert (await asyncio.to_thread(verify, seat.folder)).records == 1
