"""What a power cut must not undo: the name of a file is kept once its folder is synced (fsync(2))."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Blocks. Raises: OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
