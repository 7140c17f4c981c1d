"""Commands to a card and its answers, as bytes: no reader, no thread, no clock of its own.

    transmit(channel, Command(0x00, 0xB0, 0, 0, le=256), Protocol.T0)  ->  Response(data, 0x9000)

What is kept here, whatever a card answers (ISO 7816-3 § 12, ISO 7816-4 §§ 5.3, 5.4; reliability N-20):
- T=0 carries no Le after data; what the card holds back (`61 xx`) is fetched with GET RESPONSE on the same channel,
  each time at most 256 bytes and in all at most 65,538; `6C xx` is obeyed once, and never for a code. T=1 carries Le.
- A command longer than 255 bytes goes in a chain (CLA bit 5), each link acknowledged before the next.
- A `Budget` bounds what one operation may cost: exchanges and seconds. A card that always has more to say is a
  `CardFault`, never a loop.
- Commands that carry a code (INS 20, 24, 2C) show no data in `repr`, and their bytes are overwritten once sent.

Facts: the logical channel is the two low bits of CLA (ISO 7816-4 § 5.4.1); CPS4 lives on channel 1 (cps-card.md §
1). T=0 and `61 xx` behave alike on TPDU and APDU-level readers (§ 4).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol as Shape

from passevue.errors import CardFault

MOST_RESPONSE_BYTES = 65_538  # a whole extended answer and its status word
MOST_EXCHANGES = 200  # a full reading of a CPS takes under 80
MOST_SECONDS = 60.0  # a slow signature takes 1 s

OK = 0x9000
SHORT_READ = 0x6282  # the end of the file came before Le bytes: the data count
SECURITY_STATUS = 0x6982
CONDITIONS = 0x6985
NOT_FOUND = 0x6A82
CLASS_UNKNOWN = 0x6E00

_CODE_INS = frozenset({0x20, 0x24, 0x2C})  # VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER
_CHAINED = 0x10
_CHANNEL_BITS = 0x03
_LONGEST_LINK = 255
_GET_RESPONSE = 0xC0


class Protocol(IntEnum):
    """Transmission protocol, numbered as PC/SC does."""

    T0 = 1
    T1 = 2


@dataclass(frozen=True, slots=True, repr=False)
class Command:
    """One command. `le` is how many bytes are wanted: None for none, 256 for as many as a short answer holds."""

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes | bytearray = b""
    le: int | None = None

    @property
    def secret(self) -> bool:
        return self.ins in _CODE_INS

    def __repr__(self) -> str:
        data = f"<{len(self.data)} bytes hidden>" if self.secret and self.data else self.data.hex().upper()
        le = "" if self.le is None else f" Le={self.le}"
        return f"{self.cla:02X} {self.ins:02X} {self.p1:02X} {self.p2:02X} {data}{le}".rstrip()


@dataclass(frozen=True, slots=True)
class Response:
    """What came back: data and status word."""

    data: bytes
    sw: int

    @property
    def ok(self) -> bool:
        return self.sw == OK


class Channel(Shape):
    """The seam to a card: one exchange. Blocking; implemented by `reader` over PC/SC and by any virtual card.

    An implementer sends `apdu` as it is, gives back the whole answer with its two status bytes, and keeps nothing of
    it. It bounds its own wait.

    Raises:
        CardAbsent: the card is no longer there.
        CardFault: the reader failed, or did not answer in time.
    """

    def exchange(self, apdu: bytes | bytearray) -> bytes: ...


class Budget:
    """What may still be spent before a card is given up.

    Raises (from `spend`):
        CardFault: one of the bounds is passed.
    """

    def __init__(
        self,
        exchanges: int = MOST_EXCHANGES,
        seconds: float = MOST_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._left = exchanges
        self._clock = clock
        self._until = clock() + seconds

    def spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise CardFault("card needs more exchanges than any operation takes")
        if self._clock() > self._until:
            raise CardFault("card is too slow: the operation was given up")


def transmit(channel: Channel, command: Command, protocol: Protocol, budget: Budget | None = None) -> Response:
    """Send `command` and gather its whole answer.

    Raises:
        CardFault: the answer makes no sense or passes a bound.
        CardAbsent: the card was pulled.
    """
    budget = budget or Budget()
    links = _links(command)
    for link in links[:-1]:
        acknowledged = _one(channel, link, protocol, budget)
        if not acknowledged.ok:
            return acknowledged
    return _whole(channel, links[-1], protocol, budget)


def _links(command: Command) -> list[Command]:
    """`command` as links of at most 255 bytes, all but the last marked as followed by another."""
    size = _LONGEST_LINK
    if len(command.data) <= size:
        return [command]
    parts = [command.data[at : at + size] for at in range(0, len(command.data), size)]
    first = [Command(command.cla | _CHAINED, command.ins, command.p1, command.p2, part) for part in parts[:-1]]
    return [*first, Command(command.cla, command.ins, command.p1, command.p2, parts[-1], command.le)]


def _whole(channel: Channel, command: Command, protocol: Protocol, budget: Budget) -> Response:
    response = _one(channel, command, protocol, budget)
    if response.sw >> 8 == 0x6C and not command.secret:  # a code never goes twice
        exact = Command(command.cla, command.ins, command.p1, command.p2, command.data, (response.sw & 0xFF) or 256)
        response = _one(channel, exact, protocol, budget)
    gathered = bytearray(response.data)
    while response.sw >> 8 == 0x61:
        more = Command(command.cla & ~_CHAINED, _GET_RESPONSE, 0, 0, le=(response.sw & 0xFF) or 256)
        response = _one(channel, more, protocol, budget)
        if response.sw >> 8 == 0x61 and not response.data:
            raise CardFault("card announces data for ever and gives none")
        gathered += response.data
        if len(gathered) > MOST_RESPONSE_BYTES:
            raise CardFault(f"card answers more than {MOST_RESPONSE_BYTES} bytes")
    return Response(bytes(gathered), response.sw)


def _one(channel: Channel, command: Command, protocol: Protocol, budget: Budget) -> Response:
    budget.spend()
    apdu = encode(command, protocol)
    try:
        answer = channel.exchange(apdu)
    finally:
        if command.secret:
            apdu[:] = bytes(len(apdu))
    return decode(answer)


def encode(command: Command, protocol: Protocol) -> bytearray:
    """The bytes of one short command (ISO 7816-3 § 12.1), in a buffer that the caller may overwrite."""
    if not all(0 <= byte <= 0xFF for byte in (command.cla, command.ins, command.p1, command.p2)):
        raise ValueError(f"Expected four bytes of header, got {command!r}")
    if len(command.data) > _LONGEST_LINK or not (command.le is None or 1 <= command.le <= 256):
        raise ValueError(f"Expected at most 255 bytes of data and Le of 1 to 256, got {command!r}")
    apdu = bytearray((command.cla, command.ins, command.p1, command.p2))
    if command.data:
        apdu.append(len(command.data))
        apdu += command.data
    if command.le is not None and not (command.data and protocol is Protocol.T0):
        apdu.append(command.le & 0xFF)
    return apdu


def decode(answer: bytes) -> Response:
    """Data and status word of an answer.

    Raises:
        CardFault: no status word, one that cannot be (ISO 7816-4 § 5.6), or longer than any answer.
    """
    if len(answer) < 2:
        raise CardFault(f"expected a status word, got {len(answer)} bytes")
    if len(answer) > MOST_RESPONSE_BYTES:
        raise CardFault(f"card answers {len(answer)} bytes, more than {MOST_RESPONSE_BYTES}")
    sw = int.from_bytes(answer[-2:], "big")
    if not (0x6100 <= sw <= 0x6FFF or 0x9000 <= sw <= 0x9FFF):
        raise CardFault(f"card answers the impossible status {sw:04X}")
    return Response(bytes(answer[:-2]), sw)


def on_channel(cla: int, number: int) -> int:
    """`cla` for the logical channel `number`, 0 to 3."""
    if not 0 <= number <= _CHANNEL_BITS:
        raise ValueError(f"Expected a channel of 0 to 3, got {number}")
    return cla & ~_CHANNEL_BITS | number


class Line:
    """One card under one protocol: what the modules above send by. `begin` opens a new budget for an operation."""

    def __init__(self, channel: Channel, protocol: Protocol, logical: int = 0, budget: Budget | None = None) -> None:
        self.protocol = protocol
        self.logical = logical
        self._channel = channel
        self._budget = budget or Budget()

    def begin(self) -> None:
        self._budget = Budget()

    def send(
        self,
        ins: int,
        p1: int,
        p2: int,
        data: bytes | bytearray = b"",
        le: int | None = None,
        *,
        logical: int | None = None,
    ) -> Response:
        """One command on the card's logical channel, or on `logical`.

        Raises:
            CardFault, CardAbsent: as `transmit`.
        """
        cla = on_channel(0, self.logical if logical is None else logical)
        return transmit(self._channel, Command(cla, ins, p1, p2, data, le), self.protocol, self._budget)
