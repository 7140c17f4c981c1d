"""One object as the box holds it: what the index knows of it, and the study that such objects make.

Facts (JSON in each record of a segment) and rows of the index carry the same values. Texts are kept as the bytes that
came, one character a byte, with the SpecificCharacterSet beside them: they are decoded when a study is asked for, not
while the modality waits.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from passevue.intake.character_set import text_of
from passevue.intake.study import Instance, KeyObject, Series, Study

KEY_OBJECT_CLASS = "1.2.840.10008.5.1.4.1.1.88.59"

# What the index takes from a data set, beside the four UIDs: tag -> name in the facts.
ATTRIBUTES: dict[int, str] = {
    0x00080005: "SpecificCharacterSet",
    0x00080020: "StudyDate",
    0x00080030: "StudyTime",
    0x00080050: "AccessionNumber",
    0x00080060: "Modality",
    0x00080090: "ReferringPhysicianName",
    0x00081030: "StudyDescription",
    0x0008103E: "SeriesDescription",
    0x00100020: "PatientID",
    0x00200010: "StudyID",
    0x00200011: "SeriesNumber",
    0x00200013: "InstanceNumber",
    0x00280008: "NumberOfFrames",
}


@dataclass(frozen=True, slots=True)
class Stored:
    """One object on the disk.

    Attributes:
        segment, record: where its record begins.
        offset, length: where the DICOM file is: in the segment, or in `file` when that is not empty.
        meta_bytes: length of preamble and file meta information, before the data set.
        conflict: another object with this SOP Instance UID came first and stays (F-17).
        received_at: POSIX seconds.
    """

    sop_uid: str
    sop_class: str
    study_uid: str
    series_uid: str
    transfer_syntax: str
    segment: int
    record: int
    offset: int
    length: int
    crc: int
    meta_bytes: int
    received_at: float
    file: str = ""
    conflict: bool = False
    attributes: str = "{}"  # JSON of ATTRIBUTES' names


def integer(value: str | None) -> int | None:
    """IS as a number; None when it is not one."""
    try:
        return int(value) if value else None
    except ValueError:
        return None


def day(value: str) -> date | None:
    try:
        return datetime.strptime(value[:8], "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


def clock(value: str) -> time | None:
    """TM: HH, HHMM or HHMMSS with an optional fraction."""
    whole, _, fraction = value.partition(".")
    if len(whole) not in (2, 4, 6) or not whole.isdecimal() or (fraction and not fraction.isdecimal()):
        return None
    try:
        return time(
            int(whole[:2]), int(whole[2:4] or 0), min(int(whole[4:6] or 0), 59), int(fraction[:6].ljust(6, "0"))
        )
    except ValueError:
        return None


def decoded(value: str, character_set: str) -> str:
    """A text value by its SpecificCharacterSet; what cannot be decoded becomes replacement characters."""
    return text_of(value.encode("latin-1"), character_set.split("\\")).strip()


@dataclass(frozen=True, slots=True)
class Row:
    """One object of a study, as the index gives it back."""

    sop_uid: str
    sop_class: str
    series_uid: str
    attributes: dict[str, Any]

    def text(self, name: str) -> str:
        value = self.attributes.get(name, "")
        return decoded(value, self.attributes.get("SpecificCharacterSet", "")) if value else ""


def study_of(study_uid: str, rows: Iterable[Row], key_objects: tuple[KeyObject, ...]) -> Study | None:
    """The study that `rows` make; what is said once per study is taken from its first image (or first object)."""
    everything = sorted(rows, key=lambda row: (integer(row.attributes.get("InstanceNumber")) or 0, row.sop_uid))
    if not everything:
        return None
    first = min(everything, key=lambda row: row.sop_class == KEY_OBJECT_CLASS)
    by_series: dict[str, list[Row]] = {}
    for row in everything:
        by_series.setdefault(row.series_uid, []).append(row)
    series = sorted(
        (series_of(uid, members) for uid, members in by_series.items()),
        key=lambda each: (each.SeriesNumber or 0, each.SeriesInstanceUID),
    )
    return Study(
        StudyInstanceUID=study_uid,
        StudyDate=day(first.text("StudyDate")),
        StudyTime=clock(first.text("StudyTime")),
        StudyDescription=first.text("StudyDescription"),
        StudyID=first.text("StudyID"),
        ReferringPhysicianName=first.text("ReferringPhysicianName"),
        AccessionNumber=first.text("AccessionNumber"),
        PatientID=first.text("PatientID"),
        series=tuple(series),
        key_objects=key_objects,
    )


def series_of(series_uid: str, rows: list[Row]) -> Series:
    first = rows[0]
    return Series(
        SeriesInstanceUID=series_uid,
        Modality=first.text("Modality"),
        SeriesNumber=integer(first.attributes.get("SeriesNumber")),
        SeriesDescription=first.text("SeriesDescription"),
        instances=tuple(
            Instance(
                SOPInstanceUID=row.sop_uid,
                SOPClassUID=row.sop_class,
                InstanceNumber=integer(row.attributes.get("InstanceNumber")),
                NumberOfFrames=integer(row.attributes.get("NumberOfFrames")),
            )
            for row in rows
        ),
    )
