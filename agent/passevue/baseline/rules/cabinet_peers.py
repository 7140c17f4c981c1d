"""NET-03: MLLP and DICOM are reachable from the configured networks, and from no other. How many connections and how
often is in the rules themselves, which NET-01 compares.
"""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.ruleset import collapsed, elements_of, networks, read_ruleset
from passevue.baseline.remedies import NETWORK_CONFIG
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, failed, passed
from passevue.baseline.site import site_plan


def check(machine: Machine) -> Finding:
    near = site_plan(machine).near
    sets = read_ruleset(machine.facts.tree("ruleset_sets")).sets
    told = []
    for name in ("mllp", "dicom"):
        found = collapsed(network for version in "46" for network in networks(elements_of(sets, f"{name}{version}")))
        wanted = collapsed(each for each in near[name] if not each.is_loopback and not each.is_multicast)
        if found != wanted:
            return failed(f"{name}: {len(found - wanted)} networks too many, {len(wanted - found)} missing")
        told.append(f"{name} {len(found)} networks")
    return passed(", ".join(told))


RULE = Rule(
    id="NET-03",
    slug="cabinet_peers",
    level=Level.MUST,
    effect=Effect.HOLD,
    when=frozenset({When.START, When.PERIODIC}),
    title=Text("Seuls les appareils déclarés du centre peuvent envoyer", "Only the centre’s declared devices can send"),
    why=Text(
        "N’importe quel poste du réseau pourrait sinon déposer des documents.",
        "Otherwise any post of the network could hand in documents.",
    ),
    expected="the firewall's senders for MLLP and DICOM = those of the configuration",
    remedy=NETWORK_CONFIG,
    source="PG 4.2.2, CR 7.1",
    check=check,
    holds=frozenset({Function.IMAGES}),
    can_flap=True,
)
