"""BOOT-09: the firmware passes level 1 of the Host Security ID, as fwupd measures it.

Whether a correction of the firmware waits cannot be told here: the box asks no vendor's server. An image without fwupd,
as its manifest says, measures nothing.
"""

from passevue.baseline.machine import Machine
from passevue.baseline.remedies import FIRMWARE
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, not_applicable, passed
from passevue.errors import Unreadable

PROGRAM = "fwupd"  # Debian's package
LEVEL = 1
HELD = frozenset({"success", "obsoleted"})


def check(machine: Machine) -> Finding:
    if PROGRAM not in {str(each.get("name")) for each in machine.manifest.whole.get("packages", [{"name": PROGRAM}])}:
        return not_applicable("cette version du boîtier n’a pas de quoi la mesurer : suivez la fiche de la carte mère")
    attributes = [
        each for each in machine.facts.tree("firmware")["HostSecurityAttributes"] if each.get("HsiLevel") == LEVEL
    ]
    if not attributes:
        raise Unreadable("fwupd names no attribute of level 1")
    failing = sorted(
        str(each["AppstreamId"]).rpartition(".")[2] for each in attributes if not HELD & set(each["Flags"])
    )
    if failing:
        return failed(f"below HSI:1: {', '.join(failing)}")
    return passed(f"HSI:1, {len(attributes)} attributes")


RULE = Rule(
    id="BOOT-09",
    slug="firmware_state",
    level=Level.SHOULD,
    effect=Effect.WARN,
    when=frozenset({When.DAILY}),
    title=Text("Le micrologiciel de l’appareil est protégé", "The machine’s firmware is protected"),
    why=Text(
        "Un micrologiciel mal réglé peut être remplacé sans laisser de trace.",
        "Badly set firmware can be replaced without a trace.",
    ),
    expected="every attribute of HSI level 1 succeeds",
    remedy=FIRMWARE,
    source="SP 800-193, BP R1 R2",
    check=check,
)
