"""A few keys of the configuration for small programs that start often, or while people wait at the screen.

The library that reads and checks it whole takes longer to load than such a program takes to work. What is wrong here is
as if it were not there: nothing is decided by it, and who decides reads the whole.
"""

import tomllib
from pathlib import Path
from typing import Any

MAX_BYTES = 1 << 20  # as `config` has it


def path_in(config_path: Path, *keys: str) -> Path | None:
    """The file or folder of that key, beside the configuration unless it says more; None without one. Blocks."""
    found = text_in(config_path, *keys)
    return None if found is None else config_path.parent / found


def text_in(config_path: Path, *keys: str) -> str | None:
    """The text of that key; None without one. Blocks."""
    found: Any
    try:
        with config_path.open("rb") as file:
            found = tomllib.loads(file.read(MAX_BYTES).decode("utf-8"))
        for key in keys:
            found = found[key]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, str) else None
