"""The audit trail's chain, followed by somebody else than who wrote it (`status.audit_trail` has the form).

A file is a header, `passevue-audit 1 <number of its first record> <chain before it>`, then a record a line, `<number>
<chain> <XML>`, with chain = SHA-256(chain before || number || XML) in hexadecimal.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from passevue.errors import Unreadable

START = "0" * 64
MOST_WRONG = 20


@dataclass(frozen=True, slots=True)
class Record:
    number: int
    chain: str


def last_record(tail: bytes) -> Record:
    """The last whole record of a file that ends with `tail`. Raises: Unreadable when there is none."""
    lines = [line for line in tail.split(b"\n")[:-1] if line]
    words = lines[-1].split(b" ", 2) if lines else []
    if len(words) != 3 or not words[0].isdigit() or len(words[1]) != 64 or not words[2].startswith(b"<"):
        raise Unreadable("the trail does not end with a record")
    return Record(int(words[0]), words[1].decode("ascii", "replace"))


@dataclass(slots=True)
class Chain:
    """A trail read file after file. `wrong`: the file of each break. `noted` is a record that was there once."""

    noted: Record | None = None
    records: int = 0
    wrong: list[str] = field(default_factory=list)
    _head: Record | None = None
    _met: bool = False

    @property
    def lost(self) -> bool:
        """Whether what was read has no record like the noted one."""
        return self.noted is not None and not self._met

    def follow(self, name: str, lines: Iterable[bytes], *, is_last: bool) -> None:
        """Read one file. A record that is just being written at the end of the last one is none yet."""
        first = True
        for line in lines:
            if first:
                self._begin(name, line)
                first = False
            elif line.endswith(b"\n"):
                self._record(name, line[:-1])
            elif not is_last:
                self._break(name)

    def _begin(self, name: str, line: bytes) -> None:
        words = line.split()
        if len(words) != 4 or words[:2] != [b"passevue-audit", b"1"] or not words[2].isdigit():
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
        self._head = head

    def _break(self, name: str) -> None:
        if len(self.wrong) < MOST_WRONG:
            self.wrong.append(name)
