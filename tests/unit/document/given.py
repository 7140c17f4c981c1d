"""What the tests of this stage start from: the sample reports, a study that fits them, a message that carries them."""

from dataclasses import replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

from passevue.document.kos import KosIdentity, Maker
from passevue.document.report import Exam, Report, read_report
from passevue.intake.received import Kind
from passevue.intake.ris_values import Demand, Participant, RisMessage
from passevue.intake.study import Instance, KeyObject, Reference, Series, Study

SAMPLES = Path(__file__).parents[2] / "samples"
CDA_2023 = (SAMPLES / "cda/IMG_CR_IMG_2023.11_CDA-R2-Niveau-1.xml").read_bytes()
CDA_2019 = (SAMPLES / "cda/DOC00002.xml").read_bytes()
CT = "1.2.840.10008.5.1.4.1.1.2"
KO = "1.2.840.10008.5.1.4.1.1.88.59"
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
MAKER = Maker("Passevue", "https://box.example/wado", "Europe/Paris")
IDENTITY = KosIdentity("2.25.11", "2.25.12", 1)
REPLACED = b"""  <relatedDocument typeCode="RPLC">"""


def without_body(cda: bytes) -> bytes:
    """The sample with a body of a few bytes: properties run it hundreds of times."""
    start = cda.index(b">", cda.index(b"<text mediaType")) + 1
    return cda[:start] + b"JVBERi0=" + cda[cda.index(b"</text>", start) :]


CDA = without_body(CDA_2023)
CDA_NEW = CDA.replace(REPLACED, REPLACED.replace(b"RPLC", b"APND"))  # as a first version says it


def report() -> Report:
    return read_report(CDA_NEW)


def exam() -> Exam:
    return report().exams[0]


def series(number: int, count: int = 3, sop_class: str = CT, modality: str = "CT") -> Series:
    return Series(
        f"1.2.3.{number}",
        modality,
        number,
        f"Série {number}",
        tuple(Instance(f"1.2.3.{number}.{each}", sop_class, each) for each in range(1, count + 1)),
    )


def study(*all_series: Series, key_objects: tuple[KeyObject, ...] = ()) -> Study:
    """A study that is the first one of the sample report."""
    return Study(
        StudyInstanceUID=exam().study_uid,
        StudyDate=date(2021, 1, 8),
        StudyTime=time(10, 25, 0, 300000),
        StudyDescription="Scanner tête",
        AccessionNumber="105234751",
        PatientID="1234567890121",
        series=all_series or (series(1), series(2)),
        key_objects=key_objects,
    )


def note(title: str, *sop_uids: str, uid: str = "1.2.3.9.1", **more: Any) -> KeyObject:
    """A key object of the study that names these instances of its first series."""
    return KeyObject(
        StudyInstanceUID=exam().study_uid,
        SeriesInstanceUID="1.2.3.9",
        SOPInstanceUID=uid,
        title=title,
        references=tuple(Reference(exam().study_uid, "1.2.3.1", CT, each) for each in sop_uids),
        **more,
    )


def message(**changes: Any) -> RisMessage:
    """A message that agrees with the sample report."""
    whole = RisMessage(
        kind=Kind.REPORT,
        demand=Demand.NEW,
        control_id="1",
        sender="RIS|CENTRE",
        ins=("279035121518989", "1.2.250.1.213.1.4.10"),
        ipp=(("1234567890121", "1.2.3.4.567.8.9.10"),),
        birth_name="PAT-TROIS",
        birth_given="DOMINIQUE",
        birth_date="19790328",
        sex="F",
        identity_reliability="VALI",
        patient_class="O",
        cda=CDA_NEW,
        document_id="1.2.250.1.213.1.1.1.45.2",
        participant=Participant("801234564895", "Eric", "Thomas", "RPPS", "300017985", "Centre Ambroise", "FINEG"),
    )
    return replace(whole, **changes)
