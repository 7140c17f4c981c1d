"""BOOT-10: no getty, debug shell, SysRq or serial console; what cannot start restarts instead of giving a shell.

The firmware's own ways in (DCI, JTAG) are told by BOOT-09. `rd.shell` and `rd.emergency` are words of dracut, which
is not our initrd: what counts is what the units of emergency and rescue do.

Facts: whoever sets the firmware's strings (SMBIOS type 11) can hand systemd a unit to run (`systemd.extra-unit.*`, from
version 256); it appears among the earliest generated units, where an image of ours has none. A development image has a
console by its profile, and says so by APP-04: here it only warns.
"""

import re
from collections.abc import Iterator

from passevue.baseline.facts import Facts
from passevue.baseline.machine import Machine
from passevue.baseline.reading.command_line import read_command_line
from passevue.baseline.reading.properties import read_units
from passevue.baseline.reading.settings import read_sysctls
from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, failed, passed

OFF = frozenset({"inactive", "failed"})
SHELLS = ("getty@", "serial-getty@", "autovt@", "container-getty@", "console-getty.service", "debug-shell.service",
          "emergency.service", "rescue.service", "sshd", "ssh.", "dropbear")  # fmt: skip


def check(machine: Machine) -> Finding:
    doors = list(_doors(machine.facts))
    if doors:
        return failed("; ".join(doors), Effect.WARN if machine.manifest.profile == "development" else None)
    return passed("no way in by console")


def _doors(facts: Facts) -> Iterator[str]:
    units = read_units(facts.text("units"))
    active = sorted(name for name, unit in units.items() if name.startswith(SHELLS) and unit["ActiveState"] not in OFF)
    if active:
        yield f"active: {', '.join(active)}"
    if handed := facts.lines("early_units"):
        yield f"handed over at the start: {', '.join(handed[:3])}"
    consoles = read_command_line(facts.text("cmdline")).values("console")
    if wires := [each for each in consoles if not re.fullmatch(r"tty\d*", each.partition(",")[0])]:
        yield f"a console on {wires[0]}"
    sysrq = read_sysctls(facts.text("sysctls")).get("kernel.sysrq", "absent")
    if sysrq not in {"0", "absent"}:
        yield f"kernel.sysrq={sysrq}"
    if read_units(facts.text("ctrl_alt_del"))["ctrl-alt-del.target"]["LoadState"] != "masked":
        yield "Ctrl-Alt-Del is not masked"
    for name, unit in read_units(facts.text("rescue")).items():
        masked = unit["LoadState"] == "masked"
        if not masked and ("sulogin" in unit["ExecStart"] or not unit["SuccessAction"].startswith("reboot")):
            yield f"{name} gives a shell"


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
