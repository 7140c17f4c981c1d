"""BOOT-04: the running root is a dm-verity device, intact until now, with the root hash of the signed command line."""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.command_line import read_command_line
from passevue.baseline.reading.device_mapper import read_mapped, read_targets, read_verity
from passevue.baseline.reading.mounts import holding, read_mounts
from passevue.baseline.remedies import REFLASH
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed

STOPS = frozenset({"restart_on_corruption", "panic_on_corruption"})


def check(machine: Machine) -> Finding:
    facts = machine.facts
    mapped = read_mapped(facts.text("mapped"))
    root = holding(read_mounts(facts.text("mounts")), "/")
    statuses = {each.name: each.words[:1] for each in read_targets(facts.text("verity_status"))}
    tables = [read_verity(each) for each in read_targets(facts.text("verity_table"))]
    table = next((each for each in tables if mapped.get(each.name) == root.device), None)
    if table is None:
        return failed(f"the root is {root.kind} on no verity device")
    if statuses.get(table.name) != ("V",):
        return failed("verity has met a wrong block")
    if table.digest != read_command_line(facts.text("cmdline")).root_hash:
        return failed("the root hash is not that of the command line")
    if not table.options & STOPS:
        return failed("a wrong block would be an error, not a restart")
    return passed(f"root hash {table.digest[:16]}…, {' '.join(sorted(table.options & STOPS))}")


RULE = Rule(
    id="BOOT-04",
    slug="verity_root",
    level=Level.MUST,
    effect=Effect.BLOCK,
    when=frozenset({When.START, When.PERIODIC}),
    title=Text("Le système est vérifié pendant qu’il tourne", "The system is verified while it runs"),
    why=Text(
        "Un seul octet changé sur le disque doit arrêter le boîtier, pas le tromper.",
        "One byte changed on the disk must stop the box, not fool it.",
    ),
    expected=("verity status V, restart or panic on corruption, root hash = that of the signed command line, / on it"),
    remedy=REFLASH,
    source="BP R76(E), CRA f, CR 3.4",
    check=check,
)
