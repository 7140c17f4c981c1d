"""What a stick is to who reads a file system: bytes from here to there. Every number is checked against it."""

from dataclasses import dataclass
from typing import Protocol

from passevue.errors import Unreadable

DAMAGED = "Le système de fichiers de la clé est abîmé : formatez-la en FAT32 ou exFAT, puis remettez-y le fichier."


class Blocks(Protocol):
    """A disk, or a part of one."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def sector(self) -> int:
        """Bytes of a block of the disk."""

    def read(self, at: int, length: int) -> bytes:
        """Raises: Unreadable: beyond the end, or the disk fails."""


@dataclass(frozen=True, slots=True)
class Window:
    """A partition: bytes `start` to `start + size` of a whole."""

    whole: Blocks
    start: int
    size: int

    @property
    def sector(self) -> int:
        return self.whole.sector

    def read(self, at: int, length: int) -> bytes:
        if at < 0 or length < 0 or at + length > self.size:
            raise damaged("beyond the end of a partition")
        return self.whole.read(self.start + at, length)


def damaged(why: str) -> Unreadable:
    """What a file system says does not hold."""
    return Unreadable(why, hint=DAMAGED)
