"""KERN-06: DMA remapping is active: the kernel has put devices in groups."""

from passevue.baseline.machine import Machine
from passevue.baseline.remedies import FIRMWARE
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed


def check(machine: Machine) -> Finding:
    groups = int(machine.facts.text("iommu_groups"))
    return passed(f"{groups} groups") if groups > 0 else failed("no group: DMA is not remapped")


RULE = Rule(
    id="KERN-06",
    slug="iommu_on",
    level=Level.SHOULD,
    effect=Effect.WARN,
    when=frozenset({When.START}),
    title=Text("Les périphériques ne lisent pas la mémoire à leur guise", "Devices do not read memory at will"),
    why=Text(
        "Un appareil branché sur un port rapide pourrait sinon tout lire.",
        "Otherwise a device on a fast port could read everything.",
    ),
    expected="at least one IOMMU group",
    remedy=FIRMWARE,
    source="BP R7(R), HSI",
    check=check,
)
