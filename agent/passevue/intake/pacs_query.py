"""C-FIND Study Root on an association: a study, level by level (PS3.4 § C.4.1).

STUDY, then SERIES, then IMAGE for each series: a strict PACS refuses to skip a level (C.4.1.2.2) and gives each
attribute at its own level only. Return keys: kos.md § 8.1.
"""

from collections.abc import Mapping
from dataclasses import replace

from passevue.errors import CabinetError, Unreadable
from passevue.intake.pacs_answers import (
    IMAGE_KEYS,
    MAX_INSTANCES,
    SERIES_KEYS,
    STUDY_KEYS,
    Row,
    assembled,
    instances_of,
    series_of,
    study_of,
)
from passevue.intake.pacs_association import Association
from passevue.intake.pacs_dimse import Field, check_end, is_pending, request, status_of
from passevue.intake.pacs_identifier import read_identifier, write_identifier
from passevue.intake.study import Series, Study

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
MAX_ROWS = 2 * MAX_INSTANCES  # duplicates and strangers are dropped later, and are not endless either


async def whole_study(assoc: Association, study_uid: str) -> Study | None:
    """The study with its series and instances, notes not yet read; None when the PACS has nothing of it.

    Raises:
        NetworkError: the PACS leaves, is slow, or cannot answer now.
        CabinetError: its answers make no sense.
    """
    study = study_of(await find(assoc, "STUDY", {"StudyInstanceUID": study_uid}, STUDY_KEYS), study_uid)
    if study is None:
        return None
    keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": ""}
    series: list[Series] = []
    room = MAX_ROWS
    for one in series_of(await find(assoc, "SERIES", keys, SERIES_KEYS), study_uid):
        keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": one.SeriesInstanceUID, "SOPInstanceUID": ""}
        rows = await find(assoc, "IMAGE", keys, IMAGE_KEYS)
        room -= len(rows)
        if room < 0:
            raise CabinetError(f"PACS gives more than {MAX_ROWS} instances of one study")
        series.append(replace(one, instances=instances_of(rows, study_uid, one.SeriesInstanceUID)))
    return assembled(study, series)


async def find(
    assoc: Association, level: str, keys: Mapping[str, str], returned: tuple[str, ...], *, max_rows: int = MAX_ROWS
) -> list[Row]:
    """The answers to one query: `keys` are matched when they have a value, `returned` is asked for as well."""
    context_id, _ = assoc.context(STUDY_ROOT_FIND)
    message_id = assoc.next_message_id()
    identifier = {"QueryRetrieveLevel": level, **dict.fromkeys(returned, ""), **keys}
    await assoc.send(context_id, request(Field.C_FIND_RQ, STUDY_ROOT_FIND, message_id), write_identifier(identifier))
    rows: list[Row] = []
    while True:
        message = await assoc.receive()
        command = message.command
        if command.field != Field.C_FIND_RSP or command.message_id != message_id:
            raise CabinetError(f"PACS answers a C-FIND with message {command.field:#06x} to another request")
        if not is_pending(command):
            check_end(status_of(command), "C-FIND")
            return rows
        try:
            rows.append(read_identifier(message.data))
        except Unreadable as err:
            raise CabinetError(f"PACS answers a C-FIND with what is no identifier: {err.message}") from err
        if len(rows) > max_rows:
            raise CabinetError(f"PACS gives more than {max_rows} answers to one C-FIND")
