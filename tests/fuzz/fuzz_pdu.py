"""The DICOM upper layer, the data set look, key objects and commitment requests: any bytes are taken or refused."""

import contextlib
from collections.abc import Iterable
from datetime import UTC, datetime

from passevue.errors import Unreadable
from passevue.intake import negotiation
from passevue.intake.association import PduError
from passevue.intake.commitment import read_request
from passevue.intake.data_set import look
from passevue.intake.key_object import read_key_object
from passevue.intake.storage import WANTED
from passevue.intake.upper_layer import Requested, UpperLayer

NOW = datetime(2026, 11, 21, tzinfo=UTC)
SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.80")


def converse(data: bytes, size: int) -> None:
    layer = UpperLayer(max_pdu_bytes=1 << 16)
    for at in range(0, len(data), size):
        for event in layer.receive(data[at : at + size]):
            if isinstance(event, Requested):
                layer.accepted(tuple(negotiation.answer(each) for each in event.request.contexts))


def one_input(data: bytes) -> None:
    """The first byte says who reads the rest."""
    if not data:
        return
    reader, rest = data[0] % 8, data[1:]
    if reader < 3:
        with contextlib.suppress(PduError):
            converse(rest, (1, 7, 65536)[reader])
    elif reader < 5:
        for syntax in SYNTAXES:
            with contextlib.suppress(Unreadable):
                look(rest, syntax, WANTED, encapsulated=syntax == SYNTAXES[3])
    elif reader < 7:
        with contextlib.suppress(Unreadable):
            read_key_object(rest)
    else:
        for syntax in SYNTAXES[:3]:
            with contextlib.suppress(Unreadable):
                read_request(rest, syntax, "FUZZ", NOW)


def seeds() -> Iterable[bytes]:
    from tests.peers.modality import (
        RELEASE_RQ,
        associate_rq,
        c_echo_rq,
        contexts_for,
        data_set_of,
        file_of,
        image,
        key_image_note,
        p_data,
        store_pdus,
    )

    ds = image("2.25.1", "IPP", "ACC", size=4)
    talk = [associate_rq(contexts_for([ds])), *store_pdus(ds, pdu_bytes=500), p_data(1, 3, c_echo_rq()), RELEASE_RQ]
    for reader in range(3):
        yield bytes([reader]) + b"".join(talk)
    yield b"\x03" + data_set_of(ds)
    yield b"\x03" + data_set_of(image("2.25.1", "I", "A", transfer_syntax=SYNTAXES[0], size=4))
    yield b"\x04" + data_set_of(image("2.25.1", "I", "A", transfer_syntax=SYNTAXES[3], compressed_bytes=20, frames=2))
    yield b"\x05" + file_of(key_image_note([ds], "fuzz"))
    yield b"\x07\x08\x00\x95\x11\x08\x00\x00\x002.25.123\x08\x00\x99\x11\x00\x00\x00\x00"
