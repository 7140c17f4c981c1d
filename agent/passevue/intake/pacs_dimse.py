"""What a query and a retrieval need of DIMSE besides `dimse`: their requests and how they end (PS3.7 §§ 9.3, C)."""

from enum import IntEnum

from passevue.errors import CabinetError, NetworkError
from passevue.intake.dimse import ELEMENT, UL, US, Command, Tag, even

MOVE_DESTINATION, PRIORITY = 0x0600, 0x0700
MEDIUM = 0
WITH_DATA_SET = 0x0001
PENDING = (0xFF00, 0xFF01)  # FF01: optional keys were not matched (PS3.4 C.4.1.1.4)


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


def request(field: Field, sop_class_uid: str, message_id: int, *, destination: str = "") -> bytes:
    """C-FIND-RQ, C-GET-RQ or C-MOVE-RQ (with `destination`), followed by an identifier."""
    elements: list[tuple[int, bytes]] = [
        (Tag.AffectedSOPClassUID, even(sop_class_uid)),
        (Tag.CommandField, US.pack(field)),
        (Tag.MessageID, US.pack(message_id)),
    ]
    if field is Field.C_MOVE_RQ:
        title = destination.encode("ascii")
        elements.append((MOVE_DESTINATION, title + b" " * (len(title) % 2)))
    elements += [(PRIORITY, US.pack(MEDIUM)), (Tag.CommandDataSetType, US.pack(WITH_DATA_SET))]
    body = b"".join(ELEMENT.pack(0, element, len(value)) + value for element, value in elements)
    return ELEMENT.pack(0, Tag.GroupLength, 4) + UL.pack(len(body)) + body


def is_pending(response: Command) -> bool:
    """Whether more responses follow `response`."""
    return status_of(response) in PENDING


def status_of(response: Command) -> int:
    """Raises: CabinetError: it has none."""
    status = response.number(Tag.Status)
    if status is None:
        raise CabinetError("PACS sends a response without a status")
    return status


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
