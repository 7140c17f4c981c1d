"""Identity tokens in their own bytes: taken whole or refused, whatever is changed in them.

Every forgery of N-16 is tried on the whole sign-in in `test_psc.py`.
"""

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from passevue.errors import TrustError, Unreadable
from passevue.national.psc_keys import Key, read_keys
from passevue.national.psc_token import Expected, check_access_hash, key_id, parts_of, read_id_token
from tests.peers.psc_tokens import SigningKey

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
EXPECTED = Expected("https://psc.invalid/realm", "passevue", "eidas1", "the-nonce")


@cache
def signing() -> SigningKey:
    return SigningKey.new("k1")


@cache
def published() -> Key:
    return read_keys({"keys": [signing().jwk()]})["k1"]


def claims(**changes: Any) -> dict[str, Any]:
    at = int(NOW.timestamp())
    return {
        "iss": EXPECTED.issuer, "aud": "passevue", "azp": "passevue", "sub": "f:x:899700000017", "nonce": "the-nonce",
        "iat": at, "exp": at + 60, "auth_time": at - 30, "acr": "eidas3", "typ": "ID", **changes,
    }  # fmt: skip


def token(**changes: Any) -> str:
    return signing().sign(signing().header(), claims(**changes))


def test_a_good_one_is_taken_with_its_moment_of_authentication() -> None:
    found = read_id_token(token(), published(), "RS", EXPECTED, NOW)
    assert found.authenticated_at == NOW - timedelta(seconds=30)
    assert (found.sub, found.acr) == ("f:x:899700000017", "eidas3")
    assert "899700000017" not in repr(found)
    assert read_id_token(token(aud=["passevue"]), published(), "RS", EXPECTED, NOW)


def test_without_auth_time_the_issue_counts() -> None:
    found = read_id_token(token(auth_time=None), published(), "RS", EXPECTED, NOW)
    assert found.authenticated_at == NOW


@pytest.mark.parametrize(("seconds", "taken"), [(-9, True), (-11, False), (69, True), (70, False)])
def test_clocks_may_differ_by_ten_seconds(seconds: int, taken: bool) -> None:
    moment = NOW + timedelta(seconds=seconds)
    if taken:
        assert read_id_token(token(), published(), "RS", EXPECTED, moment)
    else:
        with pytest.raises(TrustError) as refused:
            read_id_token(token(), published(), "RS", EXPECTED, moment)
        assert "horloge" in refused.value.hint


@pytest.mark.parametrize(("acr", "asked", "taken"), [("eidas1", "eidas1", True), ("eidas3", "eidas2", True),
                                                     ("eidas1", "eidas2", False), ("EIDAS3", "eidas1", False),
                                                     ("", "eidas1", False)])  # fmt: skip
def test_the_level_is_at_least_the_one_asked(acr: str, asked: str, taken: bool) -> None:
    expected = Expected(EXPECTED.issuer, "passevue", asked, "the-nonce")
    if taken:
        read_id_token(token(acr=acr), published(), "RS", expected, NOW)
    else:
        with pytest.raises(TrustError, match="level"):
            read_id_token(token(acr=acr), published(), "RS", expected, NOW)


_KINDS = [{}, [], ["passevue", "x"], 1, True, "x", 10**30, "\x00"]
_HARMLESS = {("sub", "x"), ("sub", "\x00"), ("nbf", 1), ("auth_time", 1)}  # some account; a moment long ago


@pytest.mark.parametrize("name", ["iss", "aud", "azp", "sub", "nonce", "iat", "exp", "acr", "typ", "nbf", "auth_time"])
@pytest.mark.parametrize("value", _KINDS)
def test_a_claim_of_another_kind_is_refused(name: str, value: Any) -> None:
    harmless = isinstance(value, int | str) and value is not True and (name, value) in _HARMLESS
    with nullcontext() if harmless else pytest.raises((TrustError, Unreadable)):
        read_id_token(token(**{name: value}), published(), "RS", EXPECTED, NOW)


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_no_byte_of_it_can_be_changed(position: int, difference: int) -> None:
    good = token()
    raw = bytearray(good.encode())
    raw[position % len(raw)] ^= difference
    changed = raw.decode("latin-1")
    with pytest.raises((TrustError, Unreadable)):
        read_id_token(changed, published(), "RS", EXPECTED, NOW)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
def test_any_text_is_refused_as_ours(text: str) -> None:
    for read in (lambda: key_id(text, "RS"), lambda: parts_of(text)):
        with pytest.raises((TrustError, Unreadable)):
            read()
    with pytest.raises((TrustError, Unreadable)):
        read_id_token(text, published(), "RS", EXPECTED, NOW)


def test_every_family_is_taken_where_it_is_configured_and_nowhere_else() -> None:
    curve = ECKey.import_key(_pem(ec.generate_private_key(ec.SECP256R1())))
    plain = RSAKey.import_key(_pem(rsa.generate_private_key(65537, 2048)))
    made = {
        "ES": (jwt.encode({"alg": "ES256"}, claims(), curve), curve),
        "PS": (jwt.encode({"alg": "PS256"}, claims(), plain, algorithms=["PS256"]), plain),
        "RS": (jwt.encode({"alg": "RS256"}, claims(), plain), plain),
    }
    for signed_by, (text, key) in made.items():
        for configured in made:
            if configured == signed_by:
                assert key_id(text, configured) == ""
                assert read_id_token(text, key, configured, EXPECTED, NOW)
                continue
            for read in (lambda t=text, c=configured: key_id(t, c),
                         lambda t=text, k=key, c=configured: read_id_token(t, k, c, EXPECTED, NOW)):  # fmt: skip
                with pytest.raises(TrustError):
                    read()


def test_a_curve_that_is_not_the_algorithms_is_refused() -> None:
    wide = ECKey.import_key(_pem(ec.generate_private_key(ec.SECP384R1())))
    text = jwt.encode({"alg": "ES384"}, claims(), wide, algorithms=["ES384"])
    assert read_id_token(text, wide, "ES", EXPECTED, NOW)
    with pytest.raises(TrustError):
        read_id_token(text, ECKey.import_key(_pem(ec.generate_private_key(ec.SECP256R1()))), "ES", EXPECTED, NOW)


def test_the_access_token_is_the_one_that_came_with_it() -> None:
    # OpenID Connect Core § A.3: this access token has this at_hash.
    good = token(at_hash="77QmUPtjPfzWtF2AnpK9RQ")
    check_access_hash(good, "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y")
    with pytest.raises(TrustError):
        check_access_hash(good, "another")
    check_access_hash(token(), "whatever")


def _pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization as s

    return key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
