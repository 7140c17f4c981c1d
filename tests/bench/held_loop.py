"""A box as a process of its own whose event loop says how long it was held: by a turn of its own, or by other threads.

    held = Held()
    process = box_process(config, environment, held)
    process.start()
    held.begin()                  # from here on
    … what the box is made to do …
    held.longest()                # of a beat, of a turn, of the processor in a turn

Three measures, each kept as its longest since `begin`, less what the loop's thread waited for a processor meanwhile
(schedstat's run_delay). Others may be at work on the machine, and a thread that has lost the processor may have the
interpreter: so the process asks to go before all others (SCHED_RR), which root may.
- a beat: how late a task that sleeps a millisecond is woken: what the page's live view, the watchdog and every
  neighbour wait for, by whichever thread they are held up;
- a turn: from the loop's waking to its next wait, what of it our own callbacks are the cause of;
- the loop's own processor time in a turn: what of that is neither another thread of the box nor a disk.

Nothing of the box is changed: the loop gets a selector that looks at the clock, and one task more.
"""

import asyncio
import contextlib
import ctypes
import logging
import multiprocessing
import os
import selectors
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any

import structlog

from passevue.box import Box
from passevue.config import Config
from passevue.queue.retry import Policy
from tests.peers.disk import ROOMY_IMAGES

_CONTEXT = multiprocessing.get_context("spawn")
_BEAT_S = 0.001


@dataclass(frozen=True)
class Longest:
    """In milliseconds."""

    beat: float
    turn: float
    processor: float


class Held:
    """What the loop of another process tells this one."""

    def __init__(self) -> None:
        self._longest = _CONTEXT.RawArray("d", 3)

    def begin(self) -> None:
        self._longest[:] = (0.0, 0.0, 0.0)

    def longest(self) -> Longest:
        return Longest(*(1e3 * one for one in self._longest))

    def note(self, which: int, seconds: float) -> None:
        self._longest[which] = max(self._longest[which], seconds)


class _Waits:
    """Seconds that the calling thread, always the same, has waited for a processor since it began (proc_schedstat).

    Read without giving the interpreter up, as `os.pread` does: to have it back takes 5 ms where another thread works.
    """

    def __init__(self) -> None:
        self._file = -1
        self._text = ctypes.create_string_buffer(100)
        self._read = ctypes.PyDLL(None, use_errno=True).pread
        self._read.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long)
        self._read.restype = ctypes.c_ssize_t

    def __call__(self) -> float:
        if self._file < 0:
            self._file = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        size = self._read(self._file, self._text, len(self._text), 0)
        if size <= 0:
            raise OSError(ctypes.get_errno(), "schedstat cannot be read")
        return int(self._text.raw[:size].split()[1]) * 1e-9


class _Selector(selectors.DefaultSelector):
    """Notes the time between one wait and the next."""

    def __init__(self, held: Held, waits: _Waits) -> None:
        super().__init__()
        self._held = held
        self._waits = waits
        self._woken: tuple[float, float, float] | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self._woken is not None:
            woken, spent, waited = self._woken
            self._held.note(1, time.perf_counter() - woken - (self._waits() - waited))
            self._held.note(2, time.thread_time() - spent)
        found = super().select(timeout)
        self._woken = time.perf_counter(), time.thread_time(), self._waits()
        return found


async def _beat(held: Held, waits: _Waits) -> None:
    while True:
        begun, waited = time.perf_counter(), waits()
        await asyncio.sleep(_BEAT_S)
        held.note(0, time.perf_counter() - begun - _BEAT_S - (waits() - waited))


async def _beside(held: Held, waits: _Waits, work: Coroutine[Any, Any, None]) -> None:
    beating = asyncio.create_task(_beat(held, waits))
    await work
    beating.cancel()


def _live(held: Held, work: Coroutine[Any, Any, None]) -> None:
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    waits = _Waits()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(_Selector(held, waits))) as runner:
        runner.run(_beside(held, waits, work))


def _live_box(config: Config, policy: Policy, environment: dict[str, str], held: Held) -> None:
    os.environ.update(environment)
    _live(held, Box(config, policy=policy, thresholds=ROOMY_IMAGES).run())


def _live_idle(held: Held) -> None:
    _live(held, asyncio.sleep(3600))


def box_process(config: Config, policy: Policy, environment: dict[str, str], held: Held) -> BaseProcess:
    return _CONTEXT.Process(target=_live_box, args=(config, policy, environment, held), daemon=True)


def idle_process(held: Held) -> BaseProcess:
    """A loop that does nothing but beat: what this machine adds by itself."""
    return _CONTEXT.Process(target=_live_idle, args=(held,), daemon=True)
