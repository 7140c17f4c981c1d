"""Sign-in by Pro Santé Connect against a real server of ours: both flows, the session's life, and what goes wrong."""

import asyncio
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog

from passevue import config
from passevue.errors import BoxError, ConfigError, CredentialError, NetworkError, SignInError, TrustError
from passevue.national.psc import Psc, open_psc
from passevue.national.psc_discovery import KeptDiscovery
from passevue.national.psc_identity import PscIdentity
from passevue.national.psc_server import PscServer
from passevue.national.psc_wire import PscWire
from tests.peers.pki import Family, Pki, StructurePaths
from tests.peers.psc import Fault, PscPeer
from tests.peers.psc_tokens import FORGERIES
from tests.unit.national.conftest import psc_settings_of
from tests.unit.national.psc_browser import MEDECIN, choose, sign_in, visit


class Clock:
    """A wall clock that a test can set."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


# Browser


async def test_a_person_signs_in_by_the_browser(psc: Psc, psc_peer: PscPeer, pki: Pki) -> None:
    session = await sign_in(psc, psc_peer, pki)
    assert session.person.id_nat == MEDECIN
    assert session.person.exercices[0].activities[0].structure_id == "10B0127189"
    assert session.token.acr == "eidas1"
    assert abs((datetime.now(UTC) - session.token.authenticated_at).total_seconds()) < 5
    assert await session.access_token() in psc_peer.access


async def test_the_question_carries_pkce_state_and_nonce_and_no_secret(psc: Psc, psc_peer: PscPeer) -> None:
    first, second = await psc.begin_code(), await psc.begin_code()
    assert "code_challenge_method=S256" in first.url
    assert first.verifier not in first.url
    assert len({first.state, first.nonce, first.verifier, second.state, second.nonce, second.verifier}) == 6
    assert first.state not in repr(first)
    assert "secret" not in first.url
    assert psc_peer.calls["token"] == 0


async def test_a_refusal_in_the_browser_is_told_in_french(psc: Psc, psc_peer: PscPeer) -> None:
    request = await psc.begin_code()
    with pytest.raises(SignInError, match="access_denied") as refused:
        await psc.finish_code(request, {"state": request.state, "error": "access_denied"})
    assert "refusée" in refused.value.hint
    assert psc_peer.calls["token"] == 0


async def test_an_answer_is_taken_once(psc: Psc, psc_peer: PscPeer, pki: Pki) -> None:
    psc_peer.auto_approve = MEDECIN
    request = await psc.begin_code()
    answer = await visit(request.url, pki)
    await psc.finish_code(request, answer)
    with pytest.raises(SignInError, match="state_used"):
        await psc.finish_code(request, answer)
    assert psc_peer.calls["token"] == 1


async def test_an_answer_to_another_browsers_question_is_refused(psc: Psc, psc_peer: PscPeer, pki: Pki) -> None:
    psc_peer.auto_approve = MEDECIN
    attackers, victims = await psc.begin_code(), await psc.begin_code()
    answer = await visit(attackers.url, pki)
    for held in (victims, None):
        with pytest.raises(SignInError, match="state_mismatch"):
            await psc.finish_code(held, answer)
    with pytest.raises(SignInError, match="state_mismatch"):
        await psc.finish_code(victims, {**answer, "state": "\udcff"})
    assert psc_peer.calls["token"] == 0


async def test_an_answer_of_another_issuer_is_refused(psc: Psc, psc_peer: PscPeer, pki: Pki) -> None:
    psc_peer.auto_approve = MEDECIN
    request = await psc.begin_code()
    answer = await visit(request.url, pki)
    with pytest.raises(TrustError):
        await psc.finish_code(request, {**answer, "iss": "https://elsewhere.invalid"})
    assert psc_peer.calls["token"] == 0


async def test_an_injected_code_is_stopped_by_the_verifier(psc: Psc, psc_peer: PscPeer, pki: Pki) -> None:
    psc_peer.auto_approve = MEDECIN
    stolen = await visit((await psc.begin_code()).url, pki)
    request = await psc.begin_code()
    with pytest.raises(SignInError, match="invalid_grant"):
        await psc.finish_code(request, {**stolen, "state": request.state})


async def test_an_answer_after_ten_minutes_or_by_a_clock_set_back_is_refused(
    psc_settings: config.Psc, psc_identity: PscIdentity, psc_peer: PscPeer, pki: Pki, tmp_path: Path
) -> None:
    clock = Clock()
    async with Psc(psc_settings, psc_identity, tmp_path, clock, retry_waits_s=()) as psc:
        for ahead in (timedelta(minutes=11), timedelta(hours=-1)):
            clock.ahead = timedelta()
            request = await psc.begin_code()
            clock.ahead = ahead
            with pytest.raises(SignInError, match="too_late"):
                await psc.finish_code(request, {"state": request.state, "code": "x"})


# Identity tokens


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forged_identity_token_signs_nobody_in(psc: Psc, psc_peer: PscPeer, pki: Pki, forgery: str) -> None:
    psc_peer.forgery = forgery
    with pytest.raises((TrustError, NetworkError)) as refused:
        await sign_in(psc, psc_peer, pki)
    assert refused.value.hint
    assert psc_peer.calls["userinfo"] == 0
    psc_peer.forgery = ""
    assert (await sign_in(psc, psc_peer, pki)).person.id_nat == MEDECIN


@pytest.mark.parametrize("hours", [-2, 2])
async def test_a_wrong_clock_is_named_as_such(
    psc_settings: config.Psc, psc_identity: PscIdentity, psc_peer: PscPeer, pki: Pki, tmp_path: Path, hours: int
) -> None:
    clock = Clock()
    clock.ahead = timedelta(hours=hours)
    async with Psc(psc_settings, psc_identity, tmp_path, clock, retry_waits_s=()) as psc:
        with pytest.raises(TrustError) as refused:
            await sign_in(psc, psc_peer, pki)
        assert "horloge" in refused.value.hint


async def test_a_rotated_key_is_fetched_at_once_and_a_revoked_one_forgotten(
    psc: Psc, psc_peer: PscPeer, pki: Pki
) -> None:
    await sign_in(psc, psc_peer, pki)
    psc_peer.rotate()
    await sign_in(psc, psc_peer, pki)
    await sign_in(psc, psc_peer, pki)
    assert psc_peer.calls["jwks"] == 2
    old = psc_peer.keys[1]
    psc_peer.rotate(keep=False)
    await sign_in(psc, psc_peer, pki)
    psc_peer.keys = [old]
    psc_peer.fault, psc_peer.fault_at = Fault.DOWN, {"jwks"}
    with pytest.raises(NetworkError):
        await sign_in(psc, psc_peer, pki)


async def test_strangers_keys_do_not_make_the_box_hammer_the_server(psc: Psc, psc_peer: PscPeer, pki: Pki) -> None:
    await sign_in(psc, psc_peer, pki)
    psc_peer.forgery = "unknown-kid"
    for _ in range(5):
        with pytest.raises(TrustError, match="does not publish"):
            await sign_in(psc, psc_peer, pki)
    assert psc_peer.calls["jwks"] == 2


@pytest.mark.parametrize("fault", [Fault.MANY_KEYS, Fault.PRIVATE_KEY, Fault.SYMMETRIC_KEY])
async def test_a_key_set_that_is_not_one_signs_nobody_in(psc: Psc, psc_peer: PscPeer, pki: Pki, fault: Fault) -> None:
    psc_peer.fault = fault
    with pytest.raises((TrustError, NetworkError)):
        await sign_in(psc, psc_peer, pki)


# Userinfo


async def test_userinfo_of_somebody_else_is_refused(psc: Psc, psc_peer: PscPeer, pki: Pki) -> None:
    psc_peer.fault, psc_peer.fault_at = Fault.OTHER_PERSON, {"userinfo"}
    with pytest.raises(TrustError, match="another person"):
        await sign_in(psc, psc_peer, pki)


async def test_userinfo_of_nobody_is_refused(psc: Psc, psc_peer: PscPeer, pki: Pki) -> None:
    psc_peer.fault, psc_peer.fault_at = Fault.NOBODY, {"userinfo"}
    with pytest.raises(SignInError, match="no_identity"):
        await sign_in(psc, psc_peer, pki)


async def test_a_token_that_died_before_userinfo_is_renewed_once(psc: Psc, psc_peer: PscPeer, pki: Pki) -> None:
    psc_peer.token_life_s = 0
    psc_peer.forgery = ""
    with pytest.raises((SignInError, TrustError)):
        await sign_in(psc, psc_peer, pki)
    assert (psc_peer.calls["token"], psc_peer.calls["userinfo"]) == (2, 2)


async def test_less_than_what_was_asked_is_refused(psc: Psc, psc_peer: PscPeer, pki: Pki) -> None:
    psc_peer.fault, psc_peer.fault_at = Fault.NO_SCOPE, {"token"}
    with pytest.raises(SignInError, match="scope_missing"):
        await sign_in(psc, psc_peer, pki)


async def test_no_identity_token_no_sign_in(psc: Psc, psc_peer: PscPeer, pki: Pki) -> None:
    psc_peer.fault, psc_peer.fault_at = Fault.NO_ID_TOKEN, {"token"}
    with pytest.raises(TrustError):
        await sign_in(psc, psc_peer, pki)


# CIBA


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


# The session


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
    clock = Clock()
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
    clock = Clock()
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


# The far side is away, or is not there


@pytest.mark.parametrize(
    "fault",
    [Fault.DOWN, Fault.GATEWAY, Fault.RESET, Fault.HANG, Fault.TOO_MANY, Fault.CAPTIVE_PORTAL, Fault.PORTAL_AS_JSON,
     Fault.REDIRECT, Fault.HUGE, Fault.NOT_JSON, Fault.DUPLICATE_KEYS, Fault.LIST, Fault.EMPTY],
)  # fmt: skip
@pytest.mark.parametrize("where", ["discovery", "token", "jwks", "userinfo"])
async def test_no_answer_signs_nobody_in_and_the_next_try_works(
    psc_settings: config.Psc,
    psc_identity: PscIdentity,
    psc_peer: PscPeer,
    pki: Pki,
    tmp_path: Path,
    fault: Fault,
    where: str,
) -> None:
    quick = psc_settings.model_copy(update={"timeout_s": 0.7})
    async with Psc(quick, psc_identity, tmp_path / "psc", retry_waits_s=()) as psc:
        psc_peer.fault, psc_peer.fault_at = fault, {where}
        with pytest.raises((NetworkError, TrustError)) as refused:
            await sign_in(psc, psc_peer, pki)
        assert refused.value.hint
        psc_peer.fault = None
        assert (await sign_in(psc, psc_peer, pki)).person.id_nat == MEDECIN


async def test_a_captive_portal_is_told_from_an_outage(psc: Psc, psc_peer: PscPeer) -> None:
    psc_peer.fault = Fault.CAPTIVE_PORTAL
    with pytest.raises(NetworkError) as refused:
        await psc.begin_code()
    assert "portail" in refused.value.hint
    psc_peer.fault = Fault.DOWN
    with pytest.raises(NetworkError) as refused:
        await psc.begin_code()
    assert "injoignable" in refused.value.hint


async def test_what_passes_is_tried_again(
    psc_settings: config.Psc, psc_identity: PscIdentity, psc_peer: PscPeer, pki: Pki, tmp_path: Path
) -> None:
    async with Psc(psc_settings, psc_identity, tmp_path / "psc", retry_waits_s=(0.01, 0.01, 0.01)) as psc:
        psc_peer.fail(Fault.GATEWAY, times=3)
        assert (await sign_in(psc, psc_peer, pki)).person.id_nat == MEDECIN
        assert psc_peer.calls["discovery"] == 4


async def test_a_client_that_is_refused_is_the_administrators_matter(psc: Psc, psc_peer: PscPeer, pki: Pki) -> None:
    psc_peer.structures = set()
    with pytest.raises(CredentialError) as refused:
        await sign_in(psc, psc_peer, pki)
    assert not isinstance(refused.value, SignInError)
    assert "psc.client_id" in refused.value.hint


async def test_a_server_that_is_not_trusted_is_not_spoken_to(
    psc_settings: config.Psc, keys: StructurePaths, psc_peer: PscPeer, tmp_path: Path
) -> None:
    other = Pki(tmp_path / "other")
    identity = PscIdentity(keys.auth_certificate, keys.auth_key, other.authority)
    async with Psc(psc_settings, identity, tmp_path / "psc", retry_waits_s=()) as psc:
        with pytest.raises(TrustError) as refused:
            await psc.begin_code()
        assert "psc.authority" in refused.value.hint
    assert not psc_peer.calls


async def test_an_expired_certificate_is_not_shown(
    psc_settings: config.Psc, pki: Pki, psc_peer: PscPeer, tmp_path: Path
) -> None:
    old = pki.leaf(Family.ORG_AUTH_CLI, "10B0127189", not_after=datetime.now(UTC) - timedelta(days=1))
    async with Psc(psc_settings, PscIdentity(old.certificate, old.key, pki.authority), tmp_path / "psc") as psc:
        with pytest.raises(CredentialError) as refused:
            await psc.begin_code()
        assert "remplacez-le" in refused.value.hint
    assert not psc_peer.calls


# Discovery


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


# The certificate


async def test_a_renewed_certificate_is_taken_and_a_wrong_one_is_not(
    psc_settings: config.Psc, pki: Pki, psc_peer: PscPeer, tmp_path: Path
) -> None:
    first = pki.leaf(Family.ORG_AUTH_CLI, "10B0127189")
    second = pki.leaf(Family.ORG_AUTH_CLI, "10B0127189", organisation="APRES RENOUVELLEMENT")
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    shutil.copy(first.certificate, certificate)
    shutil.copy(first.key, key)
    identity = PscIdentity(certificate, key, pki.authority)
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
    PscIdentity(own.certificate, own.key, pki.authority, "passevue-cabinet").load()
    for certificate, key, client_id, setting in (
        (keys.sign_certificate, keys.sign_key, "", "psc.certificate"),
        (server.certificate, server.key, "", "psc.certificate"),
        (own.certificate, own.key, "another", "psc.client_id"),
        (own.certificate, keys.auth_key, "", "psc.certificate"),
        (Path("/nowhere"), own.key, "", "psc.certificate"),
    ):
        with pytest.raises(ConfigError) as refused:
            PscIdentity(certificate, key, pki.authority, client_id).load()
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


# What is written down


async def test_no_token_code_or_identity_is_logged_or_shown(psc: Psc, psc_peer: PscPeer, pki: Pki) -> None:
    with structlog.testing.capture_logs() as lines:
        session = await sign_in(psc, psc_peer, pki)
        token = await session.access_token()
        psc_peer.forgery = "wrong-aud"
        with pytest.raises(BoxError) as refused:
            await sign_in(psc, psc_peer, pki)
        psc_peer.fault = Fault.DOWN
        with pytest.raises(BoxError):
            await session.end()
        with pytest.raises(BoxError):
            await psc.introspect(token)
    shown = str(lines) + str(refused.value) + repr(session.person) + repr(session.token) + repr(session)
    person = psc_peer.people[MEDECIN]
    for secret in (token, token[-40:], MEDECIN, person.family, person.given, psc_peer.sessions[0].refresh):
        assert secret not in shown


# The peer's own page


async def test_the_peers_page_lets_a_person_choose_or_refuse(psc: Psc, psc_peer: PscPeer, pki: Pki) -> None:
    for login, names in (("899700000025", {"state", "iss", "session_state", "code"}), ("", {"state", "iss", "error"})):
        request = await psc.begin_code()
        answer = await choose(request.url, login, pki)
        assert set(answer) == names
        if login:
            assert (await psc.finish_code(request, answer)).person.id_nat == login
        else:
            with pytest.raises(SignInError, match="access_denied"):
                await psc.finish_code(request, answer)
