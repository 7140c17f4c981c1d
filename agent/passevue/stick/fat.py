"""FAT16 and FAT32, read only: the files of the root directory, by their long names.

Directories, labels, hidden and system files are left out, and so is what begins with a dot. FAT12 is not read: nothing
that is sold has it.

Source: EFI FAT32 specification 1.03 §§ 3 (boot sector), 5 (type), 6 (directory), 7 (long names).
"""

import struct
from collections.abc import Iterator

from passevue.stick.blocks import Blocks
from passevue.stick.clusters import File, Heap, Table

_BOOT = struct.Struct("<11xHBHBHHxH8xII4xI")
_ENTRY = struct.Struct("<11sBB7xH4xHI")  # name, attributes, case, cluster's high half, low half, size
_LONG = struct.Struct("<B10sBBB12s2x4s")  # order, name, attributes, type, checksum, name, name
_SECTORS = (512, 1024, 2048, 4096)
_FAT16, _FAT32 = 4085, 65525  # clusters, from which on it is that
_LABEL, _DIRECTORY, _HIDDEN, _SYSTEM, _IS_LONG = 0x08, 0x10, 0x02, 0x04, 0x0F
_MOST_LONG = 20


def root(volume: Blocks) -> tuple[File, ...] | None:
    """The files of its root; None when this is no FAT16 or FAT32.

    Raises:
        Unreadable: it is one, and damaged.
    """
    boot = volume.read(0, 512)
    sector, per_cluster, reserved, tables, root_entries, total16, table16, total32, table32, first = _BOOT.unpack_from(
        boot
    )
    total, table = total16 or total32, table16 or table32
    shaped = boot[510:] == b"\x55\xaa" and sector in _SECTORS and per_cluster and not per_cluster & (per_cluster - 1)
    if not shaped or not reserved or tables not in (1, 2) or not table or not total:
        return None
    root_sectors = -(-root_entries * 32 // sector)
    data = reserved + tables * table + root_sectors
    count = (total - data) // per_cluster
    # FAT32 has no 16-bit length of its table. The specification counts clusters instead (§ 3.5); Linux does as is done
    # here, and small FAT32 volumes are about. Counted, they would be a FAT16 without a root, thus without files.
    width = 2 if table16 else 4
    if total * sector > volume.size or count < 1 or (width == 2 and not _FAT16 <= count < _FAT32):
        return None
    mask = 0x0FFFFFFF if width == 4 else 0xFFFF
    heap = Heap(
        volume,
        Table(volume, reserved * sector, table * sector, width),
        data * sector,
        per_cluster * sector,
        count,
        mask,
    )
    if width == 4:
        entries = heap.directory(first)
    else:
        entries = volume.read((data - root_sectors) * sector, root_sectors * sector)
    return tuple(_files(entries, heap))


def _files(entries: bytes, heap: Heap) -> Iterator[File]:
    long: list[bytes] = []
    for at in range(0, len(entries) - 31, 32):
        raw = entries[at : at + 32]
        if raw[0] == 0:
            return
        if raw[0] == 0xE5:
            long = []
        elif raw[11] & 0x3F == _IS_LONG:
            long = [*([] if raw[0] & 0x40 else long), raw][-_MOST_LONG:]
        else:
            file = _file(raw, _long_name(long, raw[:11]), heap)
            long = []
            if file is not None:
                yield file


def _file(raw: bytes, long: str, heap: Heap) -> File | None:
    short, attributes, case, high, low, size = _ENTRY.unpack(raw)
    name = long or _short_name(short, case)
    if attributes & (_LABEL | _DIRECTORY | _HIDDEN | _SYSTEM) or name.startswith("."):
        return None
    return File(name, size, heap, low | (high << 16 if heap.mask > 0xFFFF else 0))


def _long_name(parts: list[bytes], short: bytes) -> str:
    """Of the entries before a short one, last part first; "" when they are not its own."""
    found, checksum = [_LONG.unpack(each) for each in parts], _checksum(short)
    orders = [order & 0x3F for order, *_ in found]
    if orders != list(range(len(found), 0, -1)) or any(each[4] != checksum for each in found):
        return ""
    text = b"".join(first + second + third for _, first, _, _, _, second, third in reversed(found))
    return text.decode("utf-16-le", "replace").partition("\0")[0]


def _checksum(short: bytes) -> int:
    found = 0
    for byte in short:
        found = ((found & 1) << 7) + (found >> 1) + byte & 0xFF
    return found


def _short_name(raw: bytes, case: int) -> str:
    """8.3, of which base and ending may be meant in small letters (bits 3 and 4 of the reserved byte)."""
    base, ending = (part.decode("cp850", "replace").rstrip() for part in (raw[:8], raw[8:]))
    base = base.lower() if case & 0x08 else base
    ending = ending.lower() if case & 0x10 else ending
    return f"{base}.{ending}" if ending else base
