"""Key object notes from a PACS over DIMSE, each as a Part 10 file: C-GET and C-MOVE Study Root (PS3.4 § C.4).

C-GET brings the note on the association that asks, for which we are storage SCP by role selection. C-MOVE has the PACS
send it to the box's own acceptor: the answer to the C-MOVE comes once that is done, and the note is then among the
box's images. A note already there is not moved again: a SOP instance never changes, and each arrival of a note makes
the box look at the study once more.
"""

import asyncio
from collections.abc import Awaitable, Callable

from passevue.errors import CabinetError, NetworkError
from passevue.intake import part10
from passevue.intake.dimse import Status, Tag, response
from passevue.intake.pacs_association import Association, Message
from passevue.intake.pacs_dimse import Field, check_end, is_pending, request, status_of
from passevue.intake.pacs_identifier import write_identifier
from passevue.intake.pacs_notes import KEY_OBJECT_SELECTION, MAX_NOTE
from passevue.intake.study import Reference

STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
WITH_FAILURES = 0xB000  # sub-operations done, some of them failed
ARRIVAL_WAIT_S = 2.0  # an image manager that answers before its last object is committed
ARRIVAL_LOOK_S = 0.05

Arrived = Callable[[str], Awaitable[bytes | None]]


async def c_get(assoc: Association, note: Reference) -> bytes:
    """`note` as a Part 10 file.

    Raises:
        NetworkError: the PACS does not do C-GET with us, leaves, or gives nothing.
        CabinetError: it gives another object, or one past the bound.
    """
    context_id, _ = assoc.context(STUDY_ROOT_GET)
    message_id = assoc.next_message_id()
    await assoc.send(context_id, request(Field.C_GET_RQ, STUDY_ROOT_GET, message_id), _identifier(note))
    file = b""
    while True:
        message = await assoc.receive(MAX_NOTE)
        if message.command.field == Field.C_STORE_RQ:
            file = await _take(assoc, message, note)
        elif _ends(message, Field.C_GET_RSP, message_id):
            break
    if not file:
        raise NetworkError("PACS ended a C-GET without giving the note")
    return file


async def _take(assoc: Association, message: Message, note: Reference) -> bytes:
    command = message.command
    context_id, transfer_syntax = assoc.context(KEY_OBJECT_SELECTION)
    if (
        message.context_id != context_id
        or command.uid(Tag.AffectedSOPInstanceUID) != note.SOPInstanceUID
        or not message.data
    ):
        raise CabinetError("PACS answers a C-GET with another object than asked for")
    await assoc.send(context_id, response(command, Status.SUCCESS))
    return part10.write_meta(note.SOPClassUID, note.SOPInstanceUID, transfer_syntax, assoc.called) + message.data


async def c_move(assoc: Association, note: Reference, destination: str, arrived: Arrived) -> bytes:
    """`note` as a Part 10 file, from where the PACS sent it: `arrived` gives what has come with a SOP Instance UID.

    Raises:
        NetworkError: the PACS does not know `destination`, leaves, or the note does not come.
        CabinetError: it makes no sense.
    """
    if (file := await arrived(note.SOPInstanceUID)) is not None:
        return file
    context_id, _ = assoc.context(STUDY_ROOT_MOVE)
    message_id = assoc.next_message_id()
    command = request(Field.C_MOVE_RQ, STUDY_ROOT_MOVE, message_id, destination=destination)
    await assoc.send(context_id, command, _identifier(note))
    while not _ends(await assoc.receive(), Field.C_MOVE_RSP, message_id):
        pass
    for _ in range(round(ARRIVAL_WAIT_S / ARRIVAL_LOOK_S)):
        if (file := await arrived(note.SOPInstanceUID)) is not None:
            return file
        await asyncio.sleep(ARRIVAL_LOOK_S)
    raise NetworkError(
        "PACS ended a C-MOVE and the note did not come",
        hint="Déclarez dans le PACS l'adresse et le port DICOM de la box comme destination.",
    )


def _ends(message: Message, field: Field, message_id: int) -> bool:
    command = message.command
    if command.field != field or command.message_id != message_id:
        raise CabinetError(f"PACS answers a {field.name} with message {command.field:#06x} to another request")
    if is_pending(command):
        return False
    status = status_of(command)
    if status == 0xA801:
        raise NetworkError(
            "PACS does not know the destination of the C-MOVE",
            hint="Déclarez dans le PACS le titre AE de la box, son adresse et son port comme destination.",
        )
    if status != WITH_FAILURES:  # whether the note came is seen by itself
        check_end(status, field.name.removesuffix("_RSP").replace("_", "-"))
    return True


def _identifier(note: Reference) -> bytes:
    return write_identifier(
        {
            "QueryRetrieveLevel": "IMAGE",
            "StudyInstanceUID": note.StudyInstanceUID,
            "SeriesInstanceUID": note.SeriesInstanceUID,
            "SOPInstanceUID": note.SOPInstanceUID,
        }
    )
