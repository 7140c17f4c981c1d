import pytest

from tests.peers.pki import Pki


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """The test realm's authorities, made once: keys are slow to make."""
    return Pki(tmp_path_factory.mktemp("pki"))
