"""Changes a disk that is switched off, from outside: what somebody does who takes it out of the box.

    disk = DiskEdit(state.disk)
    esp = disk.partition("esp")
    disk.flip(disk.partition("passevue_0.1.0"), offset=123_456)      # one bit of one byte
    with disk.files(esp) as files:
        files.read("EFI/Linux/passevue_0.1.0+3.efi");  files.write("loader/loader.conf", b"…")

GPT: UEFI 2.10 § 5.3. Bytes go through qemu-img (the disk is a qcow2 overlay), files of the ESP through mtools.
"""

import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.image.state import run

SECTOR = 512


@dataclass(frozen=True)
class Partition:
    number: int
    label: str
    kind: str  # type GUID, lower case
    start: int  # bytes
    size: int


class DiskEdit:
    def __init__(self, disk: Path) -> None:
        self._disk = disk

    def partitions(self) -> list[Partition]:
        head = self.read(0, 34 * SECTOR)
        if head[SECTOR : SECTOR + 8] != b"EFI PART":
            raise ValueError(f"{self._disk} has no GPT")
        table, count, size = struct.unpack_from("<QII", head, SECTOR + 72)
        found = []
        for number in range(count):
            entry = head[table * SECTOR + number * size :][:size]
            if len(entry) < 128 or not any(entry[:16]):
                continue
            first, last = struct.unpack_from("<QQ", entry, 32)
            label = entry[56:128].decode("utf-16-le").rstrip("\0")
            start, length = first * SECTOR, (last - first + 1) * SECTOR
            found.append(Partition(number + 1, label, _guid(entry[:16]), start, length))
        return found

    def partition(self, label: str) -> Partition:
        for one in self.partitions():
            if one.label == label:
                return one
        raise LookupError(f"no partition {label!r}: {[one.label for one in self.partitions()]}")

    def read(self, offset: int, size: int) -> bytes:
        """Whole sectors."""
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "bytes"
            run("qemu-img", "convert", "-O", "raw", "--image-opts", self._window(offset, size), str(target))
            return target.read_bytes()

    def write(self, offset: int, data: bytes) -> None:
        """Whole sectors."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "bytes"
            source.write_bytes(data)
            self._put(offset, source)

    def flip(self, partition: Partition, offset: int) -> None:
        """One bit of the byte at `offset` of the partition."""
        sector = partition.start + offset // SECTOR * SECTOR
        data = bytearray(self.read(sector, SECTOR))
        data[offset % SECTOR] ^= 0x01
        self.write(sector, bytes(data))

    @contextmanager
    def files(self, partition: Partition) -> Iterator["Files"]:
        """The files of a FAT partition; what is changed is written back at the end."""
        with tempfile.TemporaryDirectory() as folder:
            image = Path(folder) / "fat"
            window = self._window(partition.start, partition.size)
            run("qemu-img", "convert", "-O", "raw", "--image-opts", window, str(image))
            files = Files(image)
            yield files
            if files.changed:
                self._put(partition.start, image)

    def _put(self, offset: int, source: Path) -> None:
        window = self._window(offset, source.stat().st_size)
        run("qemu-img", "convert", "-n", "-f", "raw", "--target-image-opts", str(source), window)

    def _window(self, offset: int, size: int) -> str:
        disk = f"file.driver=qcow2,file.file.driver=file,file.file.filename={self._disk}"
        return f"driver=raw,offset={offset},size={size},{disk}"


class Files:
    def __init__(self, image: Path) -> None:
        self._image = image
        self.changed = False

    def names(self, folder: str) -> list[str]:
        listed = run("mdir", "-i", str(self._image), "-b", f"::/{folder}")
        return [line.rstrip("/").rpartition("/")[2] for line in listed.splitlines() if line]

    def read(self, name: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "file"
            run("mcopy", "-i", str(self._image), f"::/{name}", str(target))
            return target.read_bytes()

    def write(self, name: str, data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "file"
            source.write_bytes(data)
            self._folder(name.rpartition("/")[0])
            run("mcopy", "-o", "-i", str(self._image), str(source), f"::/{name}")
        self.changed = True

    def _folder(self, name: str) -> None:
        """There, with those above it."""
        if not name:
            return
        above, _, own = name.rpartition("/")
        self._folder(above)
        if own not in self.names(above):
            run("mmd", "-i", str(self._image), f"::/{name}")

    def rename(self, name: str, new: str) -> None:
        run("mren", "-i", str(self._image), f"::/{name}", f"::/{new}")
        self.changed = True

    def remove(self, name: str) -> None:
        run("mdel", "-i", str(self._image), f"::/{name}")
        self.changed = True


def _guid(raw: bytes) -> str:
    a, b, c = struct.unpack_from("<IHH", raw)
    tail = raw[8:].hex()
    return f"{a:08x}-{b:04x}-{c:04x}-{tail[:4]}-{tail[4:]}"
