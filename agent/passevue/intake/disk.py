"""The seam where bytes of images meet the disk. Tests hand in one that fails, fills up or is slow.

Every method may raise OSError; nothing here retries or hides one. After `sync` has failed, what was written since the
last good one must be taken as lost: the kernel may have dropped it and will not say so twice.
"""

import ctypes
import os
from pathlib import Path

PUNCH_HOLE_KEEP_SIZE = 0x02 | 0x01  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, linux/falloc.h
_libc = ctypes.CDLL(None, use_errno=True)


class Disk:
    """Plain Linux files."""

    def create(self, path: Path, size: int) -> int:
        """A new file of `size` bytes with its blocks reserved, open for writing past the page cache if possible."""
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
        try:
            fd = os.open(path, flags | os.O_DIRECT, 0o600)
        except FileExistsError:
            raise
        except OSError:  # EINVAL: no O_DIRECT here, and the file may have been made all the same
            path.unlink(missing_ok=True)
            fd = os.open(path, flags, 0o600)
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        return fd

    def write(self, fd: int, data: memoryview, offset: int) -> None:
        """All of `data`, whose address, length and offset are multiples of 4096."""
        while data:
            written = os.pwrite(fd, data, offset)
            data, offset = data[written:], offset + written

    def sync(self, fd: int) -> None:
        os.fdatasync(fd)

    def sync_folder(self, folder: Path) -> None:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def append(self, fd: int, data: memoryview) -> None:
        """All of `data` at the end of a plain file."""
        while data:
            data = data[os.write(fd, data) :]

    def free_blocks(self, fd: int, offset: int, length: int) -> None:
        """Give the blocks back; where the file system cannot, they stay until the whole file goes."""
        if length > 0:
            _libc.fallocate(fd, PUNCH_HOLE_KEEP_SIZE, ctypes.c_int64(offset), ctypes.c_int64(length))

    def room(self, folder: Path) -> tuple[int, int]:
        """Bytes of the volume, and bytes free to us."""
        volume = os.statvfs(folder)
        return volume.f_blocks * volume.f_frsize, volume.f_bavail * volume.f_frsize
