"""The same KOS made with pydicom, element by element from kos.md §§ 2–9: slow, and another author of the bytes.

Also what `tests/bench/bench_kos.py` measures ours against.
"""

import io
from collections.abc import Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian

from passevue.document.kos import KosIdentity, Maker
from passevue.document.report import Exam, Report
from passevue.intake.association import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from passevue.intake.study import Instance, Series, Study

KO = "1.2.840.10008.5.1.4.1.1.88.59"


def dataset(**elements: object) -> Dataset:
    ds = Dataset()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def one(**elements: object) -> Sequence:
    return Sequence([dataset(**elements)])


def issuer(root: str) -> Sequence:
    return one(UniversalEntityID=root, UniversalEntityIDType="ISO")


def code(value: str, meaning: str) -> Sequence:
    return one(CodeValue=value, CodingSchemeDesignator="DCM", CodeMeaning=meaning)


def reference(instance: Instance) -> Dataset:
    ds = dataset(ReferencedSOPClassUID=instance.SOPClassUID, ReferencedSOPInstanceUID=instance.SOPInstanceUID)
    if instance.InstanceNumber is not None:
        ds.InstanceNumber = instance.InstanceNumber
    if instance.NumberOfFrames is not None:
        ds.NumberOfFrames = instance.NumberOfFrames
    return ds


def series_item(study: Study, series: Series, base: str) -> Dataset:
    return dataset(
        RetrieveURL=f"{base}/studies/{study.StudyInstanceUID}/series/{series.SeriesInstanceUID}",
        ReferencedSOPSequence=Sequence(reference(each) for each in series.instances),
        SeriesInstanceUID=series.SeriesInstanceUID,
        SeriesNumber=series.SeriesNumber,
    )


def content(study: Study, exam: Exam) -> Iterable[Dataset]:
    for series in study.series:
        for each in series.instances:
            yield dataset(
                ReferencedSOPSequence=Sequence([reference(each)]), RelationshipType="CONTAINS", ValueType="IMAGE"
            )
    lines = [f"Examen : {study.StudyDescription}", f"Acte = {exam.acts[0].label}"]
    lines += [
        f"Série-{each.SeriesInstanceUID} : {each.Modality} @  : {each.SeriesDescription}" for each in study.series
    ]
    yield dataset(
        RelationshipType="CONTAINS",
        ValueType="TEXT",
        ConceptNameCodeSequence=code("113012", "Key Object Description"),
        TextValue="\n".join(lines) + "\n",
    )


def reference_kos(
    study: Study, report: Report, exam: Exam, maker: Maker, identity: KosIdentity, now: datetime
) -> Dataset:
    """For studies of images, sorted, with an order, without notes, of a patient with a Latin-1 name."""
    local = now.astimezone(ZoneInfo(maker.timezone))
    patient, ins = report.patient, report.patient.ins
    structure = report.structure_of(exam)
    assert ins is not None
    assert structure is not None
    assert exam.accession is not None
    assert exam.placer_order is not None
    assert study.StudyDate is not None
    assert study.StudyTime is not None
    ds = dataset(
        SpecificCharacterSet="ISO_IR 100",
        InstanceCreationDate=local.strftime("%Y%m%d"),
        InstanceCreationTime=local.strftime("%H%M%S"),
        SOPClassUID=KO,
        SOPInstanceUID=identity.sop_instance_uid,
        StudyDate=study.StudyDate.strftime("%Y%m%d"),
        SeriesDate=local.strftime("%Y%m%d"),
        ContentDate=local.strftime("%Y%m%d"),
        StudyTime=study.StudyTime.strftime("%H%M%S.%f"),
        SeriesTime=local.strftime("%H%M%S"),
        ContentTime=local.strftime("%H%M%S"),
        AccessionNumber="",
        Modality="KO",
        Manufacturer=maker.manufacturer,
        InstitutionName=f"{structure.name}^^^^^^^^^{structure.id}",
        ReferringPhysicianName=study.ReferringPhysicianName,
        TimezoneOffsetFromUTC=local.strftime("%z"),
        StudyDescription=study.StudyDescription,
        ReferencedPerformedProcedureStepSequence=Sequence(),
        PatientName=f"{patient.birth_family}^{patient.birth_given}",
        PatientID=ins.value,
        IssuerOfPatientID="ASIP-SANTE-INS-NIR",
        IssuerOfPatientIDQualifiersSequence=issuer(ins.oid),
        PatientBirthDate=patient.birth_date,
        PatientSex=patient.sex,
        OtherPatientNames=[f"^{patient.birth_given_names}", f"{patient.used_family}^{patient.used_given}"],
        OtherPatientIDsSequence=one(
            PatientID=ins.value,
            IssuerOfPatientID="ASIP-SANTE-INS-NIR",
            TypeOfPatientID="TEXT",
            IssuerOfPatientIDQualifiersSequence=issuer(ins.oid),
        ),
        PatientComments=patient.birth_place,
        StudyInstanceUID=study.StudyInstanceUID,
        SeriesInstanceUID=identity.series_instance_uid,
        StudyID=study.StudyID,
        SeriesNumber=59,
        InstanceNumber=identity.instance_number,
        ValueType="CONTAINER",
        ConceptNameCodeSequence=code("113030", "MANIFEST"),
        ContinuityOfContent="SEPARATE",
        ReferencedRequestSequence=one(
            AccessionNumber=exam.accession.extension,
            IssuerOfAccessionNumberSequence=issuer(exam.accession.root),
            ReferencedStudySequence=Sequence(),
            StudyInstanceUID=study.StudyInstanceUID,
            RequestedProcedureDescription="",
            RequestedProcedureCodeSequence=Sequence(),
            OrderPlacerIdentifierSequence=issuer(exam.placer_order.root),
            RequestedProcedureID="",
            PlacerOrderNumberImagingServiceRequest=exam.placer_order.extension,
            FillerOrderNumberImagingServiceRequest="",
        ),
        CurrentRequestedProcedureEvidenceSequence=one(
            ReferencedSeriesSequence=Sequence(series_item(study, each, maker.retrieve_url) for each in study.series),
            StudyInstanceUID=study.StudyInstanceUID,
        ),
        ContentSequence=Sequence(content(study, exam)),
    )
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = KO
    ds.file_meta.MediaStorageSOPInstanceUID = identity.sop_instance_uid
    ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    ds.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return ds


def written(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()
