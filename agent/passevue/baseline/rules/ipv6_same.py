"""NET-05: IPv6 is off on every interface, or the same base chains drop it by default."""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.ruleset import read_ruleset
from passevue.baseline.reading.settings import read_sysctls
from passevue.baseline.remedies import NETWORK_RULES
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed

HOOKS = ("input", "forward", "output")


def check(machine: Machine) -> Finding:
    settings = read_sysctls(machine.facts.text("sysctls"))
    switches = [value for name, value in settings.items() if name.endswith(".disable_ipv6")]
    if switches and set(switches) == {"1"}:
        return passed("IPv6 is off")
    live = read_ruleset(machine.facts.tree("ruleset"))
    for hook in HOOKS:
        if not any(each.policy == "drop" and each.family in {"inet", "ip6"} for each in live.base_chains(hook)):
            return failed(f"IPv6 is on, and {hook} does not drop it by default")
    return passed("IPv6 under the same rules")


RULE = Rule(
    id="NET-05",
    slug="ipv6_same",
    level=Level.MUST,
    effect=Effect.WARN,
    when=frozenset({When.START}),
    title=Text("IPv6 suit les mêmes règles", "IPv6 keeps to the same rules"),
    why=Text(
        "Un pare-feu pour l’ancien protocole seul laisserait le nouveau grand ouvert.",
        "A firewall for the old protocol alone would leave the new one wide open.",
    ),
    expected="IPv6 off, or input, forward and output dropped by default for it too",
    remedy=NETWORK_RULES,
    source="BP R13(I), CIS 3.1.1",
    check=check,
)
