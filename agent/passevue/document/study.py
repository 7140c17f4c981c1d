"""Decides what of a study in the PACS may be published, and whether it is the study of the report at all.

Checks of kos.md § 8.2: same StudyInstanceUID, AccessionNumber and PatientID as the report, at least one instance. A
check that cannot be made is not passed: the images of someone else are worse than no images.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace

from passevue.document.header import Code, Exam, Order, Report
from passevue.document.identifiers import padded_uid, valid_uid
from passevue.document.terminology import MODALITIES, modality
from passevue.errors import CabinetError, Refused
from passevue.intake.key_object import is_key_image_note, is_manifest, is_rejection
from passevue.intake.study import KeyObject, Series, Study

MAX_INSTANCES = 200_000  # ten times the largest study we know of; a manifest of it is 40 MB


def check(study: Study | None, exam: Exam, report: Report) -> Exam:
    """The exam with the order that the PACS confirms (exam F: two studies, two accession numbers in one report).

    "Not there yet" is the caller's to decide; here a study without instances is refused like one that is absent.

    Raises:
        Refused: `study-empty`, `uid-padded`, `accession-mismatch` or `patient-mismatch`.
        CabinetError: the PACS's answer makes no sense.
    """
    if study is None or study.instance_count == 0:
        raise Refused(
            "study-empty",
            "the PACS has no instance of the study",
            hint="Le PACS ne contient pas les images de cet examen : vérifiez que l'examen y est archivé.",
        )
    _check_sense(study, exam)
    _check_patient(study, report)
    return _confirmed(study, exam, report)


def _check_sense(study: Study, exam: Exam) -> None:
    if study.StudyInstanceUID != exam.study_uid:
        raise CabinetError("the PACS answered another study than the one asked for")
    if study.instance_count > MAX_INSTANCES:
        raise CabinetError(f"expected at most {MAX_INSTANCES} instances in a study, got {study.instance_count}")
    uids = [instance.SOPInstanceUID for series in study.series for instance in series.instances]
    if len(set(uids)) != len(uids):
        raise CabinetError("the PACS lists one instance twice")
    series_uids = [series.SeriesInstanceUID for series in study.series]
    if len(set(series_uids)) != len(series_uids):
        raise CabinetError("the PACS lists one series twice")
    classes = {instance.SOPClassUID for series in study.series for instance in series.instances}
    _check_uids({*uids, *series_uids, *classes})


def _check_uids(uids: Collection[str]) -> None:
    """A manifest is a DICOM object and names nothing that DICOM has no name for (PS3.5 § 9.1). One without the object
    would hide an image, one with another name would not find it: a person has the examination corrected.
    """
    wrong = [uid for uid in uids if not valid_uid(uid)]
    if not all(padded_uid(uid) for uid in wrong):
        raise CabinetError("the PACS gave a UID that is none")
    if wrong:
        raise Refused(
            "uid-padded",
            f"{len(wrong)} UIDs of the study have a component with a leading zero",
            hint="Le PACS garde dans cet examen des objets dont l'identifiant (UID) n'est pas conforme à DICOM : un de "
            "ses nombres commence par un zéro. Aucun manifeste ne peut les nommer. Faites-les renuméroter dans le PACS "
            "et corriger l'appareil qui les a produits ; puis relancez.",
        )


def _check_patient(study: Study, report: Report) -> None:
    patient_id = study.PatientID.strip()
    if not patient_id or all(patient_id != local.extension for local in report.patient.local_ids):
        raise Refused(
            "patient-mismatch",
            "PatientID of the images is not the local id of the report",
            hint="Les images du PACS et le compte rendu ne portent pas le même identifiant patient (IPP) : "
            "vérifiez l'identité de l'examen dans le PACS.",
        )


def _confirmed(study: Study, exam: Exam, report: Report) -> Exam:
    accession = study.AccessionNumber.strip()
    if not any(order.accession for order in report.orders):
        return exam  # the report names no accession number: nothing to compare (schematron: inFulfillmentOf 0..*)
    for order in _orders_for(exam, report):
        if order.accession is not None and accession == order.accession.extension:
            return replace(exam, order=order)
    raise Refused(
        "accession-mismatch",
        "AccessionNumber of the images is not that of the report",
        hint="Les images du PACS et le compte rendu ne portent pas le même numéro d'examen (accession number) : "
        "vérifiez l'examen dans le PACS et dans le RIS.",
    )


def _orders_for(exam: Exam, report: Report) -> Iterator[Order]:
    if exam.order is not None:
        yield exam.order
    yield from report.orders


def without(study: Study, rejected: Collection[str]) -> Study:
    """The study less what must not be seen across the network; series that have nothing left are dropped.

    Taken out: `rejected` (SOP Instance UIDs of earlier rejection notes), the rejection notes that the PACS itself holds
    and what they reject, and manifests that it got back from us (kos.md §§ 6, 10).
    """
    gone = set(rejected)
    for note in study.key_objects:
        if is_rejection(note.title):
            gone.update(reference.SOPInstanceUID for reference in note.references)
        if is_rejection(note.title) or is_manifest(note.title):
            gone.add(note.SOPInstanceUID)
    if not gone:
        return study
    series = (_series_without(each, gone) for each in study.series)
    return replace(
        study,
        series=tuple(each for each in series if each.instances),
        key_objects=tuple(note for note in study.key_objects if note.SOPInstanceUID not in gone),
    )


def _series_without(series: Series, gone: Collection[str]) -> Series:
    return replace(
        series, instances=tuple(instance for instance in series.instances if instance.SOPInstanceUID not in gone)
    )


def key_image_notes(study: Study) -> dict[str, tuple[KeyObject, ...]]:
    """Notes by the SOP Instance UID of the image that they mark."""
    marked: dict[str, tuple[KeyObject, ...]] = {}
    for note in study.key_objects:
        if is_key_image_note(note.title):
            for sop_uid in dict.fromkeys(reference.SOPInstanceUID for reference in note.references):
                marked[sop_uid] = (*marked.get(sop_uid, ()), note)
    return marked


def event_modalities(study: Study, exam: Exam) -> tuple[Code, ...]:
    """Acquisition modalities of eventCodeList: the report's, or the PACS's when the report has one that is none.

    `RM` in a report (French habit for MR) is outside the value set; KO, SR and PR in the PACS acquire nothing.
    """
    said = [code.code for code in exam.modalities]
    if not said or any(code not in MODALITIES for code in said):
        said = [series.Modality.strip() for series in study.series]
    return tuple(modality(code) for code in dict.fromkeys(said) if code in MODALITIES)
