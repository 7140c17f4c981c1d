"""What the intake hands on: a thing as a neighbour sent it, and the promise to keep it.

The intake knows neither the queue nor the documents. It is given one coroutine, which returns only once the
thing is committed and synced to the disk (Q-01). Only then does the neighbour get its positive answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Kind(StrEnum):
    """Which neighbour's language `Received.content` is in."""

    REPORT = "report"  # HL7 v2 ORU^R01 or MDM: a report with its CDA
    EXAM_CHANGED = "exam-changed"  # HL7 v2 OMI^O23: the images of a study changed
    IMAGES = "images"  # the box itself saw that more images came: the time of the last one, ISO 8601
    KEY_OBJECT = "key-object"  # DICOM KO object: rejection note or key image note, a whole Part 10 file


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes as received, who sent them, and what recognises them when they come again.

    Attributes:
        content: exactly the bytes of the message or object.
        sender: who speaks, in its own protocol's terms: `MSH-3|MSH-4`, or the calling AE title.
        peer: network address it came from.
        control_id: MSH-10, or the SOP Instance UID. With `sender` and the content's hash it makes a duplicate (Q-08).
        received_at: aware, UTC.
    """

    kind: Kind
    content: bytes
    sender: str
    peer: str
    control_id: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof that a thing is kept: `number` is the one people see in `passevue queue list`."""

    number: int
    duplicate: bool = False  # the same thing had come before: same answer, no second action
    conflict: bool = False  # the same control id had come with other content: a new entry, flagged


@dataclass(frozen=True, slots=True)
class Stored:
    """What an association stored: objects taken by StudyInstanceUID, and how many were refused."""

    calling_ae: str
    peer: str
    studies: dict[str, int]
    refused: int


Told = Callable[[str, str, str], None]
"""Hears of all that is refused or broken off, for the audit trail: who spoke, from which address, what was answered."""


def nobody(_sender: str, _peer: str, _said: str) -> None:
    """A `Told` for who has no audit trail."""
