"""The certificate that the box shows to Pro Santé Connect: renewed, wrong, left out."""

import asyncio
import shutil
from pathlib import Path

import pytest

from passevue import config
from passevue.errors import ConfigError
from passevue.national.psc import Psc, open_psc
from passevue.national.psc_identity import PscIdentity
from tests.peers.pki import Family, Pki, StructurePaths
from tests.peers.psc import PscPeer
from tests.peers.trusted import servers_of
from tests.unit.national.conftest import psc_settings_of
from tests.unit.national.psc_browser import sign_in


async def test_a_renewed_certificate_is_taken_and_a_wrong_one_is_not(
    psc_settings: config.Psc, pki: Pki, psc_peer: PscPeer, tmp_path: Path
) -> None:
    first = pki.leaf(Family.ORG_AUTH_CLI, "10B0127189")
    second = pki.leaf(Family.ORG_AUTH_CLI, "10B0127189", organisation="APRES RENOUVELLEMENT")
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    shutil.copy(first.certificate, certificate)
    shutil.copy(first.key, key)
    identity = PscIdentity(certificate, key, servers_of(pki))
    async with Psc(psc_settings, identity, tmp_path / "psc", retry_waits_s=()) as psc:
        await sign_in(psc, psc_peer, pki)
        old = psc_peer.sessions[-1].thumbprint
        certificate.write_bytes(b"nothing")
        with pytest.raises(ConfigError):
            await asyncio.to_thread(identity.renew)
        await sign_in(psc, psc_peer, pki)
        assert psc_peer.sessions[-1].thumbprint == old
        shutil.copy(second.certificate, certificate)
        shutil.copy(second.key, key)
        assert await asyncio.to_thread(identity.renew)
        assert not await asyncio.to_thread(identity.renew)
        await sign_in(psc, psc_peer, pki)
        assert psc_peer.sessions[-1].thumbprint != old


def test_a_certificate_that_is_not_the_clients_is_named(pki: Pki, keys: StructurePaths) -> None:
    server = pki.server("127.0.0.1")
    own = pki.leaf(Family.ORG_AUTH_CLI, "10B0127189", common_name="passevue-cabinet")
    PscIdentity(own.certificate, own.key, servers_of(pki), "passevue-cabinet").load()
    for certificate, key, client_id, setting in (
        (keys.sign_certificate, keys.sign_key, "", "psc.certificate"),
        (server.certificate, server.key, "", "psc.certificate"),
        (own.certificate, own.key, "another", "psc.client_id"),
        (own.certificate, keys.auth_key, "", "psc.certificate"),
        (Path("/nowhere"), own.key, "", "psc.certificate"),
    ):
        with pytest.raises(ConfigError) as refused:
            PscIdentity(certificate, key, servers_of(pki), client_id).load()
        assert refused.value.key == setting
        assert refused.value.hint


def test_the_configuration_opens_it_or_leaves_it_out(pki: Pki, keys: StructurePaths, tmp_path: Path) -> None:
    whole = config.Config.model_validate(
        {
            "box": {"name": "x", "data_dir": tmp_path, "oid": "1.2.3", "retrieve_url": "https://x.invalid"},
            "registry": {"url": "https://x.invalid", "authority": pki.authority, "lps_homologation": "X"},
            "structures": [keys.as_config()],
        }
    )
    assert open_psc(whole) is None
    settings = psc_settings_of("https://psc.invalid/realm", "passevue")
    assert open_psc(whole.model_copy(update={"psc": settings})) is not None
