"""The upper layer as bytes: whole, byte by byte, with something trailing, and all that a peer may get wrong (N-06)."""

import contextlib
import functools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passevue.intake import negotiation
from passevue.intake.association import AbortReason, PduError
from passevue.intake.upper_layer import (
    Aborted,
    CommandReceived,
    DataEnd,
    DataFragment,
    Event,
    ReleaseRequested,
    Requested,
    State,
    UpperLayer,
)
from tests.peers.modality import (
    RELEASE_RQ,
    associate_rq,
    c_echo_rq,
    c_store_rq,
    data_set_of,
    image,
    item,
    p_data,
    store_pdus,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT = "1.2.840.10008.1.2"
CONTEXTS = [(VERIFICATION, [IMPLICIT]), (CT, ["1.2.840.10008.1.2.1"])]
MAX_PDU = 1 << 16


def fresh() -> UpperLayer:
    return UpperLayer(max_pdu_bytes=MAX_PDU)


def feed(layer: UpperLayer, *pieces: bytes) -> list[Event]:
    """Events of the pieces; a request is accepted at once."""
    events: list[Event] = []
    for piece in pieces:
        for event in layer.receive(piece):
            events.append(event)
            if isinstance(event, Requested):
                layer.accepted(tuple(negotiation.answer(each) for each in event.request.contexts))
    return events


def established() -> UpperLayer:
    layer = fresh()
    feed(layer, associate_rq(CONTEXTS))
    return layer


def told(events: list[Event]) -> list[object]:
    """Events with the fragments of one data set joined: what does not depend on how the bytes were cut."""
    out: list[object] = []
    for event in events:
        if isinstance(event, DataFragment) and out and isinstance(out[-1], bytes):
            out[-1] += bytes(event.data)
        else:
            out.append(bytes(event.data) if isinstance(event, DataFragment) else event)
    return out


@functools.cache
def conversation() -> bytes:
    ds = image("2.25.5", "IPP", "ACC")
    return b"".join(
        [
            associate_rq(CONTEXTS),
            p_data(1, 3, c_echo_rq()),
            *store_pdus(ds, context_id=3, pdu_bytes=300),
            *store_pdus(ds, context_id=3, pdu_bytes=4000),
            RELEASE_RQ,
        ]
    )


def abort_of(layer: UpperLayer, *pieces: bytes) -> AbortReason:
    with pytest.raises(PduError) as caught:
        feed(layer, *pieces)
    return caught.value.reason


def test_a_conversation_reads_the_same_however_it_is_cut() -> None:
    data = conversation()
    whole = told(feed(fresh(), data))
    assert [type(each) for each in whole] == [
        Requested,
        CommandReceived,
        CommandReceived,
        bytes,
        DataEnd,
        CommandReceived,
        bytes,
        DataEnd,
        ReleaseRequested,
    ]
    assert whole[3] == whole[6] == data_set_of(image("2.25.5", "IPP", "ACC"))
    assert told(feed(fresh(), *(data[at : at + 1] for at in range(len(data))))) == whole
    for size in (2, 3, 5, 7, 64, 997):
        assert told(feed(fresh(), *(data[at : at + size] for at in range(0, len(data), size)))) == whole


def test_what_comes_after_a_release_is_not_taken() -> None:
    layer = established()
    with pytest.raises(PduError):
        feed(layer, RELEASE_RQ + p_data(1, 3, c_echo_rq()))


def test_an_abort_of_the_peer_ends_everything() -> None:
    layer = established()
    events = feed(layer, b"\x07\x00\x00\x00\x00\x04\x00\x00\x02\x06" + conversation())
    assert events == [Aborted(2, 6)]
    assert layer.state is State.CLOSED


@pytest.mark.parametrize(
    ("pdu", "reason"),
    [
        (b"\x08\x00\x00\x00\x00\x04\x00\x00\x00\x00", AbortReason.UNRECOGNISED_PDU),
        (b"\xff\x00\x00\x00\x00\x04", AbortReason.UNRECOGNISED_PDU),
        (b"GET / HTTP/1.1\r\n\r\n", AbortReason.UNRECOGNISED_PDU),
        (b"\x04\x00\x00\x00\x00\x0a", AbortReason.UNEXPECTED_PDU),
        (RELEASE_RQ, AbortReason.UNEXPECTED_PDU),
        (b"\x02\x00\x00\x00\x00\x04\x00\x00\x00\x00", AbortReason.UNEXPECTED_PDU),
        (b"\x01\x00\xff\xff\xff\xff", AbortReason.INVALID_PARAMETER),
        (b"\x01\x00\x00\x00\x00\x00", AbortReason.INVALID_PARAMETER),
        (struct.pack(">BxL", 1, (64 << 10) + 1), AbortReason.INVALID_PARAMETER),
        (b"\x01\x00\x00\x00\x00\x08" + bytes(8), AbortReason.INVALID_PARAMETER),
        (b"\x07\x00\x00\x00\x00\x05", AbortReason.INVALID_PARAMETER),
    ],
)
def test_before_the_association_only_a_request_is_taken(pdu: bytes, reason: AbortReason) -> None:
    assert abort_of(fresh(), pdu) is reason


def test_a_request_twice_is_not_expected() -> None:
    assert abort_of(established(), associate_rq(CONTEXTS)) is AbortReason.UNEXPECTED_PDU


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_bound_of_an_association_request(extra: int) -> None:
    base = associate_rq(CONTEXTS, user_information=item(0x99, b""))
    filler = (64 << 10) + extra - (len(base) - 6)
    request = associate_rq(CONTEXTS, user_information=item(0x99, bytes(filler)))
    assert len(request) - 6 == (64 << 10) + extra
    if extra > 0:
        assert abort_of(fresh(), request[:6]) is AbortReason.INVALID_PARAMETER
    else:
        # the user information item says 16 bits: what does not fit there cannot be said at all
        assert isinstance(feed(fresh(), request)[0], Requested)


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_bound_of_a_data_pdu(extra: int) -> None:
    layer = established()
    feed(layer, p_data(3, 3, c_store_rq(CT, "2.25.1")))
    pdu = p_data(3, 0, bytes(MAX_PDU + extra - 6))
    if extra > 0:
        assert abort_of(layer, pdu[:6]) is AbortReason.INVALID_PARAMETER
    else:
        assert len(feed(layer, pdu)) == 1


@pytest.mark.parametrize("count", [127, 128])
def test_as_many_contexts_as_there_are_identifiers_are_read(count: int) -> None:
    (event,) = feed(fresh(), associate_rq([(CT, [IMPLICIT])] * count))
    assert isinstance(event, Requested)
    assert len(event.request.contexts) == count


@pytest.mark.parametrize("count", [129, 1000])
def test_more_contexts_than_identifiers_are_refused(count: int) -> None:
    assert abort_of(fresh(), associate_rq([(CT, [IMPLICIT])] * count)) is AbortReason.INVALID_PARAMETER


def test_an_even_context_identifier_is_refused() -> None:
    assert abort_of(fresh(), associate_rq(CONTEXTS, first_id=2)) is AbortReason.INVALID_PARAMETER


def test_user_identity_and_extended_negotiation_are_passed_over() -> None:
    identity = item(0x58, b"\x02\x01\x00\x04user\x00\x08password")
    extended = item(0x56, struct.pack(">H", len(CT)) + CT.encode() + b"\x02\x00\x00\x00")
    operations = item(0x53, b"\x00\x05\x00\x05")
    (event,) = feed(fresh(), associate_rq(CONTEXTS, user_information=identity + extended + operations))
    assert isinstance(event, Requested)


@pytest.mark.parametrize("cut", range(1, 33, 3))
def test_truncated_user_information_is_refused(cut: int) -> None:
    role = item(0x54, struct.pack(">H", len(CT)) + CT.encode() + b"\x01\x01")
    assert abort_of(fresh(), associate_rq(CONTEXTS, user_information=role[:-cut])) is AbortReason.INVALID_PARAMETER


@pytest.mark.parametrize("title", [" " * 16, "\0" * 16, "A" * 16, "\x1b[31m"])
def test_odd_titles_are_read_and_left_to_the_decision(title: str) -> None:
    (event,) = feed(fresh(), associate_rq(CONTEXTS, ae=title))
    assert isinstance(event, Requested)


def test_a_title_of_200_bytes_shifts_the_request_and_is_refused() -> None:
    body = struct.pack(">H2x", 1) + b"A" * 200 + bytes(32) + associate_rq(CONTEXTS)[74:]
    assert abort_of(fresh(), struct.pack(">BxL", 1, len(body)) + body) is AbortReason.INVALID_PARAMETER


def pdv(length: int, context_id: int, flags: int, data: bytes = b"", pdu_length: int | None = None) -> bytes:
    body = struct.pack(">LBB", length & 0xFFFFFFFF, context_id, flags) + data
    return struct.pack(">BxL", 4, len(body) if pdu_length is None else pdu_length) + body


@pytest.mark.parametrize(
    ("pdu", "reason"),
    [
        (struct.pack(">BxL", 4, 0), AbortReason.INVALID_PARAMETER),
        (struct.pack(">BxL", 4, 5), AbortReason.INVALID_PARAMETER),
        (struct.pack(">BxL", 4, 0xFFFFFFFF), AbortReason.INVALID_PARAMETER),
        (pdv(-1, 1, 3), AbortReason.INVALID_PARAMETER),
        (pdv(0, 1, 3), AbortReason.INVALID_PARAMETER),
        (pdv(1, 1, 3), AbortReason.INVALID_PARAMETER),
        (pdv(100, 1, 3, b"x" * 10), AbortReason.INVALID_PARAMETER),  # longer than its PDU
        (pdv(12, 1, 3, b"x" * 13), AbortReason.INVALID_PARAMETER),  # leaves less than a header
        (pdv(12, 2, 3, b"x" * 10), AbortReason.INVALID_PARAMETER),  # even
        (pdv(12, 7, 3, b"x" * 10), AbortReason.INVALID_PARAMETER),  # never proposed
        (pdv(12, 1, 7, b"x" * 10), AbortReason.INVALID_PARAMETER),  # no such flags
        (pdv(12, 1, 2, b"x" * 10), AbortReason.UNEXPECTED_PARAMETER),  # data without a command
        (pdv(12, 1, 3, b"x" * 10), AbortReason.INVALID_PARAMETER),  # not a command set
    ],
)
def test_bad_values_are_aborted(pdu: bytes, reason: AbortReason) -> None:
    assert abort_of(established(), pdu) is reason


def test_flags_mixed_and_contexts_changed_inside_a_message_are_aborted() -> None:
    command = c_store_rq(CT, "2.25.1")
    for second in (p_data(3, 1, command), p_data(1, 0, b"x")):
        layer = established()
        feed(layer, p_data(3, 3, command))
        assert abort_of(layer, second) is AbortReason.UNEXPECTED_PARAMETER


def test_release_in_the_middle_of_a_message_is_aborted() -> None:
    layer = established()
    feed(layer, p_data(3, 3, c_store_rq(CT, "2.25.1")), p_data(3, 0, b"x"))
    assert abort_of(layer, RELEASE_RQ) is AbortReason.UNEXPECTED_PDU


def test_a_command_set_is_bounded() -> None:
    layer = established()
    with pytest.raises(PduError, match="command set longer"):
        feed(layer, *[p_data(1, 1, bytes(1024))] * 100)


@pytest.mark.parametrize(
    "command",
    [
        c_echo_rq()[:-1],
        c_echo_rq() + c_echo_rq()[12:22],  # an element twice
        b"\x08\x00\x00\x01\x02\x00\x00\x00\x01\x00",  # another group
        struct.pack("<HHL", 0, 0x0100, 2) + b"\x30\x00",  # neither message id nor data set type
        struct.pack("<HHL", 0, 0x0100, 0xFFFFFFFF),
        b"",
    ],
)
def test_bad_command_sets_are_aborted(command: bytes) -> None:
    assert abort_of(established(), p_data(1, 3, command)) is AbortReason.INVALID_PARAMETER


def test_memory_does_not_follow_a_length_that_lies() -> None:
    layer = established()
    feed(layer, p_data(3, 3, c_store_rq(CT, "2.25.1")))
    feed(layer, struct.pack(">BxLLBB", 4, MAX_PDU, MAX_PDU - 4, 3, 0))
    assert len(layer._held) == 0  # nothing is gathered for a data set


@settings(max_examples=300)
@given(data=st.binary(max_size=2000), started=st.booleans(), size=st.integers(1, 600))
def test_any_bytes_are_taken_or_refused_with_our_own_error(data: bytes, started: bool, size: int) -> None:
    layer = established() if started else fresh()
    with contextlib.suppress(PduError):
        feed(layer, *(data[at : at + size] for at in range(0, len(data), size)))
    assert len(layer._held) <= 64 << 10
    assert isinstance(feed(fresh(), conversation())[-1], ReleaseRequested)  # the next good one


@settings(max_examples=300)
@given(data=st.data())
def test_a_good_conversation_with_bytes_changed_is_taken_or_refused(data: st.DataObject) -> None:
    good = bytearray(conversation()[: data.draw(st.integers(0, 4000))])
    for _ in range(data.draw(st.integers(1, 4))):
        if good:
            good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(PduError):
        feed(fresh(), bytes(good))
