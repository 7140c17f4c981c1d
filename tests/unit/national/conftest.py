"""Keys, a DMP and the registry client that speaks to it."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from passevue import config
from passevue.card.signer import Signer
from passevue.national.registry import Exchange, Registry
from passevue.national.structures import Structures
from tests.peers.dmp import DmpPeer
from tests.peers.pki import Pki, StructurePaths
from tests.unit.national.submissions import STRUCTURE


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def keys(pki: Pki) -> StructurePaths:
    return pki.structure(STRUCTURE)


@pytest.fixture(scope="session")
def structures(pki: Pki, keys: StructurePaths) -> Structures:
    held = Structures([config.Structure(**keys.as_config())], pki.authority, "test")
    held.load()
    return held


@pytest.fixture(scope="session")
def signer(structures: Structures) -> Signer:
    return structures.get(STRUCTURE).sign


@pytest.fixture
async def dmp(pki: Pki) -> AsyncIterator[DmpPeer]:
    async with DmpPeer(pki) as peer:
        yield peer


@pytest.fixture
def exchanges() -> list[Exchange]:
    return []


@pytest.fixture
def settings(pki: Pki) -> Callable[..., config.Registry]:
    def make(url: str, **changes: object) -> config.Registry:
        values: dict[str, object] = {
            "url": url,
            "authority": Path(pki.authority),
            "timeout_s": 20,
            "connect_timeout_s": 5,
            "lps_homologation": "PVU-000000-test",
        }
        return config.Registry.model_validate(values | changes)

    return make


@pytest.fixture
async def registry(
    dmp: DmpPeer,
    structures: Structures,
    settings: Callable[..., config.Registry],
    exchanges: list[Exchange],
) -> AsyncIterator[Registry]:
    async with Registry(settings(dmp.url), structures, "1.2.250.1.999.1", exchanges.append) as client:
        yield client
