"""The card operating system, as bytes in and bytes out: what every generation has in common.

A `Machine` takes one whole command as the reader gives it and returns one whole answer, as T=0 or T=1 want it. It knows
no reader, no time, no fault: `card.py` puts those around it.

Facts of T=0 (cps-card.md § 4): a command with data has no Le (`67 00` else); what it has to say waits behind `61 xx`
for GET RESPONSE; a Le that is not what is there gets `6C xx`. In T=1 both directions go in one exchange.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from .card_codes import BLOCKED, NOT_VERIFIED, OK, Code, Codes, padded
from .card_files import MF, Access, Directory, File, Path, Tree
from .card_profile import Profile

WRONG_LENGTH = 0x6700
NO_FILE_CHOSEN = 0x6986
NOT_ALLOWED = 0x6985
NOT_FOUND = 0x6A82
WRONG_P1P2 = 0x6A86
WRONG_DATA = 0x6A80
NO_SUCH_DATA = 0x6A88
WRONG_OFFSET = 0x6B00
NO_SUCH_INSTRUCTION = 0x6D00
NO_SUCH_CLASS = 0x6E00
SHORT_READ = 0x6282
CHAINED = 0x10

__all__ = ["BLOCKED", "NOT_VERIFIED", "OK"]


@dataclass(frozen=True, slots=True)
class Apdu:
    """One command. `le` is None when absent, 256 when its byte is zero."""

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes
    le: int | None

    @classmethod
    def parse(cls, raw: bytes) -> "Apdu | None":
        """None when the lengths do not add up. Short APDUs only: these cards know no other."""
        if len(raw) < 4:
            return None
        cla, ins, p1, p2 = raw[:4]
        body = raw[4:]
        if not body:
            return cls(cla, ins, p1, p2, b"", None)
        if len(body) == 1:
            return cls(cla, ins, p1, p2, b"", body[0] or 256)
        size, data, rest = body[0], body[1 : 1 + body[0]], body[1 + body[0] :]
        if size == 0 or len(data) != size or len(rest) > 1:
            return None
        return cls(cla, ins, p1, p2, data, (rest[0] or 256) if rest else None)

    @property
    def p1p2(self) -> int:
        return self.p1 << 8 | self.p2


@dataclass(frozen=True, slots=True)
class Answer:
    """Data and status, before T=0 cuts them in two."""

    sw: int = OK
    data: bytes = b""


Handler = Callable[[Apdu], Answer]


@dataclass(slots=True)
class Environment:
    """What MANAGE SECURITY ENVIRONMENT chose; lost when another application is selected."""

    hash_algorithm: int = 0
    references: dict[int, tuple[int, int]] = field(default_factory=dict)  # template: algorithm, key
    digest: bytes = b""


class Machine:
    """State of one powered card. Subclasses add a generation's commands to `handlers`."""

    select_by_name_p2: frozenset[int] = frozenset({0x04, 0x0C})
    fci_template = 0x62

    def __init__(self, profile: Profile, tree: Tree) -> None:
        self.profile = profile
        self.tree = tree
        self.codes = Codes(
            Code(padded(profile.pin), profile.pin_tries),
            Code(padded(profile.unblocking_code), profile.unblocking_tries),
            profile.unblocking_uses,
        )
        self.handlers: dict[int, Handler] = {
            0xA4: self.select,
            0xB0: self.read_binary,
            0xD6: self.update_binary,
            0x20: self.verify,
        }
        self.power_on()

    # Power

    def power_on(self) -> None:
        """Cold: contacts powered."""
        self.reset()

    def reset(self) -> None:
        """Warm. What was verified, selected, chosen or waiting is gone; counters stay."""
        self.codes.reset()
        self.directory: Path = MF
        self.selected: Path | None = None
        self.environment = Environment()
        self.waiting = b""
        self.chain: tuple[tuple[int, ...], bytes] = ((), b"")

    # One exchange

    def answer(self, raw: bytes) -> bytes:
        apdu = Apdu.parse(raw)
        if apdu is None:
            return _words(WRONG_LENGTH)
        if refusal := self.class_refusal(apdu):
            return _words(refusal)
        if apdu.ins == 0xC0:
            return self._get_response(apdu)
        self.waiting = b""
        if self.t1:
            return self._by_t1(apdu, self._run(apdu))
        if apdu.data and apdu.le is not None:
            return _words(WRONG_LENGTH)
        return self._by_t0(apdu, self._run(apdu))

    @property
    def t1(self) -> bool:
        return self.profile.contactless

    def class_refusal(self, apdu: Apdu) -> int:
        """0, or the status for a class that this card does not take."""
        return 0 if apdu.cla & ~CHAINED == 0 else NO_SUCH_CLASS

    def _run(self, apdu: Apdu) -> Answer:
        if apdu.ins not in self.handlers:
            return Answer(NO_SUCH_INSTRUCTION)
        key = (apdu.cla & ~CHAINED, apdu.ins, apdu.p1, apdu.p2)
        begun, data = self.chain if self.chain[0] == key else ((), b"")
        self.chain = ((), b"")
        if apdu.cla & CHAINED:
            if len(data) + len(apdu.data) > 4096:
                return Answer(WRONG_LENGTH)
            self.chain = (key, data + apdu.data)
            return Answer()
        whole = Apdu(apdu.cla, apdu.ins, apdu.p1, apdu.p2, data + apdu.data, apdu.le) if begun else apdu
        return self.handlers[apdu.ins](whole)

    def _by_t0(self, apdu: Apdu, found: Answer) -> bytes:
        if not found.data:
            return _words(found.sw)
        if apdu.data or apdu.le is None:
            self.waiting = found.data
            return _words(0x6100 | _shown(len(found.data)))
        if apdu.le != len(found.data) and not (self.profile.short_read_warns and found.sw == SHORT_READ):
            return _words(0x6C00 | _shown(len(found.data)))
        return found.data + _words(found.sw)

    def _by_t1(self, apdu: Apdu, found: Answer) -> bytes:
        if not found.data or apdu.le is None:
            return _words(found.sw)
        if apdu.le < len(found.data):
            self.waiting = found.data[apdu.le :]
            return found.data[: apdu.le] + _words(0x6100 | _shown(len(self.waiting)))
        return found.data + _words(found.sw)

    def _get_response(self, apdu: Apdu) -> bytes:
        if not self.waiting or apdu.le is None or apdu.p1p2:
            return _words(NOT_ALLOWED if apdu.le else WRONG_LENGTH)
        if apdu.le > len(self.waiting):
            return _words(0x6C00 | _shown(len(self.waiting)))
        data, self.waiting = self.waiting[: apdu.le], self.waiting[apdu.le :]
        return data + _words(0x6100 | _shown(len(self.waiting)) if self.waiting else OK)

    # Files

    def select(self, apdu: Apdu) -> Answer:
        if apdu.p1 == 0x04:
            return self._select_by_name(apdu)
        if apdu.p2 not in self.select_p2(apdu):
            return Answer(WRONG_P1P2)
        path = self._path_meant(apdu)
        if path is None:
            return Answer(WRONG_P1P2)
        return self._enter(path, apdu.p2)

    def select_p2(self, apdu: Apdu) -> frozenset[int]:
        return frozenset({0x04, 0x0C})

    def _select_by_name(self, apdu: Apdu) -> Answer:
        path = self.tree.directory_named(apdu.data)
        # Real cards take P2=00 for the MF's name and refuse it for an application's.
        if apdu.p2 not in self.select_by_name_p2 and not (apdu.p2 == 0 and path == MF):
            return Answer(WRONG_P1P2)
        return self._enter(path, apdu.p2 or 0x0C) if path else Answer(NOT_FOUND)

    def _path_meant(self, apdu: Apdu) -> Path | None:
        """The path that P1 and the data say, from the MF; it may not exist. None: no such P1."""
        if len(apdu.data) % 2:
            return ()
        fids = tuple(int.from_bytes(apdu.data[i : i + 2], "big") for i in range(0, len(apdu.data), 2))
        if apdu.p1 == 0x03 and not fids:
            return self.directory[:-1] or MF
        if apdu.p1 in (0x00, 0x01, 0x02):
            return MF if fids == MF else self.directory + fids if len(fids) == 1 else ()
        if apdu.p1 == 0x08:
            return MF + fids if fids[:1] != MF else ()
        if apdu.p1 == 0x09:
            return fids if fids[:1] == MF else self.directory + fids
        return None

    def _enter(self, path: Path, p2: int) -> Answer:
        node = self.tree.nodes.get(path)
        if node is None:
            return Answer(NOT_FOUND)
        into = path if isinstance(node, Directory) else path[:-1]
        if into != self.directory:
            self.environment = Environment()
        self.directory = into
        self.selected = path if isinstance(node, File) else None
        template = {0x04: 0x62, 0x00: self.fci_template}.get(p2)
        return Answer(OK, self.tree.fcp(path, template)) if template else Answer()

    def read_binary(self, apdu: Apdu) -> Answer:
        found, offset = self._file_meant(apdu)
        if not isinstance(found, File):
            return Answer(found)
        if not self.allowed(found.contactless if self.profile.contactless else found.read):
            return Answer(NOT_VERIFIED)
        if apdu.data or apdu.le is None:
            return Answer(WRONG_LENGTH)
        if offset > len(found.content) or (offset == len(found.content) and offset):
            return Answer(WRONG_OFFSET)
        data = bytes(found.content[offset : offset + apdu.le])
        return Answer(SHORT_READ if len(data) < apdu.le else OK, data)

    def update_binary(self, apdu: Apdu) -> Answer:
        found, offset = self._file_meant(apdu)
        if not isinstance(found, File):
            return Answer(found)
        if self.profile.contactless or not self.allowed(found.write):
            return Answer(NOT_VERIFIED)
        if not apdu.data:
            return Answer(WRONG_LENGTH)
        if offset + len(apdu.data) > len(found.content):
            return Answer(WRONG_OFFSET)
        found.content[offset : offset + len(apdu.data)] = apdu.data
        return Answer()

    def _file_meant(self, apdu: Apdu) -> tuple[File | int, int]:
        """The file and offset that P1 P2 mean, or the status that says why not. An SFI selects its file."""
        if apdu.p1 & 0x80:
            path = self.tree.with_sfi(self.directory, apdu.p1 & 0x1F) if not apdu.p1 & 0x60 else None
            if path is None:
                return NOT_FOUND, 0
            self.selected = path
            return self.tree.file(path), apdu.p2
        if self.selected is None:
            return NO_FILE_CHOSEN, 0
        return self.tree.file(self.selected), apdu.p1p2

    def allowed(self, access: Access) -> bool:
        return access is Access.ALWAYS or (access is Access.PIN and self.codes.pin.verified)

    # Codes

    def verify(self, apdu: Apdu) -> Answer:
        code = self.codes.by_reference(apdu.p2)
        if apdu.p1 or code is None:
            return Answer(NO_SUCH_DATA if not apdu.p1 else WRONG_P1P2)
        return Answer(code.verify(apdu.data) if apdu.data else code.status())


def _words(sw: int) -> bytes:
    return sw.to_bytes(2, "big")


def _shown(size: int) -> int:
    """A length as `61 xx` and `6C xx` show it: 00 is 256 or more."""
    return size if size < 256 else 0
