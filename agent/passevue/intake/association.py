"""PDUs that open, refuse and end an association: bytes to values and back (PS3.8 § 9.3).

Knows no state, no socket and no policy: `upper_layer` keeps the states, `negotiation` decides what is taken.
All lengths are checked against the bytes at hand before anything is cut out; a lie is a `PduError` with its reason.

Facts:
- Numbers are big endian, AE titles 16 bytes padded with spaces, items are type, reserved, 16-bit length.
- A presentation context identifier is odd, 1 to 255 (§ 9.3.2.2), so 128 contexts are the most there can be.
- Items of a type that we do not know are passed over (§ 9.3.1: "shall be ignored").
- We answer neither asynchronous operations (so 1 and 1 hold, PS3.7 D.3.3.3), user identity nor extended negotiation.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from struct import Struct

from passevue.errors import Unreadable

PDU_HEADER = Struct(">BxL")
ITEM_HEADER = Struct(">BxH")
FIXED_FIELDS = Struct(">H2x16s16s32x")
LONG = Struct(">L")
SHORT = Struct(">H")

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
IMPLEMENTATION_CLASS_UID = "2.25.305828488182831875890203105390285383139"
IMPLEMENTATION_VERSION_NAME = "PASSEVUE"
MAX_TRANSFER_SYNTAXES = 128  # per context; the standard has some 60 in all


class PduType(IntEnum):
    """First byte of a PDU."""

    ASSOCIATE_RQ = 0x01
    ASSOCIATE_AC = 0x02
    ASSOCIATE_RJ = 0x03
    DATA_TF = 0x04
    RELEASE_RQ = 0x05
    RELEASE_RP = 0x06
    ABORT = 0x07


class AbortReason(IntEnum):
    """A-ABORT reasons of the service provider (§ 9.3.8)."""

    NOT_SPECIFIED = 0
    UNRECOGNISED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNISED_PARAMETER = 4
    UNEXPECTED_PARAMETER = 5
    INVALID_PARAMETER = 6


class PduError(Unreadable):
    """The peer broke the protocol; the association ends with an A-ABORT that says `reason`."""

    def __init__(self, reason: AbortReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Rejection:
    """Fields of an A-ASSOCIATE-RJ (§ 9.3.4): result 1 permanent, 2 transient; who refuses; why."""

    result: int
    source: int
    reason: int


APPLICATION_CONTEXT_NOT_SUPPORTED = Rejection(1, 1, 2)
CALLING_AE_NOT_RECOGNISED = Rejection(1, 1, 3)
CALLED_AE_NOT_RECOGNISED = Rejection(1, 1, 7)
PROTOCOL_VERSION_NOT_SUPPORTED = Rejection(1, 2, 2)
TEMPORARY_CONGESTION = Rejection(2, 3, 1)
LOCAL_LIMIT_EXCEEDED = Rejection(2, 3, 2)


class ContextResult(IntEnum):
    """What becomes of a proposed presentation context (§ 9.3.3.2)."""

    ACCEPTED = 0
    USER_REJECTION = 1
    NO_REASON = 2
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """One presentation context of a request."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Context:
    """The answer to one proposed context; `transfer_syntax` means something when it is accepted."""

    id: int
    result: ContextResult
    abstract_syntax: str
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class AssociationRequest:
    """An A-ASSOCIATE-RQ. `roles` is abstract syntax -> (SCU, SCP) as proposed; `max_length` 0 means no limit."""

    protocol_version: int
    called_ae: str
    calling_ae: str
    application_context: str
    contexts: tuple[ProposedContext, ...]
    max_length: int = 0
    roles: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    called_ae_field: bytes = b" " * 16
    calling_ae_field: bytes = b" " * 16


def read_request(body: bytes) -> AssociationRequest:
    """The request in the PDU `body` (the bytes after its six byte header).

    Raises:
        PduError: lengths do not add up, an item is missing or twice, a context identifier is even or twice.
    """
    if len(body) < FIXED_FIELDS.size:
        raise PduError(AbortReason.INVALID_PARAMETER, f"association request of {len(body)} bytes")
    version, called, calling = FIXED_FIELDS.unpack_from(body)
    application_contexts: list[str] = []
    contexts: dict[int, ProposedContext] = {}
    user_information: list[bytes] = []
    for kind, value in items(body[FIXED_FIELDS.size :]):
        if kind == 0x10:
            application_contexts.append(text(value))
        elif kind == 0x20:
            context = read_context(value)
            if context.id in contexts:
                raise PduError(AbortReason.INVALID_PARAMETER, f"presentation context {context.id} twice")
            contexts[context.id] = context
        elif kind == 0x50:
            user_information.append(value)
    if len(application_contexts) != 1 or len(user_information) != 1 or not contexts:
        raise PduError(AbortReason.INVALID_PARAMETER, "association request without its items, or with one twice")
    max_length, roles = read_user_information(user_information[0])
    return AssociationRequest(
        version,
        ae_title(called),
        ae_title(calling),
        application_contexts[0],
        tuple(contexts.values()),
        max_length,
        roles,
        called,
        calling,
    )


def items(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise PduError(AbortReason.INVALID_PARAMETER, "item header cut")
        kind, length = ITEM_HEADER.unpack_from(data, at)
        at += 4
        if at + length > len(data):
            raise PduError(AbortReason.INVALID_PARAMETER, f"item of {length} bytes with {len(data) - at} left")
        yield kind, data[at : at + length]
        at += length


def read_context(value: bytes) -> ProposedContext:
    if len(value) < 4 or not value[0] % 2:
        raise PduError(AbortReason.INVALID_PARAMETER, "presentation context with a bad identifier")
    abstract: list[str] = []
    transfer: list[str] = []
    for kind, part in items(value[4:]):
        if kind == 0x30:
            abstract.append(text(part))
        elif kind == 0x40:
            transfer.append(text(part))
    if len(abstract) != 1 or not transfer or len(transfer) > MAX_TRANSFER_SYNTAXES:
        raise PduError(AbortReason.INVALID_PARAMETER, "presentation context without its syntaxes, or too many")
    return ProposedContext(value[0], abstract[0], tuple(transfer))


def read_user_information(value: bytes) -> tuple[int, dict[str, tuple[bool, bool]]]:
    max_length, roles = 0, {}
    for kind, part in items(value):
        if kind == 0x51:
            if len(part) != 4:
                raise PduError(AbortReason.INVALID_PARAMETER, "maximum length item is not four bytes")
            (max_length,) = LONG.unpack(part)
        elif kind == 0x54:
            uid_length = SHORT.unpack_from(part)[0] if len(part) >= 2 else -1
            if uid_length != len(part) - 4:
                raise PduError(AbortReason.INVALID_PARAMETER, "role selection item with a wrong length")
            roles[text(part[2:-2])] = (bool(part[-2]), bool(part[-1]))
    return max_length, roles


def text(value: bytes) -> str:
    """A UID as sent; what is not ASCII becomes a value that nothing matches."""
    return value.rstrip(b"\0 ").decode("ascii", errors="replace")


def ae_title(field_value: bytes) -> str:
    return field_value.strip(b" ").decode("ascii", errors="replace")


def pdu(kind: PduType, body: bytes) -> bytes:
    return PDU_HEADER.pack(kind, len(body)) + body


def item(kind: int, value: bytes) -> bytes:
    return ITEM_HEADER.pack(kind, len(value)) + value


def write_accept(
    request: AssociationRequest,
    contexts: tuple[Context, ...],
    max_length: int,
    roles: dict[str, tuple[bool, bool]],
) -> bytes:
    """A-ASSOCIATE-AC: the AE title fields are sent back as they came (§ 9.3.3)."""
    answers = b"".join(
        item(0x21, bytes([each.id, 0, each.result, 0]) + item(0x40, each.transfer_syntax.encode("ascii", "replace")))
        for each in contexts
    )
    user = item(0x51, LONG.pack(max_length)) + item(0x52, IMPLEMENTATION_CLASS_UID.encode())
    for uid, (scu, scp) in roles.items():
        encoded = uid.encode("ascii", "replace")
        user += item(0x54, SHORT.pack(len(encoded)) + encoded + bytes([scu, scp]))
    user += item(0x55, IMPLEMENTATION_VERSION_NAME.encode())
    fixed = FIXED_FIELDS.pack(1, request.called_ae_field, request.calling_ae_field)
    return pdu(PduType.ASSOCIATE_AC, fixed + item(0x10, APPLICATION_CONTEXT.encode()) + answers + item(0x50, user))


def write_reject(rejection: Rejection) -> bytes:
    return pdu(PduType.ASSOCIATE_RJ, bytes([0, rejection.result, rejection.source, rejection.reason]))


def write_abort(reason: AbortReason, *, source: int = 2) -> bytes:
    """`source` 2: the upper layer itself; 0: the application above it, whose reason is always 0."""
    return pdu(PduType.ABORT, bytes([0, 0, source, reason]))


RELEASE_RP = pdu(PduType.RELEASE_RP, bytes(4))
