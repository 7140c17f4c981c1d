"""NET-02: the destinations that the firewall lets each zone reach are those that the configuration names.

An address in the configuration is compared as it is; of a name, the port: what it means now is asked by another unit.
"""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.ruleset import elements_of, pairs, read_ruleset
from passevue.baseline.remedies import NETWORK_RULES
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, failed, passed
from passevue.baseline.site import site_plan


def check(machine: Machine) -> Finding:
    far = site_plan(machine).far
    sets = read_ruleset(machine.facts.tree("ruleset_sets")).sets
    count = 0
    for name, wanted in far.items():
        found = {pair for version in "46" for pair in pairs(elements_of(sets, f"{name}{version}"))}
        ports = {each.port for each in wanted if each.address is None}
        fixed = {(str(each.address), each.port) for each in wanted if each.address is not None}
        strange = [f"{address} port {port}" for address, port in found - fixed if port not in ports]
        if strange:
            return failed(f"{name}: {', '.join(sorted(strange)[:4])}")
        count += len(found)
    return passed(f"{count} destinations in {len(far)} lists")


RULE = Rule(
    id="NET-02",
    slug="egress_list",
    level=Level.MUST,
    effect=Effect.HOLD,
    when=frozenset({When.START, When.PERIODIC}),
    title=Text("Chaque service ne joint que ses correspondants", "Each service reaches its correspondents only"),
    why=Text(
        "Un service trompé ne doit pouvoir envoyer des données nulle part ailleurs.",
        "A service that was fooled must be able to send data nowhere else.",
    ),
    expected="the firewall's destinations, zone by zone = those of the configuration",
    remedy=NETWORK_RULES,
    source="PG 4.3.1.3, ReCyF 7.B.3",
    check=check,
    holds=frozenset({Function.CONSULTATION, Function.SIGN_IN}),
    can_flap=True,
)
