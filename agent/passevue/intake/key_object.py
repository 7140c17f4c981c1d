"""Key Object Selection documents: from the bytes of a file to what they say (PS3.3 A.35.4, TID 2010; kos.md §§ 9, 10).

Reads only what the box acts on, with a walk of its own: a note is hostile input like any other, and is read before
anyone has vouched for it. No address in it is ever fetched.

Bounds (reliability § 8): 32 MiB, sequence depth 32, 100,000 elements in all (some 9,000 images in one note); more
elements only in what is no stranger's.

Refused, as no true note is like this (N-08): no evidence, evidence that does not name the note's own study, a note that
names itself, UIDs that are none.
"""

import asyncio

from passevue.errors import Unreadable
from passevue.intake import part10
from passevue.intake.data_set import MAX_ELEMENTS, coding_of
from passevue.intake.item_tree import Item, read_data_set
from passevue.intake.stored import KEY_OBJECT_CLASS, decoded
from passevue.intake.study import KeyObject, Reference
from passevue.intake.uid import is_uid

MAX_BYTES = 32 << 20
_BRIEF = 1 << 18  # bytes read in so little time that a thread costs more

# CID 7010 without the IOCM titles: what a radiologist says of images (kos.md § 9).
KEY_IMAGE_TITLES = {
    "113000": "Of Interest",
    "113002": "For Referring Provider",
    "113003": "For Surgery",
    "113004": "For Teaching",
    "113005": "For Conference",
    "113006": "For Therapy",
    "113007": "For Patient",
    "113008": "For Peer Review",
    "113009": "For Research",
    "113013": "Best In Set",
    "113018": "For Printing",
    "113020": "For Report Attachment",
    "113021": "For Litigation",
}
# IHE IOCM: the images must no longer be used (kos.md § 10). 113010 alone rejects nothing.
REJECTION_TITLES = {
    "113001": "Rejected for Quality Reasons",
    "113037": "Rejected for Patient Safety Reasons",
    "113038": "Incorrect Modality Worklist Entry",
    "113039": "Data Retention Policy Expired",
}
MANIFEST_TITLE = "113030"
DESCRIPTION = "113012"  # Key Object Description

CONCEPT_NAME, CONTENT, EVIDENCE = 0x0040A043, 0x0040A730, 0x0040A375
REFERENCED_SERIES, REFERENCED_SOP = 0x00081115, 0x00081199
CODE_VALUE, SCHEME, MEANING, TEXT_VALUE, VALUE_TYPE = 0x00080100, 0x00080102, 0x00080104, 0x0040A160, 0x0040A040
STUDY, SERIES, SOP_CLASS, SOP_INSTANCE = 0x0020000D, 0x0020000E, 0x00080016, 0x00080018
REFERENCED_CLASS, REFERENCED_INSTANCE, CHARACTER_SET = 0x00081150, 0x00081155, 0x00080005


def is_rejection(title: str) -> bool:
    return title in REJECTION_TITLES


def is_key_image_note(title: str) -> bool:
    return title in KEY_IMAGE_TITLES


def is_manifest(title: str) -> bool:
    return title == MANIFEST_TITLE


def read_key_object(file: bytes, most: int = MAX_ELEMENTS) -> KeyObject:
    """The key object in a DICOM file, of at most `most` elements.

    Raises:
        Unreadable: it is none, passes a bound, or contradicts itself.
    """
    if len(file) > MAX_BYTES:
        raise Unreadable(f"key object of {len(file)} bytes, at most {MAX_BYTES} are read")
    offset = part10.data_set_offset(file)
    root = read_data_set(file[offset:], coding_of(part10.transfer_syntax(file)), most)
    if root.text(SOP_CLASS) != KEY_OBJECT_CLASS:
        raise Unreadable("SOP class is not Key Object Selection Document")
    character_set = root.text(CHARACTER_SET)
    title = (root.items(CONCEPT_NAME) or [Item()])[0]
    note = KeyObject(
        StudyInstanceUID=uid(root, STUDY),
        SeriesInstanceUID=uid(root, SERIES),
        SOPInstanceUID=uid(root, SOP_INSTANCE),
        title=title.text(CODE_VALUE) if title.text(SCHEME) == "DCM" else "",
        title_meaning=decoded(title.text(MEANING), character_set),
        description=decoded(description(root), character_set),
        references=tuple(references(root)),
    )
    return coherent(note)


async def read_aside(file: bytes) -> KeyObject:
    """As `read_key_object`, for the loop: a long note, which takes a tenth of a second, on a thread."""
    return read_key_object(file) if len(file) < _BRIEF else await asyncio.to_thread(read_key_object, file)


def coherent(note: KeyObject) -> KeyObject:
    if not note.references:
        raise Unreadable("key object without evidence")
    if note.StudyInstanceUID not in {each.StudyInstanceUID for each in note.references}:
        raise Unreadable("evidence of the key object does not name its own study")
    if any(each.SOPInstanceUID == note.SOPInstanceUID for each in note.references):
        raise Unreadable("key object names itself")
    return note


def references(root: Item) -> list[Reference]:
    """CurrentRequestedProcedureEvidenceSequence (PS3.3 C.17.2): several studies are possible."""
    return [
        Reference(
            uid(study, STUDY), uid(series, SERIES), uid(instance, REFERENCED_CLASS), uid(instance, REFERENCED_INSTANCE)
        )
        for study in root.items(EVIDENCE)
        for series in study.items(REFERENCED_SERIES)
        for instance in series.items(REFERENCED_SOP)
    ]


def description(root: Item) -> str:
    for item in root.items(CONTENT):
        names = item.items(CONCEPT_NAME)
        if item.text(VALUE_TYPE) == "TEXT" and names and names[0].text(CODE_VALUE) == DESCRIPTION:
            return item.text(TEXT_VALUE)
    return ""


def uid(item: Item, tag: int) -> str:
    value = item.text(tag)
    if not is_uid(value):
        raise Unreadable(f"({tag >> 16:04x},{tag & 0xFFFF:04x}) is not a UID")
    return value
