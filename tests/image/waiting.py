"""Waiting for what happens in a guest: asked again and again, since nobody there tells."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(
    question: Callable[[], Awaitable[T]], fits: Callable[[T], bool], wait_s: float, pause_s: float = 1.0
) -> T:
    """The first answer that fits.

    Raises:
        TimeoutError: none did; with the last answer.
    """
    answer: T | None = None
    try:
        async with asyncio.timeout(wait_s):
            while not fits(answer := await question()):  # noqa: ASYNC110 (another machine makes it true)
                await asyncio.sleep(pause_s)
    except TimeoutError:
        raise TimeoutError(f"not within {wait_s} s; last answer: {answer!r}") from None
    return answer
