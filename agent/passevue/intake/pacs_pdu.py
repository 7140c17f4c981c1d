"""The PDUs of an association that we ask for, as bytes: what we send, what a PACS may answer (PS3.8 § 9.3).

No socket here; the codecs that an acceptor needs as well are in `association` and `dimse`. Every length is checked
against the bytes that are there before it is used; what does not fit is `Unreadable`, whatever its shape.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import Struct, error

from passevue.errors import Unreadable
from passevue.intake.association import (
    APPLICATION_CONTEXT,
    FIXED_FIELDS,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    AbortReason,
    PduType,
    item,
    items,
    pdu,
    text,
    write_abort,
)
from passevue.intake.dimse import PDV_HEADER

RELEASE_REQUEST = pdu(PduType.RELEASE_RQ, bytes(4))
ABORT_REQUEST = write_abort(AbortReason.NOT_SPECIFIED, source=0)

_REJECTION = Struct(">xBBB")
_REJECTION_REASONS = {
    (1, 1): "no reason given",
    (1, 2): "application context not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}  # PS3.8 table 9-21, by source and reason


@dataclass(frozen=True, slots=True)
class Offer:
    """One presentation context as we propose it. `as_scp`: the peer may send us this class (role selection, C-GET)."""

    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]
    as_scp: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the peer agreed to: abstract syntax → (context id, transfer syntax), and its longest PDU (0: any)."""

    contexts: dict[str, tuple[int, str]]
    max_pdu: int


@dataclass(frozen=True, slots=True)
class Fragment:
    """One presentation data value: a piece of a command set or of a data set (PS3.8 § 9.3.5.1, annex E)."""

    context_id: int
    is_command: bool
    is_last: bool
    data: bytes


def associate_request(called: str, calling: str, offers: Sequence[Offer], max_pdu: int) -> bytes:
    """A-ASSOCIATE-RQ: offer n has context id 2n + 1."""
    user = item(0x51, max_pdu.to_bytes(4, "big")) + item(0x52, IMPLEMENTATION_CLASS_UID.encode())
    for offer in offers:
        if offer.as_scp:
            uid = offer.abstract_syntax.encode()
            user += item(0x54, len(uid).to_bytes(2, "big") + uid + b"\x00\x01")  # not as SCU, as SCP
    user += item(0x55, IMPLEMENTATION_VERSION_NAME.encode())
    contexts = b"".join(_context(2 * number + 1, offer) for number, offer in enumerate(offers))
    body = (
        FIXED_FIELDS.pack(1, called.ljust(16).encode("ascii"), calling.ljust(16).encode("ascii"))
        + item(0x10, APPLICATION_CONTEXT.encode())
        + contexts
        + item(0x50, user)
    )
    return pdu(PduType.ASSOCIATE_RQ, body)


def _context(context_id: int, offer: Offer) -> bytes:
    syntaxes = b"".join(item(0x40, syntax.encode()) for syntax in offer.transfer_syntaxes)
    return item(0x20, bytes((context_id, 0, 0, 0)) + item(0x30, offer.abstract_syntax.encode()) + syntaxes)


def read_accept(body: bytes, offers: Sequence[Offer]) -> Accepted:
    """A-ASSOCIATE-AC without its header, against what was offered.

    Raises:
        Unreadable: items that overrun, a context that was not offered, or a transfer syntax that was not.
    """
    if len(body) < FIXED_FIELDS.size:
        raise Unreadable(f"A-ASSOCIATE-AC of {len(body)} bytes, at least {FIXED_FIELDS.size} expected")
    contexts: dict[str, tuple[int, str]] = {}
    max_pdu = 0
    for kind, content in items(body[FIXED_FIELDS.size :]):
        if kind == 0x21:
            contexts |= _accepted_context(content, offers)
        elif kind == 0x50:
            max_pdu = _max_pdu(content)
    return Accepted(contexts, max_pdu)


def _accepted_context(content: bytes, offers: Sequence[Offer]) -> dict[str, tuple[int, str]]:
    if len(content) < 4:
        raise Unreadable("presentation context item shorter than its fixed part")
    context_id, result = content[0], content[2]
    if result != 0:
        return {}
    number, even = divmod(context_id - 1, 2)
    if even or not 0 <= number < len(offers):
        raise Unreadable(f"presentation context {context_id} accepted but never offered")
    syntaxes = [text(value) for kind, value in items(content[4:]) if kind == 0x40]
    if len(syntaxes) != 1 or syntaxes[0] not in offers[number].transfer_syntaxes:
        raise Unreadable(f"presentation context {context_id} accepted with a transfer syntax never offered")
    return {offers[number].abstract_syntax: (context_id, syntaxes[0])}


def _max_pdu(content: bytes) -> int:
    for kind, value in items(content):
        if kind == 0x51 and len(value) == 4:
            return int.from_bytes(value, "big")
    return 0


def rejection(body: bytes) -> str:
    """What an A-ASSOCIATE-RJ says, in words."""
    if len(body) != _REJECTION.size:
        raise Unreadable(f"A-ASSOCIATE-RJ of {len(body)} bytes, 4 expected")
    result, source, reason = _REJECTION.unpack(body)
    lasting = "permanently" if result == 1 else "for now"
    return f"{lasting}: {_REJECTION_REASONS.get((source, reason), f'source {source}, reason {reason}')}"


def read_fragments(body: bytes) -> Iterator[Fragment]:
    """The values in one P-DATA-TF, without its header.

    Raises:
        Unreadable: a value is empty, overruns the PDU, or leaves bytes over.
    """
    position = 0
    while position < len(body):
        try:
            length, context_id, control = PDV_HEADER.unpack_from(body, position)
        except error as err:
            raise Unreadable("presentation data value cut short") from err
        end = position + 4 + length
        if length < 2 or end > len(body):
            raise Unreadable(f"presentation data value claims {length} bytes, {len(body) - position - 4} are there")
        yield Fragment(context_id, bool(control & 1), bool(control & 2), body[position + PDV_HEADER.size : end])
        position = end
