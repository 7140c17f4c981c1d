"""A disk of the appliance as files: partition table, two slots of three parts, an ESP folder; and what would start
from it.

The table is made by sfdisk, so that ours is checked against another's. A UKI here is a PE file of the sections that
matter. `starts`
answers as firmware, loader and systemd do together: whole table (or its backup), best UKI by systemd-boot's rule,
root and hash partition by their UUIDs, and their content as it must be.
"""

import functools
import hashlib
import os
import random
import struct
import subprocess
import sys
import uuid
import zlib
from dataclasses import dataclass
from pathlib import Path

IMAGE = Path(__file__).resolve().parents[2] / "image/rauc"
PROGRAMS = IMAGE / "overlay/usr/lib/passevue"
sys.path.insert(0, str(PROGRAMS))

from slots import boot, gpt, places, uki  # noqa: E402

ROOT_TYPE, VERITY_TYPE, PLAIN_TYPE, ESP_TYPE = (
    "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
    "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5",
    "0fc63daf-8483-4772-8e79-3d69d8477de4",
    "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
)
ROOT_SIZE, VERITY_SIZE, UKI_SIZE = 1 << 20, 64 << 10, 256 << 10


@dataclass(frozen=True)
class Release:
    """What a build gives: three images that belong together."""

    version: str
    root: bytes
    verity: bytes
    root_hash: str
    uki: bytes

    @property
    def slot(self) -> bytes:
        return uki.pack(self.uki, self.version)


@functools.cache
def release(version: str, kernel: int = 1, root_size: int = 400 << 10, profile: str = "") -> Release:
    """Made up, the same each time."""
    source = random.Random(version + profile)
    root = source.randbytes(root_size)
    salt = source.randbytes(32)
    tree, root_hash = _tree(root, salt)
    facts = (b"verity\0\0", 1, 1, source.randbytes(16), b"sha256", 4096, 4096, root_size // 4096, 32, salt)
    head = struct.pack("<8sII16s32sIIQH6x256s", *facts)
    executable = portable_executable(version, root_hash, kernel)
    return Release(version, root, head.ljust(4096, b"\0") + tree, root_hash, executable)


def _tree(data: bytes, salt: bytes) -> tuple[bytes, str]:
    """A dm-verity hash tree, its top level first, and the root hash (cryptsetup, dm-verity on-disk format)."""
    levels: list[bytes] = []
    while not levels or len(levels[0]) > 4096:
        below = levels[0] if levels else data
        hashes = [hashlib.sha256(salt + below[at : at + 4096]).digest() for at in range(0, len(below), 4096)]
        level = b"".join(hashes)
        levels.insert(0, level + bytes(-len(level) % 4096))
    return b"".join(levels), hashlib.sha256(salt + levels[0]).hexdigest()


def portable_executable(version: str, root_hash: str, kernel: int = 1, pcrsig: int = 700) -> bytes:
    """A UKI: its sections on file offsets of 512 bytes, a signature behind the last, as ukify and systemd-sbsign
    leave them.
    """
    content = {
        ".osrel": f"ID=debian\nIMAGE_ID=passevue\nIMAGE_VERSION={version}\n".encode(),
        ".cmdline": f"roothash={root_hash} panic=30 lockdown=integrity".encode(),
        ".initrd": random.Random(f"initrd{kernel}").randbytes(90_001),
        ".linux": random.Random(f"linux{kernel}").randbytes(70_003),
        ".pcrsig": random.Random(version).randbytes(pcrsig),
    }
    table, body = b"", b""
    start = 1024
    for name, data in content.items():
        stored = data.ljust(len(data) + -len(data) % 512, b"\0")
        table += struct.pack("<8sIIII16x", name.encode(), len(data), start, len(stored), start + len(body))
        body += stored
    head = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x80)
    head = (
        head.ljust(0x80, b"\0")
        + b"PE\0\0"
        + struct.pack("<HHIIIHH", 0x8664, len(content), 0, 0, 0, 240, 0)
        + bytes(240)
        + table
    )
    return head.ljust(start, b"\0") + body + b"signature of " + version.encode()


@dataclass
class BootDisk:
    folder: Path
    ground: places.Ground

    @classmethod
    def make(cls, folder: Path, running: Release) -> "BootDisk":
        """A factory disk whose first slot runs and has proved itself."""
        esp = folder / "esp/EFI/Linux"
        esp.mkdir(parents=True)
        disk = folder / "disk.raw"
        with disk.open("wb") as file:
            file.truncate(8 << 20)
        wanted = [(ESP_TYPE, "esp"), (ROOT_TYPE, "_empty"), (VERITY_TYPE, "_empty"), (PLAIN_TYPE, "passevue-uki-a"),
                  (ROOT_TYPE, "_empty"), (VERITY_TYPE, "_empty"), (PLAIN_TYPE, "passevue-uki-b")]  # fmt: skip
        script = "label: gpt\n" + "".join(f'size=256KiB, type={kind}, name="{name}"\n' for kind, name in wanted)
        subprocess.run(["sfdisk", "-q", disk], input=script, text=True, check=True)
        slots = []
        for name, number in (("A", 2), ("B", 5)):
            devices = []
            for part, size in (("root", ROOT_SIZE), ("verity", VERITY_SIZE), ("uki", UKI_SIZE)):
                device = folder / f"{part}-{name.lower()}"
                with device.open("wb") as file:
                    file.write(os.urandom(4096))
                    file.truncate(size)
                devices.append(device)
            slots.append(places.Slot(name, *devices, root_number=number, verity_number=number + 1))
        cmdline = f"initrd=x roothash={running.root_hash} panic=30"
        made = cls(folder, places.Ground(disk, tuple(slots), esp, cmdline))
        made.fill("A", running)
        for _ in boot.name_partitions(made.ground, made.ground.slot("A"), running.version, running.root_hash):
            pass
        (esp / f"passevue_{running.version}.efi").write_bytes(running.uki)
        return made

    def fill(self, name: str, content: Release) -> None:
        """As RAUC writes: over what was there, not beyond its own length."""
        slot = self.ground.slot(name)
        for device, data in ((slot.root, content.root), (slot.verity, content.verity), (slot.uki, content.slot)):
            with device.open("r+b") as file:
                file.write(data)

    def running(self, content: Release) -> "BootDisk":
        """The same disk after starting this release."""
        ground = places.Ground(self.ground.disk, self.ground.slots, self.ground.esp, f"roothash={content.root_hash}")
        return BootDisk(self.folder, ground)

    def starts(self, *known: Release) -> Release | None:
        """What would run after a power cut now, None if nothing would. Believes no function under test but the
        reader of names.
        """
        table = _table(self.ground.disk.read_bytes())
        if table is None:
            return None
        found = []
        for path in self.ground.esp.iterdir():
            version, left, done = _name(path.name)
            if version:
                found.append(((left != 0, version, 1000 if left is None else left, -done), path))
        if not found:
            return None
        data = max(found)[1].read_bytes()
        chosen = next((each for each in known if each.uki == data), None)
        if chosen is None:
            return None
        for slot in self.ground.slots:
            uuids = table[slot.root_number], table[slot.verity_number]
            if uuids == (uuid.UUID(chosen.root_hash[:32]), uuid.UUID(chosen.root_hash[32:])):
                root, verity = slot.root.read_bytes(), slot.verity.read_bytes()
                whole = root.rstrip(b"\0") == chosen.root.rstrip(b"\0") and verity.startswith(chosen.verity)
                return chosen if whole else None
        return None


def _name(name: str) -> tuple[tuple[int, ...], int | None, int]:
    stem, dot, kind = name.rpartition(".")
    if kind != "efi" or not dot:
        return (), None, 0
    version, _, tries = stem.removeprefix("passevue_").partition("+")
    left, _, done = tries.partition("-")
    return tuple(map(int, version.split("."))), int(left) if left else None, int(done or 0)


def _table(disk: bytes) -> dict[int, uuid.UUID] | None:
    """UUIDs by number: primary, else backup, as firmware and a kernel with `gpt` read them."""
    for at in (512, len(disk) - 512):
        head = disk[at : at + 92]
        own = zlib.crc32(head[:16] + bytes(4) + head[20:])
        if head[:8] != b"EFI PART" or own != struct.unpack_from("<I", head, 16)[0]:
            continue
        array, count, size, told = struct.unpack_from("<QIII", head, 72)
        entries = disk[array * 512 : array * 512 + count * size]
        if zlib.crc32(entries) == told:
            return {n + 1: uuid.UUID(bytes_le=entries[n * size + 16 : n * size + 32]) for n in range(count)}
    return None


__all__ = ["IMAGE", "PROGRAMS", "BootDisk", "Release", "boot", "gpt", "places", "portable_executable", "release", "uki"]
