"""NET-08: other DRIMboxes are served only with a listed certificate. This version serves no images: nothing of the
national zone may listen at all, and what would is found here.
"""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.sockets import read_sockets
from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, not_applicable
from passevue.errors import Unreadable

NATIONAL = "passevue-national.service"


def check(machine: Machine) -> Finding:
    found = read_sockets(machine.facts.tree("sockets"))
    if not found:
        raise Unreadable("no listener was seen")
    open_ones = sorted({f"{each.proto}/{each.port}" for each in found if NATIONAL in each.units and not each.loopback})
    if open_ones:
        return failed(f"the national zone listens on {', '.join(open_ones)} and nobody is checked there")
    return not_applicable("ce boîtier ne sert pas encore d’images aux autres centres : rien n’écoute de ce côté")


RULE = Rule(
    id="NET-08",
    slug="known_peers_only",
    level=Level.MUST,
    effect=Effect.BLOCK,
    when=frozenset({When.START, When.EVENT}),
    title=Text("Seuls les boîtiers connus obtiennent des images", "Only known boxes get images"),
    why=Text(
        "Un inconnu ne doit rien recevoir, pas même un refus bavard.",
        "A stranger must get nothing, not even a talkative refusal.",
    ),
    expected="no national listener without client certificate and liste blanche",
    remedy=IMAGE_BUG,
    source="DRIM-M [B], ITI-19, CR 1.2",
    check=check,
)
