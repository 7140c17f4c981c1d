"""LOG-07: the kernel's own audit rules are loaded, as many as the image has, and closed to change."""

import re

from passevue.baseline.machine import Machine
from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed

IMMUTABLE = "2"


def check(machine: Machine) -> Finding:
    enabled = re.search(r"^enabled (\d)", machine.facts.text("audit_status"), re.MULTILINE)
    if enabled is None or enabled[1] != IMMUTABLE:
        return failed(f"enabled {enabled[1] if enabled else 'unknown'}, not {IMMUTABLE}")
    rules = [line for line in machine.facts.lines("audit_rules") if line.startswith("-")]
    expected = int(machine.manifest.get("audit_rules"))
    if len(rules) != expected:
        return failed(f"{len(rules)} audit rules, the manifest says {expected}")
    return passed(f"{expected} audit rules, immutable")


RULE = Rule(
    id="LOG-07",
    slug="kernel_audit",
    level=Level.SHOULD,
    effect=Effect.WARN,
    when=frozenset({When.START}),
    title=Text("Le système note les actes sensibles", "The system notes sensitive acts"),
    why=Text(
        "Un changement d’heure, de montage ou de module laisse une trace que l’attaquant ne choisit pas.",
        "A change of time, mount or module leaves a trace that an attacker does not choose.",
    ),
    expected="auditctl -s says enabled 2; as many rules as the manifest",
    remedy=IMAGE_BUG,
    source="BP R73(R), CIS 6.2",
    check=check,
)
