"""KERN-04: modules that the box must never load, and radios that it must not have.

A module is out when modprobe's configuration runs nothing in its place, or when the list of modules on the disk was
read and does not have it. The manifest's `modules_allowed` names those that the board's own file asks for.
"""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.links import read_links
from passevue.baseline.reading.modules import loaded, plain, refused
from passevue.baseline.remedies import remedy
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed

DENIED = (
    "usb_storage", "uas", "firewire_core", "firewire_ohci", "thunderbolt", "bluetooth", "cfg80211", "dccp", "sctp",
    "rds", "tipc", "can", "atm", "cramfs", "hfs", "hfsplus", "jffs2", "udf",
)  # fmt: skip


def check(machine: Machine) -> Finding:
    facts = machine.facts
    allowed = {plain(name) for name in machine.manifest.whole.get("modules_allowed", ())}
    denied = [name for name in DENIED if name not in allowed]
    running, out = loaded(facts.text("modules_loaded")), refused(facts.text("modprobe"))
    if "modules_known" in facts.texts:  # a unit that may not touch modules does not see them either
        known = {line.partition(" ")[0]: frozenset(line.split(" ")[1:]) for line in facts.lines("modules_known")}
        there, builtin = known["dep"], known["builtin"]
    else:
        there, builtin = frozenset(denied), frozenset()
    wrong = {
        "loaded": [name for name in denied if name in running],
        "built in": [name for name in denied if name in builtin],
        "loadable": [name for name in denied if name in there and name not in out and name not in running],
        "radio": [link.name for link in read_links(facts.text("links")) if link.radio] + facts.lines("radios"),
    }
    told = "; ".join(f"{what}: {', '.join(names)}" for what, names in wrong.items() if names)
    if told:
        return failed(told)
    return passed(f"{len(denied)} modules out, no radio")


RULE = Rule(
    id="KERN-04",
    slug="module_denylist",
    level=Level.MUST,
    effect=Effect.WARN,
    when=frozenset({When.START, When.PERIODIC}),
    title=Text("Les branchements inutiles sont hors service", "Connections that are not needed are out of order"),
    why=Text(
        "Clé USB, radio, protocoles anciens : autant d’entrées que le boîtier n’a pas à offrir.",
        "USB sticks, radio, old protocols: ways in that the box need not offer.",
    ),
    expected="none of the listed modules loaded or loadable; no radio",
    remedy=remedy(
        "board.radio",
        "Appelez la maintenance : une radio est à couper dans l’appareil, ou le système à mettre à jour.",
        "Call maintenance: a radio must be turned off in the machine, or its system corrected by an update.",
    ),
    source="CIS 1.1.1, 3.1.2-3, 3.2, HYG 15",
    check=check,
)
