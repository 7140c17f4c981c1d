"""Invented studies: CT, MR and CR images, key image notes, rejection notes, manifests.

Nobody's images. UIDs are `2.25.` and a number drawn from what the object is, so the same call makes the same bytes.
Compressed images are random bytes in fragments: long enough and framed as the standard says, not decodable.
"""

import random
import uuid
from collections.abc import Sequence
from io import BytesIO

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGLSLossless

IMPLEMENTATION = "2.25.262014412311211337207302"
CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "CR": "1.2.840.10008.5.1.4.1.1.1",
}
KO_CLASS = "1.2.840.10008.5.1.4.1.1.88.59"
MEANINGS = {
    "113000": "Of Interest",
    "113001": "Rejected for Quality Reasons",
    "113010": "Quality Issue",
    "113030": "Manifest",
    "113037": "Rejected for Patient Safety Reasons",
    "113038": "Incorrect Modality Worklist Entry",
    "113039": "Data Retention Policy Expired",
}


def uid_of(*what: object) -> str:
    """The same UID for the same words."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, '/'.join(map(str, what))).int}"


def meta(sop_class: str, sop_instance: str, transfer_syntax: str) -> FileMetaDataset:
    made = FileMetaDataset()
    made.MediaStorageSOPClassUID = sop_class
    made.MediaStorageSOPInstanceUID = sop_instance
    made.TransferSyntaxUID = UID(transfer_syntax)
    made.ImplementationClassUID = IMPLEMENTATION
    return made


def common(
    modality: str, study_uid: str, patient_id: str, accession: str, series: int, number: int, study_date: str
) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = study_date
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = "091500"
    ds.AccessionNumber = accession
    ds.Modality = modality
    ds.Manufacturer = "Passevue invented"
    ds.ReferringPhysicianName = "INVENTE^MEDECIN"
    ds.StudyDescription = f"{modality} inventé"
    ds.SeriesDescription = f"Série {series}"
    ds.PatientName = "INVENTE^PATIENT"
    ds.PatientID = patient_id
    ds.PatientBirthDate = "19700101"
    ds.PatientSex = "O"
    ds.StudyInstanceUID = study_uid
    ds.SeriesInstanceUID = uid_of(study_uid, modality, series)
    ds.StudyID = "1"
    ds.SeriesNumber = series
    ds.InstanceNumber = number
    return ds


def image(
    study_uid: str,
    patient_id: str,
    accession: str,
    *,
    number: int = 1,
    series: int = 1,
    modality: str = "CT",
    transfer_syntax: str = ExplicitVRLittleEndian,
    compressed_bytes: int = 2000,
    size: int = 32,
    frames: int = 1,
    study_date: str = "20261120",
    seed: int = 0,
) -> Dataset:
    """One image. `size` is Rows and Columns of a native one, `compressed_bytes` the length of each compressed frame.

    `seed` changes the pixels and nothing else: the same SOP Instance UID with other content.
    """
    ds = common(modality, study_uid, patient_id, accession, series, number, study_date)
    ds.SOPClassUID = CLASSES[modality]
    ds.SOPInstanceUID = uid_of(study_uid, modality, series, number)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    if frames > 1:
        ds.NumberOfFrames = frames
    ds.Rows = ds.Columns = 512 if UID(transfer_syntax).is_compressed else size
    ds.PixelSpacing = [0.7, 0.7]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.WindowCenter, ds.WindowWidth = 40, 400
    if modality == "CT":
        ds.KVP, ds.RescaleIntercept, ds.RescaleSlope = 120, -1024, 1
        ds.SliceThickness, ds.ImagePositionPatient = 1.0, [0, 0, number]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.FrameOfReferenceUID = uid_of(study_uid, "frame")
    noise = random.Random(f"{ds.SOPInstanceUID}/{seed}")
    if UID(transfer_syntax).is_compressed:
        ds.PixelData = encapsulate([noise.randbytes(compressed_bytes) for _ in range(frames)])
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
    else:
        ds.PixelData = noise.randbytes(size * size * 2 * frames)
        ds["PixelData"].VR = "OW"
    ds.file_meta = meta(ds.SOPClassUID, ds.SOPInstanceUID, transfer_syntax)
    return ds


def study(
    study_uid: str,
    patient_id: str = "IPP-INVENTE-1",
    accession: str = "ACC-INVENTE-1",
    *,
    slices: int = 3,
    series: int = 1,
    modality: str = "CT",
    transfer_syntax: str = ExplicitVRLittleEndian,
    compressed_bytes: int = 2000,
    size: int = 32,
    study_date: str = "20261120",
) -> list[Dataset]:
    """A study of `series` series with `slices` images each."""
    return [
        image(
            study_uid,
            patient_id,
            accession,
            number=number,
            series=which,
            modality=modality,
            transfer_syntax=transfer_syntax,
            compressed_bytes=compressed_bytes,
            size=size,
            study_date=study_date,
        )
        for which in range(1, series + 1)
        for number in range(1, slices + 1)
    ]


def jpegls_study(study_uid: str, *, slices: int, compressed_bytes: int = 120_000) -> list[Dataset]:
    """A CT as a modality that compresses sends it: 1,300 slices of it are about 160 MB."""
    return study(
        study_uid, slices=slices, modality="CT", transfer_syntax=JPEGLSLossless, compressed_bytes=compressed_bytes
    )


def code(value: str, meaning: str, scheme: str = "DCM") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def evidence(images: Sequence[Dataset]) -> list[Dataset]:
    """CurrentRequestedProcedureEvidenceSequence: study, series, instance (PS3.3 C.17.2)."""
    studies: list[Dataset] = []
    for study_uid in dict.fromkeys(ds.StudyInstanceUID for ds in images):
        item = Dataset()
        item.StudyInstanceUID, item.ReferencedSeriesSequence = study_uid, []
        mine = [ds for ds in images if ds.StudyInstanceUID == study_uid]
        for series_uid in dict.fromkeys(ds.SeriesInstanceUID for ds in mine):
            series = Dataset()
            series.SeriesInstanceUID = series_uid
            series.ReferencedSOPSequence = [reference(ds) for ds in mine if ds.SeriesInstanceUID == series_uid]
            item.ReferencedSeriesSequence.append(series)
        studies.append(item)
    return studies


def reference(ds: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    return item


def key_object(
    images: Sequence[Dataset],
    title: str,
    *,
    text: str = "",
    number: int = 1,
    transfer_syntax: str = ExplicitVRLittleEndian,
    meaning: str | None = None,
) -> Dataset:
    """A KO document of the first image's study that names `images` (PS3.3 A.35.4, TID 2010)."""
    first = images[0]
    ds = common(
        "KO", first.StudyInstanceUID, first.PatientID, first.AccessionNumber, 1003, number, str(first.StudyDate)
    )
    ds.SOPClassUID = KO_CLASS
    ds.SOPInstanceUID = uid_of(first.StudyInstanceUID, "KO", title, number, *(each.SOPInstanceUID for each in images))
    ds.CurrentRequestedProcedureEvidenceSequence = evidence(images)
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.ConceptNameCodeSequence = [code(title, meaning or MEANINGS.get(title, "Of Interest"))]
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "2010"
    ds.ContentTemplateSequence = [template]
    ds.ContentSequence = [*([text_item(text)] if text else []), *(image_item(each) for each in images)]
    ds.file_meta = meta(ds.SOPClassUID, ds.SOPInstanceUID, transfer_syntax)
    return ds


def text_item(text: str) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType, item.TextValue = "CONTAINS", "TEXT", text
    item.ConceptNameCodeSequence = [code("113012", "Key Object Description")]
    return item


def image_item(ds: Dataset) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", "IMAGE"
    item.ReferencedSOPSequence = [reference(ds)]
    return item


def key_image_note(images: Sequence[Dataset], text: str = "", *, title: str = "113000", number: int = 1) -> Dataset:
    return key_object(images, title, text=text, number=number)


def rejection_note(images: Sequence[Dataset], *, title: str = "113001", number: int = 1) -> Dataset:
    return key_object(images, title, number=number)


def manifest(images: Sequence[Dataset]) -> Dataset:
    return key_object(images, "113030")


def file_of(ds: Dataset) -> bytes:
    """The object as a Part 10 file."""
    out = BytesIO()
    dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


def data_set_of(ds: Dataset) -> bytes:
    """The data set alone, in the object's own transfer syntax, as C-STORE carries it."""
    file = file_of(ds)
    return file[144 + int.from_bytes(file[140:144], "little") :]
