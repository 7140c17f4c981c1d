"""Sign-in by the phone: it rings, its person answers or does not, the network comes and goes."""

import asyncio
from dataclasses import replace

import pytest

from passevue.errors import SignInError, TrustError
from passevue.national.psc import Psc
from tests.peers.psc import PscPeer
from tests.unit.national.psc_browser import MEDECIN


async def test_a_person_signs_in_by_the_phone(psc: Psc, psc_peer: PscPeer) -> None:
    request = await psc.begin_ciba(MEDECIN)
    assert len(request.binding_message) == 2
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(psc.finish_ciba(request))
        assert await psc_peer.asked(MEDECIN) == request.binding_message
        await asyncio.sleep(1.2)
        assert not waiting.done()
        assert psc_peer.approve(MEDECIN) == request.binding_message
    assert waiting.result().person.id_nat == MEDECIN
    assert psc_peer.calls["token"] >= 2


async def test_a_refusal_on_the_phone_ends_the_wait(psc: Psc, psc_peer: PscPeer) -> None:
    request = await psc.begin_ciba(MEDECIN)
    psc_peer.deny(MEDECIN)
    with pytest.raises(SignInError, match="access_denied") as refused:
        await psc.finish_ciba(request)
    assert "refusée" in refused.value.hint


async def test_an_unknown_identifier_is_told_at_once(psc: Psc, psc_peer: PscPeer) -> None:
    for wrong in ("899700099999", "", "x" * 65, "8997 00000017", "899700000017\n", "é"):
        with pytest.raises(SignInError, match="unknown_user_id") as refused:
            await psc.begin_ciba(wrong)
        assert "RPPS" in refused.value.hint
        assert not wrong or wrong not in str(refused.value)
    assert psc_peer.calls["ciba"] == 1


async def test_nobody_answers_and_the_request_ends(psc: Psc, psc_peer: PscPeer) -> None:
    psc_peer.phones.life_s = 2
    request = await psc.begin_ciba(MEDECIN)
    with pytest.raises(SignInError, match="expired_token") as refused:
        await psc.finish_ciba(request)
    assert "recommencez" in refused.value.hint
    await psc.begin_ciba(MEDECIN)


async def test_slow_down_slows_down(psc: Psc, psc_peer: PscPeer) -> None:
    request = replace(await psc.begin_ciba(MEDECIN), interval_s=0.2)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(psc.finish_ciba(request))
        await asyncio.sleep(0.6)
        psc_peer.approve(MEDECIN)
    assert waiting.result().person.id_nat == MEDECIN
    assert psc_peer.calls["token"] <= 3  # the first, too fast, and one five seconds later


async def test_the_network_may_go_and_come_back_while_the_phone_rings(psc: Psc, psc_peer: PscPeer) -> None:
    request = await psc.begin_ciba(MEDECIN)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(psc.finish_ciba(request))
        await psc_peer.cut()
        await asyncio.sleep(1.5)
        await psc_peer.restore()
        psc_peer.approve(MEDECIN)
    assert waiting.result().person.id_nat == MEDECIN


async def test_a_phone_rings_once_at_a_time(psc: Psc, psc_peer: PscPeer) -> None:
    request = await psc.begin_ciba(MEDECIN)
    with pytest.raises(SignInError, match="already_asked"):
        await psc.begin_ciba(MEDECIN)
    waiting = asyncio.ensure_future(psc.finish_ciba(request))
    await asyncio.sleep(0.1)
    waiting.cancel()
    await asyncio.wait([waiting])
    await psc.begin_ciba(MEDECIN)
    assert psc_peer.calls["ciba"] == 2


async def test_a_forged_token_by_ciba_signs_nobody_in(psc: Psc, psc_peer: PscPeer) -> None:
    psc_peer.forgery = "wrong-aud"
    request = await psc.begin_ciba(MEDECIN)
    psc_peer.approve(MEDECIN)
    with pytest.raises(TrustError):
        await psc.finish_ciba(request)
