"""Where the two slots are: their devices by the names that udev gives them (91-passevue-slots.rules), and their
place on the disk.
"""

import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slots import gpt

HOLD_S = 5.0  # udev has looked at a disk long before


class NoSlots(Exception):
    """The devices of the slots are not there, or not two of each on one disk."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Three partitions that belong together. Numbers are those of the partition table."""

    name: str  # RAUC's bootname
    root: Path
    verity: Path
    uki: Path
    root_number: int
    verity_number: int


@dataclass(frozen=True, slots=True)
class Ground:
    """What the programs here stand on; tests give files for devices and folders for the rest."""

    disk: Path
    slots: tuple[Slot, ...]
    esp: Path  # the folder of the UKIs
    cmdline: str

    def slot(self, name: str) -> Slot:
        for slot in self.slots:
            if slot.name == name:
                return slot
        raise NoSlots(f"no slot {name}")

    def root_uuids(self) -> dict[str, uuid.UUID]:
        """Of each slot's root partition, by the slot's name, read from the disk itself."""
        disk = os.open(self.disk, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = gpt.read(disk).partitions()
        finally:
            os.close(disk)
        return {slot.name: found[slot.root_number].uuid for slot in self.slots if slot.root_number in found}


def of_this_machine() -> Ground:
    """Raises:
    NoSlots: udev has not named both slots, or no ESP is mounted.
    """
    links = Path("/dev/passevue")
    slots, disks = [], set()
    for name in ("A", "B"):
        devices = {part: links / f"{part}-{name.lower()}" for part in ("root", "verity", "uki")}
        where = {part: _partition(device) for part, device in devices.items()}
        disks |= {disk for disk, _ in where.values()}
        slots.append(Slot(name, **devices, root_number=where["root"][1], verity_number=where["verity"][1]))
    if len(disks) != 1:
        raise NoSlots("the slots lie on several disks")
    esp = next((path for path in (Path("/efi/EFI/Linux"), Path("/boot/EFI/Linux")) if path.is_dir()), None)
    if esp is None:
        raise NoSlots("no ESP is mounted on /efi or /boot")
    return Ground(disks.pop(), tuple(slots), esp, Path("/proc/cmdline").read_text())


def remove(device: Path) -> None:
    """Take the partition's entry out of the table of its disk.

    Raises:
        NoSlots: it is no partition. NoTable, OSError.
    """
    disk, number = _partition(device)
    handle = os.open(disk, os.O_RDWR | os.O_CLOEXEC)
    try:
        for write in gpt.read(handle).without(number):
            os.pwrite(handle, write.data, write.at)
            os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def held(device: Path) -> Iterator[None]:
    """While in it, udev looks neither at the partition nor at its disk: what has changed there is told to nobody.

    Raises:
        NoSlots: it is no partition. OSError: udev, or somebody else, did not let go of the disk in time.
    """
    disk, _ = _partition(device)
    with locked(disk):
        yield


@contextmanager
def locked(path: Path, within_s: float = HOLD_S) -> Iterator[None]:
    """The lock that udev asks for before it looks at a disk or a partition of it (systemd, BLOCK_DEVICE_LOCKING.md);
    of the folder of the UKIs, the one that our own programs ask for before they change it.

    Raises:
        OSError: others hold it for longer than that.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        end = time.monotonic() + within_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
        yield
    finally:
        os.close(handle)


def _partition(device: Path) -> tuple[Path, int]:
    """The disk of a partition's device, and its number there."""
    try:
        place = (Path("/sys/class/block") / device.resolve(strict=True).name).resolve(strict=True)
        return Path("/dev") / place.parent.name, int((place / "partition").read_text())
    except (OSError, ValueError) as err:
        raise NoSlots(f"{device} is no partition") from err
