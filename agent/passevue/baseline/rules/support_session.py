"""ACCT-05: nobody can be let in from afar. This version has no support session at all, so any that is open is a
stranger's.
"""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.properties import Properties, read_units
from passevue.baseline.remedies import remedy
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, failed, passed

HELP = ("passevue-support", "ssh.", "ssh@", "sshd", "dropbear", "telnet", "cockpit", "xrdp", "vncserver", "teamviewer")
GONE = frozenset({"not-found", "masked"})


def check(machine: Machine) -> Finding:
    units = read_units(machine.facts.text("units"))
    opened = sorted(name for name, unit in units.items() if name.startswith(HELP) and _is_there(unit))
    if opened:
        return failed(f"remote help: {', '.join(opened)}")
    return passed(f"none among {len(units)} units")


def _is_there(unit: Properties) -> bool:
    return unit["LoadState"] not in GONE or unit["ActiveState"] == "active"


RULE = Rule(
    id="ACCT-05",
    slug="support_session",
    level=Level.MUST,
    effect=Effect.HOLD,
    when=frozenset({When.EVENT}),
    title=Text("L’aide à distance est fermée", "Remote help is shut"),
    why=Text(
        "Personne ne doit entrer à distance sans que quelqu’un, devant le boîtier, ait ouvert l’accès.",
        "Nobody may come in from afar unless somebody opened it at the box.",
    ),
    expected="no unit of remote help is loaded or active",
    remedy=remedy(
        "support.close",
        "Redémarrez le boîtier : l’aide à distance se ferme d’elle-même.",
        "Restart the box: remote help closes by itself.",
    ),
    source="BP R33(I), PG 6.1.2, CLA O-12.2.5.3",
    check=check,
    holds=frozenset({Function.SUPPORT}),
)
