"""NET-01: what is loaded in the kernel is what the signed file says, rule by rule, and drops what it does not name.

What the file says is asked of nft itself: `collect` loads it in an empty network namespace. Sets that the
configuration fills are compared by NET-02 and NET-03.
"""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.ruleset import read_ruleset
from passevue.baseline.remedies import NETWORK_RULES
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed

HOOKS = ("input", "forward", "output")


def check(machine: Machine) -> Finding:
    live = read_ruleset(machine.facts.tree("ruleset"))
    for hook in HOOKS:
        drops = [each for each in live.base_chains(hook) if each.policy == "drop" and each.family == "inet"]
        if not drops:
            return failed(f"{hook} does not drop by default")
    signed = read_ruleset(machine.facts.tree("ruleset_signed"))
    if live.shape != signed.shape:
        return failed(f"{len(live.rules)} rules, not the {len(signed.rules)} of the signed file")
    return passed(f"{len(live.rules)} rules as signed, {live.shape[:16]}")


RULE = Rule(
    id="NET-01",
    slug="default_drop",
    level=Level.MUST,
    effect=Effect.BLOCK,
    when=frozenset({When.START, When.PERIODIC}),
    title=Text("Le pare-feu refuse tout ce qui n’est pas prévu", "The firewall refuses all that is not meant"),
    why=Text(
        "Sans lui, tout ce qui tourne dans le boîtier serait à portée du réseau.",
        "Without it all that runs in the box would be in reach of the network.",
    ),
    expected="input, forward, output: policy drop; loaded rules = those of the signed file",
    remedy=NETWORK_RULES,
    source="HYG 17, PG 4.3.1.2, BP R79",
    check=check,
    can_flap=True,
)
