"""ACCT-03: each of our services that keeps running has a user of its own, and none is root but those that the
manifest names.
"""

from collections import Counter

from passevue.baseline.machine import Machine
from passevue.baseline.reading.properties import Properties, is_ours, read_units
from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed
from passevue.errors import Unreadable


def check(machine: Machine) -> Finding:
    services = [unit for unit in read_units(machine.facts.text("units")).values() if is_ours(unit)]
    if not services:
        raise Unreadable("systemctl showed no service of ours")
    rooted = frozenset(machine.manifest.whole.get("root_units", ()))
    users = {unit["Id"]: _user(unit) for unit in services if unit["LoadState"] == "loaded"}
    if as_root := sorted(name for name, user in users.items() if user == "root" and name not in rooted):
        return failed(f"as root: {', '.join(as_root)}")
    counts = Counter(user for user in users.values() if user != "root")
    if shared := sorted(user for user, count in counts.items() if count > 1):
        return failed(f"shared by several: {', '.join(shared)}")
    return passed(f"{len(users)} services, {len(counts)} users")


def _user(unit: Properties) -> str:
    """A dynamic user has the unit's own name."""
    return unit["Id"] if unit["DynamicUser"] == "yes" else unit["User"] or "root"


RULE = Rule(
    id="ACCT-03",
    slug="one_user_per_service",
    level=Level.MUST,
    effect=Effect.WARN,
    when=frozenset({When.START}),
    title=Text("Chaque service a son propre compte", "Each service has its own account"),
    why=Text(
        "Un service trompé ne doit pas pouvoir agir à la place d’un autre.",
        "A service that was fooled must not be able to act in place of another.",
    ),
    expected="each service of ours its own user, none root but those of the manifest's root_units",
    remedy=IMAGE_BUG,
    source="BP R35(I)",
    check=check,
)
