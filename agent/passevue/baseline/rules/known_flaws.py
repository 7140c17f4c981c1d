"""UPD-05: no grave flaw has been known for long in what runs. The fleet says so, by a signed advisory."""

from passevue.baseline.machine import Machine
from passevue.baseline.remedies import INSTALL_UPDATE
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, not_applicable


def check(_: Machine) -> Finding:
    return not_applicable("ce boîtier n’est rattaché à aucun service qui suive les failles de sa version")


RULE = Rule(
    id="UPD-05",
    slug="known_flaws",
    level=Level.MUST,
    effect=Effect.WARN,
    when=frozenset({When.DAILY}),
    title=Text("Aucune faille grave connue ne traîne", "No grave known flaw lingers"),
    why=Text(
        "Une faille publiée est exploitée en quelques jours.",
        "A published flaw is exploited within days.",
    ),
    expected="no CVSS >= 9.0 known for 30 days, no >= 7.0 for 90 days, in the SBOM of the running image",
    remedy=INSTALL_UPDATE,
    source="CLA O-7.2, CRA a II.2, ReCyF 5.B",
    check=check,
    appliance_only=False,
)
