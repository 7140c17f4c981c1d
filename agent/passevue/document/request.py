"""What a received thing asks for: which action on which studies, and whether message and report speak of one thing.

Two kinds of no (hl7v2.md § 5):
- at the door (`read_request`): what is wrong in itself (unreadable, two patients, another realm's INS, incoherent
  ids) is answered AE and never stored;
- after AA (`publishable`): what a person can put right on the centre's side (identity not validated, traits that
  differ) is kept and set aside, and nothing is published of it.
Nothing here holds an identity in its messages.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum

from passevue.document.header import Report
from passevue.document.identifiers import valid_uid
from passevue.document.patient import Ins, Patient, Realm, first_given_is, ins_is_qualified, same_name
from passevue.document.report import read_report
from passevue.errors import Hl7Error, Refused, Unreadable
from passevue.intake.key_object import is_key_image_note, is_rejection
from passevue.intake.received import Kind
from passevue.intake.ris_values import Demand, RisMessage
from passevue.intake.study import KeyObject


class Action(StrEnum):
    """What an entry asks for its study. Whether a publication replaces another is read off the archive."""

    PUBLISH = "publish"  # new report, replaced report, visibility change
    WITHDRAW = "withdraw"  # report deleted
    REFRESH = "refresh"  # the images changed: rejection note, key image note, OMI^O23


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to do for one study. Tasks of one study are done one after the other, in order of arrival (Q-07).

    `report` is what all versions of the report that asks for it share, empty when no report does.
    """

    action: Action
    study_uid: str
    report: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A coherent message: `report` is None for OMI^O23, which carries none."""

    message: RisMessage
    report: Report | None = None


# Table 0533 of the volet.
WRONG_VERSION = 900
INS_ABSENT = 903
INS_DIFFERS = 904
INS_INCOMPLETE = 905
OTHER = 906


def read_request(message: RisMessage, realm: Realm | str) -> Request:
    """The request in a message that the RIS desk has read, checked against the report it carries.

    `realm` is `box.realm`: an INS of the other realm is refused.

    Raises:
        Hl7Error: AE with what is wrong (102, 103, 198, 207, and the codes of table 0533).
    """
    if message.ins is not None:
        _check_ins(Ins(*message.ins), Realm(realm))
    if message.kind is Kind.EXAM_CHANGED:
        if not valid_uid(message.study_uid):
            raise Hl7Error(102, "expected a StudyInstanceUID", location="IPC^1^3")
        return Request(message)
    report = _report_of(message.cda)
    for patient in (report.patient, *(_report_of(cda).patient for cda in message.more_cdas)):
        _check_same_ins(message, patient)
    _check_ids(message, report)
    if message.for_dmp and not report.exams:
        raise Hl7Error(101, "expected a StudyInstanceUID in the report", location="OBX^1^5", application_code=OTHER)
    return Request(message, report)


def _report_of(cda: bytes) -> Report:
    try:
        return read_report(cda)
    except Unreadable as err:
        raise Hl7Error(102, err.message, location="OBX^1^5", application_code=OTHER) from err


def _check_ins(ins: Ins, realm: Realm) -> None:
    """N-05: check digit, and the realm of the OID."""
    if not ins.complete:
        raise Hl7Error(102, "expected an INS of 15 characters", location="PID^1^3", application_code=INS_INCOMPLETE)
    if not ins.key_is_right:
        raise Hl7Error(102, "the key of the INS is wrong", location="PID^1^3", application_code=INS_INCOMPLETE)
    if ins.realm is not realm:
        raise Hl7Error(
            103, f"expected an INS of the {realm} realm, got {ins.realm}", location="PID^1^3", application_code=OTHER
        )


def _check_same_ins(message: RisMessage, patient: Patient) -> None:
    """Two patients in one message. A report that is not for the DMP may come without INS."""
    if not message.for_dmp and (message.ins is None or patient.ins is None):
        return
    if message.ins is None:
        raise Hl7Error(101, "expected an INS", location="PID^1^3", application_code=INS_ABSENT)
    if patient.ins is None:
        raise Hl7Error(101, "the report holds no INS", location="OBX^1^5", application_code=INS_ABSENT)
    if (patient.ins.value, patient.ins.oid) != message.ins:
        raise Hl7Error(
            204, "the INS of the report is not that of the message", location="PID^1^3", application_code=INS_DIFFERS
        )


def _check_ids(message: RisMessage, report: Report) -> None:
    """TXA-12, TXA-13 and relatedDocument against what is asked (hl7v2.md §§ 3.6, 4)."""
    if message.document_id and not report.id.same_as(message.document_id):
        raise Hl7Error(207, "TXA-12 is not the id of the report", location="TXA^1^12", application_code=OTHER)
    replaced = report.replaced_id
    if message.demand is Demand.NEW and replaced is not None:
        raise Hl7Error(207, "a new report replaces another one", location="ORC^1^1", application_code=OTHER)
    if message.demand not in (Demand.REPLACE, Demand.VISIBILITY):
        return
    if replaced is None:
        raise Hl7Error(
            207, "the replacing report names no replaced one", location="ORC^1^1", application_code=WRONG_VERSION
        )
    if message.replaced_document_id and not replaced.same_as(message.replaced_document_id):
        raise Hl7Error(207, "TXA-13 is not the replaced report", location="TXA^1^13", application_code=WRONG_VERSION)


def tasks(request: Request) -> tuple[Task, ...]:
    """One per study of the report, in its order; one refresh for OMI^O23."""
    if request.report is None:
        return (Task(Action.REFRESH, request.message.study_uid),)
    action = Action.WITHDRAW if request.message.demand is Demand.DELETE else Action.PUBLISH
    return tuple(Task(action, exam.study_uid, report_key(request.report)) for exam in request.report.exams)


def report_key(report: Report) -> str:
    """What the versions of a report share: their setId, else (older files) the id of this one."""
    return (report.set_id or report.id).text


def earlier_versions(request: Request) -> frozenset[str]:
    """`report_key` of the versions that this message replaces; none when it replaces nothing."""
    report = request.report
    if report is None or request.message.demand not in (Demand.REPLACE, Demand.VISIBILITY):
        return frozenset()
    replaced = {report.replaced_id.text} if report.replaced_id else set()
    return frozenset({report_key(report)} | replaced)


def left_out(request: Request, studies: Collection[str]) -> tuple[Task, ...]:
    """A withdrawal of each of `studies`, which earlier versions named, that this version no longer speaks of."""
    if request.report is None:
        return ()
    gone = sorted(set(studies) - {exam.study_uid for exam in request.report.exams})
    return tuple(Task(Action.WITHDRAW, study_uid, report_key(request.report)) for study_uid in gone)


def tasks_of_key_object(key_object: KeyObject) -> tuple[Task, ...]:
    """A refresh of every study that a rejection note names, or of the study of a key image note (kos.md § 10).

    A manifest (our own KOS routed back) and titles that change nothing give none.
    """
    if is_rejection(key_object.title):
        named = (reference.StudyInstanceUID for reference in key_object.references)
        studies = dict.fromkeys((*named, key_object.StudyInstanceUID))
    elif is_key_image_note(key_object.title):
        studies = dict.fromkeys((key_object.StudyInstanceUID,))
    else:
        studies = {}
    return tuple(Task(Action.REFRESH, study_uid) for study_uid in studies if valid_uid(study_uid))


def publishable(request: Request) -> None:
    """Nothing when the report may be published. OMI^O23 brings no report: `same_exam` is for it.

    Raises:
        Refused: `ins-not-qualified` or `identity-mismatch`; a person must act, in the RIS.
    """
    message, report = request.message, request.report
    if report is None:
        return
    if not ins_is_qualified(message.ins, message.identity_reliability):
        raise Refused(
            "ins-not-qualified",
            "PID-32 does not say VALI",
            hint="L'identité du patient n'est pas validée : qualifiez l'INS dans le RIS, "
            "puis renvoyez le compte rendu.",
        )
    differing = tuple(_differences(message, report.patient))
    if differing:
        raise Refused(
            "identity-mismatch",
            f"message and report differ on {', '.join(differing)}",
            hint="Le compte rendu ne porte pas la même identité que le message : corrigez l'identité dans le RIS, "
            "puis renvoyez le compte rendu.",
        )


def same_exam(message: RisMessage, archived: Report, others: Collection[Report] = ()) -> None:
    """Nothing when an OMI^O23 speaks of the patient and order of the archived report (hl7v2.md § 4.1).

    What the message leaves out contradicts nothing: the study is known by its UID. `others` are further reports of the
    study: another RIS may have given it another accession number.

    Raises:
        Refused: `identity-mismatch` or `accession-mismatch`.
    """
    ins = archived.patient.ins
    if message.ins is not None and ins is not None and message.ins != (ins.value, ins.oid):
        raise Refused(
            "identity-mismatch",
            "the message names another INS than the archived report",
            hint="Le message de modification d'examen porte un autre INS que le compte rendu publié : "
            "vérifiez l'identité dans le RIS.",
        )
    orders = (order for report in (archived, *others) for order in report.orders)
    known = {order.accession.extension for order in orders if order.accession is not None}
    if message.accession_number and known and message.accession_number not in known:
        raise Refused(
            "accession-mismatch",
            "the message names another accession number than the archived report",
            hint="Le message de modification d'examen porte un autre numéro d'examen (accession number) que le "
            "compte rendu publié : vérifiez l'examen dans le RIS.",
        )


def _differences(message: RisMessage, patient: Patient) -> Iterator[str]:
    """The fields whose traits differ (exam M). A trait that either side lacks is a difference: it proves nothing."""
    if not message.birth_name or not same_name(message.birth_name, patient.birth_family):
        yield "PID-5.1"
    if not message.birth_given or not first_given_is(patient, message.birth_given):
        yield "PID-5.2"
    if not message.birth_date or message.birth_date[:8] != patient.birth_date:
        yield "PID-7"
    if (message.sex if message.sex in ("M", "F") else "U") != patient.sex:
        yield "PID-8"
    if not _same_local_id(message, patient):
        yield "PID-3"


def _same_local_id(message: RisMessage, patient: Patient) -> bool:
    """One IPP at least in common. PID-3 may lack the OID (hl7v2.md § 2); a side without any IPP contradicts nothing."""
    if not message.ipp or not patient.local_ids:
        return True
    return any(
        value == local.extension and (not oid or oid == local.root)
        for value, oid in message.ipp
        for local in patient.local_ids
    )
