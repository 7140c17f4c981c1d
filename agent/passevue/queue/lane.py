"""The way of one entry through one lane: build, send, look up, until it leaves the lane. Decisions are `retry`'s.

Each phase: read from the store, call `Work` under a deadline, write what came of it. What `Work` raises never passes
this module; what the store raises does, and the entry then stays in work until the dispatcher recovers it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

from passevue.errors import BoxError, CabinetError, NetworkError, Refused, StudyAbsent
from passevue.queue import retry
from passevue.queue.breaker import Breaker
from passevue.queue.moves import Taken
from passevue.queue.retry import HELD_FOR, Phase, Policy, Step
from passevue.queue.states import IN_WORK, State
from passevue.queue.store import Store
from passevue.queue.work import Answer, Entry, Nothing, Submission, Work

__all__ = ["Deadlines", "Endpoints", "Lane"]

T = TypeVar("T")
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Deadlines:
    """After how long a phase is ended from outside (F-27): a watchdog, far above what `Work` allows itself."""

    build_s: float = 900.0
    send_s: float = 600.0
    look_up_s: float = 300.0


@dataclass(slots=True)
class Endpoints:
    """A breaker per far side: the PACS that building asks, the registry that sending and looking up ask."""

    pacs: Breaker = field(default_factory=Breaker)
    registry: Breaker = field(default_factory=Breaker)
    recovering: bool = False  # an outage has ended and its backlog is not worked off yet

    def of(self, phase: Phase) -> Breaker:
        return self.pacs if phase is Phase.BUILD else self.registry

    def answered(self, phase: Phase) -> None:
        if self.of(phase).succeeded():
            self.recovering = True
            log.info("endpoint_back", endpoint="pacs" if phase is Phase.BUILD else "registry")

    def failed(self, phase: Phase, now: float, quiet_s: float) -> None:
        breaker = self.of(phase)
        was_open = breaker.open
        breaker.failed(now, quiet_s)
        if breaker.open and not was_open:
            log.warning("endpoint_away", endpoint="pacs" if phase is Phase.BUILD else "registry")


class _Overdue(Exception):
    pass


class Lane:
    """Carries entries, each to its end; all lanes share it: between two entries it keeps nothing but the breakers."""

    def __init__(
        self,
        store: Store,
        work: Work,
        policy: Policy,
        deadlines: Deadlines,
        endpoints: Endpoints,
        jitter: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._work = work
        self._policy = policy
        self._deadlines = deadlines
        self._endpoints = endpoints
        self._jitter = jitter
        self._monotonic = monotonic
        self._phases = {State.BUILDING: self._build, State.STARTED: self._send, State.CHECKING: self._look_up}

    async def carry(self, taken: Taken) -> Taken:
        """Until the entry is no longer in work; gives how it left.

        Raises:
            Lost: the turn is over. StoreError: the outcome could not be written.
        """
        held_for = (taken.facts.reason, taken.facts.detail) if taken.facts.reason in HELD_FOR else None
        while taken.state in IN_WORK:
            taken = await self._phases[taken.state](taken)
        if held_for is not None and taken.state is not State.HELD:
            freed = await self._store.release_held(*held_for)
            log.info("held_released", reason=held_for[0], count=freed)
            self._endpoints.recovering = self._endpoints.recovering or freed > 0
        return taken

    async def _build(self, taken: Taken) -> Taken:
        try:
            made = await self._within(self._deadlines.build_s, self._read_and_build(taken))
        except Exception as err:
            return await self._went_wrong(err, Phase.BUILD, taken)
        self._endpoints.answered(Phase.BUILD)
        if isinstance(made, Nothing):
            log.info("entry_settled", number=taken.number, outcome=made.reason)
            return await self._store.settle_nothing(taken, made)
        return await self._store.freeze_and_start(taken, made)

    async def _send(self, taken: Taken) -> Taken:
        try:
            made = await self._store.read_submission(taken)
            answer = await self._within(self._deadlines.send_s, self._work.send(made))
        except Exception as err:
            return await self._went_wrong(err, Phase.SEND, taken)
        self._endpoints.answered(Phase.SEND)
        return await self._settle(taken, made, answer, "answer")

    async def _look_up(self, taken: Taken) -> Taken:
        try:
            made = await self._store.read_submission(taken)
            answer = await self._within(self._deadlines.look_up_s, self._work.look_up(made))
        except Exception as err:
            return await self._went_wrong(err, Phase.LOOK_UP, taken)
        self._endpoints.answered(Phase.LOOK_UP)
        if answer is not None:
            return await self._settle(taken, made, answer, "look-up")
        return await self._leave(taken, retry.not_found(taken.facts, self._policy))

    async def _read_and_build(self, taken: Taken) -> Submission | Nothing:
        entry: Entry = await self._store.read_entry(taken)
        return await self._work.build(entry)

    async def _settle(self, taken: Taken, made: Submission, answer: Answer, how: str) -> Taken:
        done = await self._store.settle(taken, made, answer, how)
        log.info("entry_settled", number=taken.number, outcome=made.transaction, how=how, tries=taken.facts.tries)
        return done

    async def _went_wrong(self, err: Exception, phase: Phase, taken: Taken) -> Taken:
        if isinstance(err, _Overdue):
            step = retry.overdue(phase, taken.facts, self._jitter(), self._policy)
        else:
            self._tell_endpoint(err, phase)
            step = retry.after(err, phase, taken.facts, self._jitter(), self._policy)
            if not isinstance(err, BoxError):
                log.error("work_crashed", number=taken.number, phase=phase, error=type(err).__name__, at=_place(err))
        return await self._leave(taken, step)

    def _tell_endpoint(self, err: Exception, phase: Phase) -> None:
        match err:
            case StudyAbsent():
                self._endpoints.answered(phase)
            case NetworkError():
                quiet_s = min(err.retry_after_s or 0.0, self._policy.cap_s)
                self._endpoints.failed(phase, self._monotonic(), quiet_s)
            case Refused() if phase is not Phase.BUILD:
                self._endpoints.answered(phase)
            case CabinetError():
                self._endpoints.answered(phase)

    async def _leave(self, taken: Taken, step: Step) -> Taken:
        left = await self._store.leave(taken, step)
        log.info("entry_left", number=taken.number, state=left.state, reason=step.facts.reason,
                 detail=step.facts.detail, due_in_s=step.due_in_s, tries=step.facts.tries)  # fmt: skip
        return left

    async def _within(self, seconds: float, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(seconds) as deadline:
                return await work
        except TimeoutError as err:
            if deadline.expired():
                raise _Overdue from err
            raise


def _place(err: BaseException) -> str:
    """Where in the program it happened: file and line, never the text, which may quote a document."""
    trace = err.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"
