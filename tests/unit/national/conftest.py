"""Keys, a DMP and the registry client that speaks to it."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from passevue import config
from passevue.card.signer import Signer
from passevue.national.psc import Psc
from passevue.national.psc_identity import PscIdentity
from passevue.national.registry import Exchange, Registry
from passevue.national.structures import Structures
from tests.peers.dmp import DmpPeer
from tests.peers.pki import Pki, StructurePaths
from tests.peers.psc import PscPeer
from tests.peers.trusted import servers_of
from tests.unit.national.submissions import STRUCTURE


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def keys(pki: Pki) -> StructurePaths:
    return pki.structure(STRUCTURE)


@pytest.fixture(scope="session")
def structures(pki: Pki, keys: StructurePaths) -> Structures:
    held = Structures([config.Structure(**keys.as_config())], servers_of(pki), "test")
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


@pytest.fixture
async def psc_peer(pki: Pki) -> AsyncIterator[PscPeer]:
    async with PscPeer(pki, structure=STRUCTURE) as peer:
        peer.phones.interval_s = 1
        yield peer


@pytest.fixture
def psc_settings(psc_peer: PscPeer) -> config.Psc:
    return psc_settings_of(psc_peer.issuer, psc_peer.client_id)


def psc_settings_of(issuer: str, client_id: str, **changes: object) -> config.Psc:
    values: dict[str, object] = {
        "issuer": issuer,
        "client_id": client_id,
        "redirect_url": "https://box.invalid/psc/retour",
        "timeout_s": 5,
        "connect_timeout_s": 2,
    }
    return config.Psc.model_validate(values | changes)


@pytest.fixture
def psc_identity(pki: Pki, keys: StructurePaths) -> PscIdentity:
    return PscIdentity(keys.auth_certificate, keys.auth_key, servers_of(pki))


@pytest.fixture
async def psc(psc_settings: config.Psc, psc_identity: PscIdentity, tmp_path: Path) -> AsyncIterator[Psc]:
    """No pauses between tries; its sessions are not tended unless a test runs it."""
    async with Psc(psc_settings, psc_identity, tmp_path / "psc", retry_waits_s=()) as client:
        yield client
