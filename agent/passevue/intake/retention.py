"""Which studies leave the box's own images: decisions alone.

A protected study (published, or waiting in the queue: who knows is the caller) never leaves. An unprotected one leaves
`retention_days` after its last object came; when the budget is passed, the oldest unprotected ones leave earlier, save
those of the last day, whose report may still be on its way.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

SPARED = timedelta(days=1)
BUDGET_AIM = 0.95  # of the budget: what is freed at once, so that not every object begs for room


@dataclass(frozen=True, slots=True)
class Holding:
    """A study on the disk: its bytes, and when its last object came."""

    study_uid: str
    size_bytes: int
    last_received_at: datetime


def leaving(
    holdings: Iterable[Holding], protected: Collection[str], now: datetime, *, retention_days: int, budget_bytes: int
) -> list[Holding]:
    """The studies to delete now, oldest first."""
    kept = sorted(holdings, key=lambda each: each.last_received_at)
    excess = sum(each.size_bytes for each in kept)
    goal = int(budget_bytes * BUDGET_AIM) if excess >= budget_bytes else excess
    gone: list[Holding] = []
    for each in kept:
        age = now - each.last_received_at
        if each.study_uid in protected:
            continue
        if age >= timedelta(days=retention_days) or (excess > goal and age >= SPARED):
            gone.append(each)
            excess -= each.size_bytes
    return gone
