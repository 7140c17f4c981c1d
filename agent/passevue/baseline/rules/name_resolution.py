"""NET-06: no neighbour is asked for a name, and where the configuration names resolvers no other is used."""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.resolved import read_values
from passevue.baseline.reading.sockets import read_sockets
from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed
from passevue.baseline.site import site_plan

PORTS = frozenset({5353, 5355})


def check(machine: Machine) -> Finding:
    facts = machine.facts
    for name in ("llmnr", "mdns"):
        if set(read_values(facts.text(name))) != {"no"}:
            return failed(f"{name} is on")
    if open_ports := sorted({each.port for each in read_sockets(facts.tree("sockets"))} & PORTS):
        return failed(f"port {open_ports[0]} is open")
    wanted = {str(each) for each in site_plan(machine).resolvers}
    used = {word for value in read_values(facts.text("dns")) for word in value.split()}
    if wanted and (strange := used - wanted):
        return failed(f"{len(strange)} resolvers are not of the configuration")
    return passed(f"LLMNR and mDNS off, {len(used)} resolvers")


RULE = Rule(
    id="NET-06",
    slug="name_resolution",
    level=Level.MUST,
    effect=Effect.WARN,
    when=frozenset({When.START}),
    title=Text(
        "Les noms ne sont demandés qu’aux serveurs configurés",
        "Names are asked of the configured servers only",
    ),
    why=Text(
        "Un poste voisin pourrait sinon se faire passer pour le DMP.",
        "Otherwise a neighbouring post could pass itself off as the DMP.",
    ),
    expected=(
        "LLMNR and mDNS off on every link, nothing on their ports; resolvers = those of the configuration, where it "
        "names some"
    ),
    remedy=IMAGE_BUG,
    source="CIS 2.1.3",
    check=check,
)
