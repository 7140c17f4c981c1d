"""Sign-in by Pro Santé Connect against a real server of ours, by the browser: who is let in, and what goes wrong."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog

from passevue import config
from passevue.errors import BoxError, CredentialError, NetworkError, SignInError, TrustError
from passevue.national.psc import Psc
from passevue.national.psc_identity import PscIdentity
from tests.clocks import ShiftedClock
from tests.peers.pki import Family, Pki, StructurePaths
from tests.peers.psc import Fault, PscPeer
from tests.peers.psc_tokens import FORGERIES
from tests.peers.trusted import servers_of
from tests.unit.national.psc_browser import MEDECIN, choose, sign_in, visit

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
    clock = ShiftedClock()
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
    clock = ShiftedClock()
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
    identity = PscIdentity(keys.auth_certificate, keys.auth_key, servers_of(other))
    async with Psc(psc_settings, identity, tmp_path / "psc", retry_waits_s=()) as psc:
        with pytest.raises(TrustError) as refused:
            await psc.begin_code()
        assert "psc.authority" in refused.value.hint
    assert not psc_peer.calls


async def test_an_expired_certificate_is_not_shown(
    psc_settings: config.Psc, pki: Pki, psc_peer: PscPeer, tmp_path: Path
) -> None:
    old = pki.leaf(Family.ORG_AUTH_CLI, "10B0127189", not_after=datetime.now(UTC) - timedelta(days=1))
    async with Psc(psc_settings, PscIdentity(old.certificate, old.key, servers_of(pki)), tmp_path / "psc") as psc:
        with pytest.raises(CredentialError) as refused:
            await psc.begin_code()
        assert "remplacez-le" in refused.value.hint
    assert not psc_peer.calls


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
