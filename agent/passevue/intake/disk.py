"""The seam where bytes of images meet the disk. Tests hand in one that fails, fills up or is slow.

Every method may raise OSError; nothing here retries or hides one. After `sync` has failed, what was written since the
last good one must be taken as lost: the kernel may have dropped it and will not say so twice.
"""

import ctypes
import errno
import os
from pathlib import Path

from passevue.durable import sync_folder

PUNCH_HOLE_KEEP_SIZE = 0x02 | 0x01  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, linux/falloc.h
ZEROS_BYTES = 1 << 20
_libc = ctypes.CDLL(None, use_errno=True)


class Disk:
    """Plain Linux files."""

    def create(self, path: Path, size: int) -> int:
        """A new file of `size` bytes with its blocks reserved, open for writing past the page cache if possible."""
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        fd = self.open(path)
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        return fd

    def open(self, path: Path) -> int:
        """A file that is there, open for writing, past the page cache if the file system can."""
        try:
            return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_DIRECT)
        except OSError as err:
            if err.errno != errno.EINVAL:
                raise
            return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def write(self, fd: int, data: memoryview, offset: int) -> None:
        """All of `data`, whose address, length and offset are multiples of 4096."""
        while data:
            written = os.pwrite(fd, data, offset)
            data, offset = data[written:], offset + written

    def sync(self, fd: int) -> None:
        os.fdatasync(fd)

    def sync_folder(self, folder: Path) -> None:
        sync_folder(folder)

    def append(self, fd: int, data: memoryview) -> None:
        """All of `data` at the end of a plain file."""
        while data:
            data = data[os.write(fd, data) :]

    def free_blocks(self, fd: int, offset: int, length: int) -> None:
        """Give the blocks back; where the file system cannot, fill them with zeros."""
        if length <= 0:
            return
        if _libc.fallocate(fd, PUNCH_HOLE_KEEP_SIZE, ctypes.c_int64(offset), ctypes.c_int64(length)) == 0:
            return
        for at in range(offset, offset + length, ZEROS_BYTES):
            os.pwrite(fd, bytes(min(ZEROS_BYTES, offset + length - at)), at)

    def room(self, folder: Path) -> tuple[int, int]:
        """Bytes of the volume, and bytes free to us, as `df` counts: what only root may use is in neither."""
        volume = os.statvfs(folder)
        used = volume.f_blocks - volume.f_bfree
        return (used + volume.f_bavail) * volume.f_frsize, volume.f_bavail * volume.f_frsize
