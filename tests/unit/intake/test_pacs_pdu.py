"""PDUs: what pynetdicom makes of ours, what we make of its, and of anything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.presentation import build_context

from passevue.errors import Unreadable
from passevue.intake import pacs_pdu
from passevue.intake.dimse import p_data
from passevue.intake.pacs_pdu import Accepted, Offer

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
NOTE = "1.2.840.10008.5.1.4.1.1.88.59"
OFFERS = (Offer(FIND, (ImplicitVRLittleEndian,)), Offer(NOTE, (ExplicitVRLittleEndian, ImplicitVRLittleEndian), True))


def accept(*, results: tuple[int, ...] = (0, 0), syntax: str = ImplicitVRLittleEndian) -> bytes:
    """A-ASSOCIATE-AC of pynetdicom, without its header."""
    request = A_ASSOCIATE_RQ()
    request.decode(pacs_pdu.associate_request("PACS", "BOX", OFFERS, 1 << 17))
    primitive = request.to_primitive()
    primitive.result = 0
    contexts = []
    for offer, result, context_id in zip(OFFERS, results, (1, 3), strict=True):
        context = build_context(offer.abstract_syntax, syntax)
        context.context_id, context.result = context_id, result
        contexts.append(context)
    primitive.presentation_context_definition_results_list = contexts
    primitive.maximum_length_received = 16384
    pdu = A_ASSOCIATE_AC()
    pdu.from_primitive(primitive)
    return bytes(pdu.encode()[6:])


def test_pynetdicom_reads_our_request() -> None:
    request = A_ASSOCIATE_RQ()
    request.decode(pacs_pdu.associate_request("PACS", "BOX", OFFERS, 1 << 17))
    assert (request.called_ae_title.strip(), request.calling_ae_title.strip()) == ("PACS", "BOX")
    primitive = request.to_primitive()
    assert primitive.maximum_length_received == 1 << 17
    proposed = {one.context_id: one for one in primitive.presentation_context_definition_list}
    assert proposed[1].abstract_syntax == FIND
    assert proposed[3].transfer_syntax == [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
    roles = [item for item in primitive.user_information if hasattr(item, "scp_role")]
    assert [(one.sop_class_uid, one.scu_role, one.scp_role) for one in roles] == [(NOTE, False, True)]


def test_what_the_peer_accepts_is_known_by_abstract_syntax() -> None:
    assert pacs_pdu.read_accept(accept(), OFFERS) == Accepted(
        {FIND: (1, ImplicitVRLittleEndian), NOTE: (3, ImplicitVRLittleEndian)}, 16384
    )
    assert pacs_pdu.read_accept(accept(results=(3, 0)), OFFERS).contexts == {NOTE: (3, ImplicitVRLittleEndian)}


def test_a_transfer_syntax_that_was_not_offered_is_refused() -> None:
    with pytest.raises(Unreadable):
        pacs_pdu.read_accept(accept(syntax=ExplicitVRLittleEndian), OFFERS)


def test_a_context_that_was_not_offered_is_refused() -> None:
    for context_id in (0, 2, 5, 255):
        with pytest.raises(Unreadable):
            pacs_pdu.read_accept(
                accept().replace(b"\x21\x00\x00\x19\x01", bytes((0x21, 0, 0, 0x19, context_id))), OFFERS
            )


def test_an_accept_cut_anywhere_is_read_as_less_or_refused() -> None:
    whole = accept()
    for length in range(len(whole)):
        try:
            contexts = pacs_pdu.read_accept(whole[:length], OFFERS).contexts
        except Unreadable:
            continue
        assert set(contexts) <= {FIND, NOTE}


def test_rejections_are_said_in_words() -> None:
    assert pacs_pdu.rejection(b"\0\x01\x01\x07") == "permanently: called AE title not recognized"
    assert pacs_pdu.rejection(b"\0\x02\x03\x02") == "for now: local limit exceeded"
    assert pacs_pdu.rejection(b"\0\x02\x09\x09") == "for now: source 9, reason 9"
    with pytest.raises(Unreadable):
        pacs_pdu.rejection(b"\0")


def test_fragments_are_read_back() -> None:
    fragments = list(pacs_pdu.read_fragments(p_data(1, b"command!")[6:] + p_data(1, b"", b"data")[6:]))
    assert [(one.is_command, one.is_last, one.data) for one in fragments] == [
        (True, True, b"command!"),
        (False, True, b"data"),
    ]


@pytest.mark.parametrize("body", [b"\0\0\0\x09\x01\x03ab", b"\0\0\0\0", b"\0\0\0\x01\x01\x03", b"\xff" * 10, b"\0\0"])
def test_a_fragment_that_lies_about_its_length_is_refused(body: bytes) -> None:
    with pytest.raises(Unreadable):
        list(pacs_pdu.read_fragments(body))


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (
        lambda: pacs_pdu.read_accept(bytes(68) + data, OFFERS),
        lambda: list(pacs_pdu.read_fragments(data)),
        lambda: pacs_pdu.rejection(data),
    ):
        try:
            read()
        except Unreadable:
            continue
