"""BOOT-01: the firmware checks what it starts, and its keys cannot be changed without the one above them.

A variable of efivarfs is its attributes (4 bytes), then its value (UEFI 2.10 § 3.3: one byte for these two).
"""

import base64

from passevue.baseline.machine import Machine
from passevue.baseline.remedies import DEPOT
from passevue.baseline.rule import Effect, Finding, Level, Rule, Text, When, failed, passed
from passevue.errors import Unreadable


def check(machine: Machine) -> Finding:
    enforcing, setup = (_value(machine.facts.text(name)) for name in ("secure_boot", "setup_mode"))
    observed = f"SecureBoot={enforcing} SetupMode={setup}"
    return passed(observed) if (enforcing, setup) == (1, 0) else failed(observed)


def _value(variable: str) -> int:
    raw = base64.b64decode(variable, validate=True)
    if len(raw) != 5:
        raise Unreadable(f"a variable of {len(raw)} bytes, expected 5")
    return raw[4]


RULE = Rule(
    id="BOOT-01",
    slug="secure_boot",
    level=Level.MUST,
    effect=Effect.BLOCK,
    when=frozenset({When.START}),
    title=Text("Le démarrage sécurisé est actif", "Secure Boot is on"),
    why=Text(
        "Sans lui, un autre système pourrait être démarré à la place du nôtre.",
        "Without it another system could be started in place of ours.",
    ),
    expected="SecureBoot = 1 and SetupMode = 0",
    remedy=DEPOT,
    source="BP R3(I), SP 800-193, CR 3.14",
    check=check,
)
