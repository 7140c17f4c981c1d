"""NET-07: the firewall lets browsers in on the inside wire alone, from the networks of the configuration.

The page's socket takes every address, so that a wire that comes late is served too: the firewall is what keeps it
inside. With one wire both sides are it, and the networks alone decide.
"""

import json

from passevue.baseline.machine import Machine
from passevue.baseline.reading.ruleset import collapsed, elements_of, networks, read_ruleset
from passevue.baseline.remedies import NETWORK_CONFIG
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, failed, passed
from passevue.baseline.site import site_plan


def check(machine: Machine) -> Finding:
    plan = site_plan(machine)
    sets = read_ruleset(machine.facts.tree("ruleset_sets")).sets
    inside, outside = elements_of(sets, "cabinet"), elements_of(sets, "outside")
    if plan.outside is not None and inside & outside:
        return failed("inside and outside are one wire, the configuration says two")
    if plan.inside.interface and inside != {json.dumps(plan.inside.interface)}:
        return failed("the inside wire is not that of the configuration")
    found = collapsed(network for version in "46" for network in networks(elements_of(sets, f"page{version}")))
    wanted = collapsed(each for each in plan.near["page"] if not each.is_loopback and not each.is_multicast)
    if found - wanted:
        return failed(f"{len(found - wanted)} networks that the configuration does not name")
    return passed(f"{'two wires' if plan.outside else 'one wire'}, {len(found)} networks")


RULE = Rule(
    id="NET-07",
    slug="page_inside_only",
    level=Level.MUST,
    effect=Effect.HOLD,
    when=frozenset({When.START}),
    title=Text("La page n’est visible que du centre", "The page is seen from the centre only"),
    why=Text("Vu d’ailleurs, le boîtier ne doit rien montrer.", "Seen from elsewhere the box must show nothing."),
    expected="the page is let in from the inside wire and the configured networks only",
    remedy=NETWORK_CONFIG,
    source="HYG 28, CR 5.1",
    check=check,
    holds=frozenset({Function.PAGE_ACTS, Function.SIGN_IN}),
)
