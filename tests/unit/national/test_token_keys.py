"""Keys of structures in PKCS#11 tokens: what is found, what is not, and what a renewal changes."""

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from passevue import config
from passevue.errors import ConfigError, CredentialError, PinNeeded
from passevue.national.psc_identity import PscIdentity
from passevue.national.registry import Registry
from passevue.national.structures import Structures
from passevue.national.token_keys import read_pin
from tests.peers import hsm as softhsm
from tests.peers.dmp import DmpPeer
from tests.peers.pki import Family, Pki, StructurePaths
from tests.peers.trusted import servers_of
from tests.unit.national.submissions import FACTS, STRUCTURE, publication

pytestmark = pytest.mark.skipif(bool(softhsm.missing()), reason=f"not installed: {softhsm.missing()}")
Settings = Callable[..., config.Registry]


@pytest.fixture(scope="module")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> softhsm.SoftHsm:
    return softhsm.shared(tmp_path_factory.mktemp("hsm"))


@pytest.fixture(scope="module")
def token(hsm: softhsm.SoftHsm, keys: StructurePaths) -> dict[str, str]:
    return hsm.structure("structures", keys)


def _structure(keys: StructurePaths, token: dict[str, str]) -> config.Structure:
    return config.Structure.model_validate(keys.as_config() | token)


@pytest.fixture
async def held(pki: Pki, keys: StructurePaths, token: dict[str, str]) -> AsyncIterator[Structures]:
    structures = Structures([_structure(keys, token)], servers_of(pki), "test")
    await asyncio.to_thread(structures.load)
    yield structures
    await structures.close()


async def test_a_publication_and_a_look_up_go_over_one_connection_of_the_token(
    held: Structures, dmp: DmpPeer, settings: Settings
) -> None:
    keys = held.get(STRUCTURE)
    async with Registry(settings(dmp.url), held, "1.2.250.1.999.1") as registry:
        submission = await publication(keys.sign)
        assert (await registry.publish(submission)).status.endswith("Success")
        assert await registry.find(submission.document_unique_id, STRUCTURE, FACTS) is not None
    assert dmp.committed
    assert {one.mode for one in dmp.requests} == {"INDIRECTE"}


async def test_a_certificate_that_is_renewed_opens_new_connections(
    pki: Pki, keys: StructurePaths, token: dict[str, str], tmp_path: Path, dmp: DmpPeer, settings: Settings
) -> None:
    files = replace(keys, auth_certificate=tmp_path / "auth.pem")
    shutil.copy(keys.auth_certificate, files.auth_certificate)
    structures = Structures([_structure(files, token)], servers_of(pki), "test")
    await asyncio.to_thread(structures.load)
    async with Registry(settings(dmp.url), structures, "1.2.250.1.999.1") as registry:
        await registry.patient_status(STRUCTURE, FACTS)
        (before,) = registry._key_tls._held.values()
        shutil.copy(keys.auth_certificate, tmp_path / "new.pem")
        (tmp_path / "new.pem").rename(files.auth_certificate)
        assert await structures.renew()
        await registry.patient_status(STRUCTURE, FACTS)
        (after,) = registry._key_tls._held.values()
        assert after is not before
        await asyncio.gather(*registry._key_tls._gone)
    await structures.close()


async def test_the_key_of_another_certificate_holds_entries(
    pki: Pki, keys: StructurePaths, token: dict[str, str]
) -> None:
    swapped = {"auth_key": token["auth_key"], "sign_key": token["sign_key"].replace("object=sign", "object=auth")}
    structures = Structures([_structure(keys, swapped)], servers_of(pki), "test")
    await asyncio.to_thread(structures.load)
    with pytest.raises(CredentialError, match="does not belong"):
        await structures.get(STRUCTURE).sign.sign(b"x", "sha256")
    await structures.close()


async def test_a_wrong_pin_is_sent_again_only_when_its_file_has_changed(
    pki: Pki, keys: StructurePaths, token: dict[str, str], tmp_path: Path
) -> None:
    pin = tmp_path / "jeton.pin"
    pin.write_text("9999\n")
    elsewhere = {name: uri[: uri.index("pin-source=")] + f"pin-source={pin}" for name, uri in token.items()}
    structures = Structures([_structure(keys, elsewhere)], servers_of(pki), "test")
    await asyncio.to_thread(structures.load)
    with pytest.raises(PinNeeded, match="refuses its PIN"):
        await structures.get(STRUCTURE).sign.sign(b"x", "sha256")
    for _ in range(3):
        assert not await structures.renew()
        with pytest.raises(PinNeeded, match="not sent again"):
            await structures.get(STRUCTURE).sign.sign(b"x", "sha256")
    pin.write_text("1234\n\n")
    assert await structures.renew()
    assert await structures.get(STRUCTURE).sign.sign(b"x", "sha256")
    await structures.close()


async def test_closing_ends_the_tokens_threads(pki: Pki, keys: StructurePaths, token: dict[str, str]) -> None:
    before = threading.active_count()
    structures = Structures([_structure(keys, token)], servers_of(pki), "test")
    await asyncio.to_thread(structures.load)
    running = asyncio.create_task(structures.run())
    assert await structures.get(STRUCTURE).sign.sign(b"x", "sha256")
    assert sum(thread.name == "pkcs11" for thread in threading.enumerate()) == 1
    running.cancel()
    await asyncio.wait([running])
    assert sum(thread.name == "pkcs11" for thread in threading.enumerate()) == 0
    assert threading.active_count() <= before + 2  # the loop's own pool


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff", b"12\x0034", b"1" * 300])
def test_what_is_no_pin_is_said(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "jeton.pin"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CredentialError) as caught:
        read_pin(path)
    assert "jeton.pin" in caught.value.hint


def test_a_certificate_that_does_not_sign_is_refused_at_once(
    pki: Pki, keys: StructurePaths, token: dict[str, str]
) -> None:
    leaf = pki.leaf(Family.ORG_AUTH_CLI, STRUCTURE)
    wrong = replace(keys, sign_certificate=leaf.certificate)
    with pytest.raises(ConfigError, match=r"structures\.0\.sign_certificate"):
        Structures([_structure(wrong, token)], servers_of(pki), "test").load()


def test_pro_sante_connect_does_not_open_with_a_token(pki: Pki, keys: StructurePaths, token: dict[str, str]) -> None:
    box: dict[str, Any] = {"name": "x", "data_dir": "/x", "oid": "1.2", "realm": "test", "retrieve_url": "https://x"}
    whole = config.Config.model_validate({
        "box": box,
        "registry": {"url": "https://x", "authority": pki.authority, "lps_homologation": "x"},
        "structures": [keys.as_config() | token],
        "psc": {"issuer": "https://psc", "client_id": "x", "redirect_url": "https://x/retour"},
    })  # fmt: skip
    with pytest.raises(ConfigError, match=r"psc\.certificate"):
        PscIdentity.of(whole, None)
