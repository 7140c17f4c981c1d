"""MLLP framing: whole, byte by byte, with something trailing, and all that is not MLLP (reliability N-01, F-14)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue.errors import Unreadable
from passevue.intake.mllp_frames import HEAD, MAX_JUNK, Frame, Framer

SB, EB = b"\x0b", b"\x1c\r"
BOUND = 100


def fed(*pieces: bytes, bound: int = BOUND) -> list[bytes]:
    framer = Framer(bound)
    return [frame.content for piece in pieces for frame in framer.feed(piece)]


def one_by_one(data: bytes) -> list[bytes]:
    return [data[n : n + 1] for n in range(len(data))]


def test_a_message_comes_out_whole_however_it_is_cut():
    data = SB + b"MSH|one" + EB
    assert fed(data) == [b"MSH|one"]
    assert fed(*one_by_one(data)) == [b"MSH|one"]
    for cut in range(len(data)):
        assert fed(data[:cut], data[cut:]) == [b"MSH|one"]


def test_messages_in_one_segment_come_out_in_their_order():
    data = SB + b"one" + EB + SB + b"two" + EB + b"\r\n" + SB + b"three" + EB
    assert fed(data) == [b"one", b"two", b"three"]
    assert fed(*one_by_one(data)) == [b"one", b"two", b"three"]


def test_what_trails_a_message_is_dropped_and_the_next_one_served():
    framer = Framer(BOUND)
    assert [f.content for f in framer.feed(SB + b"one" + EB + b"junk" + SB + b"two" + EB)] == [b"one", b"two"]
    assert framer.junk == 4


def test_blanks_between_messages_are_no_junk():
    framer = Framer(BOUND)
    framer.feed(b"\r\n \t\x00" * MAX_JUNK)
    assert framer.junk == 0


def test_a_message_cut_before_its_end_is_never_given():
    data = SB + b"MSH|one" + EB
    for cut in range(len(data)):
        assert fed(data[:cut]) == []


def test_several_start_blocks_are_one():
    assert fed(SB + SB + SB + b"one" + EB) == [b"one"]
    assert fed(SB, SB, SB + b"one" + EB) == [b"one"]


def test_a_start_block_inside_stays_in_the_message_for_its_reader_to_refuse():
    assert fed(SB + b"on" + SB + b"e" + EB) == [b"on" + SB + b"e"]


@pytest.mark.parametrize("cut", [True, False])
def test_an_end_block_without_cr_ends_the_message_when_the_next_one_begins(cut):
    data = SB + b"one\x1c" + SB + b"two" + EB
    assert fed(*(one_by_one(data) if cut else [data])) == [b"one", b"two"]


@pytest.mark.parametrize("cut", [True, False])
def test_an_end_block_with_a_line_feed_ends_the_message(cut):
    data = SB + b"one\x1c\n" + SB + b"two" + EB
    assert fed(*(one_by_one(data) if cut else [data])) == [b"one", b"two"]


def test_an_end_block_before_anything_else_does_not_end_half_a_message():
    assert fed(SB + b"half\x1cthe other half" + EB) == [b"half\x1cthe other half"]
    assert fed(*one_by_one(SB + b"half\x1cthe other half" + EB)) == [b"half\x1cthe other half"]


def test_nothing_after_an_end_block_is_no_end_yet():
    framer = Framer(BOUND)
    assert framer.feed(SB + b"one\x1c") == []
    assert framer.inside


def test_an_empty_message_is_given_empty():
    assert fed(SB + EB) == [b""]


@pytest.mark.parametrize(("size", "whole"), [(BOUND - 1, True), (BOUND, True), (BOUND + 1, False), (BOUND * 50, False)])
@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_the_bound_holds_at_one_less_itself_and_one_more(size, whole, piece):
    data = SB + b"x" * size + EB
    framer = Framer(BOUND)
    frames = [f for start in range(0, len(data), piece) for f in framer.feed(data[start : start + piece])]
    assert [frame.whole for frame in frames] == [whole]
    assert framer.feed(SB + b"next" + EB) == [Frame(b"next")]


def test_a_message_that_never_ends_is_not_held():
    framer = Framer(64 << 10)
    framer.feed(SB + b"MSH|head")
    for _ in range(100):
        assert framer.feed(b"x" * (64 << 10)) == []
    assert framer.inside
    assert framer.held <= HEAD + 1
    (frame,) = framer.feed(EB)
    assert not frame.whole
    assert frame.content.startswith(b"MSH|head")
    assert len(frame.content) == HEAD


@pytest.mark.parametrize(("size", "taken"), [(MAX_JUNK - 1, True), (MAX_JUNK, True), (MAX_JUNK + 1, False)])
def test_a_far_side_that_does_not_speak_mllp_is_told_from_one_that_stumbled(size, taken):
    framer = Framer(BOUND)
    if taken:
        assert framer.feed(b"G" * size + SB + b"one" + EB) == [Frame(b"one")]
    else:
        with pytest.raises(Unreadable):
            framer.feed(b"G" * size + SB + b"one" + EB)


def test_end_blocks_without_end_are_searched_once():
    """16 MiB of 0x1C, as fast as 16 MiB of anything: each is looked at once."""
    framer = Framer(16 << 20)
    framer.feed(SB)
    for _ in range(256):
        framer.feed(b"\x1c" * (64 << 10))
    assert framer.held == 16 << 20


@given(st.lists(st.binary(max_size=60)), st.lists(st.integers(1, 40), min_size=1))
def test_any_bytes_give_the_same_messages_however_they_are_cut(pieces, cuts):
    data = b"".join(pieces)
    again, start = [], 0
    while start < len(data):
        size = cuts[len(again) % len(cuts)]
        again.append(data[start : start + size])
        start += size
    assert fed(data) == fed(*again) == fed(*one_by_one(data))


@given(st.lists(st.one_of(st.binary(max_size=20), st.sampled_from([SB, b"\x1c", b"\r", b"\n", EB, SB + b"MSH|" + EB]))))
def test_the_next_good_message_is_served_after_any_bytes(pieces):
    framer = Framer(BOUND)
    for piece in pieces:
        framer.feed(piece)
    if framer.inside:
        framer.feed(EB)
    assert framer.feed(SB + b"good" + EB)[-1] == Frame(b"good")
