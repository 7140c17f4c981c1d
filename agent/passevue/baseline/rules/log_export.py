"""LOG-04: copies of the trail reach the collector that is configured. This version has no such setting."""

from passevue.baseline.machine import Machine
from passevue.baseline.remedies import COLLECTOR
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, not_applicable


def check(_: Machine) -> Finding:
    return not_applicable("aucun collecteur de journaux n’est configuré : cette version n’en propose pas encore")


RULE = Rule(
    id="LOG-04",
    slug="log_export",
    level=Level.SHOULD,
    effect=Effect.WARN,
    when=frozenset({When.PERIODIC}),
    title=Text("Une copie du journal part vers le collecteur", "A copy of the trail reaches the collector"),
    why=Text(
        "Un journal gardé ailleurs survit à la perte du boîtier.",
        "A trail kept elsewhere survives the loss of the box.",
    ),
    expected="spool bounded, last acknowledgement within 7 days, when a collector is configured",
    remedy=COLLECTOR,
    source="LOG R9 R14 R16 R17, ITI-20",
    check=check,
    appliance_only=False,
)
