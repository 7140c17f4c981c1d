"""A USB stick as its far end sees it: the device's half of the bulk-only transport, the SCSI commands of a disk, on an
image file; and a reader of the box behind a socket, with such a stick in it.

    stick = Stick(image_bytes)                    # a Transport: Disk(stick)
    with reader(tmp_path / "stick.sock", stick):
        …

Faults are set on it: `not_ready` commands fail first, `gone_after` reads it is pulled out, `halts` reads are stalled,
`lies` changes each status that it sends; others say what they are.

Written from USB Mass Storage Class Bulk-Only Transport 1.0 and SBC-3, not from our own side.
"""

import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from passevue.errors import Unreadable
from passevue.stick.reading import serve
from passevue.stick.scsi import Disk
from passevue.stick.usbfs import GONE, Stalled


class Stick:
    def __init__(self, image: bytes, sector: int = 512) -> None:
        self.image, self.sector = image, sector
        self.kind = 0x00
        self.not_ready = 0
        self.asleep = 0  # answers to who asks what it is that fail
        self.gone_after = -1
        self.halts = 0
        self.lies: Callable[[bytes], bytes] = bytes
        self.empty_first = False  # an empty packet before each status
        self.skips_data = 0  # commands that are answered with a status where data are due
        self.stuck = False  # halted for good
        self.on_read: Callable[[], object] = lambda: None
        self.reads = self.resets = self.senses = 0
        self._out = b""
        self._status = b""
        self._halted = False
        self._failed = False

    # --- the transport

    def send(self, data: bytes) -> None:
        assert len(data) == 31
        signature, self._tag, length, flags, lun, size, block = struct.unpack("<4sIIBBB16s", data)
        assert (signature, flags, lun) == (b"USBC", 0x80, 0)
        assert size in (6, 10)
        told = self._command(block[:size])
        failed = told is None
        given = (told or b"")[:length]
        self._out, self._halted = given, failed and length > 0
        if self.skips_data and length:
            self.skips_data -= 1
            self._out, failed = b"", True
        self._empty = self.empty_first
        status = struct.pack("<4sIIB", b"USBS", self._tag, length - len(given), failed)
        self._status = self.lies(status)

    def receive(self, length: int) -> bytes:
        if self._halted:
            raise Stalled
        if self._out:
            found, self._out = self._out[:length], self._out[length:]
            return found
        if self._empty:
            self._empty = False
            return b""
        status, self._status = self._status, b""
        return status[:length]

    def clear(self, *, into: bool) -> None:
        if self.stuck:
            raise Stalled
        if into:
            self._halted = False

    def reset(self) -> None:
        self.resets += 1
        self._out = self._status = b""

    # --- the disk

    def _command(self, block: bytes) -> bytes | None:
        """Its data; None when it fails."""
        match block[0]:
            case 0x12 if self.asleep:
                self.asleep -= 1
                return None
            case 0x12:
                return bytes((self.kind, 0x80, 4, 2, 31, 0, 0, 0)) + b"ESSAI   CLE             1.00"
            case 0x03:
                self.senses += 1
                return bytes((0x70, 0, 2, 0, 0, 0, 0, 10)).ljust(18, b"\0")
            case 0x00 if self.not_ready:
                self.not_ready -= 1
                return None
            case 0x00:
                return b""
            case 0x25:
                return struct.pack(">II", len(self.image) // self.sector - 1, self.sector)
            case 0x28:
                return self._read(*struct.unpack(">xBIBHx", block))
        return None

    def _read(self, _flags: int, first: int, _group: int, count: int) -> bytes | None:
        self.reads += 1
        self.on_read()
        if self.reads == self.gone_after:
            raise Unreadable("a USB device does not answer: No such device", hint=GONE)
        if self.halts:
            self.halts -= 1
            return None
        return self.image[first * self.sector : (first + count) * self.sector]


@contextmanager
def reader(path: Path, stick: Stick | None) -> Iterator[list[str]]:
    """The box's reader of sticks, as systemd starts it for each connection to `path`. None: no stick is in the box.

    Yields a list that grows with each time it is asked.
    """

    @contextmanager
    def opened() -> Iterator[Disk]:
        assert stick is not None
        yield Disk(stick, ready_s=1)

    def run() -> None:
        while True:
            try:
                page, _ = listening.accept()
            except OSError:
                return
            asked.append("asked")
            serve(page, opened) if stick is not None else serve(page)

    asked: list[str] = []
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    thread = threading.Thread(target=run, name="stick-reader")
    thread.start()
    try:
        yield asked
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()
        path.unlink()


def formatted(folder: Path, files: Mapping[str, bytes], megabytes: int = 40) -> bytes:
    """A FAT32 stick with these files at its root, as dosfstools and mtools make it."""
    image = folder / "stick.raw"
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    ran(["mkfs.vfat", "-F", "32", str(image)])
    for name, content in files.items():
        source = folder / "file-for-stick"
        source.write_bytes(content)
        ran(["mcopy", "-i", str(image), str(source), f"::{name}"])
    return image.read_bytes()


def ran(command: list[str], stdin: bytes = b"") -> None:
    """A foreign program, found also where only root has its path."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    subprocess.run(command, check=True, capture_output=True, input=stdin, env={**os.environ, "PATH": path})
