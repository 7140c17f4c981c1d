"""The life of a session at Pro Santé Connect: renewed, tended, ended here or elsewhere."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from passevue import config
from passevue.errors import NetworkError, SignInError, TrustError
from passevue.national.psc import Psc
from passevue.national.psc_identity import PscIdentity
from tests.clocks import ShiftedClock
from tests.peers.pki import Pki
from tests.peers.psc import Fault, PscPeer
from tests.unit.national.psc_browser import MEDECIN, sign_in


async def test_a_token_with_less_than_fifteen_seconds_is_renewed_once_for_all(
    psc: Psc, psc_peer: PscPeer, pki: Pki
) -> None:
    psc_peer.token_life_s = 14
    session = await sign_in(psc, psc_peer, pki)
    before = psc_peer.calls["token"]
    psc_peer.token_life_s = 60
    tokens = await asyncio.gather(*(session.access_token() for _ in range(20)))
    assert len(set(tokens)) == 1
    assert tokens[0] in psc_peer.access
    assert psc_peer.calls["token"] == before + 1


async def test_a_caller_that_goes_away_loses_no_token(psc: Psc, psc_peer: PscPeer, pki: Pki) -> None:
    psc_peer.token_life_s = 14
    session = await sign_in(psc, psc_peer, pki)
    psc_peer.token_life_s, psc_peer.delay_s = 60, 0.4
    psc_peer.fail(Fault.SLOW)
    gone = asyncio.ensure_future(session.access_token())
    await asyncio.sleep(0.1)
    gone.cancel()
    before = psc_peer.calls["token"]
    assert await session.access_token() in psc_peer.access
    assert psc_peer.calls["token"] == before


async def test_four_hours_after_sign_in_it_is_over(
    psc_settings: config.Psc, psc_identity: PscIdentity, pki: Pki, psc_peer: PscPeer, tmp_path: Path
) -> None:
    clock = ShiftedClock()
    psc_peer.clock = clock
    async with Psc(psc_settings, psc_identity, tmp_path, clock, retry_waits_s=()) as psc:
        session = await sign_in(psc, psc_peer, pki)
        for _ in range(119):  # kept alive every two minutes
            clock.ahead += timedelta(minutes=2)
            await session.access_token()
        assert not session.over
        clock.ahead += timedelta(minutes=2)
        with pytest.raises(SignInError, match="session_over") as over:
            await session.access_token()
        assert session.over
        assert "reconnectez-vous" in over.value.hint
        assert not psc._sessions


async def test_tending_keeps_an_idle_session_alive_and_without_it_dies(
    psc_settings: config.Psc, psc_identity: PscIdentity, pki: Pki, psc_peer: PscPeer, tmp_path: Path
) -> None:
    clock = ShiftedClock()
    psc_peer.clock = clock
    async with Psc(psc_settings, psc_identity, tmp_path, clock, retry_waits_s=()) as psc:
        session = await sign_in(psc, psc_peer, pki)
        before = psc_peer.calls["token"]
        await session.tend()
        assert psc_peer.calls["token"] == before
        for _ in range(4):
            clock.ahead += timedelta(seconds=180)
            await session.tend()
        assert psc_peer.calls["token"] == before + 4
        clock.ahead += timedelta(seconds=360)
        with pytest.raises(SignInError, match="session_over"):
            await session.tend()


async def test_a_session_ended_elsewhere_is_over_here(psc: Psc, psc_peer: PscPeer, pki: Pki) -> None:
    psc_peer.token_life_s = 14
    session = await sign_in(psc, psc_peer, pki)
    psc_peer.end_sessions(MEDECIN)
    with pytest.raises(SignInError, match="session_over"):
        await session.access_token()
    assert session.over


async def test_an_unanswered_renewal_leaves_the_session(psc: Psc, psc_peer: PscPeer, pki: Pki) -> None:
    psc_peer.token_life_s = 14
    session = await sign_in(psc, psc_peer, pki)
    await psc_peer.cut()
    with pytest.raises(NetworkError):
        await session.access_token()
    await psc_peer.restore()
    assert await session.access_token()


async def test_a_renewed_token_for_somebody_else_ends_the_session(psc: Psc, psc_peer: PscPeer, pki: Pki) -> None:
    psc_peer.token_life_s = 14
    session = await sign_in(psc, psc_peer, pki)
    psc_peer.sessions[-1].person = psc_peer.people["899700000025"]
    with pytest.raises(TrustError, match="another person"):
        await session.access_token()
    assert session.over


async def test_leaving_ends_it_on_both_sides(psc: Psc, psc_peer: PscPeer, pki: Pki) -> None:
    session = await sign_in(psc, psc_peer, pki)
    token = await session.access_token()
    await session.end()
    await session.end()
    assert session.over
    assert psc_peer.calls["logout"] == 1
    assert psc_peer.alive(token) is None
    with pytest.raises(SignInError, match="session_over"):
        await session.access_token()


async def test_leaving_while_the_network_is_away_ends_it_here(psc: Psc, psc_peer: PscPeer, pki: Pki) -> None:
    session = await sign_in(psc, psc_peer, pki)
    await psc_peer.cut()
    with pytest.raises(NetworkError):
        await session.end()
    assert session.over


async def test_running_tends_sessions_until_stopped(
    psc_settings: config.Psc, psc_identity: PscIdentity, psc_peer: PscPeer, pki: Pki, tmp_path: Path
) -> None:
    psc_peer.refresh_life_s = 2
    async with Psc(psc_settings, psc_identity, tmp_path, retry_waits_s=(), tend_every_s=0.1) as psc:
        session = await sign_in(psc, psc_peer, pki)
        running = asyncio.ensure_future(psc.run())
        await asyncio.sleep(3)
        assert not session.over
        psc_peer.end_sessions(MEDECIN)
        await asyncio.sleep(1.5)
        assert session.over
        running.cancel()
        await asyncio.wait([running])
