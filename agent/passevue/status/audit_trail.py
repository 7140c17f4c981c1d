"""Where audit records go: append-only files, each record chained to the one before, synced before it counts (LOG-01).

A file is a header line, then a line a record:

    passevue-audit 1 <number of its first record> <chain before it>
    <number> <chain> <AuditMessage, one line of XML>

with `chain = SHA-256(chain before || number || XML)` in hexadecimal. Changing, dropping or moving a record breaks the
chain from there on, which `verify` tells. Cutting records off the end is told only by a chain value noted elsewhere:
the head goes to the log at each start and each new file, and the baseline notes it once a day (LOG-03).

Rules kept here:
- folder 0700, files 0600, or as `shared` says, opened for appending only; a full file is never touched again, the next
  one begins;
- several processes may write (the box, a command line): an advisory lock, and the end is read again when it has moved;
- half a record at the end, left by a power cut, is moved to a `.torn` file before anything is added;
- records count one by one: a disk that takes no more has those that are whole, and half a one is taken back at once;
  a whole one is not, since somebody may have read it (the notary signs for it), unless the disk says that it did not
  sync it;
- another zone may lay anything in the folder: what is no plain file is not opened, and what a link names not touched;
  the lock is waited for `LOCK_S` and no longer, and of a torn end no more than `MAX_TORN_BYTES` is read;
- records that wait at the same moment share one sync;
- what was noted and could not be written is kept, within `MAX_WAITING`, and written when the disk takes it again; who
  asked for a record and was told no may still find it written, never the other way round.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import structlog

from passevue.durable import sync_folder
from passevue.errors import Damaged, StoreError
from passevue.shared import make_folder, open_plain, open_shared
from passevue.status.audit import Event, to_xml

MAX_FILE_BYTES = 16 << 20  # some 15,000 records: a week of a busy centre, still opened by any editor
MAX_RECORD_BYTES = 1 << 20
MAX_WAITING = 10_000  # records not yet on the disk; more means that the disk has stopped
MAX_TORN_BYTES = 4 << 20  # set aside of a torn end: half a record, with room for what a cut adds; never read at once
LOCK = "lock"
LOCK_S = 10.0  # whoever holds the lock writes or reads one file: a zone that keeps it stops nobody for longer
LOCK_PAUSE_S = 0.005
GIVEN_S = 2 * LOCK_PAUSE_S  # who has just written leaves the lock to whoever asks for it so often
START = "0" * 64
WRITE_TIMEOUT_S = 30.0
RETRY_S = 1.0  # after a write that failed, whatever is asked meanwhile
WRITE_BYTES = 4096  # at once: some filesystems refuse the whole of a large piece for which the last room is too small
SURE_S = 60.0  # for so long a record that was written stands for the next one

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the trail: number and chain of its last record, 0 and zeros when there is none."""

    number: int = 0
    chain: str = START


class TrailRefused(StoreError):
    """The disk took the first `kept` of the records, and no more."""

    def __init__(self, kept: int, why: str | None = None) -> None:
        super().__init__(why or "audit trail cannot be written", hint="Le journal d'audit ne s'écrit plus.")
        self.kept = kept


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `verify` found: `wrong` is empty when the trail is whole."""

    records: int
    files: int
    head: Head
    wrong: tuple[str, ...] = ()


class AuditTrail:
    """The trail of one box. `record` returns once the record is on the disk; `note` does not wait for that."""

    name = "audit"

    def __init__(self, folder: Path, source_id: str, *, max_file_bytes: int = MAX_FILE_BYTES) -> None:
        self._folder = folder
        self._source_id = source_id
        self._max_file_bytes = max_file_bytes
        self._waiting: list[tuple[bytes, asyncio.Future[None] | None]] = []
        self._under_way = 0
        self._wake = asyncio.Event()
        self._known = (Path(), 0, Head())  # last file, its size, head: as we left them
        self._closed = False
        self._written_at: float | None = None  # loop time; None when the last write failed, or before the first

    @property
    def sure(self) -> bool:
        """Whether the trail takes records, as far as its last write tells."""
        now = asyncio.get_running_loop().time()
        return self._written_at is not None and now - self._written_at < SURE_S

    async def record(self, event: Event) -> None:
        """Keep `event`; return when it is synced.

        Raises:
            StoreError: it could not be kept: nothing national may happen (LOG-01).
        """
        done = asyncio.get_running_loop().create_future()
        self._put(event, done)
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await done
        except TimeoutError as err:
            raise StoreError("audit trail did not take a record in time") from err

    def note(self, event: Event) -> None:
        """Keep `event` soon: for what is refused at the door, where a flood must not wait for the disk.

        Raises:
            StoreError: too many records wait.
        """
        self._put(event, None)

    def _put(self, event: Event, done: asyncio.Future[None] | None) -> None:
        if self._closed or len(self._waiting) + self._under_way >= MAX_WAITING:
            raise StoreError("audit trail takes no more records", hint="Le journal d'audit ne s'écrit plus.")
        xml = to_xml(event, self._source_id)
        if len(xml) > MAX_RECORD_BYTES:
            raise StoreError(f"audit record is longer than {MAX_RECORD_BYTES} bytes")
        self._waiting.append((xml, done))
        self._wake.set()

    async def run(self) -> None:
        """Write what waits, until cancelled; what waits then is still written."""
        flushing = asyncio.ensure_future(self._flush())
        try:
            while True:
                # a cancelled wait leaves the thread writing: its callers are answered
                if await asyncio.shield(flushing):
                    await asyncio.sleep(GIVEN_S)
                    await self._wake.wait()
                else:
                    await asyncio.sleep(RETRY_S)
                self._wake.clear()
                flushing = asyncio.ensure_future(self._flush())
        finally:
            self._closed = True
            await flushing
            await self._flush()
            if self._waiting:
                log.error("audit_record_lost", records=len(self._waiting), reason="the trail could not be written")

    async def _flush(self) -> bool:
        """Whether the disk took all that waited and is still waited for."""
        batch = [one for one in self._waiting if one[1] is None or not one[1].cancelled()]
        self._waiting = []
        if not batch:
            return True
        kept, failed = len(batch), None
        self._under_way = len(batch)
        try:
            await asyncio.to_thread(self.append, [xml for xml, _ in batch])
        except TrailRefused as err:
            kept, failed = err.kept, err
        except (OSError, StoreError) as err:
            kept, failed = 0, TrailRefused(0)
            failed.__cause__ = err
        self._under_way = 0
        if failed is not None:
            log.error("audit_not_written", records=len(batch) - kept, error_class=type(failed.__cause__).__name__)
            self._waiting = [one for one in batch[kept:] if one[1] is None] + self._waiting
        self._written_at = None if failed else asyncio.get_running_loop().time()
        for number, (_, done) in enumerate(batch):
            if done is not None and not done.done():
                done.set_exception(failed) if failed and number >= kept else done.set_result(None)
        return failed is None

    # --- on a thread, or in a command ------------------------------------------------------------------------------

    def append(self, records: Sequence[bytes]) -> Head:
        """Write and sync `records`; the new head. Blocks.

        Raises:
            TrailRefused: not all of them count; the OSError of the disk, or of a lock that others keep, is its cause.
            OSError, StoreError: none does.
        """
        make_folder(self._folder)
        with _locked(self._folder):
            path, size, before = self._end()
            heads, lines = [before], []
            for xml in records:
                heads.append(_next(heads[-1], xml))
                lines.append(f"{heads[-1].number} {heads[-1].chain} ".encode() + xml + b"\n")
            if not path.name or size >= self._max_file_bytes:
                path, size = self._begin(before)
            data = b"".join(lines)
            taken, refused = _append(path, data)
            kept = data.count(b"\n", 0, taken)
            self._known = (path, size + taken, heads[kept])
            if refused is not None:
                raise TrailRefused(kept, refused.strerror) from refused
            return heads[-1]

    def _end(self) -> tuple[Path, int, Head]:
        """Last file, its size and the head: remembered, or read again when another process has written."""
        path, size, _ = self._known
        files = trail_files(self._folder)
        while files and (files[-1] != path or files[-1].lstat().st_size != size):
            same = files[-1] == path and files[-1].lstat().st_size > size  # by others since: read what was added
            self._known = _read_end(files[-1], *(self._known[1:] if same else (0, Head())))
            path, size, _ = self._known
            if size == 0:  # its header was torn: the file never began
                files.pop().unlink()
                self._known = (Path(), 0, Head())
        return self._known if files else (Path(), 0, Head())

    def _begin(self, before: Head) -> tuple[Path, int]:
        number = before.number + 1
        path = self._folder / f"audit-{number:010d}.log"
        header = f"passevue-audit 1 {number} {before.chain}\n".encode()
        _, refused = _append(path, header, create=True)
        if refused is not None:
            raise refused
        sync_folder(self._folder)
        log.info("audit_file_begun", first=number, head=before.chain)
        return path, len(header)


def verify(folder: Path, progress: Callable[[int], None] = lambda done: None) -> Verdict:
    """Read the whole trail and check each link. `progress` is told how many bytes have been read. Blocks.

    Nobody writes while the last file is read: half a record there is one that was cut.

    Raises:
        OSError: what is there cannot be read, or somebody keeps the lock (TimeoutError).
    """
    wrong: list[str] = []
    head = Head()
    records = 0
    files = trail_files(folder)
    for path in files:
        first = True
        still = _standing_still(folder) if path == files[-1] else contextlib.nullcontext()
        with still, open(open_plain(path), "rb") as file:
            for line in _lines(file):
                progress(len(line))
                try:
                    if first:
                        head = _check_header(line, head, is_first=path == files[0])
                        first = False
                    else:
                        head = _check_record(line, head)
                        records += 1
                except Damaged as err:
                    wrong.append(f"{path.name}: {err.message}")
                    head = _resume(line, head)
                    first = False
    return Verdict(records, len(files), head, tuple(wrong))


def _check_header(line: bytes, before: Head, *, is_first: bool) -> Head:
    words = line.decode("ascii", "replace").split()
    if len(words) != 4 or words[:2] != ["passevue-audit", "1"] or not _plausible(words[2].encode(), words[3].encode()):
        raise Damaged("the first line is not a header")
    named = Head(int(words[2]) - 1, words[3])
    if not is_first and named != before:
        raise Damaged(f"the file follows record {named.number}, the trail before it ends at {before.number}")
    return named


def _check_record(line: bytes, before: Head) -> Head:
    words = line.split(b" ", 2)
    if not line.endswith(b"\n") or len(words) != 3:
        raise Damaged(f"record {before.number + 1} is incomplete")
    expected = _next(before, words[2].rstrip(b"\n"))
    if words[0] != str(expected.number).encode():
        raise Damaged(f"expected record {expected.number}, found another number")
    if words[1] != expected.chain.encode():
        raise Damaged(f"record {expected.number} is not what was written")
    return expected


def _resume(line: bytes, before: Head) -> Head:
    """What the line says of itself: where the trail goes on, after a broken link (told once) or a restart."""
    words = line.split()[:4]
    if words[:2] == [b"passevue-audit", b"1"] and len(words) == 4 and _plausible(words[2], words[3]):
        return Head(int(words[2]) - 1, words[3].decode())
    if len(words) > 2 and _plausible(words[0], words[1]):
        return Head(int(words[0]), words[1].decode())
    return Head(before.number + 1, before.chain)


def _plausible(number: bytes, chain: bytes) -> bool:
    return number.isdigit() and len(number) < 19 and len(chain) == 64 and chain.isalnum()


def _next(head: Head, xml: bytes) -> Head:
    number = head.number + 1
    chain = hashlib.sha256(head.chain.encode() + str(number).encode() + xml).hexdigest()
    return Head(number, chain)


def _read_end(path: Path, whole: int, head: Head) -> tuple[Path, int, Head]:
    """The head that the last file ends with, read from where it is known to be whole; a torn end is set aside first."""
    with open(open_plain(path, os.O_RDWR), "r+b") as file:
        file.seek(whole)
        for line in _lines(file):
            if not line.endswith(b"\n"):
                _set_torn_aside(path, file, whole)
                break
            head = _resume(line, head)
            whole += len(line)
    return path, whole, head


def _set_torn_aside(path: Path, file: BinaryIO, whole: int) -> None:
    """It never counted, so that a disk without room for it a second time does not keep the trail from going on; nor
    does one that a zone has made as long as it likes: its first `MAX_TORN_BYTES` say what it was.
    """
    file.seek(whole)
    aside = path.with_suffix(f".{whole}.torn")
    log.warning("audit_record_torn", bytes=os.fstat(file.fileno()).st_size - whole)
    try:
        with open(open_plain(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as copy:
            while copy.tell() < MAX_TORN_BYTES and (piece := file.read(64 << 10)):
                copy.write(piece)
            copy.flush()
            os.fdatasync(copy.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink()
    file.truncate(whole)
    sync_folder(path.parent)


def _append(path: Path, data: bytes, *, create: bool = False) -> tuple[int, OSError | None]:
    """How many bytes of `data`, in whole lines, are on the disk now; and why no more.

    Raises:
        OSError: the disk does not say that they are there: none is.
    """
    handle = open_plain(path, os.O_WRONLY | os.O_APPEND | (os.O_CREAT | os.O_EXCL if create else 0))
    try:
        before, written, refused = os.fstat(handle).st_size, 0, None
        try:
            while written < len(data):
                written += os.write(handle, memoryview(data)[written : written + WRITE_BYTES])
        except OSError as err:
            refused = err
            written = data.rfind(b"\n", 0, written) + 1
            with contextlib.suppress(OSError):  # else it is set aside with the next one
                os.ftruncate(handle, before + written)
        try:
            os.fdatasync(handle)
        except OSError:
            os.ftruncate(handle, before)
            raise
    finally:
        os.close(handle)
    return written, refused


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = open_shared(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        try:
            _lock(handle, fcntl.LOCK_EX)
        except TimeoutError as err:
            raise TrailRefused(0, str(err)) from err
        yield
    finally:
        os.close(handle)


@contextmanager
def _standing_still(folder: Path) -> Iterator[None]:
    """For who reads: nobody writes meanwhile. A trail that was carried elsewhere has no lock, and no writer."""
    try:
        handle = open_plain(folder / LOCK)
    except FileNotFoundError:
        yield
        return
    try:
        _lock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, kind: int) -> None:
    """Raises: TimeoutError: others keep it. OSError."""
    end = time.monotonic() + LOCK_S
    while True:
        try:
            return fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise TimeoutError("the lock of the audit trail is kept by somebody") from None
            time.sleep(LOCK_PAUSE_S)


def trail_files(folder: Path) -> list[Path]:
    """The oldest first; none where there is no trail yet. Raises: OSError when it cannot be known."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return [folder / name for name in sorted(names) if name.startswith("audit-") and name.endswith(".log")]


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines with their end; one longer than a record can be is cut, and so fails its check."""
    while line := file.readline(MAX_RECORD_BYTES + 200):
        yield line
