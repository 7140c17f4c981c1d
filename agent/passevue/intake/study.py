"""A study as a PACS describes it: values only.

What C-FIND, QIDO-RS or the box's own index answer, in one form. Nothing here knows where it came from, nor what will be
published of it; `document.study` decides that.
"""

from dataclasses import dataclass, field
from datetime import date, time


@dataclass(frozen=True, slots=True)
class Instance:
    """One SOP instance: IMAGE level keys of a Study Root query (PS3.4 C.6.2.1.5)."""

    SOPInstanceUID: str
    SOPClassUID: str
    InstanceNumber: int | None = None
    NumberOfFrames: int | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """One series with all its instances: SERIES level keys (PS3.4 C.6.2.1.4)."""

    SeriesInstanceUID: str
    Modality: str = ""
    SeriesNumber: int | None = None
    SeriesDescription: str = ""
    instances: tuple[Instance, ...] = ()


@dataclass(frozen=True, slots=True)
class Study:
    """One study with all its series: STUDY level keys (PS3.4 C.6.2.1.3).

    AccessionNumber and PatientID are the PACS's own: compared with the report, never copied (kos.md § 8.1).
    """

    StudyInstanceUID: str
    StudyDate: date | None = None
    StudyTime: time | None = None
    StudyDescription: str = ""
    StudyID: str = ""
    ReferringPhysicianName: str = ""
    AccessionNumber: str = ""
    PatientID: str = ""
    series: tuple[Series, ...] = ()
    key_objects: tuple["KeyObject", ...] = field(default=())  # notes of the study, fetched whole

    @property
    def instance_count(self) -> int:
        return sum(len(series.instances) for series in self.series)


@dataclass(frozen=True, slots=True)
class Reference:
    """One instance that a key object names: series, class and instance UIDs."""

    StudyInstanceUID: str
    SeriesInstanceUID: str
    SOPClassUID: str
    SOPInstanceUID: str


@dataclass(frozen=True, slots=True)
class KeyObject:
    """A Key Object Selection document as received: key image note, rejection note or manifest (PS3.3 A.35.4, TID 2010).

    `title` is the code of ConceptNameCodeSequence in DCM, e.g. `113000`; `title_meaning` its CodeMeaning.
    `description` is the text of the 113012 item, as the radiologist typed it.
    """

    StudyInstanceUID: str
    SeriesInstanceUID: str
    SOPInstanceUID: str
    title: str
    title_meaning: str = ""
    description: str = ""
    references: tuple[Reference, ...] = ()
