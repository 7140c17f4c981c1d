"""How much room there is, and what that allows (reliability § 5).

`level_of` decides; `Room` measures the volume and keeps the ballast: a file of 256 MiB, let go when the volume is
nearly full, so that settlements, purge and audit can still be written, and made again when there is room.

Pages that a purge has freed inside the database count as room: SQLite writes there before the file grows.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Self

from passevue.errors import NoRoom
from passevue.intake.room import Thresholds
from passevue.shared import open_shared

__all__ = ["Level", "Limits", "Room", "Volume", "level_of", "measure"]


class Level(IntEnum):
    """What the box may take, worst last."""

    NORMAL = 0
    WARN = 1  # page and fleet say so
    HOLD_BULK = 2  # small messages yes; images and peers no
    STOP = 3  # nothing new at all; what is kept is still settled


@dataclass(frozen=True, slots=True)
class Limits:
    """The shares and sizes of reliability § 5. Only tests on tiny volumes have others."""

    warn: float = 0.70
    hold_bulk: float = 0.85
    stop: float = 0.95
    min_free_bytes: int = 1 << 30
    ballast_bytes: int = 256 << 20
    ballast_share: float = 0.01  # never more than this share of the volume
    rebuild_below: float = 0.80

    @classmethod
    def like(cls, thresholds: Thresholds) -> Self:
        """The limits of the images' volume for the queue's."""
        return cls(thresholds.warn, thresholds.hold, thresholds.stop, thresholds.min_free_bytes)


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume as `df` counts: what only root may use is neither used nor free."""

    used_bytes: int
    free_bytes: int

    @property
    def used_share(self) -> float:
        total = self.used_bytes + self.free_bytes
        return self.used_bytes / total if total else 1.0


def measure(folder: Path) -> Volume:
    """
    Raises:
        OSError: the folder is gone.
    """
    stat = os.statvfs(folder)
    return Volume((stat.f_blocks - stat.f_bfree) * stat.f_frsize, stat.f_bavail * stat.f_frsize)


def level_of(volume: Volume, write_failed: bool, limits: Limits) -> Level:
    if write_failed or volume.used_share > limits.stop or volume.free_bytes < limits.min_free_bytes:
        return Level.STOP
    if volume.used_share > limits.hold_bulk:
        return Level.HOLD_BULK
    return Level.WARN if volume.used_share > limits.warn else Level.NORMAL


class Room:
    """The state of the queue's volume. `refresh` does I/O and runs on the writer's thread; the rest only looks."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits
        self._ballast = folder / "queue.ballast"
        self.level = Level.NORMAL
        self.volume = Volume(0, 0)

    def refresh(self, write_failed: bool, reusable_bytes: int) -> Level:
        """Measure, let the ballast go or make it again. `reusable_bytes` lie free in the database."""
        try:
            volume = measure(self._folder)
        except OSError:
            self.level = Level.STOP
            return self.level
        reusable = min(reusable_bytes, volume.used_bytes)
        counted = Volume(volume.used_bytes - reusable, volume.free_bytes + reusable)
        self.level = level_of(counted, write_failed, self._limits)
        self.volume = counted
        if volume.used_share >= self._limits.stop or (write_failed and volume.free_bytes < self._size(volume)):
            self.drop_ballast()
        elif counted.used_share < self._limits.rebuild_below and self.level < Level.STOP:
            self._make_ballast(volume)
        return self.level

    def drop_ballast(self) -> None:
        """Give its room back at once; asked again, does nothing. A volume that has turned read-only keeps it."""
        with suppress(OSError):
            self._ballast.unlink(missing_ok=True)

    def admit(self, size: int) -> None:
        """
        Raises:
            NoRoom: nothing new is taken, or `size` bytes would leave no room to settle what is kept.
        """
        if self.level is Level.STOP:
            raise NoRoom(
                f"no room: {self.volume.used_share:.0%} used, {self.volume.free_bytes >> 20} MiB free",
                hint="Le disque du boîtier est plein ou défaillant : rien de nouveau n’est accepté.",
            )
        if size > self.volume.free_bytes > 0:
            raise NoRoom(f"no room for {size} bytes", hint="Le disque du boîtier n’a plus assez de place.")

    def _size(self, volume: Volume) -> int:
        total = volume.used_bytes + volume.free_bytes
        return min(self._limits.ballast_bytes, int(total * self._limits.ballast_share))

    def _make_ballast(self, volume: Volume) -> None:
        size = self._size(volume)
        if size <= 0 or volume.free_bytes < 4 * size:
            return
        try:
            with open(open_shared(self._ballast, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC), "ab") as file:
                if os.fstat(file.fileno()).st_size < size:
                    os.posix_fallocate(file.fileno(), 0, size)
        except OSError:
            self.drop_ballast()
