"""Files that several users write: how they are made so that each zone can go on with what another began.

On the appliance each zone is its own user, in one group. A folder with the set-group-ID bit that its group may write
to (the data folder, root:passevue 2770) is a shared one; so is what is made in it here. Everywhere else what is made is
its user's alone. Modes are set, not asked for: no umask changes them, nor whose command line came first. (Zones run
with umask 0007, so that nobody meets a file before its mode is set.)

Raises, all: OSError.
"""

import errno
import os
import stat
from pathlib import Path

_SHARED = stat.S_ISGID | stat.S_IWGRP


def is_shared(folder: Path) -> bool:
    """Whether several users write in `folder`, which is there."""
    return folder.stat().st_mode & _SHARED == _SHARED


def make_folder(folder: Path) -> None:
    """Make `folder`, and those above it, each as shared as the one that it lies in. What is there stays as it is."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    shared = is_shared(folder.parent)
    try:
        folder.mkdir(0o770 if shared else 0o700)
    except FileExistsError:  # another zone was quicker
        return
    if shared and not is_shared(folder):
        folder.chmod(0o2770)


def open_shared(path: Path, flags: int) -> int:
    """As `os.open`; a file that is made is its folder's users' to write, and nobody else's."""
    if not flags & os.O_CREAT:
        return os.open(path, flags)
    mode = 0o660 if is_shared(path.parent) else 0o600
    try:
        handle = os.open(path, flags | os.O_EXCL, mode)
    except FileExistsError:
        if flags & os.O_EXCL:
            raise
        return os.open(path, flags & ~os.O_CREAT)
    os.fchmod(handle, mode)
    return handle


def open_plain(path: Path, flags: int = os.O_RDONLY) -> int:
    """As `open_shared`, where another zone may have laid something: a plain file, not what a link names, and never
    waited for. (A pipe would hold who opens it until somebody writes: one zone could have all others stand still.)
    """
    handle = open_shared(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    return handle


def read_shared(path: Path, most: int) -> bytes:
    """The first `most` bytes of what another zone has left."""
    with open(open_plain(path), "rb") as file:
        return file.read(most)


def read_owned(path: Path, most: int, owner: int) -> bytes:
    """As `read_shared`, of a file that nobody but `owner` can have written."""
    with open(open_plain(path), "rb") as file:
        found = os.fstat(file.fileno())
        if found.st_uid != owner or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise OSError(errno.EPERM, "not its owner's alone", str(path))
        return file.read(most)


def put_in_place(path: Path, content: bytes, *, owned: bool = False) -> None:
    """Put `content` in place of whatever is at `path`, at once for who reads; not synced. `owned`: others may read what
    is there, and not write into it.
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}.new")
    aside.unlink(missing_ok=True)  # of a process that had our number, or whatever another zone made of it
    handle = open_shared(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW)
    with open(handle, "wb") as file:
        if owned:
            os.fchmod(handle, stat.S_IMODE(os.fstat(handle).st_mode) & ~(stat.S_IWGRP | stat.S_IWOTH))
        file.write(content)
    aside.replace(path)
