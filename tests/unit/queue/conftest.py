"""Every test of the store runs on SQLite and, where the program is installed, on a real PostgreSQL: `queue_url`."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from passevue import config
from passevue.queue.store import Store
from tests.interop.postgresql import Cluster, found
from tests.peers.disk import ROOMY


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with Cluster() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def queue_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'queue.sqlite'}"
    if not found():
        pytest.skip("PostgreSQL is not installed (Debian package postgresql)")
    running: Cluster = request.getfixturevalue("cluster")
    return running.new_database()


@pytest.fixture
def settings(queue_url: str) -> config.Queue:
    return config.Queue(url=queue_url)


@pytest.fixture
async def opened(settings: config.Queue, tmp_path: Path) -> AsyncIterator[Callable[..., object]]:
    """Opens stores that are closed at the end."""
    stores: list[Store] = []

    async def open_store(**more: object) -> Store:
        store = await Store.open(settings, tmp_path, **{"limits": ROOMY, "machine": "box-a", **more})  # type: ignore[arg-type]
        stores.append(store)
        return store

    yield open_store
    for store in stores:
        await store.close()


@pytest.fixture
async def store(opened: Callable[..., object]) -> Store:
    return await opened(roles={"intake", "national"})  # type: ignore[misc, no-any-return]
