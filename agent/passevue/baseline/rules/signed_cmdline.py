"""BOOT-03: kernel, initrd and command line come from one signed file.

The root hash is the one word that the manifest cannot hold, since it lies inside the root: BOOT-04 compares that one.
"""

import base64

from passevue.baseline.machine import Machine
from passevue.baseline.reading.command_line import read_command_line
from passevue.baseline.remedies import REFLASH
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed

FORBIDDEN = frozenset(
    {
        "1", "3", "5", "S", "emergency", "init", "rd.break", "rd.systemd.debug_shell", "rd.systemd.unit", "rdinit",
        "rescue", "s", "single", "systemd.debug-shell", "systemd.debug_shell", "systemd.unit",
    }
)  # fmt: skip


def check(machine: Machine) -> Finding:
    line = read_command_line(machine.facts.text("cmdline"))
    found = sorted({word.partition("=")[0] for word in line.words} & FORBIDDEN)
    if found:
        return failed(f"started with {' '.join(found)}")
    signed = read_command_line(machine.manifest.get("cmdline"))
    if line.fixed != signed.fixed:
        return failed(_difference(line.fixed, signed.fixed))
    if machine.facts.absent("stub"):
        return failed("not started by the stub of a UKI")
    if not _stub(machine.facts.text("stub")).startswith(STUB):
        return failed("started by another stub than systemd's")
    settings = dict(line.split(maxsplit=1) for line in machine.facts.lines("loader") if not line.startswith("#"))
    if settings.get("editor", "yes").strip() not in EDITOR_OFF:
        return failed("the loader lets its command line be edited")
    return passed(f"{len(line.fixed)} words as signed, editor off")


STUB = "systemd-stub "
EDITOR_OFF = frozenset({"no", "n", "false", "f", "off", "0"})  # anything else leaves it on, as it is without a word


def _stub(variable: str) -> str:
    """Who the stub says that it is: four bytes of attributes, then UTF-16."""
    return base64.b64decode(variable, validate=True)[4:].decode("utf-16-le")


def _difference(found: tuple[str, ...], signed: tuple[str, ...]) -> str:
    """Names of parameters only: a value may be long."""
    more = [word.partition("=")[0] for word in found if word not in signed]
    less = [word.partition("=")[0] for word in signed if word not in found]
    return f"not as signed: more {' '.join(more) or '-'}, less {' '.join(less) or '-'}"


RULE = Rule(
    id="BOOT-03",
    slug="signed_cmdline",
    level=Level.MUST,
    effect=Effect.BLOCK,
    when=frozenset({When.START}),
    title=Text("Le noyau démarre avec les réglages signés", "The kernel starts with the signed settings"),
    why=Text(
        "Un seul mot ajouté au démarrage suffirait à ouvrir le boîtier.",
        "One word added at the start would be enough to open the box.",
    ),
    expected="kernel command line = manifest, from the signed UKI; the loader's editor is off",
    remedy=REFLASH,
    source="BP R5(I) R6(E)",
    check=check,
)
