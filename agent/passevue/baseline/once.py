"""Every rule looked at once, now: what `passevue baseline` prints, beside a running engine or without one.

Nothing is waited for: a failure counts at once, and what is unknown on a must rule after three tries in a row.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from passevue.baseline.judge import TRIES, judge
from passevue.baseline.looking import Looking
from passevue.baseline.machine import Machine, Unmeasurable
from passevue.baseline.report import Report, Result
from passevue.baseline.rule import Finding, Rule, Status

BETWEEN_TRIES_S: Final = 0.2

Progress = Callable[[Rule], None]


async def look_once(
    rules: Sequence[Rule],
    machine: Machine,
    *,
    box: str,
    image: str,
    earlier: Mapping[str, Result] | None = None,
    progress: Progress = lambda _: None,
) -> Report:
    """The report of `rules` as they are now; those proved before release only are left out.

    Args:
        earlier: results of the engine, for since when it has been so.
        progress: told of each rule that has been looked at.
    """
    looking, appliance = Looking(), await asyncio.to_thread(lambda: machine.appliance)
    results: dict[str, Result] = {}

    async def one(rule: Rule) -> None:
        finding = await _settled(rule, machine, looking)
        results[rule.id] = _result(rule, finding, machine, (earlier or {}).get(rule.id), appliance=appliance)
        progress(rule)

    checked = [rule for rule in rules if rule.check is not None]
    async with asyncio.TaskGroup() as group:
        for rule in checked:
            group.create_task(one(rule))
    try:
        boot_id = await asyncio.to_thread(lambda: machine.boot_id)
    except (OSError, Unmeasurable):
        boot_id = ""
    return Report(box, image, boot_id, machine.now, tuple(results[rule.id] for rule in checked))


async def _settled(rule: Rule, machine: Machine, looking: Looking) -> Finding:
    """What is found; what cannot be measured is tried again."""
    for _ in range(TRIES - 1):
        finding = await looking.look(rule, machine.glance())
        if finding.status is not Status.UNKNOWN:
            return finding
        await asyncio.sleep(BETWEEN_TRIES_S)
    return await looking.look(rule, machine.glance())


def _result(rule: Rule, finding: Finding, machine: Machine, earlier: Result | None, *, appliance: bool) -> Result:
    standing = judge(rule, None, finding, machine.now, 0.0, appliance=appliance)
    for _ in range(TRIES - 1):  # an unknown is one of three tries
        standing = judge(rule, standing, finding, machine.now, 0.0, appliance=appliance)
    same = earlier is not None and earlier.status is finding.status
    return Result(
        id=rule.id,
        rule=rule.slug,
        level=rule.level,
        effect=standing.effect,
        status=finding.status,
        observed=finding.observed,
        expected=rule.expected,
        remedy=rule.remedy.key,
        since=earlier.since if earlier is not None and same else machine.now,
        checked=machine.now,
        fires=standing.fires,
    )
