"""What a form asks for, from the USB stick in the box instead of the browser: the same files, among the orders.

The bounds are those of an upload (`upload.Wanted`), and so is what follows: a stick is another way in for signed files,
not another trust.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from passevue.errors import Unreadable
from passevue.status.refusals import NotTaken, Reason
from passevue.status.upload import Wanted, forget, kept
from passevue.stick.asking import Answer, Incoming, asked
from passevue.stick.chosen import Want
from passevue.update.orders import Orders

Told = Callable[[int, int], None]
"""Bytes that came, of how many."""


def untold(_taken: int, _size: int) -> None:
    """For what is over before anybody could look."""


async def fetched(
    socket: Path, orders: Orders, want: Want, serial: str, wanted: Mapping[str, Wanted], within_s: float,
    tell: Told = untold,
) -> dict[str, str]:  # fmt: skip
    """The files' names among the orders: all of `wanted`.

    Raises:
        Refused: the stick's reader says no, in its words. ZoneAway: it does not answer.
        Unreadable: not what was asked for, too large, or it stopped. StoreError, NoRoom: it cannot be kept.
    """
    names: dict[str, str] = {}
    try:
        async with asyncio.timeout(within_s), asked(socket, want, serial) as answer:
            while (file := await answer.next()) is not None:
                bounds = _bounds(file, wanted, names)
                names[file.field] = await kept(_counted(answer, file, tell), orders, bounds)
        if set(names) != set(wanted):
            raise Unreadable("a file is missing", hint="La lecture de la clé s’est interrompue : recommencez.")
    except TimeoutError as err:
        await forget(orders, names)
        raise Unreadable("a stick that takes too long", hint="Cette clé est trop lente.") from err
    except BaseException:
        await forget(orders, names)
        raise
    return names


def _bounds(file: Incoming, wanted: Mapping[str, Wanted], names: Mapping[str, str]) -> Wanted:
    if file.field not in wanted or file.field in names:
        raise Unreadable("a file that nobody asked for", hint="La lecture de la clé s’est interrompue : recommencez.")
    bounds = wanted[file.field]
    if file.size > bounds.most:
        raise NotTaken(Reason.TOO_LARGE, f"expected at most {bounds.most} bytes", hint=bounds.too_large)
    return bounds


async def _counted(answer: Answer, file: Incoming, tell: Told) -> AsyncIterator[bytes]:
    taken = 0
    tell(taken, file.size)
    async for piece in answer.pieces():
        taken += len(piece)
        tell(taken, file.size)
        yield piece
