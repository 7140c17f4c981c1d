"""Any body is a form of ours or refused; codes are bytes that can be overwritten."""

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue.status.form import MAX_FIELDS, read_form
from passevue.status.wiping import wipe


def test_fields_are_read_as_a_browser_writes_them() -> None:
    form = read_form(bytearray(b"why=R%C3%A9pondu+hier%21&number=42&empty="))
    assert (form.text("why"), form.number("number"), form.text("empty"), form.text("absent")) == (
        "Répondu hier!", 42, "", "",
    )  # fmt: skip


def test_secrets_are_apart_and_wiped() -> None:
    body = bytearray(b"token=t&pin=12%334&other=x")
    form = read_form(body, ("pin",))
    pin = form.secret("pin")
    assert pin == b"1234"
    assert form.text("pin") == ""
    form.wipe()
    assert pin == b"\0\0\0\0"
    wipe(body)
    assert not any(body)


@pytest.mark.parametrize(
    "body",
    [b"a=1&a=2", b"pin=1&pin=2", b"%61=1", b"A=1", b"=1", b"a=%ff", b"a" * 21 + b"=1", b"\x00=1",
     b"&".join(b"a%c=1" % c for c in b"") + b"&".join(bytes([97 + n // 26, 97 + n % 26]) + b"=1"
                                                       for n in range(MAX_FIELDS + 1))],
)  # fmt: skip
def test_what_is_no_form_of_ours_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        read_form(bytearray(body), ("pin",))


@pytest.mark.parametrize(("text", "number"), [("7", 7), ("-1", None), ("1e9", None), ("٣", None), ("1" * 13, None)])
def test_numbers_are_plain_digits(text: str, number: int | None) -> None:
    assert read_form(bytearray(urlencode({"n": text}).encode())).number("n") == number


def test_control_characters_do_not_reach_a_log_or_a_terminal() -> None:
    assert read_form(bytearray(b"why=a%0d%0ab%1b%5b31m%00")).text("why") == "ab[31m"


@given(st.binary(max_size=400))
def test_any_bytes_are_a_form_or_refused(body: bytes) -> None:
    try:
        form = read_form(bytearray(body), ("pin",))
    except ValueError:
        return
    form.wipe()
    assert not any(form.secret("pin"))


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,20}", fullmatch=True), st.text(max_size=50), max_size=MAX_FIELDS))
def test_what_a_browser_encodes_comes_back(fields: dict[str, str]) -> None:
    try:
        body = bytearray(urlencode(fields).encode())
    except UnicodeEncodeError:
        return
    form = read_form(body, tuple(fields))
    assert {name: form.secret(name).decode() for name in fields} == fields
