"""Where the volumes of a stick are: all of it, or the partitions of its table.

Read: the four primary partitions of an MBR; a GPT of at most 128 entries, whose checksums must be right. Not read:
logical partitions, and the copy of a GPT at the end. A partition that reaches beyond the stick is none.

Source: UEFI 2.10 §§ 5.2 (MBR), 5.3 (GPT).
"""

import struct
import zlib
from collections.abc import Iterator

from passevue.stick.blocks import Blocks, Window, damaged

MOST_ENTRIES, MOST_ENTRY_BYTES = 128, 512
_MBR_ENTRY = struct.Struct("<4xB3xII")  # type, first block, blocks
_GPT_HEADER = struct.Struct("<8s4xII4x48xQIII")  # signature, size, CRC, entries: first block, number, bytes, CRC
_GPT_ENTRY = struct.Struct("<16s16xQQ")  # type, first block, last block
_PROTECTIVE, _EXTENDED = 0xEE, (0x05, 0x0F, 0x85)


def partitions(blocks: Blocks) -> Iterator[Window]:
    """In the order of the table; none where there is no table.

    Raises:
        Unreadable: a GPT that is damaged.
    """
    first = blocks.read(0, min(blocks.size, 512))
    if first[510:] != b"\x55\xaa":
        return
    entries = [_MBR_ENTRY.unpack_from(first, 446 + 16 * number) for number in range(4)]
    if any(kind == _PROTECTIVE for kind, _, _ in entries):
        found = _gpt(blocks)
    else:
        found = ((start, count) for kind, start, count in entries if kind and kind not in _EXTENDED)
    for start, count in found:
        window = Window(blocks, start * blocks.sector, count * blocks.sector)
        if start and count > 0 and window.start + window.size <= blocks.size:
            yield window


def _gpt(blocks: Blocks) -> Iterator[tuple[int, int]]:
    """First block and number of blocks of each partition."""
    raw = blocks.read(blocks.sector, blocks.sector)
    signature, size, crc, at, count, each, entries_crc = _GPT_HEADER.unpack_from(raw)
    if signature != b"EFI PART" or not 92 <= size <= blocks.sector or not _fits(raw, size, crc):
        raise damaged("a GPT header that does not hold")
    if count > MOST_ENTRIES or not _GPT_ENTRY.size <= each <= MOST_ENTRY_BYTES:
        raise damaged("a GPT of more than can be")
    table = blocks.read(at * blocks.sector, count * each)
    if zlib.crc32(table) != entries_crc:
        raise damaged("GPT entries that do not hold")
    for number in range(count):
        kind, start, end = _GPT_ENTRY.unpack_from(table, number * each)
        if any(kind):
            yield start, end - start + 1


def _fits(raw: bytes, size: int, crc: int) -> bool:
    """The checksum is over the header with its own field zeroed."""
    return zlib.crc32(raw[:16] + bytes(4) + raw[20:size]) == crc
