"""Small data sets as a tree of items: notes and commitment requests, with bounds, without a data dictionary.

Explicit VR says what is a sequence; for implicit VR the few that the box reads are listed. What is no sequence to us
is kept as its bytes. Bounds are those of `data_set`: depth 32, 100,000 elements unless the caller knows better.
"""

from dataclasses import dataclass, field

from passevue.errors import Unreadable
from passevue.intake.data_set import (
    IMPLICIT,
    ITEM,
    ITEM_END,
    MAX_DEPTH,
    MAX_ELEMENTS,
    SEQUENCE_END,
    UNDEFINED,
    Coding,
    Walk,
)

SEQUENCES = frozenset(
    (
        0x00081115,  # ReferencedSeriesSequence
        0x00081198,  # FailedSOPSequence
        0x00081199,  # ReferencedSOPSequence
        0x0040A043,  # ConceptNameCodeSequence
        0x0040A375,  # CurrentRequestedProcedureEvidenceSequence
        0x0040A730,  # ContentSequence
    )
)


@dataclass(slots=True)
class Item:
    """The elements of one item: values as bytes, and the sequences that we read."""

    values: dict[int, bytes] = field(default_factory=dict)
    sequences: dict[int, list["Item"]] = field(default_factory=dict)

    def text(self, tag: int) -> str:
        return self.values.get(tag, b"").strip(b"\0 ").decode("latin-1")

    def items(self, tag: int) -> list["Item"]:
        return self.sequences.get(tag, [])


def read_data_set(data: bytes, coding: Coding, most: int = MAX_ELEMENTS) -> Item:
    """The data set as a tree of what we read. Raises: Unreadable: lengths that do not add up, a bound is passed."""
    item, at = read_item(Walk(data, most), 0, len(data), coding, 0)
    if at != len(data):
        raise Unreadable("data set ends before its bytes do")
    return item


def read_item(walk: Walk, at: int, end: int, coding: Coding, depth: int) -> tuple[Item, int]:
    """Elements from `at` up to `end`, or up to the item's delimiter."""
    if depth > MAX_DEPTH:
        raise Unreadable(f"sequences nested deeper than {MAX_DEPTH}")
    item = Item()
    while at < end:
        tag, vr, length, at = walk.header(at, coding)
        if tag == ITEM_END:
            return item, at
        if tag in item.values or tag in item.sequences:
            raise Unreadable("an element twice")
        if length != UNDEFINED and length > end - at:
            raise Unreadable(f"element of {length} bytes with {end - at} left")
        if vr == b"SQ" or (not vr and tag in SEQUENCES):
            item.sequences[tag], at = read_sequence(walk, at, length, end, coding, depth + 1)
        elif vr == b"UN" and tag in SEQUENCES:
            item.sequences[tag], at = read_sequence(walk, at, length, end, IMPLICIT, depth + 1)
        else:
            start, at = at, walk.past(at, vr, length, coding, depth)
            item.values[tag] = bytes(walk.data[start:at]) if length != UNDEFINED else b""
    return item, at


def read_sequence(walk: Walk, at: int, length: int, end: int, coding: Coding, depth: int) -> tuple[list[Item], int]:
    stop = end if length == UNDEFINED else at + length
    found: list[Item] = []
    while at < stop:
        tag, _, size, at = walk.header(at, coding)
        if tag == SEQUENCE_END and length == UNDEFINED:
            return found, at
        if tag != ITEM or (size != UNDEFINED and size > stop - at):
            raise Unreadable("sequence holds something else than items")
        item, at = read_item(walk, at, stop if size == UNDEFINED else at + size, coding, depth)
        found.append(item)
    if length == UNDEFINED:
        raise Unreadable("sequence of undefined length without its end")
    return found, at
