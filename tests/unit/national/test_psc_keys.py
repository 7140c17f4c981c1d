"""The key set: bounds, what is passed over, and when it is asked for again."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue.errors import BoxError, NetworkError, TrustError, Unreadable
from passevue.national.psc_discovery import read_discovery
from passevue.national.psc_keys import ASK_AGAIN_AFTER_S, KEPT_FOR_S, KeyRing, read_keys
from tests.peers.psc_tokens import SigningKey

ONE, TWO = SigningKey.new("k1"), SigningKey.new("k2")
SAMPLES = Path(__file__).parents[2] / "samples/psc"


class Source:
    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = [ONE.jwk()]
        self.calls = 0
        self.at = 0.0
        self.away = False

    async def fetch(self) -> Mapping[str, Any]:
        self.calls += 1
        if self.away:
            raise NetworkError("away")
        return {"keys": self.keys}


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def ring(source: Source) -> KeyRing:
    return KeyRing(source.fetch, lambda: source.at)


def test_a_set_with_a_secret_is_refused_whole() -> None:
    for secret in (TWO.private_jwk(), {"kty": "oct", "k": "c2VjcmV0"}, {**TWO.jwk(), "p": "AQAB"}):
        with pytest.raises(TrustError):
            read_keys({"keys": [ONE.jwk(), secret]})


def test_a_set_without_bounds_is_refused() -> None:
    with pytest.raises(Unreadable):
        read_keys({"keys": [{**ONE.jwk(), "kid": str(number)} for number in range(10_000)]})
    with pytest.raises(TrustError):
        read_keys({"keys": [ONE.jwk(), {**TWO.jwk(), "kid": "k1"}]})
    for wrong in ({}, {"keys": {}}, {"keys": [1]}, {"keys": None}):
        with pytest.raises(Unreadable):
            read_keys(wrong)


def test_what_does_not_sign_or_is_weak_is_passed_over() -> None:
    weak = {
        **ONE.jwk(),
        "kid": "weak",
        "n": "wVKQLBUqOBiay2dkn9TlbfuaF40_edIKUmdLq6OlvzEMrP4IDzdOk50TMO0nfjJ6v5830_5x0vRg5bzZQeKpHw",
    }
    others = [
        {**ONE.jwk(), "kid": "enc", "use": "enc"},
        {"kty": "OKP", "crv": "Ed25519", "x": "x", "kid": "ed"},
        weak,
        {**ONE.jwk(), "kid": "ops", "key_ops": ["encrypt"]},
        {"kty": "EC", "crv": "secp256k1", "kid": "k"},
    ]
    assert set(read_keys({"keys": [ONE.jwk(), *others]})) == {"k1"}


async def test_a_new_name_is_asked_for_at_once_and_an_unknown_one_seldom(ring: KeyRing, source: Source) -> None:
    await ring.key("k1")
    source.keys = [TWO.jwk()]
    await ring.key("k2")
    assert source.calls == 2
    for _ in range(10):
        with pytest.raises(TrustError):
            await ring.key("k1")
    assert source.calls == 3
    source.at += ASK_AGAIN_AFTER_S
    with pytest.raises(TrustError):
        await ring.key("k1")
    assert source.calls == 4


async def test_keys_are_asked_for_again_after_an_hour_and_kept_while_nobody_answers(
    ring: KeyRing, source: Source
) -> None:
    await ring.key("k1")
    source.at += KEPT_FOR_S + 1
    source.away = True
    await ring.key("k1")
    await ring.key("k1")
    assert source.calls == 2
    source.away, source.at = False, source.at + ASK_AGAIN_AFTER_S
    await ring.key("k1")
    assert source.calls == 3


async def test_a_set_that_turns_evil_is_forgotten(ring: KeyRing, source: Source) -> None:
    await ring.key("k1")
    source.keys = [ONE.jwk(), TWO.private_jwk()]
    with pytest.raises(TrustError):
        await ring.key("k2")
    with pytest.raises(TrustError):
        await ring.key("k1")


async def test_a_token_without_name_is_of_the_only_key(ring: KeyRing, source: Source) -> None:
    assert await ring.key("") is await ring.key("k1")
    source.keys.append(TWO.jwk())
    await ring.key("k2")
    with pytest.raises(TrustError):
        await ring.key("")


members = st.dictionaries(
    st.sampled_from(["kty", "crv", "n", "e", "x", "y", "kid", "use", "key_ops", "alg"]),
    st.sampled_from(
        ["RSA", "EC", "P-256", "AQAB", "", "\x00", "é", "k1", "sig", "AQ" * 2000, 1, None, [], ["verify"], {}]
    ),
)


@given(st.dictionaries(st.just("keys"), st.lists(members, max_size=4)))
def test_any_set_is_read_or_refused_as_ours(found: dict[str, Any]) -> None:
    with suppress(BoxError):
        read_keys(found)


# Discovery


def _published() -> dict[str, Any]:
    text = (SAMPLES / "discovery_demonstrateur.json").read_text().replace("http://", "https://")
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_published_document_is_read_once_its_addresses_are_https() -> None:
    found = _published()
    endpoints = read_discovery(found, found["issuer"])
    assert endpoints.userinfo.startswith("https://auth.bas.psc.esante.gouv.fr/")
    assert endpoints.ciba.endswith("/ext/ciba/auth")
    as_published = json.loads((SAMPLES / "discovery_mock_edc.json").read_text())
    with pytest.raises(Unreadable):
        read_discovery(as_published, as_published["issuer"])


def test_the_alias_for_mutual_tls_is_used() -> None:
    found = _published()
    found["mtls_endpoint_aliases"] = {"token_endpoint": "https://mtls.invalid/token"}
    endpoints = read_discovery(found, found["issuer"])
    assert endpoints.token == "https://mtls.invalid/token"
    assert endpoints.userinfo == found["userinfo_endpoint"]


@pytest.mark.parametrize(
    "issuer", ["", "https://172.27.34.134:4200/api-source", "HTTPS://172.27.34.134:4200/api-source/"]
)
def test_the_issuer_is_the_same_character_by_character(issuer: str) -> None:
    with pytest.raises(TrustError):
        read_discovery(_published(), issuer)


@pytest.mark.parametrize(
    "address",
    ["", "http://x/", "https://", "https:///x", "file:///etc/passwd", "https://u:p@x/", "https://x/#f", "https://[x/",
     "https://x:0/", "https://x:99999/", "https://é/", "https://x/\n", "javascript:alert(1)", 1, None, []],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(address: object) -> None:
    found = _published()
    found["token_endpoint"] = address
    found["mtls_endpoint_aliases"] = {}
    with pytest.raises(Unreadable):
        read_discovery(found, found["issuer"])
