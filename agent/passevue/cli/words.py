"""The words after `passevue run`, read as systemd writes them, without the library that reads people's.

    wanted = read(sys.argv[2:])         # None: words that typer is better at, wrong ones and `--help` among them

What `run` loads stays in memory for years, in each zone.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from passevue.zones.part import Part

DEFAULT_CONFIG = Path("/etc/passevue/passevue.toml")
FROM_ENVIRONMENT = "PASSEVUE_CONFIG"
_VALUED = ("--config", "--part", "--sockets")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to run. No `parts`: all of them."""

    config_path: Path = DEFAULT_CONFIG
    parts: tuple[Part, ...] = ()
    sockets: Path | None = None
    debug: bool = False


def read(words: Sequence[str], environ: Mapping[str, str] = os.environ) -> Wanted | None:
    """None when anything in it is not plainly one of the words of `run`."""
    found: dict[str, list[str]] = {"--config": [environ.get(FROM_ENVIRONMENT) or str(DEFAULT_CONFIG)]}
    debug, left = False, list(words)
    while left:
        name, joined, value = left.pop(0).partition("=")
        if name == "--debug" and not joined:
            debug = True
            continue
        if name not in _VALUED or not (joined or left):
            return None
        value = value if joined else left.pop(0)
        if not value or value.startswith("-"):
            return None
        found.setdefault(name, []).append(value)
    try:
        parts = tuple(Part(part) for part in found.get("--part", ()))
    except ValueError:
        return None
    sockets = Path(found["--sockets"][-1]) if "--sockets" in found else None
    return Wanted(Path(found["--config"][-1]), parts, sockets, debug)
