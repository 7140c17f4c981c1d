"""BOOT-06: the lockdown module of the kernel is active: root cannot change the running kernel."""

from passevue.baseline.machine import Machine
from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed
from passevue.errors import Unreadable


def check(machine: Machine) -> Finding:
    levels = machine.facts.text("lockdown").split()
    chosen = [each[1:-1] for each in levels if each.startswith("[") and each.endswith("]")]
    if len(chosen) != 1:
        raise Unreadable("lockdown has no single level")
    return passed(chosen[0]) if chosen[0] in {"integrity", "confidentiality"} else failed(chosen[0])


RULE = Rule(
    id="BOOT-06",
    slug="kernel_lockdown",
    level=Level.MUST,
    effect=Effect.BLOCK,
    when=frozenset({When.START}),
    title=Text("Le noyau est verrouillé", "The kernel is locked down"),
    why=Text(
        "Même un programme tout-puissant ne doit pas pouvoir modifier le noyau.",
        "Even an all-powerful program must not be able to change the kernel.",
    ),
    expected="lockdown = integrity or confidentiality",
    remedy=IMAGE_BUG,
    source="BP R18, R23(E)",
    check=check,
)
