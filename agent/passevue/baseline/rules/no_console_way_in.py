"""BOOT-10: no getty, debug shell, SysRq or serial console; what cannot start restarts instead of giving a shell.

The firmware's own ways in (DCI, JTAG) are told by BOOT-09. `rd.shell` and `rd.emergency` are words of dracut, which
is not our initrd: what counts is what the units of emergency and rescue do.
"""

import re

from passevue.baseline.machine import Machine
from passevue.baseline.reading.command_line import read_command_line
from passevue.baseline.reading.properties import read_units
from passevue.baseline.reading.settings import read_sysctls
from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, failed, passed

SHELLS = ("getty@", "serial-getty@", "autovt@", "container-getty@", "console-getty.service", "debug-shell.service",
          "emergency.service", "rescue.service", "sshd", "ssh.", "dropbear")  # fmt: skip


def check(machine: Machine) -> Finding:
    facts = machine.facts
    units = read_units(facts.text("units"))
    doors = sorted(name for name, unit in units.items() if name.startswith(SHELLS) and unit["ActiveState"] == "active")
    if doors:
        return failed(f"active: {', '.join(doors)}")
    consoles = read_command_line(facts.text("cmdline")).values("console")
    if wires := [each for each in consoles if not re.fullmatch(r"tty\d*", each.partition(",")[0])]:
        return failed(f"a console on {wires[0]}")
    sysrq = read_sysctls(facts.text("sysctls")).get("kernel.sysrq", "absent")
    if sysrq not in {"0", "absent"}:
        return failed(f"kernel.sysrq={sysrq}")
    if read_units(facts.text("ctrl_alt_del"))["ctrl-alt-del.target"]["LoadState"] != "masked":
        return failed("Ctrl-Alt-Del is not masked")
    for name, unit in read_units(facts.text("rescue")).items():
        masked = unit["LoadState"] == "masked"
        if not masked and ("sulogin" in unit["ExecStart"] or not unit["SuccessAction"].startswith("reboot")):
            return failed(f"{name} gives a shell")
    return passed("no way in by console")


RULE = Rule(
    id="BOOT-10",
    slug="no_console_way_in",
    level=Level.MUST,
    effect=Effect.HOLD,
    when=frozenset({When.START}),
    title=Text("Aucun clavier ni câble ne donne accès au système", "No keyboard or cable gives access to the system"),
    why=Text(
        "Qui passe devant le boîtier ne doit pas pouvoir y prendre la main.",
        "Whoever walks past the box must not be able to take it over.",
    ),
    expected="no getty or shell; sysrq = 0; Ctrl-Alt-Del masked; no serial console; emergency and rescue restart",
    remedy=IMAGE_BUG,
    source="BP R9(I), CR 2.13, CLA O-12.2.7.1",
    check=check,
    holds=frozenset({Function.SIGN_IN, Function.SUPPORT}),
)
