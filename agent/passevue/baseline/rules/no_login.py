"""ACCT-01: no account has a password that could be tried, none but root's a shell, and only root is root.

Debian's `sync` account runs `/bin/sync` in place of a shell, and root's shell is Debian's: both have a locked password,
and nothing on the box asks for one (BOOT-10).
"""

from passevue.baseline.machine import Machine
from passevue.baseline.reading.accounts import LOCKED, NO_SHELL, read_accounts
from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed

HARMLESS = frozenset({"/bin/sync", "/usr/bin/sync"})


def check(machine: Machine) -> Finding:
    accounts = read_accounts(machine.facts.text("accounts"))
    wrong = {
        "can log in": [each.name for each in accounts if each.lock != LOCKED],
        "has a shell": [each.name for each in accounts if each.uid and each.shell not in NO_SHELL | HARMLESS],
        "is root too": [each.name for each in accounts if each.uid == 0 and each.name != "root"],
    }
    told = "; ".join(f"{what}: {', '.join(names)}" for what, names in wrong.items() if names)
    return failed(told) if told else passed(f"{len(accounts)} accounts, all locked")


RULE = Rule(
    id="ACCT-01",
    slug="no_login",
    level=Level.MUST,
    effect=Effect.BLOCK,
    when=frozenset({When.START}),
    title=Text("Personne ne peut ouvrir de session sur le boîtier", "Nobody can log in to the box"),
    why=Text(
        "Un compte ouvert serait une porte, quel que soit son mot de passe.",
        "An open account would be a door, whatever its password.",
    ),
    expected="every password locked, every shell but root's nologin, only root has uid 0",
    remedy=IMAGE_BUG,
    source="BP R30 R31 R34, CIS 5.4.2",
    check=check,
)
