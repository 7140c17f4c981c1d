"""What the audit trail says of each event: a DICOM Audit Message (PS3.15 A.5), in the shapes of IHE ATNA (ITI-20).

Values and one function, `to_xml`; where the records go is `audit_trail`. Beside the documents, this is the one place
where patient identifiers are lawful (dmp-xds.md § 11): the trail answers who did what to whose record. It holds no
assertion, no token and no document.

Facts:
- outcomes: 0 success, 4 minor failure (may be repeated), 8 serious failure, 12 major (the whole service);
- object type 1 role 1 is a patient, type 2 role 20 a job or submission set, 24 a query, role 3 a report or image;
- ITI-41 at the source is Export 110106, ITI-18 is Query 110112. For ITI-57 the sender's shape is that of ITI-41 with
  action U, as the public implementations write it; the supplement's own table was not at hand.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum, StrEnum


class Outcome(IntEnum):
    """EventOutcomeIndicator."""

    SUCCESS = 0
    MINOR = 4  # refused or failed, may be repeated
    SERIOUS = 8  # refused for good
    MAJOR = 12  # the service as a whole


class Act(StrEnum):
    """EventActionCode."""

    CREATE = "C"
    READ = "R"
    UPDATE = "U"
    DELETE = "D"
    EXECUTE = "E"


@dataclass(frozen=True, slots=True)
class Code:
    """A coded value; `system` is `DCM`, `IHE Transactions`, `RFC-3881`… or ours, `Passevue`."""

    value: str
    system: str
    text: str


@dataclass(frozen=True, slots=True)
class Participant:
    """Who took part. `user_id` is an AE title, `MSH-3|MSH-4`, a service address, a professional's id or a process."""

    user_id: str
    requestor: bool = False
    role: Code | None = None
    address: str = ""
    alternative_id: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """What it was about: a patient, a study, a submission set, a query."""

    id: str
    type_code: int
    role: int
    id_type: Code
    query: bytes = b""
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """One record, complete."""

    id: Code
    type: Code
    act: Act
    outcome: Outcome
    at: datetime
    participants: tuple[Participant, ...]
    subjects: tuple[Subject, ...] = ()
    said: str = ""  # EventOutcomeDescription: why, when it was refused


SOURCE = Code("110153", "DCM", "Source Role ID")
DESTINATION = Code("110152", "DCM", "Destination Role ID")
APPLICATION = Code("110150", "DCM", "Application")
APPLICATION_ACTIVITY = Code("110100", "DCM", "Application Activity")
EXPORT = Code("110106", "DCM", "Export")
IMPORT = Code("110107", "DCM", "Import")
TRANSFERRED = Code("110104", "DCM", "DICOM Instances Transferred")
QUERY = Code("110112", "DCM", "Query")
SECURITY_ALERT = Code("110113", "DCM", "Security Alert")

_PATIENT_NUMBER = Code("2", "RFC-3881", "Patient Number")
_STUDY = Code("110180", "DCM", "Study Instance UID")
_SET = Code("urn:uuid:a54d6aa5-d40d-43f9-88c5-b4633d873bdd", "IHE XDS Metadata", "submission set classification node")
_ENTRY = Code("entry", "Passevue", "Queue entry number")


def transaction(name: str) -> Code:
    """The EventTypeCode of an IHE transaction, e.g. `ITI-41`."""
    return Code(name, "IHE Transactions", _TRANSACTIONS[name])


_TRANSACTIONS = {
    "ITI-18": "Registry Stored Query",
    "ITI-41": "Provide and Register Document Set-b",
    "ITI-43": "Retrieve Document Set",
    "ITI-57": "Update Document Set",
}


def ours(value: str, text: str) -> Code:
    """An EventTypeCode that no standard has."""
    return Code(value, "Passevue", text)


def patient(cx: str) -> Subject:
    """A patient, by INS as in XDS metadata: `279…^^^&1.2.250.1.213.1.4.10&ISO^NH`."""
    return Subject(cx, 1, 1, _PATIENT_NUMBER)


def study(uid: str, details: Mapping[str, str] | None = None) -> Subject:
    return Subject(uid, 2, 3, _STUDY, details=details or {})


def submission_set(unique_id: str, details: Mapping[str, str] | None = None) -> Subject:
    return Subject(unique_id, 2, 20, _SET, details=details or {})


def stored_query(query_id: str, query: bytes, details: Mapping[str, str] | None = None) -> Subject:
    return Subject(query_id, 2, 24, transaction("ITI-18"), query=query, details=details or {})


def entry(number: int, details: Mapping[str, str] | None = None) -> Subject:
    return Subject(str(number), 2, 20, _ENTRY, details=details or {})


# --- events --------------------------------------------------------------------------------------------------------


def box_started(at: datetime, version: str) -> Event:
    return _application(Code("110120", "DCM", "Application Start"), at, version)


def box_stopped(at: datetime, version: str) -> Event:
    return _application(Code("110121", "DCM", "Application Stop"), at, version)


def _application(kind: Code, at: datetime, version: str) -> Event:
    us = Participant(f"passevue {version}", role=APPLICATION)
    return Event(APPLICATION_ACTIVITY, kind, Act.EXECUTE, Outcome.SUCCESS, at, (us,))


def message_received(
    at: datetime,
    sender: str,
    peer: str,
    kind: str,
    subjects: tuple[Subject, ...] = (),
    outcome: Outcome = Outcome.SUCCESS,
    said: str = "",
) -> Event:
    """A report or a change came from the RIS, taken or refused. `kind` is MSH-9, e.g. `ORU^R01`."""
    who = (Participant(sender, requestor=True, role=SOURCE, address=peer), Participant("passevue", role=DESTINATION))
    return Event(IMPORT, Code(kind, "HL7 v2", kind), Act.CREATE, outcome, at, who, subjects, said)


def objects_received(
    at: datetime,
    calling_ae: str,
    peer: str,
    studies: Mapping[str, int],
    outcome: Outcome = Outcome.SUCCESS,
    said: str = "",
) -> Event:
    """An association stored objects: one record for each association, with how many of each study."""
    who = (
        Participant(calling_ae, requestor=True, role=SOURCE, address=peer),
        Participant("passevue", role=DESTINATION),
    )
    subjects = tuple(study(uid, {"objects": str(count)}) for uid, count in studies.items())
    return Event(TRANSFERRED, ours("C-STORE", "DICOM storage"), Act.CREATE, outcome, at, who, subjects, said)


def association_refused(at: datetime, calling_ae: str, peer: str, said: str) -> Event:
    """A caller that is not on the list, or not of our TLS authority."""
    who = (Participant(calling_ae or peer, requestor=True, address=peer), Participant("passevue", role=APPLICATION))
    node = Code("110126", "DCM", "Node Authentication")
    return Event(SECURITY_ALERT, node, Act.EXECUTE, Outcome.MINOR, at, who, said=said)


def input_refused(at: datetime, protocol: str, sender: str, peer: str, said: str) -> Event:
    """Bytes that no parser took, or that passed a bound: `protocol` is `MLLP` or `DICOM`."""
    who = (Participant(sender or peer, requestor=True, address=peer), Participant("passevue", role=APPLICATION))
    return Event(SECURITY_ALERT, ours("bad-input", protocol), Act.EXECUTE, Outcome.MINOR, at, who, said=said)


def sent(
    at: datetime,
    name: str,
    structure: str,
    professional: str,
    service: str,
    subjects: tuple[Subject, ...],
    outcome: Outcome,
    said: str = "",
) -> Event:
    """ITI-41 or ITI-57 towards the DMP: an attempt and its answer, in the name of a professional of a structure."""
    act = Act.UPDATE if name == "ITI-57" else Act.READ
    return Event(EXPORT, transaction(name), act, outcome, at, _to(structure, professional, service), subjects, said)


def queried(
    at: datetime,
    structure: str,
    professional: str,
    service: str,
    subjects: tuple[Subject, ...],
    outcome: Outcome,
    said: str = "",
) -> Event:
    """ITI-18 towards the DMP."""
    who = _to(structure, professional, service)
    return Event(QUERY, transaction("ITI-18"), Act.EXECUTE, outcome, at, who, subjects, said)


def _to(structure: str, professional: str, service: str) -> tuple[Participant, ...]:
    return (
        Participant(structure, role=SOURCE, alternative_id="passevue"),
        Participant(professional, requestor=True),
        Participant(service, role=DESTINATION, address=_host(service)),
    )


def person_acted(at: datetime, who: str, what: str, number: int, where: str = "", said: str = "") -> Event:
    """A person retried, released, closed or exported an entry. `who` is an account or a signed-in professional."""
    by = (Participant(who, requestor=True, address=where), Participant("passevue", role=APPLICATION))
    kind = ours(f"queue-{what}", f"A person asked: {what}")
    return Event(APPLICATION_ACTIVITY, kind, Act.UPDATE, Outcome.SUCCESS, at, by, (entry(number),), said)


def trail_checked(at: datetime) -> Event:
    """The trail was asked whether it writes, before something national (LOG-01)."""
    us = (Participant("passevue", requestor=True, role=APPLICATION),)
    kind = ours("audit-check", "The audit trail takes records")
    return Event(APPLICATION_ACTIVITY, kind, Act.EXECUTE, Outcome.SUCCESS, at, us)


def rule_changed(at: datetime, rule: str, said: str, *, fires: bool) -> Event:
    """A rule of the security baseline is in another state now: `rule` is its id, `said` state, effect and finding."""
    us = (Participant("passevue", requestor=True, role=APPLICATION),)
    kind = ours("baseline", "Security baseline")
    about = (Subject(rule, 2, 20, kind),)
    outcome = Outcome.SERIOUS if fires else Outcome.SUCCESS
    return Event(SECURITY_ALERT, kind, Act.EXECUTE, outcome, at, us, about, said)


def machine_changed(at: datetime, what: str, who: str, said: str) -> Event:
    """What happened to the machine itself: an update and its steps, a configuration, an erasure. `who` asked for it."""
    by = (Participant(who or "passevue", requestor=True), Participant("passevue", role=APPLICATION))
    wrong = what.endswith(("-refused", "-failed", "-undone"))
    kind = ours(what, f"The machine: {what}")
    outcome = Outcome.MINOR if wrong else Outcome.SUCCESS
    return Event(APPLICATION_ACTIVITY, kind, Act.EXECUTE, outcome, at, by, said=said)


def content_purged(at: datetime, what: str, counts: Mapping[str, int]) -> Event:
    """Content whose time has passed was erased (Q-18): counts by kind, e.g. `{"contents": 12, "proofs": 0}`."""
    us = (Participant("passevue", requestor=True, role=APPLICATION),)
    told = {name: str(count) for name, count in counts.items()}
    what_went = (Subject(what, 2, 20, ours("purge", "Purge"), details=told),)
    kind = ours("purge", "Content erased after its delay")
    return Event(APPLICATION_ACTIVITY, kind, Act.DELETE, Outcome.SUCCESS, at, us, what_went)


# --- the message ---------------------------------------------------------------------------------------------------


def to_xml(event: Event, source_id: str, site: str = "") -> bytes:
    """The AuditMessage (PS3.15 A.5.1), one line of UTF-8 without declaration. `source_id` is the box's name."""
    at = event.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    what = [_coded("EventID", event.id), _coded("EventTypeCode", event.type)]
    if event.said:
        what.append(_element("EventOutcomeDescription", {}, _escaped(event.said)))
    outcome = str(int(event.outcome))
    head = {"EventActionCode": event.act.value, "EventDateTime": at, "EventOutcomeIndicator": outcome}
    place = {"AuditEnterpriseSiteID": site} if site else {}
    source = {"AuditSourceID": source_id} | place
    message = [
        _element("EventIdentification", head, *what),
        *map(_participant, event.participants),
        _element("AuditSourceIdentification", source, _coded("AuditSourceTypeCode", _SERVER)),
        *map(_subject, event.subjects),
    ]
    return _element("AuditMessage", {}, *message).encode()


_SERVER = Code("4", "RFC-3881", "Application Server Process or Thread")


def _participant(who: Participant) -> str:
    attributes = {"UserID": who.user_id, "UserIsRequestor": "true" if who.requestor else "false"}
    if who.alternative_id:
        attributes["AlternativeUserID"] = who.alternative_id
    if who.address:
        kind = "2" if re.fullmatch(r"[0-9a-fA-F.:]+", who.address) else "1"  # IP address, machine name
        attributes |= {"NetworkAccessPointID": who.address, "NetworkAccessPointTypeCode": kind}
    return _element("ActiveParticipant", attributes, _coded("RoleIDCode", who.role) if who.role else "")


def _subject(subject: Subject) -> str:
    told = [_coded("ParticipantObjectIDTypeCode", subject.id_type)]
    if subject.query:
        told.append(_element("ParticipantObjectQuery", {}, base64.b64encode(subject.query).decode()))
    for name, value in subject.details.items():
        detail = base64.b64encode(value.encode("utf-8", "replace")).decode()
        told.append(_element("ParticipantObjectDetail", {"type": name, "value": detail}))
    attributes = {
        "ParticipantObjectID": subject.id,
        "ParticipantObjectTypeCode": str(subject.type_code),
        "ParticipantObjectTypeCodeRole": str(subject.role),
    }
    return _element("ParticipantObjectIdentification", attributes, *told)


def _coded(tag: str, code: Code) -> str:
    return _element(tag, {"csd-code": code.value, "codeSystemName": code.system, "originalText": code.text})


def _element(tag: str, attributes: Mapping[str, str], *content: str) -> str:
    """`content` is XML already, `attributes` are not."""
    told = "".join(f' {name}="{_escaped(value)}"' for name, value in attributes.items())
    inner = "".join(content)
    return f"<{tag}{told}>{inner}</{tag}>" if inner else f"<{tag}{told}/>"


_NOT_XML = re.compile("[^\t\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0 § 2.2, line ends left out


_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;"})


def _escaped(text: str) -> str:
    """As content of an element or of an attribute, cut to a length that any reader takes."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)[:4096].translate(_ESCAPED)


def _host(service: str) -> str:
    return service.split("://", 1)[-1].split("/", 1)[0].rsplit(":", 1)[0]
