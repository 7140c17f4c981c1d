"""What `make image` made: the image, its parts, its keys; and whether it is of this tree."""

import json
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
BUILD = REPOSITORY / "image/build"
IN_THE_IMAGE = ("agent/passevue", "agent/requirements.txt", "systemd", "hw", "image")


class NoImage(Exception):
    """There is none, or it is older than what it is made from."""


@dataclass(frozen=True)
class Image:
    """One folder under image/build/out."""

    folder: Path

    @cached_property
    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads((self.folder / "image.json").read_text())
        return facts

    @property
    def disk(self) -> Path:
        return self.folder / "disk.raw"

    @property
    def uki(self) -> Path:
        return self.folder / "uki.efi"

    @property
    def bundle(self) -> Path:
        return self.folder / f"passevue-{self.version}.raucb"

    @property
    def version(self) -> str:
        return str(self.facts["version"])

    @property
    def profile(self) -> str:
        return str(self.facts["profile"])

    @property
    def root_hash(self) -> str:
        return str(self.facts["root_hash"])

    @property
    def keys(self) -> Path:
        return BUILD / "keys" / self.profile

    def stale(self) -> str:
        """Why it is not of this tree; empty when it is."""
        newer = _git("log", "--format=%h %s", f"{self.facts['commit']}..HEAD", "--", *IN_THE_IMAGE).splitlines()
        return f"{len(newer)} commits newer than the image: {newer[0]}…" if newer else ""


def image(name: str = "development") -> Image:
    """
    Raises:
        NoImage: `make image` has not made it.
    """
    found = Image(BUILD / "out" / name)
    if not (found.folder / "image.json").exists():
        raise NoImage(f"there is no image {name}: make image")
    return found


def _git(*argv: str) -> str:
    return subprocess.run(["git", "-C", str(REPOSITORY), *argv], capture_output=True, text=True, check=True).stdout
