"""The DIMSE command sets that a query and a retrieval need, as bytes (PS3.7 § 6.3.1, annex E).

A command set is flat and always Implicit VR Little Endian, so that a table of six kinds of element is all of it.
"""

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct, error

from passevue.errors import CabinetError, NetworkError, Unreadable

_ELEMENT = Struct("<HHL")
_NO_DATA_SET = 0x0101
_DATA_SET = 0x0001
_MEDIUM = 0  # Priority

AFFECTED_SOP_CLASS_UID, COMMAND_FIELD, MESSAGE_ID, MESSAGE_ID_RESPONDED = 0x0002, 0x0100, 0x0110, 0x0120
MOVE_DESTINATION, PRIORITY, DATA_SET_TYPE, STATUS = 0x0600, 0x0700, 0x0800, 0x0900
AFFECTED_SOP_INSTANCE_UID, COMPLETED = 0x1000, 0x1021


class Field(IntEnum):
    """CommandField (0000,0100): the messages of an SCU that finds, gets and moves."""

    C_STORE_RQ = 0x0001
    C_STORE_RSP = 0x8001
    C_GET_RQ = 0x0010
    C_GET_RSP = 0x8010
    C_FIND_RQ = 0x0020
    C_FIND_RSP = 0x8020
    C_MOVE_RQ = 0x0021
    C_MOVE_RSP = 0x8021


@dataclass(frozen=True, slots=True)
class Command:
    """A command set that came in. `message_id` is MessageID of a request, MessageIDBeingRespondedTo of a response."""

    field: int
    message_id: int
    has_data: bool
    status: int = 0
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    completed: int = 0  # sub-operations done

    @property
    def is_pending(self) -> bool:
        return self.status in (0xFF00, 0xFF01)  # FF01: optional keys were not matched (PS3.4 C.4.1.1.4)


def request(field: Field, sop_class_uid: str, message_id: int, *, destination: str = "") -> bytes:
    """C-FIND-RQ, C-GET-RQ or C-MOVE-RQ (with `destination`), followed by an identifier."""
    elements = [
        (AFFECTED_SOP_CLASS_UID, _text(sop_class_uid, b"\0")),
        (COMMAND_FIELD, _short(field)),
        (MESSAGE_ID, _short(message_id)),
    ]
    if field is Field.C_MOVE_RQ:
        elements.append((MOVE_DESTINATION, _text(destination, b" ")))
    return _command_set([*elements, (PRIORITY, _short(_MEDIUM)), (DATA_SET_TYPE, _short(_DATA_SET))])


def store_response(command: Command, status: int) -> bytes:
    """C-STORE-RSP to `command`."""
    return _command_set(
        [
            (AFFECTED_SOP_CLASS_UID, _text(command.sop_class_uid, b"\0")),
            (COMMAND_FIELD, _short(Field.C_STORE_RSP)),
            (MESSAGE_ID_RESPONDED, _short(command.message_id)),
            (DATA_SET_TYPE, _short(_NO_DATA_SET)),
            (STATUS, _short(status)),
            (AFFECTED_SOP_INSTANCE_UID, _text(command.sop_instance_uid, b"\0")),
        ]
    )


def read_command(data: bytes) -> Command:
    """The command set in `data`.

    Raises:
        Unreadable: it is cut short, has another group, or lacks what every command has.
    """
    elements = _elements(data)
    field = _number(elements, COMMAND_FIELD)
    return Command(
        field=field,
        message_id=_number(elements, MESSAGE_ID_RESPONDED if field & 0x8000 else MESSAGE_ID),
        has_data=_number(elements, DATA_SET_TYPE) != _NO_DATA_SET,
        status=_number(elements, STATUS) if field & 0x8000 else 0,
        sop_class_uid=_uid(elements, AFFECTED_SOP_CLASS_UID),
        sop_instance_uid=_uid(elements, AFFECTED_SOP_INSTANCE_UID),
        completed=_number(elements, COMPLETED) if COMPLETED in elements else 0,
    )


def check_end(status: int, asked: str) -> None:
    """Nothing when `status`, the last of a query or retrieval, says that it went well (PS3.7 annex C).

    Raises:
        CabinetError: the PACS does not understand what we ask: A9xx, 01xx.
        NetworkError: it could not do it this time: A7xx, Cxxx, cancelled, sub-operations failed.
    """
    if status == 0x0000:
        return
    if status >> 8 in (0xA9, 0x01):
        raise CabinetError(f"PACS does not understand {asked}: status {status:04X}")
    raise NetworkError(
        f"PACS could not answer {asked}: status {status:04X}",
        hint="Le PACS signale une erreur interne : il sera interrogé de nouveau.",
    )


def _elements(data: bytes) -> dict[int, bytes]:
    elements: dict[int, bytes] = {}
    position = 0
    while position < len(data):
        try:
            group, element, length = _ELEMENT.unpack_from(data, position)
        except error as err:
            raise Unreadable("command element cut short") from err
        position += _ELEMENT.size + length
        if group != 0 or position > len(data):
            raise Unreadable(f"command element ({group:04X},{element:04X}) does not belong or claims too much")
        elements[element] = data[position - length : position]
    return elements


def _number(elements: dict[int, bytes], element: int) -> int:
    value = elements.get(element, b"")
    if len(value) != 2:
        raise Unreadable(f"command element (0000,{element:04X}) is not a short number")
    return int.from_bytes(value, "little")


def _uid(elements: dict[int, bytes], element: int) -> str:
    return elements.get(element, b"").rstrip(b"\0 ").decode("ascii", "replace")


def _command_set(elements: list[tuple[int, bytes]]) -> bytes:
    body = b"".join(_ELEMENT.pack(0, element, len(value)) + value for element, value in elements)
    return _ELEMENT.pack(0, 0, 4) + len(body).to_bytes(4, "little") + body


def _text(value: str, padding: bytes) -> bytes:
    data = value.encode("ascii", "replace")
    return data + padding * (len(data) % 2)


def _short(value: int) -> bytes:
    return value.to_bytes(2, "little")
