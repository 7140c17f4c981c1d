"""A centre for each journey; the throw-away authority is made once for all of them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.peers.cabinet import Cabinet


@pytest.fixture(scope="session")
def pki_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pki")


@pytest.fixture
async def cabinet(tmp_path: Path, pki_folder: Path) -> AsyncIterator[Cabinet]:
    """RIS, modality, PACS and DMP around a running box."""
    async with Cabinet(tmp_path / "box", pki_folder) as cabinet:
        yield cabinet
