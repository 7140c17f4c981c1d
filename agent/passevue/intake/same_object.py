"""Is an object that comes the one that is there? Compared byte by byte, from the disk, in pieces (F-17)."""

import os
from collections.abc import Iterator
from pathlib import Path

import structlog

from passevue.intake.image_jobs import Put
from passevue.intake.incoming import PIECE_BYTES
from passevue.intake.stored import Stored

log = structlog.get_logger()


def same_object(stored: Stored, path: Path, put: Put) -> bool:
    """Same data set in the same transfer syntax? `path` holds `stored`.

    The file meta information may differ: it names the sender. One that the disk no longer gives is another one: what
    comes is then kept beside it.
    """
    length = int(put.facts["length"]) if put.file else len(put.data)
    meta_bytes = int(put.facts["meta_bytes"])
    if stored.transfer_syntax != put.facts["transfer_syntax"]:
        return False
    if stored.length - stored.meta_bytes != length - meta_bytes:
        return False
    theirs = file_pieces(put.file, meta_bytes, length) if put.file else memory_pieces(put.data, meta_bytes)
    ours = file_pieces(path, stored.offset + stored.meta_bytes, stored.offset + stored.length)
    try:
        return all(one == other for one, other in zip(ours, theirs, strict=True))
    except OSError as err:
        log.error("object_unreadable", segment=stored.segment, record=stored.record, error=err.strerror)
        return False


def memory_pieces(data: bytes | bytearray, start: int) -> Iterator[bytes]:
    view = memoryview(data)
    for at in range(start, len(data), PIECE_BYTES):
        yield bytes(view[at : at + PIECE_BYTES])


def file_pieces(path: Path, start: int, end: int) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        for at in range(start, end, PIECE_BYTES):
            yield os.pread(file.fileno(), min(PIECE_BYTES, end - at), at)
