"""Answers of a PACS: any bytes as DICOM JSON or as an identifier make a study, or are refused with our own error."""

import contextlib
import json
from collections.abc import Iterable

from passevue.errors import CabinetError, Unreadable
from passevue.intake.dicomweb_json import read_rows
from passevue.intake.pacs_answers import Row, instances_of, series_of, study_of
from passevue.intake.pacs_identifier import read_identifier, write_identifier

KEYS = {
    "StudyInstanceUID": "1.2.3",
    "SeriesInstanceUID": "1.2.3.4",
    "SOPInstanceUID": "1.2.3.4.5",
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
    "StudyDate": "20261120",
    "StudyTime": "091500",
    "InstanceNumber": "1",
}
JSON = json.dumps([{"0020000D": {"vr": "UI", "Value": ["1.2.3"]}, "00100020": {"vr": "LO", "Value": ["P"]}}]).encode()


def make(rows: list[Row]) -> None:
    for read in (
        lambda: study_of(rows, "1.2.3"),
        lambda: series_of(rows, "1.2.3"),
        lambda: instances_of(rows, "1.2.3", "1.2.3.4"),
    ):
        with contextlib.suppress(CabinetError):
            read()


def one_input(data: bytes) -> None:
    with contextlib.suppress(Unreadable):
        make(list(read_rows(data)))
    with contextlib.suppress(Unreadable):
        make([read_identifier(data)])
    if read_identifier(write_identifier(KEYS)) != KEYS or read_rows(JSON)[0]["PatientID"] != "P":
        raise AssertionError("the next good answer is not read")


def seeds() -> Iterable[bytes]:
    yield write_identifier(KEYS)
    yield JSON
