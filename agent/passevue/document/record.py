"""What the archive keeps of a study so that the box can act again without the message: JSON, versioned.

When images change (rejection note, OMI^O23) no new report comes: the manifest is rebuilt, and spoken for, from the
archived one (dmp-xds.md § 1.3). Fields that a newer box wrote are ignored; a newer `version` than ours is still read
as long as the fields we know are there.
"""

import json
from dataclasses import dataclass, replace
from typing import Any

from passevue.document.patient import Identifier
from passevue.document.report import Report, header_of, read_report
from passevue.errors import Damaged, Hl7Error, Unreadable
from passevue.intake.ris_values import Participant, Visibility

VERSION = 1
NOBODY = Identifier("")
VISIBLE = Visibility(masque_ps=False, invisible_patient=False, invisible_representants_legaux=False)


@dataclass(frozen=True, slots=True)
class Record:
    """One study in the archive.

    Attributes:
        header: the report without its body (`report.header_of`); empty while only rejections are known of the study.
        patient_class: PV1-2.
        kos_series_uid: SeriesInstanceUID of our KOS, kept over its versions; empty before the first one.
        instance_number: InstanceNumber of the last KOS built, 0 before the first one.
        rejected: SOP Instance UIDs that rejection notes took out, in order of arrival.
        others: other reports of the study that stand too, the last that spoke first (`document.standing`).
        report_id, ipp: of an imported manifest whose report is not known otherwise (XDM's CR.TXT); both empty else.
    """

    header: bytes = b""
    patient_class: str = ""
    participant: Participant | None = None
    visibility: Visibility = VISIBLE
    secret_connection: bool = False
    kos_series_uid: str = ""
    instance_number: int = 0
    rejected: tuple[str, ...] = ()
    others: tuple["Record", ...] = ()
    report_id: Identifier = NOBODY
    ipp: Identifier = NOBODY

    @property
    def report(self) -> Report | None:
        """The archived report, None while there is none.

        Raises:
            Damaged: the header cannot be read any more.
        """
        if not self.header:
            return None
        try:
            return read_report(self.header)
        except (Unreadable, Hl7Error) as err:
            raise Damaged(f"record: {err.message}") from err

    def with_rejected(self, sop_uids: tuple[str, ...]) -> "Record":
        """The same record with more rejected instances, each once."""
        return replace(self, rejected=tuple(dict.fromkeys(self.rejected + sop_uids)))

    def to_bytes(self) -> bytes:
        content = {"version": VERSION, **self._fields(), "others": [each._fields() for each in self.others]}
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")

    def _fields(self) -> dict[str, Any]:
        return {
            "header": self.header.decode("utf-8"),
            "patient_class": self.patient_class,
            "participant": _fields(self.participant, _PARTICIPANT),
            "visibility": _fields(self.visibility, _VISIBILITY),
            "secret_connection": self.secret_connection,
            "kos_series_uid": self.kos_series_uid,
            "instance_number": self.instance_number,
            "rejected": list(self.rejected),
            "report_id": [self.report_id.root, self.report_id.extension],
            "ipp": [self.ipp.root, self.ipp.extension],
        }

    @classmethod
    def from_bytes(cls, data: bytes) -> "Record":
        """The record in `data`; empty bytes are an empty record.

        Raises:
            Damaged: not a record.
        """
        if not data:
            return cls()
        try:
            return cls._read(json.loads(data.decode("utf-8", "surrogatepass")))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
            raise Damaged("record: not the JSON that was written") from err

    @classmethod
    def _read(cls, content: dict[str, Any]) -> "Record":
        participant = content["participant"]
        return cls(
            header=_typed(content["header"], str).encode("utf-8"),
            patient_class=_typed(content["patient_class"], str),
            participant=None if participant is None else Participant(**_known(participant, _PARTICIPANT, str)),
            visibility=Visibility(**_known(content["visibility"], _VISIBILITY, bool)),
            secret_connection=_typed(content["secret_connection"], bool),
            kos_series_uid=_typed(content["kos_series_uid"], str),
            instance_number=_typed(content["instance_number"], int),
            rejected=tuple(_typed(uid, str) for uid in content["rejected"]),
            others=tuple(cls._read(each) for each in content.get("others", ())),
            report_id=_identifier(content.get("report_id")),
            ipp=_identifier(content.get("ipp")),
        )


_PARTICIPANT = (
    "person_id",
    "family",
    "given",
    "person_id_type",
    "structure_id",
    "structure_name",
    "structure_id_type",
    "device_id",
)
_VISIBILITY = ("masque_ps", "invisible_patient", "invisible_representants_legaux")


def _fields(value: object, names: tuple[str, ...]) -> dict[str, Any] | None:
    return None if value is None else {name: getattr(value, name) for name in names}


def _known(content: dict[str, Any], names: tuple[str, ...], kind: type) -> dict[str, Any]:
    return {name: _typed(content[name], kind) for name in names}


def _identifier(content: Any) -> Identifier:
    if content is None:  # written by an older box
        return NOBODY
    root, extension = content
    return Identifier(_typed(root, str), _typed(extension, str))


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"expected {kind.__name__}")
    return value


def record_of(
    cda: bytes,
    *,
    patient_class: str,
    participant: Participant | None,
    visibility: Visibility,
    secret_connection: bool,
    kos_series_uid: str,
    instance_number: int,
    rejected: tuple[str, ...] = (),
) -> Record:
    """The record of a study just built from a whole report."""
    return Record(
        header=header_of(cda),
        patient_class=patient_class,
        participant=participant,
        visibility=visibility,
        secret_connection=secret_connection,
        kos_series_uid=kos_series_uid,
        instance_number=instance_number,
        rejected=rejected,
    )
