"""Builds the DRIM-M KOS: a Key Object Selection document that serves as the manifest of one study (kos.md §§ 1–9).

Written as its bytes, tag by tag, as S4 (the newest samples of the ANS) has it where samples differ. Names are
shortened to what DICOM allows, identifiers never: one that does not fit is refused. Series and instances are sorted, so
that the order of the PACS's answers changes nothing.
"""

from dataclasses import dataclass
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from passevue.document import encoding
from passevue.document.encoding import sequence, uid
from passevue.document.header import Exam, Report, Structure
from passevue.document.identifiers import valid_oid
from passevue.document.patient import Identifier, Ins, Patient
from passevue.document.sop_classes import value_type
from passevue.document.study import key_image_notes
from passevue.document.times import whole_date
from passevue.errors import Refused
from passevue.intake.association import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from passevue.intake.study import Instance, KeyObject, Series, Study

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
IMPLEMENTATION = (IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME)
SERIES_NUMBER = 59
LO = 64  # characters (PS3.5 § 6.2)
SH = 16
_IS_RANGE = range(-(2**31), 2**31)


@dataclass(frozen=True, slots=True)
class Maker:
    """The box: Manufacturer, base of RetrieveURL (https, other DRIMboxes reach it), IANA time zone of the centre."""

    manufacturer: str
    retrieve_url: str
    timezone: str


@dataclass(frozen=True, slots=True)
class KosIdentity:
    """Identifiers of one version: the SOP instance is new each time, the series is kept, the number counts versions."""

    sop_instance_uid: str
    series_instance_uid: str
    instance_number: int = 1


def build_kos(study: Study, report: Report, exam: Exam, maker: Maker, identity: KosIdentity, now: datetime) -> bytes:
    """The KOS as a Part 10 file. `study` holds what may be published, `exam` the confirmed order; `now` is aware.

    Raises:
        Refused: `no-ins`, or `identifier-too-long` for one that DICOM has no room for.
    """
    try:
        content = _Writer("iso8859-1", "ISO_IR 100").data_set(study, report, exam, maker, identity, now)
    except UnicodeEncodeError:
        content = _Writer("utf-8", "ISO_IR 192").data_set(study, report, exam, maker, identity, now)
    return encoding.file_of(KEY_OBJECT_SELECTION, identity.sop_instance_uid, IMPLEMENTATION, content)


# What differs between two versions of a KOS that say the same: its own identifiers and times, and the offset of those.
_OWN_TAGS = frozenset(
    (
        *(0x00080012, 0x00080013, 0x00080018, 0x00080021, 0x00080031, 0x00080023, 0x00080033, 0x00080201),
        *(0x0020000E, 0x00200013),
    )
)


def same_content(old_kos: bytes, new_kos: bytes) -> bool:
    """Whether two KOS of ours differ in their own identifiers and times only: a refresh then replaces nothing.

    One of another maker (XDM import) has another form and is never the same.
    """
    old, new = encoding.root_elements(old_kos), encoding.root_elements(new_kos)
    if old is None or new is None:
        return False
    return all(old.get(tag) == new.get(tag) for tag in (old.keys() | new.keys()) - _OWN_TAGS)


class _Writer:
    """One character set; every method gives encoded elements in tag order."""

    def __init__(self, codec: str, specific_character_set: str) -> None:
        self.codec = codec
        self.errors = "strict" if codec == "iso8859-1" else "replace"  # lone surrogates have no UTF-8
        self.specific_character_set = specific_character_set

    def text(self, tag: int, value: str) -> bytes:
        return encoding.element(tag, value.encode(self.codec, self.errors))

    def lo(self, tag: int, value: str) -> bytes:
        """A name or label, cut at 64 characters; a backslash would part it into two values."""
        return self.text(tag, _clean(value)[:LO].rstrip())

    def identifier(self, tag: int, value: str, limit: int) -> bytes:
        if len(value) > limit or _clean(value) != value:
            raise _too_long(limit)
        return self.text(tag, value)

    def data_set(
        self, study: Study, report: Report, exam: Exam, maker: Maker, identity: KosIdentity, now: datetime
    ) -> bytes:
        local = now.astimezone(ZoneInfo(maker.timezone))
        today, hour = local.strftime("%Y%m%d"), local.strftime("%H%M%S")
        return b"".join(
            (
                self.text(0x00080005, self.specific_character_set),
                self.text(0x00080012, today),
                self.text(0x00080013, hour),
                uid(0x00080016, KEY_OBJECT_SELECTION),
                uid(0x00080018, identity.sop_instance_uid),
                self.text(0x00080020, _da(study.StudyDate)),
                self.text(0x00080021, today),
                self.text(0x00080023, today),
                self.text(0x00080030, _tm(study.StudyTime)),
                self.text(0x00080031, hour),
                self.text(0x00080033, hour),
                self.text(0x00080050, ""),
                self.text(0x00080060, "KO"),
                self.lo(0x00080070, maker.manufacturer),
                self.text(0x00080080, _institution(report.structure_of(exam))),
                self.text(0x00080090, _clean(study.ReferringPhysicianName)[:LO]),
                self.text(0x00080201, local.strftime("%z")),
                self.lo(0x00081030, study.StudyDescription),
                sequence(0x00081111),
                self.patient(report.patient),
                uid(0x0020000D, study.StudyInstanceUID),
                uid(0x0020000E, identity.series_instance_uid),
                self.text(0x00200010, study.StudyID if len(study.StudyID) <= SH else ""),
                self.text(0x00200011, str(SERIES_NUMBER)),
                self.text(0x00200013, str(identity.instance_number)),
                self.text(0x0040A040, "CONTAINER"),
                sequence(0x0040A043, (self.code("113030", "MANIFEST"),)),
                self.text(0x0040A050, "SEPARATE"),
                sequence(0x0040A370, (self.request(exam),)),
                self.references(study, exam, maker),
            )
        )

    def patient(self, patient: Patient) -> bytes:
        if patient.ins is None:
            raise Refused("no-ins", "the report holds no INS", hint="Le compte rendu ne porte pas d'INS.")
        names = _pn(patient.birth_family, patient.birth_given)
        others = other_patient_names(patient)
        return b"".join(
            (
                self.text(0x00100010, names),
                self.ins(patient.ins),
                self.text(0x00100030, whole_date(patient.birth_date)),
                self.text(0x00100040, {"M": "M", "F": "F"}.get(patient.sex, "O")),
                self.text(0x00101001, others) if others else b"",
                sequence(0x00101002, (self.ins(patient.ins, type_of_id=True),)),
                self.text(0x00104000, _clean(patient.birth_place)),
            )
        )

    def ins(self, ins: Ins, *, type_of_id: bool = False) -> bytes:
        return b"".join(
            (
                self.identifier(0x00100020, ins.value, LO),
                self.text(0x00100021, ins.issuer),
                self.text(0x00100022, "TEXT") if type_of_id else b"",
                sequence(0x00100024, (self.entity(ins.oid),)),
            )
        )

    def entity(self, root: str) -> bytes:
        """UniversalEntityID and its type."""
        return self.text(0x00400032, root) + self.text(0x00400033, "ISO" if valid_oid(root) else "UUID")

    def code(self, value: str, meaning: str) -> bytes:
        return self.text(0x00080100, value) + self.text(0x00080102, "DCM") + self.lo(0x00080104, meaning)

    def request(self, exam: Exam) -> bytes:
        """ReferencedRequestSequence (kos.md § 5); without an order its numbers are empty and have no issuer."""
        accession, placer = exam.accession, exam.placer_order
        return b"".join(
            (
                self.identifier(0x00080050, accession.extension if accession else "", SH),
                self.issuer(0x00080051, accession),
                sequence(0x00081110),
                uid(0x0020000D, exam.study_uid),
                self.text(0x00321060, ""),
                sequence(0x00321064),
                self.issuer(0x00400026, placer),
                self.text(0x00401001, ""),
                self.identifier(0x00402016, placer.extension if placer else "", LO),
                self.text(0x00402017, ""),
            )
        )

    def issuer(self, tag: int, identifier: Identifier | None) -> bytes:
        return b"" if identifier is None else sequence(tag, (self.entity(identifier.root),))

    def references(self, study: Study, exam: Exam, maker: Maker) -> bytes:
        """CurrentRequestedProcedureEvidenceSequence and ContentSequence (kos.md §§ 6, 7, 9)."""
        notes = key_image_notes(study)
        note_series = (
            {
                instance.SOPInstanceUID: series.SeriesInstanceUID
                for series in study.series
                for instance in series.instances
            }
            if notes
            else {}
        )
        series_items: list[bytes] = []
        content: list[bytes] = []
        ordered = sorted(study.series, key=_series_order)
        base = f"{maker.retrieve_url.rstrip('/')}/studies/{study.StudyInstanceUID}/series/"
        for series in ordered:
            instances: list[bytes] = []
            for instance in sorted(series.instances, key=_instance_order):
                head, tail = _reference(instance)
                marks = notes.get(instance.SOPInstanceUID)
                nested = self.key_images(marks, note_series) if marks else b""
                instances.append(head + nested + tail)
                content.append(sequence(0x00081199, (head + tail,)) + _CONTAINS[value_type(instance.SOPClassUID)])
            series_items.append(self.series(series, base, instances))
        content.append(self.description(study, exam, ordered))
        evidence = sequence(0x00081115, series_items) + uid(0x0020000D, study.StudyInstanceUID)
        return sequence(0x0040A375, (evidence,)) + sequence(0x0040A730, content)

    def series(self, series: Series, base: str, instances: list[bytes]) -> bytes:
        return b"".join(
            (
                encoding.element(0x00081190, (base + series.SeriesInstanceUID).encode("ascii")),
                sequence(0x00081199, instances),
                uid(0x0020000E, series.SeriesInstanceUID),
                _integer(0x00200011, series.SeriesNumber),
            )
        )

    def key_images(self, notes: tuple[KeyObject, ...], series_of: dict[str, str]) -> bytes:
        """The nested ReferencedSOPSequence of an image that key image notes mark (kos.md § 9)."""
        return sequence(0x00081199, (self.note(note, series_of) for note in notes))

    def note(self, note: KeyObject, series_of: dict[str, str]) -> bytes:
        text = self.text(0x0040A160, note.description.translate(_UNFIT_IN_TEXT))
        return b"".join(
            (
                uid(0x00081155, note.SOPInstanceUID),
                uid(0x0020000E, series_of.get(note.SOPInstanceUID, note.SeriesInstanceUID)),
                sequence(0x0040A043, (self.code(note.title, note.title_meaning or note.title),)),
                sequence(0x0040A730, (text,)) if note.description else b"",
            )
        )

    def description(self, study: Study, exam: Exam, ordered: list[Series]) -> bytes:
        """The one text item, last as the ANS has it."""
        labels = [code.label for code in (*exam.acts, *exam.regions) if code.label]
        lines = [f"Examen : {_clean(study.StudyDescription)}", f"Acte = {_clean(labels[0]) if labels else ''}"]
        lines += [
            f"Série-{series.SeriesInstanceUID} : {_clean(series.Modality)} @  : {_clean(series.SeriesDescription)}"
            for series in ordered
        ]
        return b"".join(
            (
                self.text(0x0040A010, "CONTAINS"),
                self.text(0x0040A040, "TEXT"),
                sequence(0x0040A043, (self.code("113012", "Key Object Description"),)),
                self.text(0x0040A160, "".join(line + "\n" for line in lines)),
            )
        )


def _too_long(limit: int) -> Refused:
    return Refused(
        "identifier-too-long",
        f"expected an identifier of at most {limit} characters that DICOM can hold",
        hint="Un identifiant du compte rendu ne tient pas dans un objet DICOM : corrigez-le dans le RIS.",
    )


def other_patient_names(patient: Patient) -> str:
    """OtherPatientNames (kos.md § 3): the birth given names, then the used names when there are any."""
    listed = f"^{_part(patient.birth_given_names)}" if patient.birth_given_names else ""
    used = _pn(patient.used_family, patient.used_given)
    return f"{listed}\\{used}" if used else listed


def _pn(family: str, given: str) -> str:
    """`FAMILY^GIVEN` in at most 64 characters, without a trailing caret."""
    return f"{_part(family)}^{_part(given)}"[:LO].rstrip("^")


def _part(name: str) -> str:
    """One component of a person name: its delimiters cannot be part of it."""
    return _clean(name).replace("^", " ").replace("=", " ").strip()[: LO - 1]


_CONTROLS = dict.fromkeys((*range(32), *range(127, 160)), " ")
_UNFIT = {**_CONTROLS, ord("\\"): " "}
_UNFIT_IN_TEXT = {code: " " for code in _CONTROLS if chr(code) not in "\t\n\r"}


def _clean(text: str) -> str:
    """Control characters and the backslash become spaces (PS3.5 § 6.1.3, 6.4)."""
    return text.translate(_UNFIT)


def _institution(structure: Structure | None) -> str:
    """XON: name in component 1, id in component 10."""
    if structure is None:
        return ""
    name = _clean(structure.name).replace("^", " ").strip()
    if not structure.id:
        return name[:LO]
    tail = f"^^^^^^^^^{structure.id}"
    if len(tail) > LO or _clean(tail) != tail:
        raise _too_long(LO)
    return name[: LO - len(tail)].rstrip() + tail


def _da(day: date | None) -> str:
    return "" if day is None else f"{day.year:04}{day.month:02}{day.day:02}"


def _tm(hour: time | None) -> str:
    if hour is None:
        return ""
    return hour.strftime("%H%M%S.%f") if hour.microsecond else hour.strftime("%H%M%S")


def _integer(tag: int, value: int | None) -> bytes:
    """IS, left out when the PACS gave none or one that IS cannot say."""
    return b"" if value is None or value not in _IS_RANGE else encoding.element(tag, str(value).encode("ascii"))


def _reference(instance: Instance) -> tuple[bytes, bytes]:
    """A ReferencedSOPSequence item in two halves: between them goes the nested sequence of key images."""
    head = uid(0x00081150, instance.SOPClassUID) + uid(0x00081155, instance.SOPInstanceUID)
    tail = _integer(0x00200013, instance.InstanceNumber)
    if instance.NumberOfFrames is not None and instance.NumberOfFrames > 0:
        tail += _integer(0x00280008, instance.NumberOfFrames)
    return head, tail


_LAST = 1 << 31


def _series_order(series: Series) -> tuple[int, str]:
    return (_LAST if series.SeriesNumber is None else series.SeriesNumber, series.SeriesInstanceUID)


def _instance_order(instance: Instance) -> tuple[int, str]:
    return (_LAST if instance.InstanceNumber is None else instance.InstanceNumber, instance.SOPInstanceUID)


_CONTAINS = {
    kind: encoding.element(0x0040A010, b"CONTAINS") + encoding.element(0x0040A040, kind.encode("ascii"))
    for kind in ("IMAGE", "WAVEFORM", "COMPOSITE")
}
