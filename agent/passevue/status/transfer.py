"""One file that comes from the stick while its reader looks on: at most one at a time, and how far it is."""

import asyncio
from collections.abc import Awaitable, Callable

from passevue.errors import Refused
from passevue.status.from_stick import Told


class Transfer:
    """`percent` is of what comes now, 0 before its size is known. `over` is set while nothing comes."""

    def __init__(self) -> None:
        self.percent = 0
        self.over = asyncio.Event()
        self.over.set()
        self._task: asyncio.Task[None] | None = None

    @property
    def runs(self) -> bool:
        return not self.over.is_set()

    def must_be_over(self) -> None:
        """Raises: Refused: one is under way."""
        if self.runs:
            hint = "La clé est déjà en cours de lecture : attendez qu’elle finisse."
            raise Refused("stick-busy", "another file is being read", hint=hint)

    def begin(self, work: Callable[[Told], Awaitable[None]]) -> None:
        """Raises: Refused: one is under way."""
        self.must_be_over()
        self.percent = 0
        self.over.clear()
        self._task = asyncio.create_task(self._run(work), name="stick")

    async def stop(self) -> None:
        """What was under way leaves nothing behind."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self, work: Callable[[Told], Awaitable[None]]) -> None:
        try:
            await work(self._tell)
        finally:
            self.over.set()

    def _tell(self, taken: int, size: int) -> None:
        self.percent = 100 * taken // size if size else 0
