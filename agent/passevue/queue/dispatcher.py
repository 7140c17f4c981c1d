"""Keeps the lanes full: which entries begin now, and how many. One per process; `lane` carries each to its end.

Rules:
- one entry per examination at a time, the earliest first (Q-07): the store's `take` sees to it; others pass by;
- a put in this process wakes it at once, one in another process within a second;
- fresh entries and those that have waited take turns; after an outage at most four begin per second;
- an entry whose last try did not end runs beside others, but never beside another such one: so the innocent that
  were in work when the process died are cleared one by one, and the one that kills it reaches three alone (Q-10);
- while the registry's breaker is open nothing begins but one probe a minute; while the PACS's is, nothing is built;
- waiting is by the monotonic clock; when the wall clock jumps, what is due is looked at again (Q-11).

`run` returns only when cancelled; what it had in work is then handed back, which is quicker than a crash and as safe.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable

import structlog

from passevue.errors import StoreError
from passevue.queue.lane import Deadlines, Endpoints, Lane
from passevue.queue.moves import Lost, Rank, Taken
from passevue.queue.pace import Pace
from passevue.queue.retry import Policy
from passevue.queue.states import PICKED, State
from passevue.queue.store import Store, utc_now
from passevue.queue.work import Work

__all__ = ["Dispatcher"]

log = structlog.get_logger()

POLL_S = 1.0
TEND_S = 1.0
MINUTE_S = 60.0
JUMP_S = 5.0  # NTP slews below half a second; more than this between two looks is a jump


class Dispatcher:
    """A part of the box (`name`, `run`). `may_begin`: whether anything may begin now; while not, all of it waits."""

    name = "dispatcher"

    def __init__(
        self,
        store: Store,
        work: Work,
        lanes: int = 4,
        *,
        policy: Policy | None = None,
        deadlines: Deadlines | None = None,
        endpoints: Endpoints | None = None,
        pace: Pace | None = None,
        minute_s: float = MINUTE_S,
        jitter: Callable[[], float] = random.random,
        monotonic: Callable[[], float] = time.monotonic,
        may_begin: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._lanes = lanes
        self._policy = policy or Policy()
        self._endpoints = endpoints or Endpoints()
        self._pace = pace or Pace()
        self._minute_s = minute_s
        self._monotonic = monotonic
        self._may_begin = may_begin
        self._lane = Lane(store, work, self._policy, deadlines or Deadlines(), self._endpoints, jitter, monotonic)
        self._busy: dict[int, Taken] = {}
        self._orphans: list[Taken] = []  # their outcome could not be written: put back when the store is well
        self._released = ""
        self._fresh_first = True
        self._next_in_s = 0.0

    @property
    def endpoints(self) -> Endpoints:
        """For the page: which far side is away."""
        return self._endpoints

    @property
    def in_work(self) -> int:
        """How many lanes are busy: `fleet` waits for none before a restart."""
        return len(self._busy)

    async def run(self) -> None:
        found = await self._store.recover(self._policy)
        log.info("queue_recovered", waiting=found.waiting, in_doubt=found.in_doubt, set_aside=found.set_aside)
        self._released = (await self._store.look()).released
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tend(), name="queue-tend")
                while True:
                    self._store.arrived.clear()
                    await self._feed(group)
                    await self._pause()
        finally:
            await asyncio.shield(self._hand_back())

    async def _feed(self, group: asyncio.TaskGroup) -> None:
        """Begin what may begin now."""
        if len(self._busy) >= self._lanes:
            return
        try:
            outlook = await self._store.look()
            if outlook.released != self._released:
                self._released = outlook.released
                self._endpoints.pacs.succeeded()
                self._endpoints.registry.succeeded()
            allowed, most = self._allowed()
            wanted = self._wanted(outlook.ranks, most)
            taken = await self._store.take(wanted, most, allowed) if wanted and allowed else []
        except StoreError as err:
            log.error("queue_not_read", error=err.message)
            return
        self._next_in_s = outlook.next_in_s
        self._count(outlook.ranks, wanted, taken)
        for each in taken:
            self._busy[each.number] = each
            group.create_task(self._carry(each), name=f"lane-{each.number}")

    def _allowed(self) -> tuple[frozenset[State], int]:
        """The states that may begin, and how many entries, as the breakers stand. None while the box is not sound."""
        if not self._may_begin():
            return frozenset(), 0
        now, free = self._monotonic(), self._lanes - len(self._busy)
        registry, pacs = self._endpoints.registry, self._endpoints.pacs
        if not registry.passes(now):
            return (PICKED, 1) if registry.probe_due(now) else (frozenset(), 0)
        if pacs.passes(now):
            return PICKED, free
        if pacs.probe_due(now):
            return PICKED, 1
        return PICKED - {State.WAITING}, free

    def _wanted(self, ranks: frozenset[int], most: int) -> list[tuple[int, int]]:
        """How many of each rank, in which order."""
        tokens = min(most, self._pace.available(self._monotonic()))
        counts = {Rank.FRESH: tokens if self._endpoints.recovering else most, Rank.WAITED: tokens}
        order = [Rank.FRESH, Rank.WAITED] if self._fresh_first else [Rank.WAITED, Rank.FRESH]
        self._fresh_first = not self._fresh_first
        wanted = [(rank, counts[rank]) for rank in order if rank in ranks and counts[rank] > 0]
        alone = not any(taken.facts.crashes > 1 or taken.facts.checks > 1 for taken in self._busy.values())
        if Rank.SUSPECT in ranks and alone and tokens > 0:
            wanted.insert(0, (Rank.SUSPECT, 1))
        return wanted

    def _count(self, ranks: frozenset[int], wanted: list[tuple[int, int]], taken: list[Taken]) -> None:
        """What this feed means for pace, probes and the end of an outage."""
        now = self._monotonic()
        waited = [each for each in taken if self._endpoints.recovering or each.facts.waited_s or each.facts.failures]
        self._pace.spend(len(waited))
        if taken:
            for breaker in (self._endpoints.registry, self._endpoints.pacs):
                if breaker.probe_due(now):
                    breaker.probing(now)
        if not ranks or (wanted and not taken):
            self._endpoints.recovering = False

    async def _carry(self, taken: Taken) -> None:
        try:
            await self._lane.carry(taken)
        except Lost:
            log.warning("turn_lost", number=taken.number)
        except StoreError as err:
            log.error("outcome_not_written", number=taken.number, error=err.message)
            self._orphans.append(taken)
        finally:
            del self._busy[taken.number]
            self._store.arrived.set()

    async def _pause(self) -> None:
        """Until something arrives, a lane is free, the next is due, or a second has passed."""
        poll_s = 1.0 / self._pace.per_second if self._endpoints.recovering else POLL_S
        if self._next_in_s > 0:
            poll_s = min(poll_s, self._next_in_s + 0.001)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(poll_s):
                await self._store.arrived.wait()

    async def _tend(self) -> None:
        """Every second: room, clock, what a failed store left behind. Every minute: leases, held entries."""
        wall, steady = utc_now(), self._monotonic()
        next_minute = steady + self._minute_s
        while True:
            await asyncio.sleep(min(TEND_S, self._minute_s))
            await self._store.tend()
            jumped_s = abs((utc_now() - wall).total_seconds() - (self._monotonic() - steady))
            wall, steady = utc_now(), self._monotonic()
            try:
                while self._orphans and not self._store.failing:
                    orphan = self._orphans[0]  # more may come behind it meanwhile
                    await self._store.put_back(orphan, self._policy)
                    self._orphans.remove(orphan)
                if jumped_s > JUMP_S or steady >= next_minute:
                    await self._store.rebase(self._policy)
                if steady >= next_minute:
                    next_minute = steady + self._minute_s
                    await self._each_minute()
            except StoreError as err:
                log.error("queue_not_tended", error=err.message)

    async def _each_minute(self) -> None:
        await self._store.renew(list(self._busy.values()))
        await self._store.recover_others(list(self._busy), self._policy)
        if self._may_begin() and await self._store.probe_held():
            self._store.arrived.set()

    async def _hand_back(self) -> None:
        try:
            count = await self._store.hand_back()
        except StoreError as err:
            log.error("not_handed_back", error=err.message)
        else:
            log.info("dispatcher_stopped", handed_back=count)
