from pathlib import Path

import pytest

from tests.unit.systemd import box_root


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return box_root.build(tmp_path_factory.mktemp("root"))
