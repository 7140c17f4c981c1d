"""KERN-05: the kernel knows a way round each flaw that this processor has. How it was started is told by BOOT-03."""

from passevue.baseline.machine import Machine
from passevue.baseline.remedies import remedy
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed
from passevue.errors import Unreadable

FOLDER = "/sys/devices/system/cpu/vulnerabilities/"


def check(machine: Machine) -> Finding:
    lines = machine.facts.lines("cpu_flaws")
    if not lines or not all(line.startswith(FOLDER) for line in lines):
        raise Unreadable("the kernel lists no flaw")
    flaws = dict(line.removeprefix(FOLDER).split(": ", 1) for line in lines)
    open_ones = sorted(name for name, text in flaws.items() if "Vulnerable" in text)
    return failed(f"vulnerable: {', '.join(open_ones)}") if open_ones else passed(f"{len(flaws)} flaws, none open")


RULE = Rule(
    id="KERN-05",
    slug="cpu_flaws",
    level=Level.SHOULD,
    effect=Effect.WARN,
    when=frozenset({When.START}),
    title=Text("Les défauts connus du processeur sont contournés", "Known flaws of the processor are worked around"),
    why=Text("Un programme pourrait lire la mémoire d’un autre.", "One program could read another’s memory."),
    expected="no file of cpu/vulnerabilities says Vulnerable",
    remedy=remedy(
        "firmware.microcode",
        "Prévenez la maintenance : le micrologiciel du processeur est à mettre à jour.",
        "Tell maintenance: the processor’s microcode must be updated.",
    ),
    source="BP R8(I)",
    check=check,
)
