"""One measured figure, beside its peers measured in the same run."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Figure:
    """What was measured, in whose company, and what was aimed at.

    `ratio` is how many times better than the peer that the aim names (above 1: better), None when the aim names none.
    """

    name: str
    unit: str
    ours: float
    aim: str
    met: bool
    peers: dict[str, float] = field(default_factory=dict)
    ratio: float | None = None


def median_of(measure: Callable[[], float], runs: int = 5) -> float:
    """Median of `runs` calls after one that is not counted."""
    measure()
    return statistics.median(measure() for _ in range(runs))
