"""Readers as their users see them, without a PC/SC; with one: `tests/interop/test_card_reader.py`."""

import asyncio
import gc
from contextlib import suppress

from passevue.card.reader import Readers
from passevue.errors import CardError


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
