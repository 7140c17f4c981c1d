"""The files at the root of a stick, whatever of the two file systems it has, with a partition table or without."""

from itertools import islice

from passevue.errors import Unreadable
from passevue.stick import exfat, fat
from passevue.stick.blocks import Blocks
from passevue.stick.clusters import File
from passevue.stick.partitions import partitions

MOST_FILES = 65_536  # a root can have so many, a table may name one volume 128 times, and the reader has 96 MiB
MOST_PARTITIONS = 16
FORMAT = "Cette clé ne se lit pas : formatez-la en FAT32 ou exFAT (pas NTFS), puis remettez-y le fichier."


def files(blocks: Blocks) -> tuple[File, ...]:
    """Of all volumes that are understood, those of the first partition first; no further volume once there are
    `MOST_FILES`. A damaged one is left out where another is sound.

    Raises:
        Unreadable: none is understood or sound, or the stick fails.
    """
    whole = _root(blocks)
    if whole is not None:
        return whole
    found: list[tuple[File, ...]] = []
    wrong = Unreadable("no file system that is read here", hint=FORMAT)
    for volume in islice(partitions(blocks), MOST_PARTITIONS):
        try:
            root = _root(volume)
        except Unreadable as err:
            wrong = err
        else:
            found += [] if root is None else [root]
        if sum(map(len, found)) >= MOST_FILES:
            break
    if not found:
        raise wrong
    return tuple(file for root in found for file in root)


def _root(volume: Blocks) -> tuple[File, ...] | None:
    if volume.size < 512:
        return None
    found = exfat.root(volume)
    return fat.root(volume) if found is None else found
