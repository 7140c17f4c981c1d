"""Where keys are: RFC 7512 URIs, strictly read, with words for what is wrong."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue.config_keys import TokenKeyUri, WrongUri, read_key_uri

REST = "?module-path=/usr/lib/p11.so&pin-source=jeton.pin"


@pytest.mark.parametrize(
    ("text", "id_", "label"),
    [
        (f"pkcs11:token=passevue;object=auth{REST}", b"", "auth"),
        (f"pkcs11:object=auth;token=passevue;type=private{REST}", b"", "auth"),
        (f"pkcs11:token=passevue;id=%00%ff{REST}", b"\x00\xff", ""),
        (f"pkcs11:token=pass%65vue;object=cl%C3%A9%20A;id=%01{REST}", b"\x01", "clé A"),
    ],
)
def test_a_uri_names_one_key(text: str, id_: bytes, label: str) -> None:
    found = read_key_uri(text)
    assert found == TokenKeyUri(Path("/usr/lib/p11.so"), "passevue", id_, label, Path("jeton.pin"))


def test_the_pins_file_is_looked_for_among_the_credentials() -> None:
    found = read_key_uri(f"pkcs11:token=t;object=o{REST}")
    assert found.among(Path("/run/credentials")).pin == Path("/run/credentials/jeton.pin")
    absolute = read_key_uri("pkcs11:token=t;object=o?module-path=/p11.so&pin-source=file:/etc/pin")
    assert absolute.among(Path("/run/credentials")).pin == Path("/etc/pin")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("pkcs11:", "token"),
        (f"pkcs11:token=t{REST}", "object"),
        (f"pkcs11:object=o{REST}", "token"),
        (f"pkcs11:token=;object=o{REST}", "token"),
        ("pkcs11:token=t;object=o", "module-path"),
        ("pkcs11:token=t;object=o?module-path=/p11.so", "pin-source"),
        ("pkcs11:token=t;object=o?module-path=p11.so&pin-source=x", "commencer par /"),
        ("pkcs11:token=t;object=o?module-path=/p11.so&pin-value=1234", "ne s'écrit pas ici"),
        (f"pkcs11:token=t;object=o;pin-value=1234{REST}", "ne s'écrit pas ici"),
        (f"pkcs11:token=t;object=o;serial=12{REST}", "seuls"),
        (f"pkcs11:token=t;object=o;type=cert{REST}", "private"),
        (f"pkcs11:token=t;token=u;object=o{REST}", "deux fois"),
        (f"pkcs11:token=t;object=%ff{REST}", "UTF-8"),
        (f"pkcs11:token=t;object=a%00b{REST}", "interdit"),
        (f"pkcs11:token=a b;object=o{REST}", "sans espace"),
        (f"pkcs11:token={'t' * 1100};object=o{REST}", "attendue"),
    ],
)
def test_what_is_missing_unknown_or_malformed_is_said(text: str, word: str) -> None:
    with pytest.raises(WrongUri) as caught:
        read_key_uri(text)
    assert word in caught.value.hint
    assert "1234" not in caught.value.hint + str(caught.value)


@given(st.text(max_size=200) | st.text("pkcs11:tokenobjid=;&?%-/.", max_size=200))
def test_any_text_is_taken_or_refused(text: str) -> None:
    for one in (text, f"pkcs11:{text}", f"pkcs11:token=t;{text}{REST}"):
        with contextlib.suppress(WrongUri):
            found = read_key_uri(one)
            assert found.token
            assert found.id or found.object
