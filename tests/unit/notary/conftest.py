from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.notary.a_notary import ABox
from tests.unit.notary.chip import Chip


@pytest.fixture
def chip(tmp_path: Path) -> Iterator[Chip]:
    with Chip(tmp_path / "tpm") as made:
        yield made


@pytest.fixture
def box(tmp_path: Path, chip: Chip) -> ABox:
    return ABox(tmp_path / "box", chip)
