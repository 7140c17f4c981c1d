"""Makes and judges the identifiers that are seen outside.

`new_uid` is the only maker of identifiers of documents, series, submission sets and signatures: whoever calls it stores
what it gave before sending (Q-04). Everything else in this stage takes identifiers as parameters.
"""

import re
import uuid

# PS3.5 § 9.1: 64 characters, components without a leading zero. An OID has the same form; ITU-T X.660 adds that the
# first arc is 0 to 2.
_UID = re.compile(r"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))+", re.ASCII)
_PADDED = re.compile(r"[0-9]+(?:\.[0-9]+)+")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII)
UID_MAX = 64


def new_uid() -> str:
    """A fresh UID under the arc of UUIDs (PS3.5 B.2), at most 44 characters, also an OID."""
    return f"2.25.{uuid.uuid4().int}"


def valid_uid(text: str) -> bool:
    return len(text) <= UID_MAX and _UID.fullmatch(text) is not None


def padded_uid(text: str) -> bool:
    """Whether nothing but zeros in front of a component keeps it from being a UID, as some devices write them.

    It is never put right: UIDs are compared as they are written (PS3.4 C.2.2.2.2), and without the zero it would name
    another object.
    """
    return len(text) <= UID_MAX and _PADDED.fullmatch(text) is not None and not valid_uid(text)


def valid_oid(text: str) -> bool:
    """UIDs of DICOM are OIDs; only those whose first arc ITU-T gave can be assigned."""
    return valid_uid(text) and text[0] in "012" and text[1] == "."


def valid_root(text: str) -> bool:
    """`@root` of an HL7 v3 II: an OID, or a UUID as `setId` and `parentDocument/id` carry (cda-report.md § 9)."""
    return valid_oid(text) or _UUID.fullmatch(text) is not None
