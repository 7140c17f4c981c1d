"""The audit trail's chain, followed by somebody else than who wrote it (`status.audit_trail` has the form).

A file is a header, `passevue-audit 1 <number of its first record> <chain before it>`, then a record a line, `<number>
<chain> <XML>`, with chain = SHA-256(chain before || number || XML) in hexadecimal.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from passevue.notary.trail import START, Record, last_record

__all__ = ["START", "Chain", "Record", "last_record"]

MOST_WRONG = 20


@dataclass(slots=True)
class Chain:
    """A trail read file after file. `wrong`: the file of each break. `noted` is a record that was there once; `signed`
    are others, of any age: where the oldest files were taken away, theirs may be gone too, but never the newest."""

    noted: Record | None = None
    signed: frozenset[Record] = frozenset()
    records: int = 0
    wrong: list[str] = field(default_factory=list)
    _head: Record | None = None
    _met: bool = False
    _first: int | None = None
    _signed_met: set[Record] = field(default_factory=set)

    @property
    def lost(self) -> bool:
        """Whether what was read has no record like the noted one."""
        return self.noted is not None and not self._met

    @property
    def signed_lost(self) -> list[Record]:
        """The signed ones that should be in what was read, and are not; the oldest first."""
        newest = max((record.number for record in self.signed), default=0)
        first = self._first if self._first is not None else 0
        missing = self.signed - self._signed_met - {Record(0, START)}  # a trail that has yet to begin
        return sorted(
            (each for each in missing if each.number >= first or each.number == newest), key=lambda each: each.number
        )

    def follow(self, name: str, lines: Iterable[bytes], *, is_last: bool) -> None:
        """Read one file. A record that is just being written at the end of the last one is none yet."""
        first = True
        for line in lines:
            if not line.endswith(b"\n"):
                if not is_last:
                    self._break(name)
                return  # its rest may be there by now, and is no line of its own
            if first:
                self._begin(name, line)
                first = False
            else:
                self._record(name, line[:-1])

    def _begin(self, name: str, line: bytes) -> None:
        words = line.split()
        if len(words) != 4 or words[:2] != [b"passevue-audit", b"1"] or not words[2].isdigit() or len(words[2]) > 18:
            self._break(name)
            return
        head = Record(int(words[2]) - 1, words[3].decode("ascii", "replace"))
        if self._head is not None and head != self._head:
            self._break(name)
        self._go_on(head)

    def _record(self, name: str, line: bytes) -> None:
        words = line.split(b" ", 2)
        before = self._head or Record(0, START)
        number = before.number + 1
        xml = words[2] if len(words) == 3 else b""
        chain = hashlib.sha256(before.chain.encode() + str(number).encode() + xml).hexdigest()
        if len(words) != 3 or words[0] != str(number).encode() or words[1] != chain.encode():
            self._break(name)
            said = words[0].isdigit() and len(words[0]) < 19 and len(words) > 1 and len(words[1]) == 64
            self._go_on(Record(int(words[0]), words[1].decode("ascii", "replace")) if said else Record(number, chain))
            return
        self.records += 1
        self._go_on(Record(number, chain))

    def _go_on(self, head: Record) -> None:
        self._met = self._met or head == self.noted
        if head in self.signed:
            self._signed_met.add(head)
        if self._first is None:
            self._first = head.number
        self._head = head

    def _break(self, name: str) -> None:
        if len(self.wrong) < MOST_WRONG:
            self.wrong.append(name)
