"""The catalogue: every rule, in the order of security-baseline.md § 3. One file a rule, its slug the file's name."""

from typing import Final

from passevue.baseline.rule import Rule
from passevue.baseline.rules.baseline_alive import RULE as APP_01

CATALOGUE: Final[tuple[Rule, ...]] = (
    # 3.14 application
    APP_01,
)

BY_ID: Final = {rule.id: rule for rule in CATALOGUE}

__all__ = ["BY_ID", "CATALOGUE"]
