"""Readers as their users see them, without a PC/SC; with one: `tests/interop/test_card_reader.py`."""

import asyncio
import gc
from contextlib import suppress

from passevue.card.reader import Readers
from passevue.card.reader_session import ReaderSession
from passevue.errors import CardError, CardFault


async def _asked(readers: Readers, name: str) -> None:
    with suppress(CardError):
        async with readers.session(name):
            raise AssertionError("no reader is there")


async def test_nothing_is_kept_of_readers_that_nobody_works_with() -> None:
    """USB names readers anew at every arrival."""
    readers = Readers()
    for number in range(100):
        await asyncio.gather(*(_asked(readers, f"Lecteur {number}") for _ in range(3)))
    gc.collect()
    assert len(readers._locks) == 0


async def test_whoever_waits_behind_a_call_that_hangs_is_told_too_and_no_code_stays() -> None:
    """Its thread is left behind, with all that was to be done on it."""
    session = ReaderSession("Lecteur", 1, exchange_s=10)
    code = bytearray(b"1234")
    waiting = [asyncio.ensure_future(each) for each in (session.verify(code), session.identify())]
    await asyncio.sleep(0)
    session._give_up()
    async with asyncio.timeout(10):
        told = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in told] == [CardFault, CardFault]
    assert code == bytes(4)
