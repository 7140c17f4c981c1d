"""Where Pro Santé Connect says its services are: kept, read again, refused."""

import asyncio
import json
from pathlib import Path

import pytest

from passevue import config
from passevue.errors import NetworkError, TrustError
from passevue.national.psc import Psc
from passevue.national.psc_discovery import KeptDiscovery
from passevue.national.psc_identity import PscIdentity
from passevue.national.psc_server import PscServer
from passevue.national.psc_wire import PscWire
from tests.peers.pki import Pki
from tests.peers.psc import Fault, PscPeer
from tests.unit.national.psc_browser import MEDECIN, sign_in


async def test_the_kept_discovery_serves_a_start_while_it_is_away(
    psc_settings: config.Psc, psc_identity: PscIdentity, psc_peer: PscPeer, pki: Pki, tmp_path: Path
) -> None:
    async with Psc(psc_settings, psc_identity, tmp_path / "psc", retry_waits_s=()) as psc:
        await psc.begin_code()
    psc_peer.fault, psc_peer.fault_at = Fault.DOWN, {"discovery"}
    async with Psc(psc_settings, psc_identity, tmp_path / "psc", retry_waits_s=()) as psc:
        assert (await sign_in(psc, psc_peer, pki)).person.id_nat == MEDECIN
    kept = tmp_path / "psc" / "discovery.json"
    found = json.loads(kept.read_text())
    for wrong in (b"", b"{", json.dumps({**found, "issuer": "https://elsewhere.invalid"}).encode()):
        kept.write_bytes(wrong)
        async with Psc(psc_settings, psc_identity, tmp_path / "psc", retry_waits_s=()) as psc:
            with pytest.raises(NetworkError):
                await psc.begin_code()


@pytest.mark.parametrize("fault", [Fault.WRONG_ISSUER, Fault.PLAIN_HTTP])
async def test_a_discovery_that_is_not_the_issuers_is_not_followed(psc: Psc, psc_peer: PscPeer, fault: Fault) -> None:
    psc_peer.fault = fault
    with pytest.raises((TrustError, NetworkError)):
        await psc.begin_code()


async def test_the_discovery_is_read_again_after_a_day(
    psc_settings: config.Psc, psc_identity: PscIdentity, psc_peer: PscPeer, tmp_path: Path
) -> None:
    seconds = 0.0
    wire = PscWire(psc_settings, psc_identity, retry_waits_s=())
    await asyncio.to_thread(psc_identity.load)
    server = PscServer(psc_settings, wire, KeptDiscovery(tmp_path / "kept"), monotonic=lambda: seconds)
    await server.endpoints()
    await server.renew()
    assert psc_peer.calls["discovery"] == 1
    seconds = 90_000
    await server.renew()
    assert psc_peer.calls["discovery"] == 2
    seconds = 180_000
    await psc_peer.cut()
    await server.renew()
    assert (await server.endpoints()).token
    await wire.close()


async def test_a_folder_that_cannot_be_written_keeps_nobody_out(
    psc_settings: config.Psc, psc_identity: PscIdentity, tmp_path: Path, psc_peer: PscPeer
) -> None:
    (tmp_path / "psc").write_text("a file")
    async with Psc(psc_settings, psc_identity, tmp_path / "psc", retry_waits_s=()) as psc:
        assert psc_peer.issuer.startswith("https://")
        assert (await psc.begin_code()).url
