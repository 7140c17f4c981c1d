"""Tokens that strangers show: asked once, believed for seconds, refused whenever in doubt (reliability N-17)."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue import config
from passevue.errors import BoxError, CredentialError, NetworkError, SignInError, TrustError
from passevue.national.psc import Psc
from passevue.national.psc_identity import PscIdentity
from passevue.national.psc_introspection import MAX_KEPT, Introspector, read_introspection
from tests.peers.pki import Pki
from tests.peers.psc import Fault, PscPeer
from tests.unit.national.psc_browser import MEDECIN, sign_in

SAMPLES = Path(__file__).parents[2] / "samples/psc"
ACTIVE: dict[str, Any] = json.loads((SAMPLES / "introspection_active_medecin.json").read_text())
ISSUER = "https://auth.bas.esw.esante.gouv.fr/auth/realms/esante-wallet"


@pytest.fixture
async def token(psc: Psc, psc_peer: PscPeer, pki: Pki) -> str:
    return await (await sign_in(psc, psc_peer, pki)).access_token()


def then() -> datetime:
    return datetime.fromtimestamp(ACTIVE["iat"] + 10, UTC)


def test_the_published_answers_are_read() -> None:
    found = read_introspection(ACTIVE, ISSUER, then())
    assert (found.id_nat, found.client_id, found.acr) == ("899700218896", "ans-poc-bas-psc", "eidas3")
    with pytest.raises(SignInError, match="token_inactive"):
        read_introspection(json.loads((SAMPLES / "introspection_inactive.json").read_text()), ISSUER, then())


_WRONG: list[dict[str, Any]] = [
    {"active": "true"}, {"active": 1}, {"active": None}, {"exp": None}, {"exp": True}, {"exp": 1}, {"exp": 10**30},
    {"iss": ""}, {"iss": None}, {"iss": ISSUER + "/"}, {"scope": ""}, {"scope": None}, {"scope": "scope_all2"},
    {"scope": ["scope_all"]}, {"nbf": 4102444800}, {"iat": 4102444800}, {"typ": "Refresh"}, {"typ": "ID"},
    {"username": "899700000025"}, {"sub": "f:x:899700000025"}, {"username": {}},
]  # fmt: skip


@pytest.mark.parametrize("wrong", _WRONG, ids=str)
def test_an_answer_that_is_not_whole_is_a_refusal(wrong: dict[str, Any]) -> None:
    with pytest.raises(BoxError):
        read_introspection({**ACTIVE, **wrong}, ISSUER, then())


odd = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just([]) | st.just({})


@given(st.dictionaries(st.sampled_from([*ACTIVE]), odd))
def test_any_answer_is_read_or_refused_as_ours(changes: dict[str, Any]) -> None:
    with suppress(BoxError):
        assert read_introspection({**ACTIVE, **changes}, ISSUER, then()).id_nat


async def test_a_live_token_is_somebodys(psc: Psc, psc_peer: PscPeer, token: str) -> None:
    found = await psc.introspect(token)
    assert (found.id_nat, found.client_id) == (MEDECIN, "passevue")
    assert found.until > datetime.now(UTC)


async def test_the_answer_is_kept_and_asked_once_for_all(psc: Psc, psc_peer: PscPeer, token: str) -> None:
    psc_peer.fail(Fault.SLOW)
    psc_peer.delay_s = 0.2
    found = await asyncio.gather(*(psc.introspect(token) for _ in range(100)))
    assert len(set(map(id, found))) == 1
    await psc.introspect(token)
    assert psc_peer.calls["introspection"] == 1


async def test_no_answer_is_never_a_yes(psc: Psc, psc_peer: PscPeer, token: str) -> None:
    for fault in (Fault.DOWN, Fault.CAPTIVE_PORTAL, Fault.PORTAL_AS_JSON, Fault.RESET, Fault.REDIRECT, Fault.HUGE,
                  Fault.NOT_JSON, Fault.DUPLICATE_KEYS, Fault.LIST):  # fmt: skip
        psc_peer.fault = fault
        with pytest.raises(NetworkError) as refused:
            await psc.introspect(token)
        assert refused.value.hint
    psc_peer.fault = None
    await psc.introspect(token)


@pytest.mark.parametrize(
    "fault",
    [Fault.ACTIVE_AS_TEXT, Fault.NO_EXP, Fault.NO_SCOPE, Fault.EXPIRED, Fault.WRONG_ISSUER, Fault.OTHER_PERSON,
     Fault.NOBODY, Fault.EMPTY],
)  # fmt: skip
async def test_an_answer_that_lies_is_a_refusal(psc: Psc, psc_peer: PscPeer, token: str, fault: Fault) -> None:
    psc_peer.fault, psc_peer.fault_at = fault, {"introspection"}
    for _ in range(2):
        with pytest.raises((SignInError, TrustError)) as refused:
            await psc.introspect(token)
        assert refused.value.hint
    assert psc_peer.calls["introspection"] == 1  # a refusal is kept too, for a while


async def test_our_own_refusal_is_not_the_strangers_fault(psc: Psc, psc_peer: PscPeer, token: str) -> None:
    psc_peer.fault, psc_peer.fault_at = Fault.INVALID_CLIENT, {"introspection"}
    answers = await asyncio.gather(*(psc.introspect(token) for _ in range(3)), return_exceptions=True)
    assert all(type(one) is CredentialError for one in answers)
    psc_peer.fault = None
    await psc.introspect(token)


async def test_what_is_no_token_is_refused_without_asking(psc: Psc, psc_peer: PscPeer) -> None:
    for wrong in ("", "x" * (1 << 20), "a b", "é", "x\n", "\x00"):
        with pytest.raises(SignInError):
            await psc.introspect(wrong)
    assert psc_peer.calls["introspection"] == 0
    with pytest.raises(SignInError, match="token_inactive"):
        await psc.introspect("opaque")


async def test_a_closed_connection_is_opened_again(psc: Psc, psc_peer: PscPeer, token: str) -> None:
    psc_peer.fail(Fault.RESET)
    assert (await psc.introspect(token)).id_nat == MEDECIN


async def test_the_connections_are_bounded(
    psc_settings: config.Psc, psc_identity: PscIdentity, psc_peer: PscPeer, tmp_path: Path
) -> None:
    few = psc_settings.model_copy(update={"max_connections": 3, "timeout_s": 20})
    async with Psc(few, psc_identity, tmp_path / "few") as psc:
        results = await asyncio.gather(*(psc.introspect(f"token{n}") for n in range(60)), return_exceptions=True)
        assert all(isinstance(one, SignInError) for one in results)
        assert psc_peer.calls["introspection"] == 60
        assert psc_peer.most_connections == 3


class Asked:
    """A far side in memory, for the cache alone."""

    def __init__(self) -> None:
        self.calls = 0
        self.seconds = 0.0
        self.life_s = 60.0
        self.failure: BoxError | None = None
        self.gate: asyncio.Event | None = None

    def clock(self) -> datetime:
        return then() + timedelta(seconds=self.seconds)

    async def ask(self, _: str) -> Mapping[str, Any]:
        self.calls += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        at = self.clock().timestamp()
        return {**ACTIVE, "iat": at, "exp": at + self.life_s}

    def introspector(self) -> Introspector:
        return Introspector(self.ask, ISSUER, self.clock, lambda: self.seconds)


@pytest.mark.parametrize(("life_s", "kept_s"), [(60.0, 30.0), (12.0, 12.0)])
async def test_kept_for_thirty_seconds_at_most_and_no_longer_than_the_token(life_s: float, kept_s: float) -> None:
    asked = Asked()
    asked.life_s = life_s
    cache = asked.introspector()
    await cache.introspect("t")
    asked.seconds = kept_s - 0.1
    await cache.introspect("t")
    assert asked.calls == 1
    asked.seconds = kept_s
    await cache.introspect("t")
    assert asked.calls == 2


async def test_a_clock_set_back_keeps_no_token_alive() -> None:
    asked = Asked()
    cache = Introspector(asked.ask, ISSUER, asked.clock, lambda: -asked.seconds)  # the wall goes back, time goes on
    await cache.introspect("t")
    asked.seconds = -31
    await cache.introspect("t")
    assert asked.calls == 2


async def test_who_asks_may_leave_and_the_next_one_asks() -> None:
    asked = Asked()
    asked.gate = asyncio.Event()
    cache = asked.introspector()
    first = asyncio.ensure_future(cache.introspect("t"))
    await asyncio.sleep(0)
    others = [asyncio.ensure_future(cache.introspect("t")) for _ in range(5)]
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0.01)
    asked.gate.set()
    assert {one.id_nat for one in await asyncio.gather(*others)} == {"899700218896"}
    assert asked.calls == 2


async def test_one_failure_is_everybodys_and_nobody_asks_again_in_turn() -> None:
    asked = Asked()
    asked.failure, asked.gate = NetworkError("away"), asyncio.Event()
    cache = asked.introspector()
    waiting = [asyncio.ensure_future(cache.introspect("t")) for _ in range(500)]
    await asyncio.sleep(0.01)
    asked.gate.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(one, NetworkError) for one in answers)
    assert asked.calls == 1
    assert len({id(one) for one in answers}) == 500


async def test_a_flood_is_refused_and_the_cache_does_not_grow() -> None:
    asked = Asked()
    asked.gate = asyncio.Event()
    cache = asked.introspector()
    waiting = [asyncio.ensure_future(cache.introspect(f"t{n}")) for n in range(1_200)]
    await asyncio.sleep(0.05)
    assert asked.calls == 1_000
    asked.gate.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(one, NetworkError) for one in answers) == 200
    for number in range(MAX_KEPT + 100):
        await cache.introspect(f"u{number}")
    assert len(cache._kept) == MAX_KEPT
