"""PID and PV1: who the patient is (hl7v2.md §§ 3.3, 3.4; PAM.FR 2.11 and the INS annex of the CI-SIS).

Identifiers are chosen by type and OID, never by position. A value that is not what its field holds is refused with the
field's name; the value itself is never repeated, as it identifies someone.
"""

import re
from dataclasses import dataclass

from passevue.errors import Hl7Error
from passevue.intake.hl7 import Message, Segment

# INS-NIR and INS-NIA of production, INS-NIR of test and of demonstration (hl7v2.md § 3.3). Whether an OID suits the
# realm of this box is decided where publication is.
INS_OIDS = frozenset(f"1.2.250.1.213.1.4.{arc}" for arc in (8, 9, 10, 11))
PATIENT_CLASSES = frozenset("IOERN")
SEXES = frozenset("FMU")
# Table 0445 of PAM.FR; PID-32 may repeat, and any other value beside this one takes it back.
_VALIDATED = "VALI"

_MATRICULE = re.compile(r"\d{5}(?:\d\d|2[AB])\d{6}\d\d", re.ASCII)
_OID = re.compile(r"[0-2](?:\.(?:0|[1-9]\d*))+", re.ASCII)
_DATE = re.compile(r"(\d{4})(?:(\d\d)(?:(\d\d)(?:\d{2,6}(?:\.\d{1,4})?(?:[+-]\d{4})?)?)?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Identity:
    ins: tuple[str, str] | None
    ipp: tuple[tuple[str, str], ...]
    birth_name: str
    birth_given: str
    birth_date: str
    sex: str
    identity_reliability: str
    patient_class: str


def read_identity(message: Message, *, strict: bool) -> Identity:
    """What PID and PV1 say. `strict`: the message carries a report, so traits and patient class must be there.

    Raises:
        Hl7Error: 100 no segment; 198 two patients, or two INS; 101 a field is missing; 102 it is malformed; 103 its
            code is of no table.
    """
    pid, pv1 = message.only("PID"), message.only("PV1")
    if not pid.field(3):
        raise Hl7Error(101, "Expected a patient identifier instead got none", location=pid.location(3))
    birth_name, birth_given = _birth_name(pid, required=strict)
    return Identity(
        ins=_ins(pid),
        ipp=_ipp(pid),
        birth_name=birth_name,
        birth_given=birth_given,
        birth_date=_birth_date(pid, required=strict),
        sex=_coded(pid, 8, SEXES, required=strict),
        identity_reliability=_reliability(pid),
        patient_class=_coded(pv1, 2, PATIENT_CLASSES, required=strict),
    )


def valid_oid(text: str) -> bool:
    return len(text) <= 64 and _OID.fullmatch(text) is not None


def valid_matricule(text: str) -> bool:
    """15 characters whose last two are the key of the thirteen before (2A and 2B of Corsica count as 19 and 18)."""
    if not _MATRICULE.fullmatch(text):
        return False
    digits = text[:13].replace("2A", "19").replace("2B", "18")
    return 97 - int(digits) % 97 == int(text[13:])


def _ins(pid: Segment) -> tuple[str, str] | None:
    where = pid.location(3)
    found: set[tuple[str, str]] = set()
    for cx in pid.repetitions(3):
        if pid.text(3, 5, of=cx).upper() != "INS":
            continue
        value, oid = pid.text(3, 1, of=cx), pid.text(3, 4, 2, of=cx)
        if oid not in INS_OIDS:
            raise Hl7Error(102, "Expected an OID of the INS in component 4.2 of the INS", location=where)
        if len(value) != 15:
            raise Hl7Error(
                102, f"Expected an INS of 15 characters instead got {len(value)}", location=where, application_code=905
            )
        if not valid_matricule(value):
            raise Hl7Error(102, "Expected an INS whose key is right", location=where)
        found.add((value, oid))
    if len(found) > 1:
        raise Hl7Error(198, f"Expected one INS instead got {len(found)}", location=where)
    return found.pop() if found else None


def _ipp(pid: Segment) -> tuple[tuple[str, str], ...]:
    """The `PI` identifiers with an OID; one without (seen in a sample of the cross-validator) identifies nothing."""
    found: list[tuple[str, str]] = []
    for cx in pid.repetitions(3):
        if pid.text(3, 5, of=cx).upper() != "PI":
            continue
        value, oid = pid.text(3, 1, of=cx), pid.text(3, 4, 2, of=cx)
        if value and valid_oid(oid) and (value, oid) not in found:
            found.append((value, oid))
    return tuple(found)


def _birth_name(pid: Segment, *, required: bool) -> tuple[str, str]:
    """PID-5.1 and 5.2 of the name of type L; of the only name when it has no type."""
    names = pid.repetitions(5)
    typed = [name for name in names if pid.text(5, 7, of=name) == "L"]
    untyped = [name for name in names if not pid.text(5, 7, of=name)]
    chosen = typed[:1] or (untyped if len(names) == 1 else [])
    if not chosen:
        if required:
            raise Hl7Error(101, "Expected a birth name (type L) instead got none", location=pid.location(5))
        return "", ""
    family, given = pid.text(5, 1, of=chosen[0]), pid.text(5, 2, of=chosen[0])
    if required and not (family and given):
        raise Hl7Error(101, "Expected a birth name and a birth given name", location=pid.location(5))
    return family, given


def _birth_date(pid: Segment, *, required: bool) -> str:
    text = pid.text(7)
    if not text:
        if required:
            raise Hl7Error(101, "Expected a birth date instead got none", location=pid.location(7))
        return ""
    found = _DATE.fullmatch(text)
    if not found or not _possible(found[2], 12) or not _possible(found[3], 31):
        raise Hl7Error(102, "Expected a birth date YYYYMMDD", location=pid.location(7))
    return text


def _possible(part: str | None, most: int) -> bool:
    """A month or day; 00 stands for unknown in incomplete INS dates."""
    return part is None or 0 <= int(part) <= most


def _coded(segment: Segment, number: int, table: frozenset[str], *, required: bool) -> str:
    text = segment.text(number)
    if text in table:
        return text
    if text:
        raise Hl7Error(103, f"Expected one of {', '.join(sorted(table))}", location=segment.location(number))
    if required:
        raise Hl7Error(
            101, f"Expected one of {', '.join(sorted(table))} instead got none", location=segment.location(number)
        )
    return ""


def _reliability(pid: Segment) -> str:
    values = [pid.text(32, of=each) for each in pid.repetitions(32)]
    return next((value for value in values if value != _VALIDATED), values[0] if values else "")
