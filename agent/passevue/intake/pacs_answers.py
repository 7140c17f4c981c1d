"""From the rows that a PACS answers, by C-FIND or QIDO-RS, to a `Study`: decisions only, no I/O.

A row is a mapping of DICOM keywords to text, padding removed; an absent key and an empty one are the same.

Rules:
- A PACS may answer in any order, the same thing twice, or more than was asked: rows of another study or series are
  dropped, rows with a UID already seen too. Two answers that disagree on whose study it is are an error.
- The unique key of a level, and the class of an instance, must be there and be UIDs (PS3.5 § 9.1): without them nothing
  can be published. Every other key may be missing; a value that is not what its VR says counts as missing.
- SOPClassUID is an optional key of C-FIND (PS3.4 table C.6-4), and dcmtk's dcmqrscp does not give it; nothing else says
  it for certain, and a manifest without it is none. Such a PACS must be asked by QIDO-RS, where it is required.
- Bounds: `MAX_SERIES`, `MAX_INSTANCES` in one study (the largest real ones have some 20,000 instances).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime, time

from passevue.errors import CabinetError
from passevue.intake.study import Instance, Series, Study

Row = Mapping[str, str]

STUDY_KEYS = (
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyDescription",
    "StudyID",
    "AccessionNumber",
    "PatientID",
)
SERIES_KEYS = ("SeriesDescription", "SeriesNumber", "Modality")
IMAGE_KEYS = ("SOPClassUID", "InstanceNumber", "NumberOfFrames")

MAX_SERIES = 10_000
MAX_INSTANCES = 100_000
MAX_TEXT = 1_024  # characters of a description kept; LO has 64, LT 10,240

_LENIENT_UID = re.compile(r"\d+(?:\.\d+)+", re.ASCII)  # some modalities write leading zeros: `document.study` says so
_INTEGER = re.compile(r"[+-]?\d{1,10}", re.ASCII)
_TIME = re.compile(r"(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d{1,6}))?)?)?", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def is_uid(value: str) -> bool:
    """Whether `value` is a UID by its rules, leading zeros in components allowed as PACS hold such objects."""
    return len(value) <= 64 and _LENIENT_UID.fullmatch(value) is not None


def study_of(rows: Iterable[Row], study_uid: str) -> Study | None:
    """The study that the STUDY level rows describe, without series; None when none is about it.

    Raises:
        CabinetError: two rows give it to different patients or orders.
    """
    studies = [_study(row, study_uid) for row in rows if _own_uid(row, "StudyInstanceUID") == study_uid]
    for key in ("PatientID", "AccessionNumber"):
        if len({value for study in studies if (value := getattr(study, key))}) > 1:
            raise CabinetError(
                f"PACS answers the same study with different {key}",
                hint="Le PACS attribue le même examen à deux patients ou deux demandes : corrigez-le dans le PACS.",
            )
    return studies[0] if studies else None


def _study(row: Row, study_uid: str) -> Study:
    return Study(
        StudyInstanceUID=study_uid,
        StudyDate=read_date(row.get("StudyDate", "")),
        StudyTime=read_time(row.get("StudyTime", "")),
        StudyDescription=_text(row, "StudyDescription"),
        StudyID=_text(row, "StudyID"),
        ReferringPhysicianName=_text(row, "ReferringPhysicianName"),
        AccessionNumber=_text(row, "AccessionNumber"),
        PatientID=_text(row, "PatientID"),
    )


def series_of(rows: Iterable[Row], study_uid: str) -> tuple[Series, ...]:
    """The series of the SERIES level rows, without instances, each once."""
    found: dict[str, Series] = {}
    for row in _of(rows, StudyInstanceUID=study_uid):
        uid = _own_uid(row, "SeriesInstanceUID")
        if uid in found:
            continue
        found[uid] = Series(
            SeriesInstanceUID=uid,
            Modality=_text(row, "Modality"),
            SeriesNumber=read_integer(row.get("SeriesNumber", "")),
            SeriesDescription=_text(row, "SeriesDescription"),
        )
        if len(found) > MAX_SERIES:
            raise CabinetError(f"PACS answers more than {MAX_SERIES} series for one study")
    return tuple(found.values())


def instances_of(rows: Iterable[Row], study_uid: str, series_uid: str) -> tuple[Instance, ...]:
    """The instances of the IMAGE level rows, each once.

    Raises:
        CabinetError: one has no UID or no class.
    """
    found: dict[str, Instance] = {}
    for row in _of(rows, StudyInstanceUID=study_uid, SeriesInstanceUID=series_uid):
        uid = _own_uid(row, "SOPInstanceUID")
        if uid in found:
            continue
        frames = read_integer(row.get("NumberOfFrames", ""))
        found[uid] = Instance(
            SOPInstanceUID=uid,
            SOPClassUID=_own_uid(row, "SOPClassUID"),
            InstanceNumber=read_integer(row.get("InstanceNumber", "")),
            NumberOfFrames=frames if frames is not None and frames > 0 else None,
        )
        if len(found) > MAX_INSTANCES:
            raise CabinetError(f"PACS answers more than {MAX_INSTANCES} instances for one series")
    return tuple(found.values())


def assembled(study: Study, series: Iterable[Series]) -> Study:
    """`study` with its series: each instance in the first that has it, series without any left out.

    Raises:
        CabinetError: more than `MAX_INSTANCES` in all.
    """
    seen: set[str] = set()
    kept = []
    for one in series:
        instances = tuple(instance for instance in one.instances if instance.SOPInstanceUID not in seen)
        seen.update(instance.SOPInstanceUID for instance in instances)
        if instances:
            kept.append(replace(one, instances=instances))
    if len(seen) > MAX_INSTANCES:
        raise CabinetError(f"PACS answers more than {MAX_INSTANCES} instances for one study")
    return replace(study, series=tuple(kept))


def _of(rows: Iterable[Row], **parents: str) -> Iterator[Row]:
    """The rows that are about `parents`, or that do not say: a PACS need not repeat what it was asked."""
    return (row for row in rows if all(row.get(key, "") in ("", uid) for key, uid in parents.items()))


def _own_uid(row: Row, key: str) -> str:
    uid = row.get(key, "")
    if not is_uid(uid):
        raise CabinetError(
            f"PACS answers without a valid {key}",
            hint=f"Le PACS ne donne pas {key} : faites-le activer par son éditeur, ou configurez son adresse DICOMweb.",
        )
    return uid


def _text(row: Row, key: str) -> str:
    return _CONTROL.sub(" ", row.get(key, ""))[:MAX_TEXT].strip()


def read_integer(value: str) -> int | None:
    """IS: 12 characters at most, within 32 bits (PS3.5 § 6.2)."""
    value = value.strip()
    if not _INTEGER.fullmatch(value) or not -(2**31) <= int(value) < 2**31:
        return None
    return int(value)


def read_date(value: str) -> date | None:
    """DA `YYYYMMDD`, or `YYYY.MM.DD` of ACR-NEMA."""
    try:
        return datetime.strptime(value.replace(".", ""), "%Y%m%d").date() if len(value) in (8, 10) else None
    except ValueError:
        return None


def read_time(value: str) -> time | None:
    """TM `HH[MM[SS[.F]]]`, or with colons as ACR-NEMA had it."""
    if not (match := _TIME.fullmatch(value.replace(":", ""))):
        return None
    hours, minutes, seconds, fraction = match.groups(default="0")
    try:
        return time(int(hours), int(minutes), int(seconds), int(fraction[:6].ljust(6, "0")))
    except ValueError:
        return None
