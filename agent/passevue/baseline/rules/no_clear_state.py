"""STOR-03: what outlives the power is written to the encrypted partition, and to the ESP, which holds kernels only."""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.device_mapper import read_mapped
from passevue.baseline.reading.mounts import MEMORY, read_mounts
from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed
from passevue.errors import Unreadable

ESP = ("/efi", "/boot", "/boot/efi")


def check(machine: Machine) -> Finding:
    facts = machine.facts
    encrypted = read_mapped(facts.text("mapped")).get("var")
    for mount in read_mounts(facts.text("mounts")):
        kept = mount.kind in MEMORY or mount.device == encrypted or (mount.kind == "vfat" and mount.point in ESP)
        if mount.filesystem_writable and not kept:
            return failed(f"{mount.point}, {mount.kind}, can be written")
    swaps = facts.lines("swaps")
    if not swaps or not swaps[0].startswith("Filename"):
        raise Unreadable("/proc/swaps has no head")
    return failed(f"{len(swaps) - 1} swap area(s)") if len(swaps) > 1 else passed("/var and ESP only, no swap")


RULE = Rule(
    id="STOR-03",
    slug="no_clear_state",
    level=Level.MUST,
    effect=Effect.BLOCK,
    when=frozenset({When.START}),
    title=Text("Rien ne s’écrit en clair sur le disque", "Nothing is written in clear to the disk"),
    why=Text(
        "Une copie oubliée hors de la partition chiffrée serait lisible par quiconque ouvre le boîtier.",
        "A forgotten copy outside the encrypted partition could be read by whoever opens the box.",
    ),
    expected="writable filesystems with a disk behind them: the encrypted /var and the ESP; no swap",
    remedy=IMAGE_BUG,
    source="CRA e",
    check=check,
)
