"""One connection's bytes: what a peer may pile up while the session is behind (reliability § 8)."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from passevue.intake.association import PDU_HEADER, PduType
from passevue.intake.dimse import PDV_HEADER
from passevue.intake.negotiation import answer
from passevue.intake.upper_layer import CommandReceived, DataFragment, Requested, UpperLayer
from passevue.intake.wire import Wire
from tests.peers.modality import associate_rq, c_echo_rq, c_store_rq, p_data

CT, EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
VERIFICATION, IMPLICIT = "1.2.840.10008.1.1", "1.2.840.10008.1.2"
CONTEXTS = [(VERIFICATION, [IMPLICIT]), (CT, [EXPLICIT])]
FLOOD_BYTES = 32 << 20  # ten times what two kernels' buffers hold


def tiny_fragments(count: int) -> bytes:
    """P-DATA-TF of one byte each, of a data set that does not end."""
    value = PDV_HEADER.pack(3, 3, 0) + b"x"
    return (PDU_HEADER.pack(PduType.DATA_TF, len(value)) + value) * count


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Wire, socket.socket]]:
    """A wire with its association established, and the peer's end."""
    ours, theirs = socket.socketpair()
    wire = Wire(UpperLayer(max_pdu_bytes=1 << 20))
    loop = asyncio.get_running_loop()
    for end in (ours, theirs):
        end.setblocking(False)
    await loop.connect_accepted_socket(lambda: wire, ours)
    await loop.sock_sendall(theirs, associate_rq(CONTEXTS))
    asked = await wire.next()
    assert isinstance(asked, Requested)
    wire.layer.accepted(tuple(answer(each) for each in asked.request.contexts))
    try:
        yield wire, theirs
    finally:
        wire.drop()
        theirs.close()


@pytest.mark.parametrize("what", ["commands", "fragments of one byte"])
async def test_reading_pauses_while_the_session_is_behind_whatever_comes(
    pair: tuple[Wire, socket.socket], what: str
) -> None:
    wire, theirs = pair
    loop = asyncio.get_running_loop()
    if what == "commands":
        first, more = b"", p_data(1, 3, c_echo_rq())
    else:
        first, more = p_data(3, 3, c_store_rq(CT, "2.25.9")), tiny_fragments(1)
    flood = first + more * (FLOOD_BYTES // len(more))
    sending = loop.create_task(loop.sock_sendall(theirs, flood))
    await asyncio.wait([sending], timeout=1)
    assert not sending.done()
    assert wire.bytes_in < FLOOD_BYTES // 4
    kind = CommandReceived if what == "commands" else DataFragment
    if first:
        assert isinstance(await wire.next(), CommandReceived)
    for _ in range(20_000):  # and goes on when it is not
        assert isinstance(await wire.next(), kind)
    sending.cancel()
    await asyncio.wait([sending])
