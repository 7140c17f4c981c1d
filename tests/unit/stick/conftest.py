"""Sticks as foreign tools make them: sfdisk, dosfstools, mtools, exfatprogs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from passevue.errors import Unreadable
from tests.peers.stick import ran


@dataclass
class Bytes:
    """An image as blocks, which counts how often it is read and forgives nothing."""

    content: bytes | bytearray
    sector: int = 512
    reads: int = 0
    taken: int = field(default=0)

    @property
    def size(self) -> int:
        return len(self.content)

    def read(self, at: int, length: int) -> bytes:
        if at < 0 or length < 0 or at + length > len(self.content):
            raise Unreadable("beyond the end")
        self.reads += 1
        self.taken += length
        return bytes(self.content[at : at + length])


Formatted = Callable[..., Path]


@pytest.fixture
def formatted(tmp_path: Path) -> Formatted:
    """`formatted(40, "-F", "32")`: an image of 40 MB by mkfs.vfat with these options."""

    def make(megabytes: int, *options: str) -> Path:
        image = tmp_path / "volume.raw"
        with image.open("wb") as file:
            file.truncate(megabytes << 20)
        ran(["mkfs.vfat", *options, str(image)])
        return image

    return make


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Path, str, bytes], None]:
    """`copied(image, "name", content)`: by mcopy."""

    def copy(image: Path, name: str, content: bytes) -> None:
        source = tmp_path / "source"
        source.write_bytes(content)
        ran(["mcopy", "-o", "-i", str(image), str(source), f"::{name}"])

    return copy
