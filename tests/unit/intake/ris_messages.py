"""Messages of a RIS that nothing is wrong with, what is spoilt in them, and what is answered."""

import base64

import pytest

from passevue.errors import Hl7Error
from passevue.intake.ris import read_ris_message
from tests.peers.ris import (
    PAT_TROIS,
    Ask,
    Envelope,
    invented_document_id,
    invented_exam,
    mdm,
    omi,
    oru,
    report,
)

CDA = report(PAT_TROIS, invented_exam(101), document_id=invented_document_id(101), pdf_bytes=700)
CDA_2 = report(
    PAT_TROIS,
    invented_exam(101),
    document_id=invented_document_id(101, 2),
    replaces=invented_document_id(101),
    version=2,
    pdf_bytes=700,
)
B64 = base64.b64encode(CDA)
ORU = oru(CDA, PAT_TROIS, envelope=Envelope(control_id="7"))
MDM = mdm(CDA, PAT_TROIS, envelope=Envelope(control_id="7"))
MDM_2 = mdm(CDA_2, PAT_TROIS, Ask.REPLACE, envelope=Envelope(control_id="7"))
OMI = omi(invented_exam(101), PAT_TROIS, envelope=Envelope(control_id="7"))


def with_field(raw: bytes, segment: str, number: int, value: bytes, nth: int = 1) -> bytes:
    """`raw` with one field replaced: the nth segment of that name."""
    lines = raw.split(b"\r")
    row = [n for n, line in enumerate(lines) if line.startswith(segment.encode() + b"|")][nth - 1]
    fields = lines[row].split(b"|")
    index = number - 1 if segment == "MSH" else number
    fields += [b""] * (index + 1 - len(fields))
    fields[index] = value
    lines[row] = b"|".join(fields)
    return b"\r".join(lines)


def without(raw: bytes, segment: str) -> bytes:
    return b"\r".join(line for line in raw.split(b"\r") if not line.startswith(segment.encode() + b"|"))


def after(raw: bytes, segment: str, line: bytes) -> bytes:
    lines = raw.split(b"\r")
    row = next(n for n, each in enumerate(lines) if each.startswith(segment.encode() + b"|"))
    return b"\r".join([*lines[: row + 1], line, *lines[row + 1 :]])


def answer(raw: bytes) -> tuple[str, int, str, int | None]:
    """What is answered: MSA-1, table 0357, ERR-2, table 0533."""
    with pytest.raises(Hl7Error) as caught:
        read_ris_message(raw)
    error = caught.value
    return str(error.ack), error.code, error.location, error.application_code
