"""Coverage-guided: any bytes as a report are read or refused with our own error; the next good one is read.

    python -m tests.fuzz.fuzz_cda [libFuzzer options] [CORPUS]

The first byte chooses where the others go: as they are into the whole document, METADATA.XML or a record, or as a tree
of the header's own words into one of its parts.
"""

import contextlib
import sys

import atheris

with atheris.instrument_imports(include=["passevue"]):
    from passevue.document.record import Record
    from passevue.document.report import header_of, read_report
    from passevue.document.xdm_metadata import metadata_for_archive, read_metadata
    from passevue.errors import Damaged, Hl7Error, Unreadable

HEAD = (
    b'<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:ps3-20="urn:dicom-org:ps3-20"><id root="1.2.3"/>'
    b'<code code="18748-4" codeSystem="2.16.840.1.113883.6.1"/>'
)
PATIENT = b'<recordTarget><patientRole><id extension="279035121518989" root="1.2.250.1.213.1.4.10"/>'
NO_PATIENT = b"<recordTarget><patientRole/></recordTarget>"
END = b"</ClinicalDocument>"
GOOD = HEAD + NO_PATIENT + END


def report(data: bytes) -> None:
    read_report(data)
    if read_report(header_of(data)) != read_report(data):
        raise AssertionError("the header does not read like the whole")


def in_header(data: bytes) -> None:
    report(HEAD + NO_PATIENT + data + END)


def in_patient(data: bytes) -> None:
    report(HEAD + PATIENT + b"<patient>" + data + b"</patient></patientRole></recordTarget>" + END)


def in_event(data: bytes) -> None:
    event = b"<documentationOf><serviceEvent>" + data + b"</serviceEvent></documentationOf>"
    report(HEAD + NO_PATIENT + event + END)


def metadata(data: bytes) -> None:
    read_metadata(data)
    metadata_for_archive(data, "SS000001/KOS_1_1.DCM", "SS000001/SIGN_1.XML", "urn:uuid:1")


def record(data: bytes) -> None:
    if Record.from_bytes(Record.from_bytes(data).to_bytes()) != Record.from_bytes(data):
        raise AssertionError("a record does not come back as it was")


NAMES = (
    *("id", "code", "translation", "qualifier", "name", "family", "given", "patient", "patientRole", "recordTarget"),
    *("author", "assignedAuthor", "assignedEntity", "assignedPerson", "representedOrganization", "functionCode"),
    *("inFulfillmentOf", "order", "ps3-20:accessionNumber", "documentationOf", "serviceEvent", "performer"),
    *("effectiveTime", "low", "high", "relatedDocument", "parentDocument", "birthTime", "birthplace", "place", "addr"),
    *("legalAuthenticator", "componentOf", "encompassingEncounter", "location", "healthCareFacility", "component"),
    *("ExtrinsicObject", "Slot", "ValueList", "Value", "ExternalIdentifier", "ns3:SubmitObjectsRequest", "county"),
)
KEYS = ("root", "extension", "code", "codeSystem", "displayName", "value", "qualifier", "typeCode", "mimeType")
VALUES = ("", "1.2.3", "BR", "CL", "RPLC", "121139", "39111-0", "1.2.250.1.213.1.4.10", "2021", "1.02", "é", "&#0;")


def tree(data: bytes) -> bytes:
    """Balanced elements of the words of a header: each byte opens, closes, gives an attribute or text."""
    parts: list[str] = []
    opened: list[str] = []
    for byte in data:
        if byte < 2 * len(NAMES):
            opened.append(NAMES[byte // 2])
            values = f'{KEYS[byte % len(KEYS)]}="{VALUES[len(parts) % len(VALUES)]}"' if byte % 2 else ""
            parts.append(f"<{opened[-1]} {values}>")
        elif byte < 220 and opened:
            parts.append(f"</{opened.pop()}>")
        else:
            parts.append(VALUES[byte % len(VALUES)])
    parts += [f"</{name}>" for name in reversed(opened)]
    return "".join(parts).encode()


FRAMES = (
    report,
    metadata,
    record,
    lambda data: in_header(tree(data)),
    lambda data: in_patient(tree(data)),
    lambda data: in_event(tree(data)),
    lambda data: metadata(b"<ns3:SubmitObjectsRequest>" + tree(data) + b"</ns3:SubmitObjectsRequest>"),
)


def one_input(data: bytes) -> None:
    frame = FRAMES[data[0] % len(FRAMES)] if data else report
    with contextlib.suppress(Unreadable, Hl7Error, Damaged):
        frame(data[1:])
    if read_report(GOOD).id.root != "1.2.3":
        raise AssertionError("the next good report is not read")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
