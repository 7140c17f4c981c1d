"""An imaging report as the box knows it: the header of a CDA-R2 document, as values.

The body is an encapsulated PDF that the box never opens. One `Exam` stands for one study (StudyInstanceUID): one
report may hold several, and each becomes one KOS. Time stamps are kept as the report wrote them (HL7 TS); `times`
converts them. `report` reads the document.
"""

from dataclasses import dataclass

from passevue.document.patient import Identifier, Patient


@dataclass(frozen=True, slots=True)
class Code:
    """A coded value: `system` is an OID."""

    code: str
    system: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Structure:
    """A health structure: `id` is its StructIdNat (1 + FINESS, 3 + SIRET…), empty when the report has none."""

    id: str
    name: str = ""
    practice_setting: Code | None = None


@dataclass(frozen=True, slots=True)
class Professional:
    """A person, or the device that wrote the report.

    Attributes:
        id: national id (8 + RPPS, 0 + ADELI…), or the id of the device.
        id_root: `1.2.250.1.71.4.2.1` for a professional.
        code: profession and specialty, `G15_10/SM44` in `1.2.250.1.213.1.1.4.5`.
        function: `functionCode`, the role towards the patient.
        device: model or software name; empty for a person.
    """

    id: str
    family: str = ""
    given: str = ""
    id_root: str = ""
    code: Code | None = None
    function: Code | None = None
    structure: Structure | None = None
    device: str = ""

    @property
    def profession_code(self) -> str:
        """`G15_10/SM44` as written; empty when unknown."""
        return self.code.code if self.code else ""

    @property
    def profession(self) -> str:
        """Code of TRE G15, `10` for a doctor; empty when unknown."""
        return self.profession_code.partition("/")[0].removeprefix("G15_")

    @property
    def specialty(self) -> str:
        """Code of TRE R01 and the like, `SM44`; empty when the profession has none."""
        return self.profession_code.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Order:
    """One inFulfillmentOf/order: the placer's number and the accession number, each with its issuer as root."""

    placer: Identifier | None = None
    accession: Identifier | None = None


@dataclass(frozen=True, slots=True)
class Exam:
    """One study of the report.

    Attributes:
        order: the order that goes with this study: its own, the only one, or the one of the same rank; None when the
            report holds none or their number says nothing. `study.check` confirms it with the PACS.
        acts: codes of what was done (LOINC, then CCAM).
        modalities: of `1.2.840.10008.2.16.4`, as the report says, wrong ones too (`RM`).
        regions: SNOMED CT.
        start, stop: HL7 TS, empty when unknown.
        performer: the performing professional with the structure.
    """

    study_uid: str
    order: Order | None = None
    acts: tuple[Code, ...] = ()
    modalities: tuple[Code, ...] = ()
    regions: tuple[Code, ...] = ()
    start: str = ""
    stop: str = ""
    performer: Professional | None = None

    @property
    def accession(self) -> Identifier | None:
        return self.order.accession if self.order else None

    @property
    def placer_order(self) -> Identifier | None:
        return self.order.placer if self.order else None


@dataclass(frozen=True, slots=True)
class Report:
    """The header of one version of a report.

    Attributes:
        id: of this version. `set_id` is common to all versions, None in old files. `replaced_id`: of the version that
            this one replaces (relatedDocument RPLC).
        version: 0 when absent; not to be trusted alone.
        code: `18748-4` of LOINC.
        effective_time: HL7 TS.
        authors: two in tele-radiology.
        legal_authenticator: the person responsible, whose structure's certificate is used.
        facility: sector (`SA07`…), code of healthcareFacilityTypeCode.
        practice_setting: `AMBULATOIRE`…, from the performers, else from the people who sign.
        orders: all of them, in the order of the report.
    """

    id: Identifier
    code: Code
    patient: Patient
    set_id: Identifier | None = None
    version: int = 0
    replaced_id: Identifier | None = None
    title: str = ""
    effective_time: str = ""
    language: str = "fr-FR"
    confidentiality: Code = Code("N", "2.16.840.1.113883.5.25", "Normal")
    authors: tuple[Professional, ...] = ()
    legal_authenticator: Professional | None = None
    custodian: Structure | None = None
    exams: tuple[Exam, ...] = ()
    orders: tuple[Order, ...] = ()
    facility: Code | None = None
    practice_setting: Code | None = None

    @property
    def author(self) -> Professional | None:
        return self.authors[0] if self.authors else None

    def exam_of(self, study_uid: str) -> Exam | None:
        """The exam of one study, None when the report does not speak of it."""
        return next((exam for exam in self.exams if exam.study_uid == study_uid), None)

    def structure_of(self, exam: Exam) -> Structure | None:
        """Where the exam was done: the performer's structure, else the author's, the signatory's, the custodian's."""
        people = (exam.performer, self.author, self.legal_authenticator)
        for person in people:
            if person is not None and person.structure is not None and person.structure.id:
                return person.structure
        return self.custodian
