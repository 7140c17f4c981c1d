"""Storage commitment, push model: what is asked, what is answered, and what is still to be told (PS3.4 Annex J).

The request (N-ACTION) is kept on the disk before it is answered; the result (N-EVENT-REPORT) is told on the same
association, or on one that the box opens once that has closed, as often as it takes. So a restart forgets nothing.

What success means here: the object is on the box's disk, of that class, and stays as long as `config.Images` says.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from struct import Struct

import structlog

from passevue.durable import sync_folder
from passevue.errors import Unreadable
from passevue.intake.data_set import coding_of
from passevue.intake.dimse import Status
from passevue.intake.incoming import store_error
from passevue.intake.item_tree import Item, read_data_set
from passevue.intake.negotiation import IMPLICIT_LITTLE
from passevue.intake.uid import is_uid

WELL_KNOWN_INSTANCE = "1.2.840.10008.1.20.1.1"
REQUEST_ACTION = 1
ALL_STORED, SOME_FAILED = 1, 2  # Event Type ID (PS3.4 J.3.3.1)
MAX_DATA_SET_BYTES = 4 << 20
MAX_REFERENCES = 20_000
MAX_PENDING = 1_000  # results that may wait to be told
GIVEN_UP_AFTER = timedelta(days=30)

TRANSACTION, REFERENCED_SOP = 0x00081195, 0x00081199
REFERENCED_CLASS, REFERENCED_INSTANCE = 0x00081150, 0x00081155
RETRIES = (timedelta(seconds=5), timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15), timedelta(hours=1))
ELEMENT = Struct("<HHL")

log = structlog.get_logger()


Name = tuple[str, str]  # AE title of the requestor, transaction UID


@dataclass(frozen=True, slots=True)
class Commitment:
    """One request: who asks for which objects (SOP class, SOP instance)."""

    transaction_uid: str
    requestor: str  # AE title
    references: tuple[tuple[str, str], ...]
    asked_at: float  # POSIX seconds

    @property
    def name(self) -> Name:
        return self.requestor, self.transaction_uid


@dataclass(frozen=True, slots=True)
class Result:
    """The answer: objects stored, and those that are not with the reason (0008,1197)."""

    stored: tuple[tuple[str, str], ...]
    failed: tuple[tuple[str, str, int], ...]

    @property
    def event_type(self) -> int:
        return SOME_FAILED if self.failed else ALL_STORED


def read_request(data_set: bytes, transfer_syntax: str, requestor: str, now: datetime) -> Commitment:
    """The request in the data set of an N-ACTION.

    Raises:
        Unreadable: it names no transaction, no object, or too many.
    """
    root = read_data_set(data_set, coding_of(transfer_syntax))
    transaction_uid = root.text(TRANSACTION)
    references = tuple(reference(item) for item in root.items(REFERENCED_SOP))
    if not is_uid(transaction_uid) or not 0 < len(references) <= MAX_REFERENCES:
        raise Unreadable(f"commitment of {len(references)} objects, or without its transaction UID")
    return Commitment(transaction_uid, requestor, references, now.timestamp())


def reference(item: Item) -> tuple[str, str]:
    sop_class, sop_instance = item.text(REFERENCED_CLASS), item.text(REFERENCED_INSTANCE)
    if not (is_uid(sop_class) and is_uid(sop_instance)):
        raise Unreadable("commitment names something that is not a UID")
    return sop_class, sop_instance


def result_of(commitment: Commitment, classes: Mapping[str, str]) -> Result:
    """`classes`: SOP instance -> SOP class of what is stored."""
    stored: list[tuple[str, str]] = []
    failed: list[tuple[str, str, int]] = []
    for sop_class, sop_instance in commitment.references:
        if sop_instance not in classes:
            failed.append((sop_class, sop_instance, Status.NO_SUCH_INSTANCE))
        elif classes[sop_instance] != sop_class:
            failed.append((sop_class, sop_instance, Status.CLASS_INSTANCE_CONFLICT))
        else:
            stored.append((sop_class, sop_instance))
    return Result(tuple(stored), tuple(failed))


def write_result(commitment: Commitment, result: Result, transfer_syntax: str, our_ae: str) -> bytes:
    """Data set of the N-EVENT-REPORT (PS3.4 table J.3-2)."""
    write = Encoder(transfer_syntax)
    elements = write.element(0x0008, 0x0054, b"AE", our_ae.encode(), b" ")
    elements += write.element(0x0008, 0x1195, b"UI", commitment.transaction_uid.encode(), b"\0")
    if result.failed:
        items = (write.sop(sop_class, uid, reason) for sop_class, uid, reason in result.failed)
        elements += write.sequence(0x0008, 0x1198, items)
    if result.stored:
        elements += write.sequence(0x0008, 0x1199, (write.sop(*each) for each in result.stored))
    return elements


class Encoder:
    """Elements in one of the three native transfer syntaxes."""

    def __init__(self, transfer_syntax: str) -> None:
        coding = coding_of(transfer_syntax)
        self._explicit = transfer_syntax != IMPLICIT_LITTLE
        self._tag, self._header, self._long = coding.tag, coding.header, coding.long
        self._short = Struct(coding.header.format[0] + "H")

    def element(self, group: int, number: int, vr: bytes, value: bytes, pad: bytes = b"\0") -> bytes:
        value += pad * (len(value) % 2)
        if not self._explicit:
            return self._tag.pack(group, number) + self._long.pack(len(value)) + value
        if vr == b"SQ":
            return self._header.pack(group, number, vr, 0) + self._long.pack(len(value)) + value
        return self._header.pack(group, number, vr, len(value)) + value

    def sequence(self, group: int, number: int, items: Iterable[bytes]) -> bytes:
        value = b"".join(self._tag.pack(0xFFFE, 0xE000) + self._long.pack(len(item)) + item for item in items)
        return self.element(group, number, b"SQ", value)

    def sop(self, sop_class: str, sop_instance: str, reason: int | None = None) -> bytes:
        item = self.element(0x0008, 0x1150, b"UI", sop_class.encode())
        item += self.element(0x0008, 0x1155, b"UI", sop_instance.encode())
        return item if reason is None else item + self.element(0x0008, 0x1197, b"US", self._short.pack(reason))


class Pending:
    """Commitments whose result is still to be told: one small synced file each. Blocking; call it on a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, commitment: Commitment) -> None:
        """Raises: StoreError: it is not kept, or too many wait."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._path(commitment.name)
            if not path.exists() and sum(1 for _ in self._folder.iterdir()) >= MAX_PENDING:
                raise OSError(28, f"{MAX_PENDING} commitments wait already")
            written_whole(path, json.dumps(asdict(commitment)).encode())
        except OSError as err:
            raise store_error(err) from err

    def settle(self, name: Name) -> None:
        """One that the disk does not let go is told once more after a restart: harmless."""
        try:
            self._path(name).unlink(missing_ok=True)
        except OSError as err:
            log.error("commitment_not_settled", error=err.strerror)

    def names(self) -> list[Name]:
        """What waits, oldest first; the references of one at a time are in memory."""
        found = ((each.asked_at, each.name) for each in map(self._read, self._folder.glob("*.json")) if each)
        return [name for _, name in sorted(found)]

    def get(self, name: Name) -> Commitment | None:
        """None when it was told meanwhile, or cannot be read (it is then set aside)."""
        return self._read(self._path(name))

    def _read(self, path: Path) -> Commitment | None:
        try:
            content = json.loads(path.read_bytes())
            references = tuple((sop_class, uid) for sop_class, uid in content.pop("references"))
            return Commitment(references=references, **content)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            log.error("commitment_unreadable", file=path.name)
            with contextlib.suppress(OSError):  # a read-only disk: it is met again
                path.rename(path.with_suffix(".damaged"))
            return None

    def _path(self, name: Name) -> Path:
        return self._folder / f"{sha256(chr(0).join(name).encode()).hexdigest()[:40]}.json"


def written_whole(path: Path, content: bytes) -> None:
    """On the disk under `path` wholly or not at all."""
    draft = path.with_suffix(".part")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    sync_folder(path.parent)


def next_try(tries: int) -> timedelta:
    """How long to wait after the `tries`-th failed telling (from 1)."""
    return RETRIES[min(tries, len(RETRIES)) - 1]
