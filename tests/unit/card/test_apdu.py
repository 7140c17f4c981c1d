"""Commands and answers as bytes: T=0, T=1, what the card holds back, chains, bounds, masking."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passevue.card.apdu import (
    MOST_EXCHANGES,
    MOST_RESPONSE_BYTES,
    Budget,
    Command,
    Line,
    Protocol,
    decode,
    encode,
    on_channel,
    transmit,
)
from passevue.errors import CardAbsent, CardError, CardFault
from tests.unit.card.in_hand import Scripted

OK = b"\x90\x00"
SELECT = Command(0, 0xA4, 9, 4, b"\x3f\x00", 256)
READ = Command(0, 0xB0, 0, 0, le=256)


def test_t0_sends_no_le_after_data_and_t1_does() -> None:
    assert encode(SELECT, Protocol.T0).hex() == "00a4090402" + "3f00"
    assert encode(SELECT, Protocol.T1).hex() == "00a4090402" + "3f00" + "00"
    assert encode(READ, Protocol.T0).hex() == "00b0000000"
    assert encode(Command(1, 0x20, 0, 1), Protocol.T0).hex() == "01200001"


@pytest.mark.parametrize("wrong", [Command(256, 0, 0, 0), Command(0, 0, 0, 0, b"x" * 256), Command(0, 0, 0, 0, le=257)])
def test_what_no_card_takes_is_a_fault_of_ours(wrong: Command) -> None:
    with pytest.raises(ValueError):
        encode(wrong, Protocol.T0)


def test_what_the_card_holds_back_is_fetched_on_the_same_channel() -> None:
    card = Scripted(b"\x61\x02", b"ab\x61\x01", b"c" + OK)
    response = transmit(card, Command(1, 0xA4, 4, 0x0C, b"x"), Protocol.T0)
    assert (response.data, response.sw) == (b"abc", 0x9000)
    assert [sent.hex() for sent in card.sent[1:]] == ["01c0000002", "01c0000001"]


def test_61_00_asks_for_as_many_as_there_are() -> None:
    card = Scripted(b"\x61\x00", bytes(256) + OK)
    assert len(transmit(card, SELECT, Protocol.T0).data) == 256
    assert card.sent[1].hex() == "00c0000000"


def test_another_length_is_obeyed_once() -> None:
    card = Scripted(b"\x6c\x03", b"abc" + OK)
    assert transmit(card, READ, Protocol.T0).data == b"abc"
    assert card.sent[1].hex() == "00b0000003"
    assert transmit(Scripted(b"\x6c\x03", b"\x6c\x04"), READ, Protocol.T0).sw == 0x6C04


def test_data_for_ever_and_nothing_for_ever_are_faults_within_the_bounds() -> None:
    for answer in (b"x\x61\x01", b"\x61\x01", bytes(256) + b"\x61\x00", bytes(MOST_RESPONSE_BYTES - 2) + b"\x61\x00"):
        card = Scripted(then=lambda _apdu, answer=answer: answer)
        with pytest.raises(CardFault):
            transmit(card, SELECT, Protocol.T0)
        assert len(card.sent) <= MOST_EXCHANGES


def test_a_long_command_goes_in_a_chain() -> None:
    card = Scripted(OK, OK)
    transmit(card, Command(1, 0x2A, 0x80, 0x86, bytes(255) + b"\x07", 256), Protocol.T0)
    assert card.sent[0][:5].hex() == "112a8086ff"
    assert card.sent[1].hex() == "012a80860107"


def test_a_chain_that_is_refused_ends_there() -> None:
    card = Scripted(b"\x67\x00")
    assert transmit(card, Command(1, 0x2A, 0x80, 0x86, bytes(600)), Protocol.T0).sw == 0x6700
    assert len(card.sent) == 1


@pytest.mark.parametrize("answer", [b"", b"\x90", bytes(MOST_RESPONSE_BYTES + 1), b"ab\x12\x34", b"\x60\x00"])
def test_no_status_or_an_impossible_one_is_a_fault(answer: bytes) -> None:
    with pytest.raises(CardFault):
        decode(answer)


def test_a_slow_card_is_given_up() -> None:
    times = iter([0.0, 1.0, 61.0])
    budget = Budget(clock=lambda: next(times))
    budget.spend()
    with pytest.raises(CardFault, match="slow"):
        budget.spend()


def test_a_new_operation_has_a_new_budget() -> None:
    line = Line(Scripted(then=lambda _apdu: OK), Protocol.T0)
    for _ in range(MOST_EXCHANGES):
        line.send(0xB0, 0, 0)
    with pytest.raises(CardFault):
        line.send(0xB0, 0, 0)
    line.begin()
    assert line.send(0xB0, 0, 0).ok


@pytest.mark.parametrize("ins", [0x20, 0x24, 0x2C])
def test_codes_show_in_no_trace_and_leave_no_buffer(ins: int) -> None:
    kept: list[bytes | bytearray] = []

    class Keeper:
        def exchange(self, apdu: bytes | bytearray) -> bytes:
            kept.append(apdu)
            assert b"1234" in apdu
            return OK

    command = Command(0, ins, 0, 1, b"1234\xff\xff\xff\xff")
    assert "31323334" not in repr(command)
    assert "1234" not in repr(command)
    transmit(Keeper(), command, Protocol.T0)
    assert not any(kept[0])


def test_codes_leave_no_buffer_when_the_card_is_pulled() -> None:
    kept: list[bytes | bytearray] = []

    class Pulled:
        def exchange(self, apdu: bytes | bytearray) -> bytes:
            kept.append(apdu)
            raise CardAbsent("pulled")

    with pytest.raises(CardAbsent):
        transmit(Pulled(), Command(0, 0x20, 0, 1, b"1234"), Protocol.T0)
    assert not any(kept[0])


def test_other_commands_show_whole() -> None:
    assert repr(SELECT) == "00 A4 09 04 3F00 Le=256"


def test_channels_are_the_two_low_bits() -> None:
    assert [on_channel(0x10, number) for number in range(4)] == [0x10, 0x11, 0x12, 0x13]
    with pytest.raises(ValueError):
        on_channel(0, 4)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=20), st.binary(min_size=1, max_size=300))
def test_any_answers_end_in_a_response_or_our_own_error(answers: list[bytes], last: bytes) -> None:
    card = Scripted(*answers, then=lambda _apdu: last)
    for command in (SELECT, READ):
        try:
            response = transmit(card, command, Protocol.T0)
        except CardError:
            continue
        assert len(response.data) <= MOST_RESPONSE_BYTES
    assert len(card.sent) <= 2 * MOST_EXCHANGES
    assert transmit(Scripted(b"fine" + OK), READ, Protocol.T0).data == b"fine"
