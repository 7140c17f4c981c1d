"""Looks at rules on threads of their own: the loop never waits for one, and one that hangs costs one result.

A check may hang in the kernel where nothing can end it (a dead disk, a stuck TPM). Its thread is left behind as a
daemon: it stops neither the loop nor the end of the process, and while it hangs the same rule is not begun again. So
there are never more such threads than rules.
"""

import asyncio
import threading
from collections.abc import Callable

import structlog

from passevue.baseline.machine import Machine, Unmeasurable
from passevue.baseline.rule import NOT_THE_BOX, Finding, Rule, not_applicable, unknown
from passevue.errors import Unreadable

AT_ONCE = 2  # the box has two cores, and other work

log = structlog.get_logger()


class Looking:
    """One for each engine."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._turn = asyncio.Semaphore(at_once)
        self._hanging: set[str] = set()

    async def look(self, rule: Rule, machine: Machine) -> Finding:
        """What the rule's check finds within its time; never raises but when cancelled."""
        if rule.id in self._hanging:
            return unknown(f"the check of {rule.slug} still hangs")
        async with self._turn:
            found = self._begin(rule, machine)
            try:
                async with asyncio.timeout(rule.timeout_s):
                    return await asyncio.shield(found)
            except TimeoutError:
                log.warning("baseline_check_hangs", rule=rule.id)
                return unknown(f"no answer within {rule.timeout_s:g} s")

    def _begin(self, rule: Rule, machine: Machine) -> asyncio.Future[Finding]:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Finding] = loop.create_future()

        def done(finding: Finding) -> None:
            self._hanging.discard(rule.id)
            if not found.done():
                found.set_result(finding)

        self._hanging.add(rule.id)
        work = lambda: _tell(loop, done, look(rule, machine))  # noqa: E731
        threading.Thread(target=work, name=f"rule-{rule.id}", daemon=True).start()
        return found


def look(rule: Rule, machine: Machine) -> Finding:
    """What the rule finds; whatever its check raises is `unknown`. Blocks."""
    if rule.check is None:
        return not_applicable("vérifiée avant la livraison")
    try:
        if rule.appliance_only and not machine.appliance:
            return not_applicable(NOT_THE_BOX)
        return rule.check(machine)
    except (Unmeasurable, Unreadable) as err:
        return unknown(str(err))
    except OSError as err:
        return unknown(f"{type(err).__name__}: {err.strerror} {err.filename or ''}")
    except Exception as err:  # a rule of ours that is wrong: its result is, not the engine
        return unknown(f"the check failed: {type(err).__name__}")


def _tell(loop: asyncio.AbstractEventLoop, done: Callable[[Finding], None], finding: Finding) -> None:
    try:
        loop.call_soon_threadsafe(done, finding)
    except RuntimeError:
        return  # the loop has ended meanwhile
