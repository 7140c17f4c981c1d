"""The end of the audit trail (`status.audit_trail` has its form), read by somebody else than who wrote it."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from passevue.errors import Unreadable

START: Final = "0" * 64
TAIL: Final = 4 << 20  # bytes: the longest record is 1 MiB, and half a one may stand behind it


@dataclass(frozen=True, slots=True)
class Record:
    """One record by its number and chain; 0 and zeros stand before the first."""

    number: int
    chain: str


def last_record(tail: bytes) -> Record:
    """The last whole record of a file that ends with `tail`. Raises: Unreadable when there is none."""
    lines = [line for line in tail.split(b"\n")[:-1] if line]
    words = lines[-1].split(b" ", 2) if lines else []
    if len(words) != 3 or not _is_number(words[0]) or len(words[1]) != 64 or not words[2].startswith(b"<"):
        raise Unreadable("the trail does not end with a record")
    return Record(int(words[0]), words[1].decode("ascii", "replace"))


def before_first(header: bytes) -> Record:
    """What a file's first line says that it follows. Raises: Unreadable when it is no such line."""
    words = header.split()
    if len(words) != 4 or words[:2] != [b"passevue-audit", b"1"] or not _is_number(words[2]) or len(words[3]) != 64:
        raise Unreadable("the first line is not a header")
    return Record(int(words[2]) - 1, words[3].decode("ascii", "replace"))


def _is_number(word: bytes) -> bool:
    """One that Python reads, and a head may have (`head`)."""
    return word.isdigit() and len(word) < 19


def end_of_trail(folder: Path) -> Record:
    """Its last record, once that is on the disk: what is said of it must outlive a power cut no longer than it does.
    Blocks.

    Raises:
        OSError; Unreadable: the trail does not end as a trail does.
    """
    try:
        names = sorted(name for name in os.listdir(folder) if name.startswith("audit-") and name.endswith(".log"))
    except FileNotFoundError:
        names = []
    for name in reversed(names):
        handle = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):  # any zone may lay something there
                raise Unreadable("a file of the trail is none")
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            began, tail = file.tell() == 0, file.read(TAIL)
            os.fsync(file.fileno())
        whole = tail[: tail.rfind(b"\n") + 1]
        if began and not whole:
            continue  # its header is just being written, or was torn: it never began
        return before_first(whole) if began and whole.count(b"\n") == 1 else last_record(whole)
    return Record(0, START)
