"""The security baseline as people see it: each rule with what it means, and what is in force. A value; no I/O.

Made by the box from the engine's report and the catalogue (`zones.protections`); this stage knows neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

Pair = tuple[str, str]  # French, English


class Grade(StrEnum):
    """How it stands with a rule, in the order in which people look at them."""

    BLOCK = "block"  # fails: nothing goes to the national side
    HOLD = "hold"  # fails: a function is stopped, or one neighbour refused
    WARN = "warn"  # fails: shown
    UNSURE = "unsure"  # could not be measured, or is not yet believed
    WELL = "well"
    APART = "apart"  # does not apply here


FAILING = (Grade.BLOCK, Grade.HOLD, Grade.WARN)


@dataclass(frozen=True, slots=True)
class Protection:
    """One rule.

    Attributes:
        observed: what was measured, technical; for `Grade.APART` the reason, a French sentence.
        since: when it came to be so.
    """

    id: str
    grade: Grade
    title: Pair
    why: Pair
    remedy: Pair
    observed: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Protections:
    """Every rule that was looked at, as the box was at `at`.

    Attributes:
        at: None: nobody has looked at any since the box started.
        on_box: this is the appliance; elsewhere nothing is ever stopped.
        closed: nothing goes to the national side now: a rule blocks, or they are still being looked at.
        proved: titles of the rules that were proved before release.
    """

    at: datetime | None
    rules: tuple[Protection, ...]
    on_box: bool
    closed: bool
    proved: tuple[tuple[str, Pair], ...] = ()

    def of(self, grade: Grade) -> Sequence[Protection]:
        return [rule for rule in self.rules if rule.grade is grade]

    @property
    def failing(self) -> Sequence[Protection]:
        """The gravest first."""
        return [rule for grade in FAILING for rule in self.of(grade)]
