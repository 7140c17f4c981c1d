"""The DICOM upper layer of an acceptor: bytes in, events out (PS3.8 §§ 7 and 9).

Everything that affects the state of an association lives here, and no socket does. `receive` takes any cut of the
stream; data sets pass through as views of what came, so nothing waits for the end of a PDU and no PDU is gathered in
memory save the small ones. Whatever the peer does against the protocol is a `PduError`; the owner then sends `abort`.

Bounds, checked on the six header bytes, before any memory is taken (reliability § 8): an association request of 64 KiB,
128 contexts, any other PDU `max_pdu_bytes` whatever was negotiated, a command set of 64 KiB.

    layer = UpperLayer(max_pdu_bytes=1 << 20)
    for event in layer.receive(data): ...
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from struct import Struct

from passevue.intake.association import (
    PDU_HEADER,
    AbortReason,
    AssociationRequest,
    Context,
    ContextResult,
    PduError,
    PduType,
    read_request,
)
from passevue.intake.dimse import Command, read_command

MAX_REQUEST_BYTES = 64 << 10
MAX_COMMAND_BYTES = 64 << 10
PDV_HEADER = Struct(">LBB")
COMMAND, LAST = 1, 2  # message control header (PS3.8 Annex E.2)


class State(Enum):
    """States of PS3.8 § 9.2 that an acceptor goes through; the transport is its owner's business."""

    AWAITING_REQUEST = auto()  # Sta2
    AWAITING_DECISION = auto()  # Sta3
    ESTABLISHED = auto()  # Sta6
    RELEASING = auto()  # Sta8
    CLOSED = auto()  # Sta13


# What may come in which state, and its most bytes (None: max_pdu_bytes). All else is answered A-ABORT (AA-1, AA-8).
TAKEN: dict[State, dict[PduType, int | None]] = {
    State.AWAITING_REQUEST: {PduType.ASSOCIATE_RQ: MAX_REQUEST_BYTES, PduType.ABORT: 4},
    State.AWAITING_DECISION: {PduType.ABORT: 4},
    State.ESTABLISHED: {PduType.DATA_TF: None, PduType.RELEASE_RQ: 4, PduType.ABORT: 4},
    State.RELEASING: {PduType.ABORT: 4},
    State.CLOSED: {},
}


@dataclass(frozen=True, slots=True)
class Requested:
    """A-ASSOCIATE-RQ: the owner answers with `accepted` or `closed`."""

    request: AssociationRequest


@dataclass(frozen=True, slots=True)
class CommandReceived:
    """A command set, whole; its data set follows when `command.has_data_set`."""

    context: Context
    command: Command


@dataclass(frozen=True, slots=True)
class DataFragment:
    """Bytes of the data set of the last command, in order."""

    data: memoryview


@dataclass(frozen=True, slots=True)
class DataEnd:
    """The data set is whole."""


@dataclass(frozen=True, slots=True)
class ReleaseRequested:
    """A-RELEASE-RQ: the owner sends A-RELEASE-RP."""


@dataclass(frozen=True, slots=True)
class Aborted:
    """A-ABORT from the peer."""

    source: int
    reason: int


Event = Requested | CommandReceived | DataFragment | DataEnd | ReleaseRequested | Aborted
DATA_END = DataEnd()


class UpperLayer:
    """One association, seen from the acceptor. `pdus` counts the PDUs that came whole."""

    def __init__(self, *, max_pdu_bytes: int) -> None:
        self.state = State.AWAITING_REQUEST
        self.pdus = 0
        self._max_pdu_bytes = max_pdu_bytes
        self._contexts: dict[int, Context] = {}
        self._held = bytearray()  # a header or a small PDU that has not come whole
        self._kind: PduType | None = None  # of the PDU under way
        self._pdu_left = 0
        self._pdv_left = 0
        self._pdv_flags = 0
        self._command = bytearray()
        self._context: Context | None = None  # of the message under way
        self._awaiting_data = False

    def accepted(self, contexts: tuple[Context, ...]) -> None:
        """The owner said yes: these contexts hold."""
        self._contexts = {each.id: each for each in contexts if each.result is ContextResult.ACCEPTED}
        if self.state is State.AWAITING_DECISION:
            self.state = State.ESTABLISHED

    def closed(self) -> None:
        """The owner said no, aborted or released: nothing more is taken."""
        self.state = State.CLOSED
        self._held.clear()
        self._command.clear()

    @property
    def _under_way(self) -> Context:
        assert self._context is not None  # noqa: S101 - set by the PDV header that opened the fragment
        return self._context

    @property
    def between_messages(self) -> bool:
        return self._context is None

    def receive(self, data: bytes) -> Iterator[Event]:
        """Events that `data` completes, in order.

        Raises:
            PduError: the peer broke the protocol or passed a bound.
        """
        view, at, end = memoryview(data), 0, len(data)
        while at < end and self.state is not State.CLOSED:
            if self._pdv_left:
                size = min(self._pdv_left, end - at)
                fragment = view[at : at + size]
                at += size
                self._pdv_left -= size
                self._pdu_left -= size
                yield from self._fragment(self._under_way, fragment)
            else:
                at += self._hold(view[at:])
                yield from self._held_whole()

    def _hold(self, view: memoryview) -> int:
        """Take what the next header (or small PDU) still lacks."""
        wanted = self._pdu_left if self._kind not in (None, PduType.DATA_TF) else 6
        taken = view[: wanted - len(self._held)]
        self._held += taken
        return len(taken)

    def _held_whole(self) -> tuple[Event, ...]:
        if self._kind is None:
            if len(self._held) == PDU_HEADER.size:
                self._open_pdu(*PDU_HEADER.unpack(self._held))
        elif self._kind is PduType.DATA_TF:
            if len(self._held) == PDV_HEADER.size:
                return self._open_pdv(*PDV_HEADER.unpack(self._held))
        elif len(self._held) == self._pdu_left:
            return (self._close_small_pdu(self._kind, bytes(self._held)),)
        return ()

    def _open_pdu(self, type_byte: int, length: int) -> None:
        try:
            kind = PduType(type_byte)
        except ValueError:
            raise PduError(AbortReason.UNRECOGNISED_PDU, f"PDU type {type_byte:#04x}") from None
        if kind not in TAKEN[self.state]:
            raise PduError(AbortReason.UNEXPECTED_PDU, f"{kind.name} while {self.state.name}")
        most = TAKEN[self.state][kind]
        least = 6 if kind is PduType.DATA_TF else 4
        if not least <= length <= (self._max_pdu_bytes if most is None else most):
            raise PduError(AbortReason.INVALID_PARAMETER, f"{kind.name} of {length} bytes")
        self._kind, self._pdu_left = kind, length
        self._held.clear()

    def _close_small_pdu(self, kind: PduType, body: bytes) -> Event:
        self._kind, self._pdu_left = None, 0
        self._held.clear()
        self.pdus += 1
        if kind is PduType.ASSOCIATE_RQ:
            request = read_request(body)
            self.state = State.AWAITING_DECISION
            return Requested(request)
        if kind is PduType.RELEASE_RQ:
            if not self.between_messages:
                raise PduError(AbortReason.UNEXPECTED_PDU, "release in the middle of a message")
            self.state = State.RELEASING
            return ReleaseRequested()
        self.state = State.CLOSED
        return Aborted(body[2], body[3])

    def _open_pdv(self, length: int, context_id: int, flags: int) -> tuple[Event, ...]:
        """PS3.8 § 9.3.5.1 and Annex E: the header of one presentation data value."""
        self._held.clear()
        self._pdu_left -= PDV_HEADER.size
        if length < 2 or length - 2 > self._pdu_left or 0 < self._pdu_left - (length - 2) < PDV_HEADER.size:
            raise PduError(AbortReason.INVALID_PARAMETER, f"PDV of {length} bytes, {self._pdu_left} left in its PDU")
        context = self._contexts.get(context_id)
        if context is None:
            raise PduError(AbortReason.INVALID_PARAMETER, f"presentation context {context_id} was not accepted")
        if flags > 3:
            raise PduError(AbortReason.INVALID_PARAMETER, f"message control header {flags:#04x}")
        if self._context is not None and context is not self._context:
            raise PduError(AbortReason.UNEXPECTED_PARAMETER, "two presentation contexts in one message")
        if bool(flags & COMMAND) is self._awaiting_data:
            raise PduError(AbortReason.UNEXPECTED_PARAMETER, "command and data fragments mixed")
        self._context, self._pdv_flags, self._pdv_left = context, flags, length - 2
        return () if self._pdv_left else self._fragment(context, memoryview(b""))

    def _fragment(self, context: Context, fragment: memoryview) -> tuple[Event, ...]:
        if not self._pdu_left:
            self._kind = None
            self.pdus += 1
        last = bool(self._pdv_flags & LAST) and not self._pdv_left
        if self._pdv_flags & COMMAND:
            return self._command_fragment(context, fragment, last)
        if not last:
            return (DataFragment(fragment),) if fragment else ()
        self._awaiting_data, self._context = False, None
        return (DataFragment(fragment), DATA_END) if fragment else (DATA_END,)

    def _command_fragment(self, context: Context, fragment: memoryview, last: bool) -> tuple[Event, ...]:
        if len(self._command) + len(fragment) > MAX_COMMAND_BYTES:
            raise PduError(AbortReason.INVALID_PARAMETER, f"command set longer than {MAX_COMMAND_BYTES} bytes")
        self._command += fragment
        if not last:
            return ()
        command = read_command(bytes(self._command))
        self._command.clear()
        self._awaiting_data = command.has_data_set
        if not self._awaiting_data:
            self._context = None
        return (CommandReceived(context, command),)
