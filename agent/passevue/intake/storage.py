"""C-STORE: which object is taken, which status it gets, and who is told of notes.

    status    when (PS3.4 table B.2-1; reliability § 5)
    0000H     the object is on the disk; or was already, or is a conflict and kept beside the first; or is a manifest
    0117H     the SOP Instance UID breaks the rules of UIDs
    0122H     the SOP class is not the one of its presentation context
    0110H     our store failed
    A700H     no room now
    A900H     the data set is of another class or instance than the command says
    C000H     the data set does not add up, has no study or series UID, or is a note that makes no sense

Manifests (113030) are answered 0000H and not kept: a PACS may route our own KOS back (kos.md § 10). A note with a title
that is neither is kept like an image and nobody is told.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from passevue.errors import CabinetError, DicomError, NoRoom, StoreError, Unreadable
from passevue.intake import data_set
from passevue.intake.association import Context
from passevue.intake.dimse import Command, Status, Tag
from passevue.intake.images import Identity, Images
from passevue.intake.incoming import Incoming
from passevue.intake.key_object import MAX_BYTES as MAX_NOTE_BYTES
from passevue.intake.key_object import is_key_image_note, is_manifest, is_rejection, read_aside
from passevue.intake.negotiation import NATIVE, is_storage
from passevue.intake.received import Kind, Receipt, Received
from passevue.intake.room import Level
from passevue.intake.stored import ATTRIBUTES, KEY_OBJECT_CLASS
from passevue.intake.study import KeyObject
from passevue.intake.uid import is_uid

STRUCTURED_REPORTS = "1.2.840.10008.5.1.4.1.1.88."
WANTED = frozenset(
    (
        *ATTRIBUTES,
        data_set.SOP_CLASS_UID,
        data_set.SOP_INSTANCE_UID,
        data_set.STUDY_INSTANCE_UID,
        data_set.SERIES_INSTANCE_UID,
    )
)
NO_PIXELS_INSIDE = frozenset(("1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.204"))  # JPIP referenced

AcceptKeyObject = Callable[[KeyObject, Received], Awaitable[Receipt]]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends: calling AE title and network address."""

    ae_title: str
    peer: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What the look into a data set found."""

    study_uid: str
    series_uid: str
    attributes: dict[str, str]


def refused_at_once(command: Command, context: Context, level: Level) -> Status | None:
    """What is wrong before a byte of the data set is read."""
    sop_class = command.uid(Tag.AffectedSOPClassUID)
    if not is_storage(context.abstract_syntax) or sop_class != context.abstract_syntax or not is_uid(sop_class):
        return Status.SOP_CLASS_NOT_SUPPORTED
    if not is_uid(command.uid(Tag.AffectedSOPInstanceUID)):
        return Status.INVALID_INSTANCE
    if not command.has_data_set:
        return Status.CANNOT_UNDERSTAND
    return Status.OUT_OF_RESOURCES if level >= Level.HOLD else None


def look(data: data_set.Buffer, identity: Identity) -> Seen:
    """Is the data set what the command says?

    Raises:
        DicomError: with the status to answer.
    """
    encapsulated = identity.transfer_syntax not in NATIVE and identity.transfer_syntax not in NO_PIXELS_INSIDE
    try:
        found = data_set.look(data, identity.transfer_syntax, WANTED, encapsulated=encapsulated)
    except Unreadable as err:
        raise DicomError(Status.CANNOT_UNDERSTAND, err.message) from err
    text = {tag: value.decode("latin-1") for tag, value in found.items()}
    if text.get(data_set.SOP_CLASS_UID) != identity.sop_class:
        raise DicomError(Status.DATA_SET_MISMATCH, "data set is of another SOP class")
    if text.get(data_set.SOP_INSTANCE_UID) != identity.sop_uid:
        raise DicomError(Status.DATA_SET_MISMATCH, "data set is of another SOP instance")
    study_uid = text.get(data_set.STUDY_INSTANCE_UID, "")
    series_uid = text.get(data_set.SERIES_INSTANCE_UID, "")
    if not (is_uid(study_uid) and is_uid(series_uid)):
        raise DicomError(Status.CANNOT_UNDERSTAND, "data set without a good study or series UID")
    return Seen(study_uid, series_uid, {name: text[tag] for tag, name in ATTRIBUTES.items() if text.get(tag)})


def max_bytes(sop_class: str, max_object_bytes: int) -> int:
    """Notes and reports are small (reliability § 8)."""
    return min(MAX_NOTE_BYTES, max_object_bytes) if sop_class.startswith(STRUCTURED_REPORTS) else max_object_bytes


def code_of(title: str) -> str:
    """A title for the log: only what looks like a code of DCM, for anything may stand there."""
    return title if title.isdecimal() and len(title) == 6 else "other"


class StorageDesk:
    """Takes objects in for the sessions of one server."""

    def __init__(self, images: Images, accept_key_object: AcceptKeyObject, max_object_bytes: int) -> None:
        self._images = images
        self._accept_key_object = accept_key_object
        self._max_object_bytes = max_object_bytes

    def receive(self, command: Command, context: Context, sender: Sender) -> tuple[Identity, Incoming] | Status:
        """Begin an object, or say at once why not."""
        refused = refused_at_once(command, context, self._images.level)
        if refused is not None:
            return refused
        identity = Identity(command.uid(Tag.AffectedSOPInstanceUID), context.abstract_syntax, context.transfer_syntax)
        most = max_bytes(identity.sop_class, self._max_object_bytes)
        return identity, self._images.receive(identity, sender.ae_title, most)

    async def take_in(self, identity: Identity, incoming: Incoming, sender: Sender) -> tuple[Status, str]:
        """The object has come whole: keep it, tell of it, and say what to answer, and of which study it is."""
        try:
            return Status.SUCCESS, await self._take_in(identity, incoming, sender)
        except (CabinetError, StoreError) as err:
            return _status_of(err, sender), ""

    async def _take_in(self, identity: Identity, incoming: Incoming, sender: Sender) -> str:
        now = datetime.now(UTC)
        seen = await self._images.look_into(incoming, lambda data: look(data, identity))
        if identity.sop_class == KEY_OBJECT_CLASS:
            await self._take_note(identity, incoming, seen, sender, now)
        else:
            await self._keep(identity, incoming, seen, now)
        return seen.study_uid

    async def _keep(self, identity: Identity, incoming: Incoming, seen: Seen, now: datetime) -> None:
        kept = await self._images.put(incoming, identity, (seen.study_uid, seen.series_uid), seen.attributes, now)
        if kept.conflict:
            log.warning("object_conflict", sop_class=identity.sop_class, duplicate=kept.duplicate)

    async def _take_note(
        self, identity: Identity, incoming: Incoming, seen: Seen, sender: Sender, now: datetime
    ) -> None:
        file = await incoming.whole()
        try:
            note = await read_aside(file)
        except Unreadable as err:
            raise DicomError(Status.CANNOT_UNDERSTAND, err.message) from err
        if is_manifest(note.title):
            log.info("manifest_ignored", calling_ae=sender.ae_title)
            return
        await self._keep(identity, incoming, seen, now)
        if not (is_rejection(note.title) or is_key_image_note(note.title)):
            log.info("note_of_unknown_title", title=code_of(note.title), calling_ae=sender.ae_title)
            return
        received = Received(Kind.KEY_OBJECT, file, sender.ae_title, sender.peer, identity.sop_uid, now)
        receipt = await self._accept_key_object(note, received)
        log.info("note_accepted", title=note.title, entry=receipt.number, duplicate=receipt.duplicate)


def _status_of(err: CabinetError | StoreError, sender: Sender) -> Status:
    """What is answered to an object that was not taken; said once in the log."""
    match err:
        case DicomError():
            log.warning("object_refused", status=f"{err.status:04X}", reason=err.message, calling_ae=sender.ae_title)
            return Status(err.status)
        case NoRoom():
            log.error("object_without_room", reason=err.message, calling_ae=sender.ae_title)
            return Status.OUT_OF_RESOURCES
        case StoreError():
            log.error("object_not_stored", reason=err.message, calling_ae=sender.ae_title)
            return Status.PROCESSING_FAILURE
        case _:
            log.warning("note_refused", reason=err.message, calling_ae=sender.ae_title)
            return Status.CANNOT_UNDERSTAND
