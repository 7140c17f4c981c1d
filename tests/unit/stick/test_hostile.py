"""Whatever bytes a stick has, reading it ends, in files or in our own error, after a bounded number of reads."""

from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from passevue.errors import Unreadable
from passevue.stick.files import files
from tests.peers.stick import formatted
from tests.unit.stick.conftest import Bytes
from tests.unit.stick.test_exfat import Volume

MOST_TAKEN = 16 << 20


@pytest.fixture(scope="module", params=["fat32", "exfat"])
def sound(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder: Path = tmp_path_factory.mktemp("stick")
    if request.param == "fat32":
        return formatted(folder, {"box.toml": bytes(5000), "a rather long name of a file.raucb": bytes(70_000)}, 36)
    volume = Volume.made(folder, 16, "-c", "4K")
    volume.add("box.toml", bytes(5000))
    volume.add("a rather long name of a file.raucb", bytes(70_000), chained=False)
    return bytes(volume.image)


@cache
def written(content: bytes) -> list[int]:
    """Where sectors begin that hold something."""
    return [at for at in range(0, len(content), 512) if any(content[at : at + 512])]


@dataclass
class Changed(Bytes):
    """The same, but for some bytes."""

    changes: dict[int, int] = field(default_factory=dict)

    def read(self, at: int, length: int) -> bytes:
        found = bytearray(super().read(at, length))
        for where, byte in self.changes.items():
            if at <= where < at + length:
                found[where - at] = byte
        return bytes(found)


def looked_at(blocks: Bytes) -> None:
    """As the reader does it, but for a page that takes no more than 1 MiB of a file."""
    with suppress(Unreadable):
        for file in files(blocks)[:20]:
            taken = 0
            for piece in file.pieces():
                assert len(piece) <= 256 << 10
                taken += len(piece)
                if taken > 1 << 20:
                    break


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_bytes_end_in_files_or_our_own_error(sound: bytes, data: st.DataObject) -> None:
    where = st.builds(lambda sector, at: sector + at, st.sampled_from(written(sound)), st.integers(0, 511))
    blocks = Changed(sound)
    blocks.changes = data.draw(st.dictionaries(where, st.integers(0, 255), min_size=1, max_size=8))
    looked_at(blocks)
    assert blocks.taken < MOST_TAKEN + 20 * (2 << 20)


@settings(max_examples=200, deadline=None)
@given(boot=st.binary(min_size=510, max_size=510), name=st.sampled_from([b"", b"\xeb\x76\x90EXFAT   " + bytes(53)]))
def test_any_boot_sector_ends(boot: bytes, name: bytes) -> None:
    blocks = Bytes((name + boot[len(name) :] + b"\x55\xaa").ljust(1 << 20, b"\1"))
    looked_at(blocks)
    assert blocks.taken < MOST_TAKEN + 20 * (2 << 20)
