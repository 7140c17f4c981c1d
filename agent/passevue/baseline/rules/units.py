"""SERV-02: the enabled units are those of the manifest, and none has failed."""

from passevue.baseline.machine import Machine
from passevue.baseline.remedies import RESTART
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, failed, passed
from passevue.errors import Unreadable


def check(machine: Machine) -> Finding:
    enabled = {line.split()[0] for line in machine.facts.lines("enabled")}
    listed = set(machine.manifest.units)
    if not enabled or not listed:
        raise Unreadable("no unit is enabled, or none is listed")
    failing = sorted(line.split()[0] for line in machine.facts.lines("failed"))
    wrong = {"not listed": sorted(enabled - listed), "not enabled": sorted(listed - enabled), "failed": failing}
    told = "; ".join(f"{what}: {', '.join(names[:6])}" for what, names in wrong.items() if names)
    return failed(told) if told else passed(f"{len(enabled)} units enabled, none failed")


RULE = Rule(
    id="SERV-02",
    slug="units",
    level=Level.MUST,
    effect=Effect.HOLD,
    when=frozenset({When.START, When.PERIODIC}),
    title=Text("Les services prévus tournent, et eux seuls", "The services that were meant run, and no others"),
    why=Text(
        "Un service en panne ou en trop change ce que fait le boîtier.",
        "A service that failed, or one too many, changes what the box does.",
    ),
    expected="enabled units = manifest; none failed",
    remedy=RESTART,
    source="BP R62(M) R63(I)",
    check=check,
    holds=frozenset({Function.CONSULTATION}),
    can_flap=True,
)
