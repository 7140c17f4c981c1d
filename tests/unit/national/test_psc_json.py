"""JSON from outside: one meaning or none, in bounds (reliability N-16)."""

import json
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from passevue.errors import Unreadable
from passevue.national.psc_json import MAX_BYTES, MAX_DEPTH, moment, read_object, seconds, strings, text


def nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 1, "a": 2}',
        b'{"x": {"a": 1, "a": 1}}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"\xef\xbb\xbf{}",
        b'{"a": "\xff"}',
        b"[]",
        b"null",
        b'"x"',
        b"",
        b"{}{}",
        b"[" * 100_000,
        nested(MAX_DEPTH + 1),
        b'{"a": "' + b"x" * MAX_BYTES + b'"}',
    ],
)
def test_what_has_two_meanings_or_no_bound_is_refused(data: bytes) -> None:
    with pytest.raises(Unreadable):
        read_object(data)


def test_what_is_in_bounds_is_read() -> None:
    assert read_object(nested(MAX_DEPTH))
    assert read_object(b'{"a": "\xc3\xa9", "b": "\\ud83d\\ude00"}') == {"a": "é", "b": "😀"}


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_an_object_or_our_own_error(data: bytes) -> None:
    with suppress(Unreadable):
        assert isinstance(read_object(data), dict)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(values)
@example(float("nan"))  # seldom drawn, as the next
@example(10**400)
def test_any_value_is_of_the_type_asked_or_our_own_error(value: object) -> None:
    for read, kinds in ((text, str), (strings, tuple), (moment, (float, type(None)))):
        with suppress(Unreadable):
            assert isinstance(read({"x": value}, "x"), kinds)
    with suppress(Unreadable):
        assert 0 <= seconds({"x": value}, "x", 1, 60) <= 60


def test_true_is_no_number_and_text_no_moment() -> None:
    for wrong in (True, "1", -1, 1e12, [1]):
        with pytest.raises(Unreadable):
            moment({"exp": wrong}, "exp")
    assert moment(json.loads('{"exp": 1628250495}'), "exp") == 1628250495.0
    assert moment({}, "exp") is None
