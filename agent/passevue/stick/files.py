"""The files at the root of a stick, whatever of the two file systems it has, with a partition table or without."""

from passevue.errors import Unreadable
from passevue.stick import exfat, fat
from passevue.stick.blocks import Blocks
from passevue.stick.clusters import File
from passevue.stick.partitions import partitions

FORMAT = "Cette clé ne se lit pas : formatez-la en FAT32 ou exFAT (pas NTFS), puis remettez-y le fichier."


def files(blocks: Blocks) -> tuple[File, ...]:
    """Of every volume that is understood, those of the first partition first.

    Raises:
        Unreadable: none is understood, one is damaged, or the stick fails.
    """
    whole = _root(blocks)
    volumes = [whole] if whole is not None else [_root(each) for each in partitions(blocks)]
    understood = [each for each in volumes if each is not None]
    if not understood:
        raise Unreadable("no file system that is read here", hint=FORMAT)
    return tuple(file for each in understood for file in each)


def _root(volume: Blocks) -> tuple[File, ...] | None:
    if volume.size < 512:
        return None
    found = exfat.root(volume)
    return fat.root(volume) if found is None else found
