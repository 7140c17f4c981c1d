"""Whether a file of keys has changed since it was read, told without reading it."""

from pathlib import Path


def file_stamp(path: Path) -> object:
    """Differs once the file is another one or was written to; None when it cannot be looked at. Blocks."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)
