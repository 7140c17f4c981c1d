"""The code with which a box that is nobody's is claimed: where it lies, and when it counts.

`local_account` makes it and takes it; the box's screen shows it.
"""

import os
from pathlib import Path

FOLDER = "page"
CODE_FILE, HASH_FILE = "claim-code", "local-account.json"
MAX_FILE_BYTES = 4096


def read_code(data_dir: Path) -> str:
    """The code while it counts, "" once somebody has the account. Blocks."""
    folder = data_dir / FOLDER
    return "" if (folder / HASH_FILE).exists() else code_in(folder / CODE_FILE)


def code_in(file: Path) -> str:
    try:
        return read_file(file).decode("ascii", "replace").strip()
    except OSError:
        return ""


def read_file(path: Path) -> bytes:
    """The head of a file that is no link. Raises: OSError."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        return file.read(MAX_FILE_BYTES)
