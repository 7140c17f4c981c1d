"""BOOT-08: the slot that runs is the intended one and marked good, and there is another to fall back to.

A new box has one version: its second slot is there, empty, until the first update fills it. That is as it should be.
"""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.slots import read_slots
from passevue.baseline.remedies import OTHER_SLOT
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, not_applicable, passed


def check(machine: Machine) -> Finding:
    slots = read_slots(machine.facts.tree("slots"))
    booted = slots.booted
    if slots.primary != booted.name:
        return failed(f"{booted.bootname} runs, {slots.primary or 'none'} starts next")
    bad = [each.bootname for each in slots.bootable if not each.good]
    if bad and booted.good and set(bad) <= never_written(machine.facts.text("slots_empty")):
        return not_applicable("la deuxième version n’arrivera qu’avec la première mise à jour")
    if bad or len(slots.bootable) < 2:
        return failed(f"{booted.bootname} runs; not good: {', '.join(bad) or 'there is no other slot'}")
    return passed(f"{booted.bootname} runs, {len(slots.bootable)} slots good")


def never_written(text: str) -> set[str]:
    """Boot names of slots of which a partition (`root-b`) is still as the first start of the box made it."""
    return {line.rpartition("-")[2].upper() for line in text.splitlines()}


RULE = Rule(
    id="BOOT-08",
    slug="slots_sound",
    level=Level.MUST,
    effect=Effect.WARN,
    when=frozenset({When.START, When.PERIODIC}),
    title=Text("Les deux versions du système sont prêtes", "Both versions of the system are ready"),
    why=Text(
        "Si la version en service tombe en panne, l’autre doit pouvoir prendre sa place.",
        "If the version in service fails, the other must be able to take its place.",
    ),
    expected="the slot that runs is the one that starts next; both are good, or the other was never written",
    remedy=OTHER_SLOT,
    source="CR 7.4, CRA h",
    check=check,
    can_flap=True,
)
