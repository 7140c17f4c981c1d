"""BOOT-02: the firmware's `db` holds our keys and those that the board's drivers need, as the manifest lists them."""

import base64

from passevue.baseline.machine import Machine
from passevue.baseline.reading.signature_list import fingerprints
from passevue.baseline.remedies import DEPOT
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed


def check(machine: Machine) -> Finding:
    trusted = frozenset(machine.manifest.get("boot_keys"))
    variable = base64.b64decode(machine.facts.text("boot_keys"), validate=True)
    found = fingerprints(variable[ATTRIBUTES:])
    if not found:
        return failed("db is empty")
    foreign = [each for each in found if each not in trusted]
    if foreign:
        return failed(
            f"{len(foreign)} of {len(found)} entries are not ours: {', '.join(each[:16] for each in foreign)}"
        )
    return passed(f"{len(found)} entries, all listed")


ATTRIBUTES = 4  # bytes before the value of a variable, in efivarfs


RULE = Rule(
    id="BOOT-02",
    slug="own_boot_keys",
    level=Level.SHOULD,
    effect=Effect.WARN,
    when=frozenset({When.START}),
    title=Text("Le boîtier ne démarre que ce que signent nos clés", "The box starts only what our keys sign"),
    why=Text(
        "Une clé de trop permettrait de démarrer un système qui n’est pas le nôtre.",
        "One key too many would let a system be started that is not ours.",
    ),
    expected="SHA-256 of each entry of db among the manifest's boot_keys",
    remedy=DEPOT,
    source="BP R4(E)",
    check=check,
)
