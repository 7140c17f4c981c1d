"""Requests as pydicom reads them, and ends."""

from io import BytesIO

import pytest
from pydicom.filereader import read_dataset

from passevue.errors import CabinetError, NetworkError
from passevue.intake.dimse import Tag, read_command, response
from passevue.intake.pacs_dimse import Field, check_end, is_pending, request

MOVE = "1.2.840.10008.5.1.4.1.2.2.2"


def test_a_request_is_what_the_standard_says() -> None:
    ds = read_dataset(BytesIO(request(Field.C_MOVE_RQ, MOVE, 7, destination="BOX")), True, True)
    assert ds.CommandGroupLength == len(request(Field.C_MOVE_RQ, MOVE, 7, destination="BOX")) - 12
    assert ds.AffectedSOPClassUID == MOVE
    assert (ds.CommandField, ds.MessageID, ds.Priority) == (0x0021, 7, 0)
    assert ds.MoveDestination == "BOX"
    assert ds.CommandDataSetType != 0x0101


def test_a_request_is_read_back() -> None:
    command = read_command(request(Field.C_FIND_RQ, MOVE, 65535))
    assert (command.field, command.message_id, command.has_data_set) == (Field.C_FIND_RQ, 65535, True)
    assert command.uid(Tag.AffectedSOPClassUID) == MOVE


def test_pending_is_not_the_end() -> None:
    command = read_command(request(Field.C_FIND_RQ, MOVE, 1))
    assert [is_pending(read_command(response(command, status))) for status in (0xFF00, 0xFF01, 0, 0xA700)] == [
        True,
        True,
        False,
        False,
    ]
    with pytest.raises(CabinetError):
        is_pending(command)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (0xA700, NetworkError),
        (0xC000, NetworkError),
        (0xFE00, NetworkError),
        (0xA900, CabinetError),
        (0x0122, CabinetError),
    ],
)
def test_a_status_that_ends_badly_says_whether_to_ask_again(status: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_end(status, "C-FIND")


def test_success_is_the_end() -> None:
    check_end(0x0000, "C-FIND")
