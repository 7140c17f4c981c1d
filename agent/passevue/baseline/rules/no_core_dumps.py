"""KERN-09: no memory image of a process is ever written, whichever of three ways would do it."""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.properties import is_ours, read_units
from passevue.baseline.reading.settings import read_settings, read_sysctls
from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, failed, passed
from passevue.errors import Unreadable

NOWHERE = frozenset({"|/bin/false", "|/usr/bin/false"})
SYSTEMD = "|/usr/lib/systemd/systemd-coredump"


def check(machine: Machine) -> Finding:
    facts = machine.facts
    pattern = read_sysctls(facts.text("sysctls"))["kernel.core_pattern"].split(" ")[0]
    settings = read_settings(facts.text("coredump"))
    kept = settings.get("Storage") != "none" or settings.get("ProcessSizeMax") != "0"
    if pattern not in NOWHERE and (pattern != SYSTEMD or kept):
        return failed(f"core_pattern={pattern}")
    units = [unit for unit in read_units(facts.text("units")).values() if is_ours(unit)]
    if not units:
        raise Unreadable("systemctl showed no service of ours")
    if dumping := sorted(unit["Id"] for unit in units if unit["LimitCORE"] != "0"):
        return failed(f"LimitCORE is not 0: {', '.join(dumping)}")
    return passed(f"core_pattern={pattern}, {len(units)} services")


RULE = Rule(
    id="KERN-09",
    slug="no_core_dumps",
    level=Level.MUST,
    effect=Effect.HOLD,
    when=frozenset({When.START}),
    title=Text("La mémoire des programmes n’est jamais écrite", "The memory of programs is never written down"),
    why=Text(
        "Une copie de la mémoire contiendrait des codes, des clés, des noms de patients.",
        "A copy of memory would hold codes, keys, names of patients.",
    ),
    expected="core_pattern to nothing; coredump Storage=none ProcessSizeMax=0; LimitCORE=0 on our services",
    remedy=IMAGE_BUG,
    source="CIS 1.5.10-12, CRA e",
    check=check,
    holds=frozenset({Function.SIGN_IN}),
)
