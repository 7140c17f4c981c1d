"""UPD-04: the signed metadata of updates is not older than it may be. A box that no fleet looks after has none."""

from passevue.baseline.machine import Machine
from passevue.baseline.remedies import UPDATE_NETWORK
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, not_applicable


def check(_: Machine) -> Finding:
    return not_applicable("ce boîtier n’est rattaché à aucun service de mises à jour : elles s’installent à la main")


RULE = Rule(
    id="UPD-04",
    slug="update_freshness",
    level=Level.MUST,
    effect=Effect.WARN,
    worse=Effect.HOLD,
    when=frozenset({When.DAILY}),
    title=Text("Le boîtier sait s’il existe une mise à jour", "The box knows whether there is an update"),
    why=Text(
        "Qui empêche le boîtier d’apprendre une mise à jour garde ouverte la faille qu’elle corrige.",
        "Whoever keeps the box from learning of an update keeps the flaw open that it corrects.",
    ),
    expected="signed metadata younger than 7 days (warn), 30 days (hold new consultations)",
    remedy=UPDATE_NETWORK,
    source="TUF freeze, CRA c",
    check=check,
    holds=frozenset({Function.CONSULTATION}),
    appliance_only=False,
)
