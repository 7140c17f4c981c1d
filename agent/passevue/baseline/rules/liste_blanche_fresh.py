"""CERT-05: the liste blanche is fetched and verified. This version neither serves images nor fetches others'."""

from passevue.baseline.machine import Machine
from passevue.baseline.remedies import LISTE_BLANCHE
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, not_applicable


def check(_: Machine) -> Finding:
    return not_applicable("cette version n’échange pas encore d’images avec d’autres DRIMbox")


RULE = Rule(
    id="CERT-05",
    slug="liste_blanche_fresh",
    level=Level.MUST,
    effect=Effect.HOLD,
    when=frozenset({When.DAILY}),
    title=Text("La liste blanche des DRIMbox est à jour", "The liste blanche of DRIMboxes is fresh"),
    why=Text(
        "Une DRIMbox retirée de la liste ne doit plus recevoir d’images.",
        "A DRIMbox taken off the list must receive no more images.",
    ),
    expected="fetched and verified within 24 h; peers refused at 7 days",
    remedy=LISTE_BLANCHE,
    source="DRIM-M [B]",
    check=check,
    holds=frozenset({Function.CONSULTATION}),
    appliance_only=False,
)
