"""Reads back, from a KOS of ours, the study it was made of: what stands in the registry, when no PACS can be asked.

The proof of the reading is the writing: what `build_kos` makes of the study must say what the KOS says, to the byte. So
whatever is made of less of that study differs from what stands by what was taken out, and by nothing else.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from passevue.document.header import Exam, Report
from passevue.document.kos import KosIdentity, Maker, build_kos, same_content
from passevue.document.kos_header import read_kos_header
from passevue.errors import Refused, Unreadable
from passevue.intake.data_set import coding_of
from passevue.intake.item_tree import Item, read_data_set
from passevue.intake.part10 import data_set_offset, transfer_syntax
from passevue.intake.stored import decoded
from passevue.intake.study import Instance, KeyObject, Reference, Series, Study

_CHARACTER_SET, _STUDY_DATE, _STUDY_TIME, _REFERRING, _STUDY_ID = (
    0x00080005,
    0x00080020,
    0x00080030,
    0x00080090,
    0x00200010,
)
_STUDY, _SERIES, _SERIES_NUMBER, _INSTANCE_NUMBER, _FRAMES = 0x0020000D, 0x0020000E, 0x00200011, 0x00200013, 0x00280008
_CLASS, _INSTANCE, _REFERENCED = 0x00081150, 0x00081155, 0x00081199
_REFERENCED_SERIES, _EVIDENCE, _CONTENT, _TEXT = 0x00081115, 0x0040A375, 0x0040A730, 0x0040A160
_CONCEPT, _CODE, _MEANING = 0x0040A043, 0x00080100, 0x00080104
_EXAM, _OF_SERIES, _PART = "Examen : ", "Série-", " @  : "


def standing_study(kos: bytes, report: Report, exam: Exam, maker: Maker, now: datetime) -> Study | None:
    """The study as `kos` has it, with the identifiers that were compared with `report` when it was made.

    None: this KOS was not made of such a study, for this report, by this box as it is now. Takes as long as building.
    """
    try:
        header = read_kos_header(kos)
        read = _study(_root(kos))
        identity = KosIdentity(header.sop_instance_uid, header.series_uid, header.instance_number)
        for confirmed, study in _confirmed(read, report, exam):
            if same_content(kos, build_kos(study, report, confirmed, maker, identity, now)):
                return study
    except (Unreadable, Refused, ValueError):
        return None
    return None


def _confirmed(study: Study, report: Report, exam: Exam) -> Iterator[tuple[Exam, Study]]:
    """What the PACS may have confirmed: a local id of the report, and one of its orders (`document.study.check`)."""
    ids = [local.extension for local in report.patient.local_ids] or [""]
    own = replace(study, PatientID=ids[0])
    yield exam, replace(own, AccessionNumber=_accession(exam))
    for order in report.orders:
        other = replace(exam, order=order)
        yield other, replace(own, AccessionNumber=_accession(other))


def _accession(exam: Exam) -> str:
    return exam.accession.extension if exam.accession else ""


def _root(kos: bytes) -> Item:
    return read_data_set(kos[data_set_offset(kos) :], coding_of(transfer_syntax(kos)))


def _study(root: Item) -> Study:
    names = root.text(_CHARACTER_SET)
    evidence = root.items(_EVIDENCE)
    said = [item.text(_TEXT) for item in root.items(_CONTENT) if _TEXT in item.values]
    if len(evidence) != 1 or len(said) != 1:
        raise Unreadable("expected one study and one text in a KOS of ours")
    lines = decoded(said[0], names).split("\n")
    described = dict(_described(lines))
    day, hour = root.text(_STUDY_DATE), root.text(_STUDY_TIME)
    listed = evidence[0].items(_REFERENCED_SERIES)
    return Study(
        StudyInstanceUID=root.text(_STUDY),
        StudyDate=datetime.strptime(day, "%Y%m%d").date() if day else None,
        StudyTime=datetime.strptime(hour, "%H%M%S.%f" if "." in hour else "%H%M%S").time() if hour else None,
        StudyDescription=lines[0].removeprefix(_EXAM),
        StudyID=decoded(root.text(_STUDY_ID), names),
        ReferringPhysicianName=decoded(root.text(_REFERRING), names),
        series=tuple(_series(one, described) for one in listed),
        key_objects=tuple(_notes(root.text(_STUDY), listed, names)),
    )


def _described(lines: Iterable[str]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Modality and description by SeriesInstanceUID."""
    for line in lines:
        series_uid, parted, rest = line.removeprefix(_OF_SERIES).partition(" : ")
        if line.startswith(_OF_SERIES) and parted:
            modality, _, description = rest.partition(_PART)
            yield series_uid, (modality, description)


def _series(item: Item, described: dict[str, tuple[str, str]]) -> Series:
    uid = item.text(_SERIES)
    modality, description = described.get(uid, ("", ""))
    instances = tuple(
        Instance(one.text(_INSTANCE), one.text(_CLASS), _number(one, _INSTANCE_NUMBER), _number(one, _FRAMES))
        for one in item.items(_REFERENCED)
    )
    return Series(uid, modality, _number(item, _SERIES_NUMBER), description, instances)


def _number(item: Item, tag: int) -> int | None:
    value = item.text(tag)
    return int(value) if value else None


def _notes(study_uid: str, listed: Iterable[Item], names: str) -> Iterator[KeyObject]:
    """The key image notes, in the order in which images name them (kos.md § 9)."""
    marks: dict[str, tuple[Item, list[Reference]]] = {}
    for series in listed:
        for image in series.items(_REFERENCED):
            named = Reference(study_uid, series.text(_SERIES), image.text(_CLASS), image.text(_INSTANCE))
            for note in image.items(_REFERENCED):
                marks.setdefault(note.text(_INSTANCE), (note, []))[1].append(named)
    for sop_uid, (note, references) in marks.items():
        title = (note.items(_CONCEPT) or [Item()])[0]
        text = (note.items(_CONTENT) or [Item()])[0]
        yield KeyObject(
            StudyInstanceUID=study_uid,
            SeriesInstanceUID=note.text(_SERIES),
            SOPInstanceUID=sop_uid,
            title=title.text(_CODE),
            title_meaning=decoded(title.text(_MEANING), names),
            description=decoded(text.text(_TEXT), names),
            references=tuple(references),
        )
