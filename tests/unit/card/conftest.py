"""One throw-away IGC-Santé for all tests of the card."""

from pathlib import Path

import pytest

from tests.peers.card_profile import Profile
from tests.peers.pki import KeyPaths, Pki
from tests.peers.pki_persons import CardKeys, Persons


@pytest.fixture(scope="session")
def persons(tmp_path_factory: pytest.TempPathFactory) -> Persons:
    return Persons(tmp_path_factory.mktemp("persons"))


@pytest.fixture(scope="session")
def card_keys(persons: Persons) -> CardKeys:
    return persons.card_keys(Profile())


@pytest.fixture(scope="session")
def organisations(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("organisations"))


@pytest.fixture(scope="session")
def server_key(organisations: Pki) -> KeyPaths:
    return organisations.server("127.0.0.1", names=("localhost",))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path
