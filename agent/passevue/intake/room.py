"""How much room is left for images, and what that means to a sender: decisions alone (reliability § 5)."""

from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """What the intake does, from best to worst."""

    OPEN = 0  # everything is taken
    WARN = 1  # everything is taken, a person is told
    HOLD = 2  # new associations are rejected for now, objects under way answered A700H
    STOP = 3  # the same, and the disk is nearly full or has just failed


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Shares of the volume that is in use, and the bytes that must stay free."""

    warn: float = 0.70
    hold: float = 0.85
    stop: float = 0.95
    min_free_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class Room:
    """The volume as it is now. `failed`: the last write did not reach the disk."""

    total_bytes: int
    free_bytes: int
    image_bytes: int
    budget_bytes: int
    failed: bool = False


def level(room: Room, thresholds: Thresholds) -> Level:
    used = 1 - room.free_bytes / room.total_bytes if room.total_bytes else 1.0
    if room.failed or used > thresholds.stop or room.free_bytes < thresholds.min_free_bytes:
        return Level.STOP
    if used > thresholds.hold or room.image_bytes >= room.budget_bytes:
        return Level.HOLD
    return Level.WARN if used > thresholds.warn else Level.OPEN
