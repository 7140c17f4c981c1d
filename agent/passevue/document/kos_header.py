"""Reads the few root attributes of a KOS that an archive goes by, of ours or of another maker, within bounds.

Both transfer syntaxes that the ANS's validator takes are read: Implicit and Explicit VR Little Endian (kos.md § 1).
"""

from dataclasses import dataclass

from passevue.errors import Unreadable
from passevue.intake.data_set import look
from passevue.intake.part10 import data_set_offset, transfer_syntax

TRANSFER_SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
_SOP_INSTANCE, _PATIENT_ID, _STUDY, _SERIES = 0x00080018, 0x00100020, 0x0020000D, 0x0020000E
_CREATED_DATE, _CREATED_TIME, _NUMBER = 0x00080012, 0x00080013, 0x00200013
_WANTED = frozenset((_SOP_INSTANCE, _PATIENT_ID, _STUDY, _SERIES, _CREATED_DATE, _CREATED_TIME, _NUMBER))


@dataclass(frozen=True, slots=True, order=True)
class KosVersion:
    """Which of two KOS of one study is the newer: by InstanceNumber, then by InstanceCreationDate and Time."""

    instance_number: int
    created: str


@dataclass(frozen=True, slots=True)
class KosHeader:
    """Root attributes; `created` is InstanceCreationDate and Time put together. Empty where the KOS says nothing."""

    study_uid: str
    series_uid: str
    sop_instance_uid: str
    patient_id: str
    created: str
    instance_number: int

    @property
    def version(self) -> KosVersion:
        return KosVersion(self.instance_number, self.created)


def read_kos_header(kos: bytes) -> KosHeader:
    """The header of a KOS file.

    Raises:
        Unreadable: not a DICOM file in one of the two transfer syntaxes, or one that does not add up.
    """
    offset = data_set_offset(kos)
    syntax = transfer_syntax(kos)
    if syntax not in TRANSFER_SYNTAXES:
        raise Unreadable("KOS: expected Implicit or Explicit VR Little Endian")
    found = look(memoryview(kos)[offset:], syntax, _WANTED, encapsulated=False)
    values = {tag: value.decode("ascii", "replace") for tag, value in found.items()}
    number = values.get(_NUMBER, "")
    return KosHeader(
        study_uid=values.get(_STUDY, ""),
        series_uid=values.get(_SERIES, ""),
        sop_instance_uid=values.get(_SOP_INSTANCE, ""),
        patient_id=values.get(_PATIENT_ID, ""),
        created=values.get(_CREATED_DATE, "") + values.get(_CREATED_TIME, ""),
        instance_number=int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 0,
    )
