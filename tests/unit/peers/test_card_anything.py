"""Whatever bytes a card is sent, it answers with a status, keeps its counters right and goes on."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.peers.card import Kind, Profile, VirtualCard

INSTRUCTIONS = [0xA4, 0xB0, 0xC0, 0xD6, 0x22, 0x24, 0x2A, 0x2C, 0x88, 0xCB]
SHAPED = st.builds(
    lambda cla, ins, p1, p2, data, le: bytes([cla, ins, p1, p2]) + (bytes([len(data)]) + data if data else b"") + le,
    st.sampled_from([0x00, 0x01, 0x10, 0x11, 0xA0]),
    st.sampled_from(INSTRUCTIONS),
    st.sampled_from([0x00, 0x02, 0x04, 0x08, 0x09, 0x3F, 0x41, 0x80, 0x81, 0x90, 0x9C, 0x9E]),
    st.sampled_from([0x00, 0x01, 0x04, 0x0C, 0x81, 0x86, 0x9A, 0xA0, 0xA4, 0xAA, 0xB6, 0xB8, 0xFF]),
    st.binary(max_size=40),
    st.binary(max_size=1),
)


@pytest.mark.parametrize("kind", list(Kind))
@settings(max_examples=80, deadline=None)
@given(commands=st.lists(st.one_of(SHAPED, st.binary(max_size=300)), max_size=12))
def test_any_command_gets_a_status_and_the_card_goes_on(kind: Kind, commands: list[bytes]) -> None:
    card = VirtualCard(Profile(kind=kind))
    for command in commands:
        assert len(card.answer(command)) >= 2
    card.power()
    assert card.answer(bytes.fromhex("00A40904043F00D003"))[-2] in (0x61, 0x90, 0x6A, 0x6E)
