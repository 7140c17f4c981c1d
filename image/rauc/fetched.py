#!/usr/bin/env python3
"""What a box fetches of an update that it streams:   image/rauc/fetched.py OLD NEW [--most MB]

OLD and NEW are folders as `make image` leaves them: the box runs OLD, NEW holds the bundle. Reads the bundle itself,
and counts the bytes of it that RAUC 1.13 asks an HTTP server for:

- the signature at its end; the tables of its squashfs; its hash tree, whole (dm-verity reads 64 blocks at a time);
- the files that RAUC and the hook read whole: hook, meta.json, and per image the index of its chunks' SHA-256;
- per image, the chunks of 4 KiB that are not zeros, not in the same image further up, and not in the running slot
  (`copy_block_hash_index_image_to_dev`). The other slot, which RAUC asks too, is taken for empty. A chunk costs the
  whole block of the squashfs that it lies in, and that costs all blocks of 4 KiB of the device that it touches: Linux
  reads each block of a squashfs by itself, and what two of them share twice.

Not counted: HTTP headers, one request for each piece. The figure is what Linux reads when it reads nothing ahead, which
`overlay/usr/lib/udev/rules.d` sees to. With --most the program fails when it is more.
"""

import argparse
import hashlib
import itertools
import json
import struct
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "overlay/usr/lib/passevue"))
sys.dont_write_bytecode = True

from slots import uki  # noqa: E402

CHUNK = 4096
"""Of RAUC's index, of the NBD device, of dm-verity."""
IMAGES = ("root.img", "verity.img", "uki.img")
WHOLE = ("hook", "meta.json")
_ZERO = hashlib.sha256(bytes(CHUNK)).digest()
_SUPERBLOCK = struct.Struct("<IIIIIHHHHHHQQQQQQQQ")
_MAGIC, _GZIP, _NO_FRAGMENT = 0x73717368, 1, 0xFFFFFFFF
_PLAIN = 1 << 24  # of a block's size: it is not compressed


class NotABundle(Exception):
    """For the person who measures."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of the squashfs: where its bytes lie."""

    size: int
    blocks: tuple[tuple[int, int], ...]  # (first byte, word of its size); the size 0: zeros that lie nowhere
    fragment: int  # number of the block that its end shares with others, or _NO_FRAGMENT
    offset: int  # in that


class Squashfs:
    """The squashfs at the head of a bundle (version 4.0, gzip, as RAUC makes it): files of one folder."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        file.seek(0)
        head = _SUPERBLOCK.unpack(file.read(_SUPERBLOCK.size))
        if (head[0], head[5], head[9]) != (_MAGIC, _GZIP, 4):
            raise NotABundle("no squashfs of version 4 with gzip at its head")
        self.block, fragments, root = int(head[3]), head[4], head[11]
        self.end, self.tables, folders, self._fragments = head[12], head[15], head[16], head[17]
        self._inodes, self._at = self._unpack(self.tables, folders)
        names, self._name_at = self._unpack(folders, self._fragments if fragments else head[18])
        self.files = dict(self._read(root, names))

    def content(self, name: str) -> bytes:
        """Of a whole file."""
        return b"".join(self.read(name, number) for number in range(self.count(name)))

    def count(self, name: str) -> int:
        """How many blocks a file has."""
        return -(-self.files[name].size // self.block)

    def read(self, name: str, number: int) -> bytes:
        """One block of a file."""
        told = self.files[name]
        left = told.size - number * self.block
        if number < len(told.blocks):
            return self._data(*told.blocks[number])[:left]
        return self._data(*self._fragment(told.fragment))[told.offset :][:left]

    def place(self, name: str, number: int) -> range:
        """The blocks of 4 KiB of the bundle that are read for one block of a file."""
        told = self.files[name]
        at, word = told.blocks[number] if number < len(told.blocks) else self._fragment(told.fragment)
        return _blocks(at, at + (word & (_PLAIN - 1)))

    def _fragment(self, number: int) -> tuple[int, int]:
        (table,) = struct.unpack("<Q", self._bytes(self._fragments + number // 512 * 8, 8))
        data = self._metadata(table)[0]
        at, word, _ = struct.unpack_from("<QII", data, number % 512 * 16)
        return at, word

    def _read(self, root: int, names: bytes) -> Iterator[tuple[str, File]]:
        kind, *_ = struct.unpack_from("<H", self._inodes, at := self._at[root >> 16] + (root & 0xFFFF))
        if kind != 1:
            raise NotABundle("its root is no plain folder")
        start, _, size, offset = struct.unpack_from("<IIHH", self._inodes, at + 16)
        at = self._name_at[start] + offset
        end = at + size - 3
        while at < end:
            count, start, _ = struct.unpack_from("<III", names, at)
            at += 12
            for _ in range(count + 1):
                offset, _, _, length = struct.unpack_from("<HhHH", names, at)
                yield names[at + 8 : at + 9 + length].decode(), self._inode(self._at[start] + offset)
                at += 9 + length

    def _inode(self, at: int) -> File:
        kind = struct.unpack_from("<H", self._inodes, at)[0]
        if kind == 2:
            start, fragment, offset, size = struct.unpack_from("<IIII", self._inodes, at + 16)
            at += 32
        elif kind == 9:
            start, size, _, _, fragment, offset, _ = struct.unpack_from("<QQQIIII", self._inodes, at + 16)
            at += 56
        else:
            raise NotABundle("something in it is no file")
        count = size // self.block if fragment != _NO_FRAGMENT else -(-size // self.block)
        words = struct.unpack_from(f"<{count}I", self._inodes, at)
        begins = itertools.accumulate((word & (_PLAIN - 1) for word in words), initial=start)
        return File(size, tuple(zip(begins, words, strict=False)), fragment, offset)

    def _unpack(self, at: int, end: int) -> tuple[bytes, dict[int, int]]:
        """A table of metadata blocks: its bytes, and where each block's begin, by its place in the table."""
        whole, places, start = bytearray(), {}, at
        while at < end:
            places[at - start] = len(whole)
            data, at = self._metadata(at)
            whole += data
        return bytes(whole), places

    def _metadata(self, at: int) -> tuple[bytes, int]:
        (word,) = struct.unpack("<H", self._bytes(at, 2))
        data = self._bytes(at + 2, word & 0x7FFF)
        return data if word & 0x8000 else zlib.decompress(data), at + 2 + (word & 0x7FFF)

    def _data(self, at: int, word: int) -> bytes:
        if not word:
            return bytes(self.block)
        data = self._bytes(at, word & (_PLAIN - 1))
        return data if word & _PLAIN else zlib.decompress(data)

    def _bytes(self, at: int, size: int) -> bytes:
        self._file.seek(at)
        data = self._file.read(size)
        if len(data) != size:
            raise NotABundle("cut short")
        return data


@dataclass(frozen=True, slots=True)
class Fetched:
    """Which blocks of 4 KiB of the bundle a box asks for, and why."""

    size: int  # of the bundle, bytes
    parts: tuple[tuple[str, tuple[range, ...]], ...]  # each range: one request
    chunks: tuple[tuple[str, int, int], ...]  # image, chunks that are new, chunks

    @property
    def bytes(self) -> int:
        return sum(weight(pieces) for _, pieces in self.parts)

    @property
    def pieces(self) -> int:
        return sum(len(pieces) for _, pieces in self.parts)


def weight(pieces: Iterable[range]) -> int:
    """Bytes."""
    return sum(len(piece) for piece in pieces) * CHUNK


def measure(running: dict[str, bytes], bundle: Path) -> Fetched:
    """What a box whose slot holds these bytes fetches.

    Raises:
        NotABundle: this file is none that we make.
    """
    size = bundle.stat().st_size
    with bundle.open("rb") as file:
        squashfs = Squashfs(file)
        file.seek(size - 8)
        signature = size - 8 - struct.unpack(">Q", file.read(8))[0]
        tree = squashfs.end + -squashfs.end % CHUNK
        parts = [
            ("signature", (_blocks(signature, size),)),
            ("hash tree of the bundle", (_blocks(tree, signature),)),
            ("tables of the squashfs", (_blocks(0, 96), _blocks(squashfs.tables, squashfs.end))),
            ("hook, meta.json", tuple(piece for name in WHOLE for piece in _whole(squashfs, name))),
        ]
        chunks = []
        for name in IMAGES:
            index = f"{name}.block-hash-index"
            parts.append((f"index of {name}", _whole(squashfs, index)))
            wanted = squashfs.content(index)
            new = missing(running[name], [wanted[at : at + 32] for at in range(0, len(wanted), 32)])
            chunks.append((name, len(new), len(wanted) // 32))
            touched = sorted({chunk * CHUNK // squashfs.block for chunk in new})
            parts.append((name, tuple(squashfs.place(name, number) for number in touched)))
    return Fetched(size, tuple(parts), tuple(chunks))


def missing(running: bytes, wanted: list[bytes]) -> list[int]:
    """The numbers of the chunks that are neither in the running slot nor further up in the new image."""
    data = memoryview(running + bytes(-len(running) % CHUNK))
    known = {_ZERO, *(hashlib.sha256(data[at : at + CHUNK]).digest() for at in range(0, len(data), CHUNK))}
    new = []
    for number, chunk in enumerate(wanted):
        if chunk not in known:
            new.append(number)
            known.add(chunk)
    return new


def of_box(out: Path) -> dict[str, bytes]:
    """What lies in the three partitions of a box that runs this image."""
    version = str(json.loads((out / "image.json").read_text())["version"])
    return {
        "root.img": (out / "root.img").read_bytes(),
        "verity.img": (out / "verity.img").read_bytes(),
        "uki.img": uki.pack((out / "uki.efi").read_bytes(), version),
    }


def _whole(squashfs: Squashfs, name: str) -> tuple[range, ...]:
    return tuple(squashfs.place(name, number) for number in range(squashfs.count(name)))


def _blocks(begin: int, end: int) -> range:
    return range(begin // CHUNK, -(-end // CHUNK)) if end > begin else range(0)


def told(fetched: Fetched) -> str:
    lines = [f"{name:<28}{weight(pieces) / 1e6:8.2f} MB" for name, pieces in fetched.parts]
    lines += [f"{name}: {new} of {whole} chunks are new" for name, new, whole in fetched.chunks]
    whole = f"{fetched.bytes / 1e6:.2f} MB of {fetched.size / 1e6:.1f} MB"
    return "\n".join([*lines, f"fetched: {whole}, in {fetched.pieces} pieces"])


def main() -> int:
    parser = argparse.ArgumentParser(description="What a box that runs OLD fetches of NEW's bundle.")
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path, help="a folder with one bundle in it, or a bundle")
    parser.add_argument("--most", type=float, metavar="MB", help="fail when it is more")
    asked = parser.parse_args()
    try:
        (bundle,) = [asked.new] if asked.new.is_file() else list(asked.new.glob("*.raucb"))
        fetched = measure(of_box(asked.old), bundle)
    except (NotABundle, uki.NoUki, OSError, ValueError, struct.error, zlib.error) as err:
        print(f"fetched: {err}", file=sys.stderr)
        return 2
    print(told(fetched))
    return 1 if asked.most is not None and fetched.bytes > asked.most * 1e6 else 0


if __name__ == "__main__":
    sys.exit(main())
