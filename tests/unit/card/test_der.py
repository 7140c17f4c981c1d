"""The lenient reader of what cards write."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passevue.card import der
from passevue.errors import CardFault


def test_values_follow_each_other_with_padding_between() -> None:
    found = der.values(bytes.fromhex("0000 0C03435053 00 FFFF 04020102 FFFFFF"))
    assert [(each.tag, each.value) for each in found] == [(0x0C, b"CPS"), (0x04, b"\x01\x02")]


def test_eight_unused_bits_are_an_empty_string() -> None:
    for content in ("030108", "03020800", "0301FF", "0300"):
        assert der.first(bytes.fromhex(content)).bits() == frozenset()


def test_named_bits_count_from_the_left() -> None:
    assert der.first(bytes.fromhex("0302040C")).bits() == frozenset()  # the four unused bits are cut
    assert der.first(bytes.fromhex("03020680")).bits() == {0}
    assert der.first(bytes.fromhex("0303060040")).bits() == {9}


def test_lengths_may_be_longer_than_they_need() -> None:
    assert der.first(bytes.fromhex("04820001AA")).value == b"\xaa"


def test_tags_may_have_three_bytes() -> None:
    assert der.first(bytes.fromhex("BF810103020101")).tag == 0xBF8101


@pytest.mark.parametrize(
    "wrong",
    ["04", "0405AA", "0480AA0000", "0485FFFFFFFFFF", "0483FFFFFF", "1F", "1F8080808001", "3084", ""],
)
def test_what_is_not_whole_is_a_fault(wrong: str) -> None:
    with pytest.raises(CardFault):
        der.first(bytes.fromhex(wrong))


def test_nesting_and_counts_are_bounded() -> None:
    deep = b""
    for _ in range(40):
        deep = b"\x30" + bytes([len(deep)]) + deep if len(deep) < 120 else deep

    def bottom(value: der.Tlv) -> der.Tlv:
        while inside := value.inside():
            value = inside[0]
        return value

    with pytest.raises(CardFault):
        bottom(der.first(deep))
    with pytest.raises(CardFault):
        der.values(b"\x04\x00" * 5000)
    with pytest.raises(CardFault):
        der.values(bytes(der.MOST_BYTES + 1))


def test_texts_of_older_cards_are_latin() -> None:
    assert der.first(b"\x0c\x02\xc3\xa9").text == "é"
    assert der.first(b"\x0c\x01\xe9").text == "é"
    assert der.first(b"\x0c\x04a\x00\x1bb").text == "ab"


def test_numbers_are_signed_and_bounded() -> None:
    assert der.first(b"\x02\x01\x81").number == -127
    for wrong in (b"\x02\x00", b"\x02\x09" + bytes(9)):
        with pytest.raises(CardFault):
            _ = der.first(wrong).number


def test_the_first_value_says_how_long_it_is() -> None:
    assert der.whole_length(bytes.fromhex("30820123")) == 0x127
    assert der.whole_length(b"\x30") is None


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_values_or_our_own_error(data: bytes) -> None:
    with suppress(CardFault):
        found = list(der.values(data))
        while found:
            each = found.pop()
            _ = each.bits(), each.text, each.truth, each.is_text
            if each.tag & 0x20:
                found += each.inside()
