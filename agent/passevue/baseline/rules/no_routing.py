"""NET-04: nothing passes through the box: no forwarding, bridge, tunnel or address translation."""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.links import LOOPBACK, read_links
from passevue.baseline.reading.ruleset import read_ruleset
from passevue.baseline.reading.settings import read_sysctls
from passevue.baseline.remedies import NETWORK_RULES
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed
from passevue.errors import Unreadable

TRANSLATION = frozenset({"snat", "dnat", "masquerade", "redirect", "tproxy", "fwd", "dup", "flow"})


def check(machine: Machine) -> Finding:
    facts = machine.facts
    settings = read_sysctls(facts.text("sysctls"))
    forwarding = {name: value for name, value in settings.items() if name.endswith((".forwarding", ".mc_forwarding"))}
    forwarding["net.ipv4.ip_forward"] = settings["net.ipv4.ip_forward"]
    if on := sorted(name for name, value in forwarding.items() if value != "0"):
        return failed(f"on: {', '.join(on)}")
    links = read_links(facts.text("links"))
    if joining := sorted(link.name for link in links if link.type != LOOPBACK and not link.wire):
        return failed(f"not a wired port: {', '.join(joining)}")
    live = read_ruleset(facts.tree("ruleset"))
    if any(chain.kind == "nat" for chain in live.chains) or any(rule.verdicts & TRANSLATION for rule in live.rules):
        return failed("a rule translates or duplicates")
    if not live.chains:
        raise Unreadable("no ruleset was seen")
    return passed(f"{len(links)} interfaces, nothing passes through")


RULE = Rule(
    id="NET-04",
    slug="no_routing",
    level=Level.MUST,
    effect=Effect.BLOCK,
    when=frozenset({When.START, When.PERIODIC}),
    title=Text("Le boîtier ne relie pas deux réseaux", "The box does not join two networks"),
    why=Text(
        "Il ne doit jamais devenir un pont vers le réseau du centre.",
        "It must never become a bridge into the centre’s network.",
    ),
    expected="no forwarding on any interface; wired ports and loopback only; no address translation",
    remedy=NETWORK_RULES,
    source="BP R12(I), HYG 19",
    check=check,
    can_flap=True,
)
