"""A UKI (unified kernel image), and the layout in which it lies in the blocks of its slot.

Facts:
- A UKI is a PE file: kernel, initrd and command line are sections (`.linux`, `.initrd`, `.cmdline`), its signature
  follows the last.
- The command line holds the root hash and the signed policy changes with it, so every release has another UKI, but
  kernel and initrd are the same bytes in most. An updater that compares blocks of 4 KiB finds them only where they
  lie on block boundaries, which the sections of a file do not. So the slot holds a header block (JSON, zero-padded),
  then each part of the file on blocks of its own; put together in order they are the file again, to the last byte.
- Nothing here is believed for being here: firmware and loader check the signature of the file at each start.
"""

import hashlib
import io
import itertools
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

BLOCK = 4096
LARGEST = 256 << 20
"""Bytes of a UKI: seven times ours. Bounds what a damaged header can ask for."""
MOST_PARTS = 64
_SECTION = struct.Struct(
    "<8sIIII"
)  # name, virtual size and address, size and place in the file; 40 bytes with what follows
_ROOT_HASH = re.compile(r"(?:^|\s)roothash=([0-9a-f]{64})(?:\s|$)")


class NoUki(Exception):
    """These bytes are no UKI, or not in the layout of a slot."""


@dataclass(frozen=True, slots=True)
class Section:
    name: str
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Header:
    """First block of the slot."""

    version: str
    root_hash: str  # 64 hexadecimal digits: the command line's
    length: int
    sha256: str
    parts: tuple[tuple[int, int], ...]  # start in the slot, bytes


def sections(file: BinaryIO) -> tuple[Section, ...]:
    """Those of a PE file.

    Raises:
        NoUki: no PE file, cut, or with sections outside itself.
    """
    end = file.seek(0, io.SEEK_END)
    start = struct.unpack("<I", _exactly(file, 0x3C, 4))[0]
    if _exactly(file, start, 4) != b"PE\0\0":
        raise NoUki("no PE header")
    count = struct.unpack("<H", _exactly(file, start + 6, 2))[0]
    optional = struct.unpack("<H", _exactly(file, start + 20, 2))[0]
    if not 0 < count <= MOST_PARTS // 2 - 1:
        raise NoUki(f"{count} sections")
    found = []
    for number in range(count):
        name, virtual, _, size, at = _SECTION.unpack(_exactly(file, start + 24 + optional + 40 * number, _SECTION.size))
        if at + size > end:
            raise NoUki("a section ends after the file")
        found.append(
            Section(name.rstrip(b"\0").decode("ascii", "replace"), at, min(size, virtual) if virtual else size)
        )
    return tuple(found)


def root_hash(file: BinaryIO) -> str:
    """The root hash in the command line.

    Raises:
        NoUki: no PE file, or its command line names no root hash.
    """
    for section in sections(file):
        if section.name == ".cmdline":
            found = read_root_hash(_exactly(file, section.start, min(section.size, BLOCK)).decode("utf-8", "replace"))
            if found:
                return found
    raise NoUki("its command line names no root hash")


def read_root_hash(cmdline: str) -> str | None:
    found = _ROOT_HASH.search(cmdline.replace("\0", " "))
    return found.group(1) if found else None


def pack(uki: bytes, version: str) -> bytes:
    """The bytes of a slot that hold this UKI.

    Raises:
        NoUki: these bytes are no UKI with a root hash.
    """
    file = io.BytesIO(uki)
    cuts = {0, len(uki)}
    for section in sections(file):
        cuts |= {section.start, section.start + section.size}
    ordered = sorted(cuts)
    parts, body, at = [], [], BLOCK
    for begin, end in itertools.pairwise(ordered):
        parts.append([at, end - begin])
        body.append(uki[begin:end] + bytes(-(end - begin) % BLOCK))
        at += len(body[-1])
    header = json.dumps(
        {"schema": 1, "version": version, "root_hash": root_hash(file), "length": len(uki), "parts": parts,
         "sha256": hashlib.sha256(uki).hexdigest()}
    ).encode()  # fmt: skip
    if len(header) >= BLOCK or len(uki) > LARGEST or len(parts) > MOST_PARTS:
        raise NoUki("too large for a slot")
    return header.ljust(BLOCK, b"\0") + b"".join(body)


def header(slot: BinaryIO) -> Header:
    """What the first block of the slot says.

    Raises:
        NoUki: the slot holds nothing, or something else.
    """
    try:
        told = json.loads(_exactly(slot, 0, BLOCK).rstrip(b"\0"))
        read = Header(
            str(told["version"]), str(told["root_hash"]), int(told["length"]), str(told["sha256"]),
            tuple((int(at), int(size)) for at, size in told["parts"]),
        )  # fmt: skip
        if told["schema"] != 1 or not re.fullmatch(r"\d+(\.\d+){1,3}", read.version) or len(read.parts) > MOST_PARTS:
            raise NoUki("a header of another kind")
    except (ValueError, KeyError, TypeError, RecursionError) as err:
        raise NoUki("no header") from err
    if not 0 < read.length <= LARGEST or any(at < BLOCK or size < 0 for at, size in read.parts):
        raise NoUki("sizes out of bounds")
    if sum(size for _, size in read.parts) != read.length or not re.fullmatch("[0-9a-f]{64}", read.root_hash):
        raise NoUki("sizes do not add up")
    return read


def unpack(slot: BinaryIO, told: Header) -> Iterator[bytes]:
    """The UKI, in pieces of at most 1 MiB. The caller compares the hash: pieces are given out before the end is
    known.
    """
    for at, size in told.parts:
        while size:
            piece = _exactly(slot, at, min(size, 1 << 20))
            yield piece
            at, size = at + len(piece), size - len(piece)


def verify(slot: BinaryIO) -> Header:
    """The header, after reading the whole slot and comparing it.

    Raises:
        NoUki: the slot holds no whole UKI, or another than its header says.
    """
    told = header(slot)
    digest = hashlib.sha256()
    for piece in unpack(slot, told):
        digest.update(piece)
    if digest.hexdigest() != told.sha256:
        raise NoUki("the bytes are not those that the header promises")
    return told


def _exactly(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    data = file.read(size)
    if len(data) != size:
        raise NoUki("cut short")
    return data
