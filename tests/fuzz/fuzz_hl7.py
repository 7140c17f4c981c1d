"""HL7 v2 messages at the desk: any bytes get an ACK that is one, or no answer at all; then a good message gets `AA`."""

import asyncio
import base64
import logging
from collections.abc import Iterable

import structlog

from passevue.intake.received import Receipt, Received
from passevue.intake.ris import RisDesk, RisMessage, read_ris_message
from tests.peers.ris import PAT_TROIS, Ask, invented_exam, mdm, omi, oru

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

CDA = b"<ClinicalDocument/>"
GOOD = oru(CDA, PAT_TROIS)


def seeds() -> Iterable[bytes]:
    yield GOOD
    yield mdm(CDA, PAT_TROIS, Ask.REPLACE, txa_12="1.2.3", txa_13="1.2.4")
    yield mdm(CDA, PAT_TROIS, Ask.DELETE, txa_12="ext^^1.2.3^ISO", separator="\n")
    yield omi(invented_exam(1), PAT_TROIS, orc_1="CA")
    yield GOOD.replace(base64.b64encode(CDA), b"\\X0D0A\\\\.br\\~~~^^^&&&")
    yield b"\xef\xbb\xbfMSH$*%!@$A$B$C$D$2026$$ORU*R01$1$P$2.5\r"


async def _accept(message: RisMessage, received: Received) -> Receipt:
    assert read_ris_message(received.content) == message
    return Receipt(1)


class _Checked(RisDesk):
    """A desk whose own faults are finds, not `AR` 207."""

    async def answer(self, raw: bytes, peer: str) -> bytes | None:
        ack = await super().answer(raw, peer)
        assert ack is None or b"internal error" not in ack
        return ack


_desk = _Checked(_accept)
_loop = asyncio.new_event_loop()


def one_input(data: bytes) -> None:
    ack = _loop.run_until_complete(_desk.answer(data, "192.0.2.7"))
    if ack:
        assert [line[:4] for line in ack.split(b"\r")][:2] == [b"MSH|", b"MSA|"]
        assert ack.count(b"\r") <= 3
        assert not set(ack) & set(b"\n\x0b\x1c\x00")
    good = _loop.run_until_complete(_desk.answer(GOOD, "192.0.2.7"))
    assert good is not None
    assert b"\rMSA|AA|" in good
