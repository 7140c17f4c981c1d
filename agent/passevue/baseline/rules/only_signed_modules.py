"""KERN-03: unsigned modules are refused; that loading is closed altogether once the box is up is told beside.

`modules_disabled` cannot be taken back, and a reader plugged in later may need its driver: required by no rule.
"""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.settings import read_sysctls
from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, failed, passed


def check(machine: Machine) -> Finding:
    facts = machine.facts
    enforced = facts.text("sig_enforce").strip()
    closed = read_sysctls(facts.text("sysctls")).get("kernel.modules_disabled", "absent")
    observed = f"sig_enforce={enforced} modules_disabled={closed}"
    return passed(observed) if enforced == "Y" else failed(observed)


RULE = Rule(
    id="KERN-03",
    slug="only_signed_modules",
    level=Level.MUST,
    effect=Effect.HOLD,
    when=frozenset({When.START}),
    title=Text("Le noyau n’accepte que des modules signés", "The kernel takes signed modules only"),
    why=Text("Un module étranger aurait tous les droits.", "A foreign module would have every right."),
    expected="sig_enforce = Y; kernel.modules_disabled = 1 once the box is up (told, not required)",
    remedy=IMAGE_BUG,
    source="BP R10(R) R18(E)",
    check=check,
    holds=frozenset({Function.CONSULTATION, Function.SIGN_IN}),
)
