"""DIMSE messages: command sets to values and back, and the P-DATA-TF PDUs that carry them (PS3.7 §§ 9, 10, Annex E).

Facts:
- Command sets are always implicit VR little endian, group 0000 (PS3.7 § 6.3.1).
- (0000,0800) CommandDataSetType 0101H says that no data set follows; any other value that one does.
- A response repeats the request's message identifier and affected (or requested) SOP class and instance.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from passevue.intake.association import PDU_HEADER, AbortReason, PduError, PduType

ELEMENT = Struct("<HHL")
US = Struct("<H")
UL = Struct("<L")
PDV_HEADER = Struct(">LBB")
NO_DATA_SET = 0x0101
MAX_ELEMENTS = 64  # no message of PS3.7 Annex E has more than twenty


class Tag(IntEnum):
    """Elements of group 0000 that we read or write."""

    GroupLength = 0x0000
    AffectedSOPClassUID = 0x0002
    RequestedSOPClassUID = 0x0003
    CommandField = 0x0100
    MessageID = 0x0110
    MessageIDBeingRespondedTo = 0x0120
    CommandDataSetType = 0x0800
    Status = 0x0900
    AffectedSOPInstanceUID = 0x1000
    RequestedSOPInstanceUID = 0x1001
    EventTypeID = 0x1002
    ActionTypeID = 0x1008


class Operation(IntEnum):
    """CommandField values of the requests we serve or send."""

    C_STORE_RQ = 0x0001
    C_ECHO_RQ = 0x0030
    N_EVENT_REPORT_RQ = 0x0100
    N_ACTION_RQ = 0x0130
    C_CANCEL_RQ = 0x0FFF


RESPONSE = 0x8000  # set in the CommandField of every response


class Status(IntEnum):
    """Statuses we answer (PS3.7 Annex C, PS3.4 table B.2-1; reliability § 5)."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110  # our store failed, or we are stopping
    NO_SUCH_INSTANCE = 0x0112
    INVALID_ARGUMENT = 0x0115
    INVALID_INSTANCE = 0x0117  # the SOP Instance UID breaks the rules of UIDs
    CLASS_INSTANCE_CONFLICT = 0x0119
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    NO_SUCH_ACTION = 0x0123
    NOT_AUTHORISED = 0x0124
    DUPLICATE_TRANSACTION = 0x0131
    UNRECOGNISED_OPERATION = 0x0211
    MISTYPED_ARGUMENT = 0x0212
    OUT_OF_RESOURCES = 0xA700
    DATA_SET_MISMATCH = 0xA900
    CANNOT_UNDERSTAND = 0xC000


@dataclass(frozen=True, slots=True)
class Command:
    """One command set; `elements` is element number -> value bytes."""

    elements: dict[int, bytes]
    field: int
    message_id: int  # of the request, or of the request that is answered
    has_data_set: bool

    def uid(self, tag: Tag) -> str:
        """The UID in `tag` as sent, without padding; empty when there is none. Not checked."""
        return self.elements.get(tag, b"").rstrip(b"\0 ").decode("ascii", errors="replace")

    def number(self, tag: Tag) -> int | None:
        value = self.elements.get(tag, b"")
        return int(US.unpack(value)[0]) if len(value) == US.size else None


def read_command(data: bytes) -> Command:
    """Raises: PduError: not a command set, or one without the fields that every message has."""
    elements: dict[int, bytes] = {}
    at, end = 0, len(data)
    while at < end:
        if at + 8 > end:
            raise PduError(AbortReason.INVALID_PARAMETER, "command element cut")
        group, element, length = ELEMENT.unpack_from(data, at)
        at += 8
        if group or length > end - at or element in elements or len(elements) == MAX_ELEMENTS:
            raise PduError(
                AbortReason.INVALID_PARAMETER, f"command element ({group:04x},{element:04x}) of {length} bytes"
            )
        elements[element] = data[at : at + length]
        at += length
    field = short(elements, Tag.CommandField)
    answers = bool(field & RESPONSE) or field == Operation.C_CANCEL_RQ
    message_id = short(elements, Tag.MessageIDBeingRespondedTo if answers else Tag.MessageID)
    return Command(elements, field, message_id, short(elements, Tag.CommandDataSetType) != NO_DATA_SET)


def short(elements: dict[int, bytes], tag: Tag) -> int:
    value = elements.get(tag)
    if value is None or len(value) != US.size:
        raise PduError(AbortReason.INVALID_PARAMETER, f"command set without a good {tag.name}")
    return int(US.unpack(value)[0])


def write_command(elements: list[tuple[Tag, bytes]]) -> bytes:
    """A command set with its group length; `elements` in ascending order."""
    body = b"".join(ELEMENT.pack(0, tag, len(value)) + value for tag, value in elements)
    return ELEMENT.pack(0, 0, 4) + UL.pack(len(body)) + body


def response(request: Command, status: int) -> bytes:
    """The response to `request`, without a data set.

    N- requests name requested, C- requests affected UIDs; responses always affected ones (PS3.7 §§ 9.3, 10.3).
    """
    sop_class = request.elements.get(Tag.AffectedSOPClassUID) or request.elements.get(Tag.RequestedSOPClassUID)
    instance = request.elements.get(Tag.AffectedSOPInstanceUID) or request.elements.get(Tag.RequestedSOPInstanceUID)
    elements = [
        (Tag.AffectedSOPClassUID, sop_class),
        (Tag.CommandField, US.pack(request.field | RESPONSE)),
        (Tag.MessageIDBeingRespondedTo, US.pack(request.message_id)),
        (Tag.CommandDataSetType, US.pack(NO_DATA_SET)),
        (Tag.Status, US.pack(status)),
        (Tag.AffectedSOPInstanceUID, instance),
        (Tag.ActionTypeID, request.elements.get(Tag.ActionTypeID)),
    ]
    return write_command([(tag, value) for tag, value in elements if value is not None])


def event_report(message_id: int, sop_class: str, instance: str, event_type: int) -> bytes:
    """N-EVENT-REPORT-RQ with a data set to follow (PS3.7 § 10.3.1)."""
    return write_command(
        [
            (Tag.AffectedSOPClassUID, even(sop_class)),
            (Tag.CommandField, US.pack(Operation.N_EVENT_REPORT_RQ)),
            (Tag.MessageID, US.pack(message_id)),
            (Tag.CommandDataSetType, US.pack(0x0001)),
            (Tag.AffectedSOPInstanceUID, even(instance)),
            (Tag.EventTypeID, US.pack(event_type)),
        ]
    )


def even(uid: str) -> bytes:
    value = uid.encode("ascii")
    return value + b"\0" * (len(value) % 2)


def p_data(context_id: int, command: bytes, data_set: bytes = b"", *, max_length: int = 0) -> bytes:
    """P-DATA-TF PDUs of one message, each no longer than the peer's `max_length` (0: no limit)."""
    size = max(max_length - PDV_HEADER.size, 64) if max_length else 1 << 17
    return b"".join([*pdvs(context_id, command, 1, size), *(pdvs(context_id, data_set, 0, size) if data_set else ())])


def pdvs(context_id: int, data: bytes, kind: int, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        part = data[at : at + size]
        flags = kind | (2 if at + size >= len(data) else 0)
        header = PDU_HEADER.pack(PduType.DATA_TF, len(part) + PDV_HEADER.size)
        yield header + PDV_HEADER.pack(len(part) + 2, context_id, flags) + part
