"""Which UKI on the ESP starts next, and changing that.

Rules:
- A UKI belongs to the slot whose root partition's UUID is the first half of the root hash in its command line.
- systemd-boot takes: those with tries left before those without; among them the highest version; of one version the
  one with more tries left (systemd, src/boot/boot.c, boot_entry_compare). `first` says the same here.
  LoaderEntryDefault is never set: the loader would take that entry even without a try left.
- The UKI of the running system is never removed and never written. What is on the ESP is written under another name,
  synced, and then renamed: there is never a half UKI that the loader could take.
- A new UKI is on trial and has three tries (`+3`). systemd-bless-boot takes the counter away once the health check has
  passed.
- While the other slot could take over, what has proved itself is counted too, nine starts (`+9-100000`), anew ten
  minutes after each: a slot that rots later is left for the other one (`guard`). That its starts are counted from a
  hundred thousand on tells the two apart, for the loader counts on when no try is left. Before an update nothing of the
  kind stays: what has proved itself comes before what has failed, however often either was started.
- Who changes the ESP holds its folder's lock (`places.locked`), for as long as one call of RAUC's lasts.
"""

import contextlib
import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from slots import gpt, uki
from slots.places import Ground, Slot

TRIES = 3
"""Starts of a release on trial."""
GUARD = 9
"""Starts, one after the other, of a release that had proved itself and no longer lasts ten minutes."""
GUARDED = 100_000
"""Where the starts done of a release that has proved itself begin: years of restarts away from a trial's."""
_NAME = re.compile(r"passevue_(\d+(?:\.\d+){1,3})(?:\+(\d{1,9})(?:-(\d{1,9}))?)?\.efi", re.ASCII)


class NotBootable(Exception):
    """What is asked would leave nothing to start from, or the slot holds nothing that could start."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One UKI on the ESP."""

    path: Path
    version: str
    left: int | None  # tries; none: it has proved itself
    done: int
    root_hash: str

    @property
    def rank(self) -> tuple[bool, tuple[int, ...], int, int]:
        return self.left != 0, order(self.version), 10**9 if self.left is None else self.left, -self.done

    @property
    def on_trial(self) -> bool:
        """Whether it has not proved itself yet."""
        return self.left is not None and self.done < GUARDED

    def counted(self, left: int | None, done: int = 0) -> str:
        """The file's name with another counter."""
        tries = "" if left is None else f"+{left}" + (f"-{done}" if done else "")
        return f"passevue_{self.version}{tries}.efi"


def order(version: str) -> tuple[int, ...]:
    """What versions are compared by: 1.4 is 1.4.0, and 1.10 comes after 1.9."""
    numbers = [int(part) for part in version.split(".")]
    return tuple(numbers + [0] * (4 - len(numbers)))


def entries(esp: Path) -> tuple[Entry, ...]:
    """Ours among the files there. A file that is no UKI is left out, as by the loader: it has no root hash to start."""
    found = []
    for path in sorted(esp.iterdir()):
        named = _NAME.fullmatch(path.name)
        if not named:
            continue
        version, left, done = named.groups()
        with contextlib.suppress(uki.NoUki, OSError), path.open("rb") as file:
            found.append(Entry(path, version, None if left is None else int(left), int(done or 0), uki.root_hash(file)))
    return tuple(found)


def trial_told(counted: bytes) -> bool:
    """Whether what runs is on trial, by LoaderBootCountPath: four bytes of attributes, then the path in UTF-16
    (systemd, the Boot Loader Interface). A name that is not ours is not said to have proved itself.
    """
    name = counted[4:].decode("utf-16-le", "replace").rstrip("\0").rpartition("\\")[2]
    named = _NAME.fullmatch(name)
    return not named or int(named[3] or 0) < GUARDED


def first(found: tuple[Entry, ...]) -> Entry | None:
    """The one that systemd-boot takes."""
    return max(found, key=lambda entry: entry.rank, default=None)


def current(ground: Ground) -> Slot:
    """The slot that runs.

    Raises:
        NotBootable: the command line names a root that is in neither slot.
    """
    root_hash = uki.read_root_hash(ground.cmdline) or ""
    for name, own in ground.root_uuids().items():
        if own.hex == root_hash[:32]:
            return ground.slot(name)
    raise NotBootable("what runs is in neither slot")


def running(ground: Ground) -> Entry:
    """The UKI that runs.

    Raises:
        NotBootable: it is not on the ESP.
    """
    root_hash = uki.read_root_hash(ground.cmdline)
    here = tuple(entry for entry in entries(ground.esp) if entry.root_hash == root_hash)
    if entry := first(here):
        return entry
    raise NotBootable("the UKI that runs is not on the ESP")


def of_slot(ground: Ground, slot: Slot) -> Entry | None:
    own = ground.root_uuids()[slot.name].hex
    return first(tuple(entry for entry in entries(ground.esp) if entry.root_hash[:32] == own))


def primary(ground: Ground) -> Slot | None:
    """The slot that starts next; none when the ESP holds no UKI of either."""
    chosen = first(entries(ground.esp))
    owners = {own.hex: name for name, own in ground.root_uuids().items()}
    return ground.slot(owners[chosen.root_hash[:32]]) if chosen and chosen.root_hash[:32] in owners else None


# --- what changes the ESP, one write a step ---------------------------------------------------------------------------


def retire_others(ground: Ground) -> Iterator[str]:
    """Before a slot is written: nothing but what runs can be started any more, and that always.

    Raises:
        NotBootable: what runs is not on the ESP: then nothing is removed.
    """
    kept = running(ground)
    if kept.left is not None and not kept.on_trial:  # while there is another: a rename on FAT is two writes
        yield from _rename(ground.esp, kept.path, kept.counted(None))
        kept = running(ground)
    for entry in entries(ground.esp):
        if entry.root_hash != kept.root_hash:
            yield from _remove(ground.esp, entry.path)
    for path in sorted(ground.esp.glob("passevue_*")):
        if not _NAME.fullmatch(path.name) or (path != kept.path and path not in {e.path for e in entries(ground.esp)}):
            yield from _remove(ground.esp, path)


def publish(ground: Ground, slot: Slot) -> Iterator[str]:
    """Puts the slot's own UKI on the ESP, with three tries: the last write of an update.

    Raises:
        NotBootable: the slot holds no whole UKI, or one for another root than its partition's, or it is the one that
        runs.
    """
    with slot.uki.open("rb") as blocks:
        try:
            told = uki.verify(blocks)
        except (uki.NoUki, OSError) as err:
            raise NotBootable(f"slot {slot.name} holds no whole UKI: {err}") from err
        if ground.root_uuids()[slot.name].hex != told.root_hash[:32]:
            raise NotBootable(f"the UKI in slot {slot.name} is for another root")
        if told.root_hash == uki.read_root_hash(ground.cmdline):
            raise NotBootable("what runs is not written")
        for entry in entries(ground.esp):
            if entry.root_hash[:32] == told.root_hash[:32] or entry.version == told.version != running(ground).version:
                yield from _remove(ground.esp, entry.path)
        draft = ground.esp / f"passevue_{told.version}.part"
        with draft.open("wb", buffering=0) as file:
            yield f"{draft.name} begun"
            for piece in uki.unpack(blocks, told):
                file.write(piece)
                yield f"{draft.name} grows"
            os.fsync(file.fileno())
        with draft.open("rb") as file:
            if uki.root_hash(file) != told.root_hash:
                raise NotBootable(f"the UKI in slot {slot.name} is for another root than its header says")
        yield f"{draft.name} on the disk"
        yield from _rename(ground.esp, draft, f"passevue_{told.version}+{TRIES}.efi")


def prefer(ground: Ground, slot: Slot) -> Iterator[str]:
    """Makes the slot the next to start: others that the loader would take before it lose their tries, after it has
    its own.
    """
    own = of_slot(ground, slot)
    if own is None or own.left == 0:
        yield from publish(ground, slot)
        own = of_slot(ground, slot)
    if own is None:
        raise NotBootable(f"slot {slot.name} has no UKI")
    for entry in entries(ground.esp):
        if entry.root_hash != own.root_hash and entry.rank > own.rank:
            yield from _rename(ground.esp, entry.path, entry.counted(0, TRIES))


def mark(ground: Ground, slot: Slot, good: bool) -> Iterator[str]:
    """Good: no counter any more, as systemd-bless-boot does. Bad: no try left, so everything else comes before it."""
    entry = of_slot(ground, slot)
    if entry is None:
        return
    name = entry.counted(None) if good else entry.counted(0, TRIES)
    if entry.path.name != name:
        yield from _rename(ground.esp, entry.path, name)


def guard(ground: Ground) -> Iterator[str]:
    """Has the starts of what runs counted, from the beginning, if it has proved itself and the other slot could take
    over; else not counted.

    Raises:
        NotBootable: what runs is not on the ESP.
    """
    own, found = running(ground), entries(ground.esp)
    if own.on_trial or [entry for entry in found if entry.root_hash == own.root_hash] != [own]:
        return  # or it has two names: one write too many for a file system that is not whole
    others = (entry for entry in found if entry.root_hash != own.root_hash)
    ready = any(entry.left != 0 and not entry.on_trial for entry in others)
    name = own.counted(GUARD, GUARDED) if ready else own.counted(None)
    if own.path.name != name:
        yield from _rename(ground.esp, own.path, name)


def name_partitions(ground: Ground, slot: Slot, version: str, root_hash: str) -> Iterator[str]:
    """Gives root and hash partition of the slot the UUIDs by which systemd finds them, and the names that people
    read.
    """
    halves = {
        slot.root_number: (_half(root_hash, 0), f"passevue_{version}"),
        slot.verity_number: (_half(root_hash, 1), f"passevue_{version}_verity"),
    }
    disk = os.open(ground.disk, os.O_RDWR | os.O_CLOEXEC)
    try:
        for write in gpt.read(disk).renamed(halves):
            os.pwrite(disk, write.data, write.at)
            os.fsync(disk)
            yield f"partition table at {write.at}"
    finally:
        os.close(disk)


def _half(root_hash: str, half: int) -> uuid.UUID:
    return uuid.UUID(root_hash[32 * half : 32 * half + 32])


def _remove(folder: Path, path: Path) -> Iterator[str]:
    path.unlink(missing_ok=True)
    _sync(folder)
    yield f"{path.name} removed"


def _rename(folder: Path, path: Path, name: str) -> Iterator[str]:
    path.rename(folder / name)
    _sync(folder)
    yield f"{path.name} is {name}"


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
