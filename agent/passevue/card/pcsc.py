"""PC/SC, typed: pyscard's low-level calls, their results as values, their failures as our errors. Blocking.

What this module does not know: threads, the event loop, what a CPS is. `reader` knows on which thread each call is
made.

Facts (pcsc-lite 1.9 and 2.3, pyscard 2.2 and 2.3):
- Calls wait on a Unix socket without any limit of time: a reader that hangs, or a pcscd that is stopped, would hold the
  caller for ever. Each context has one socket of its own; `Context.cut` shuts it down from another thread, the call
  that waits comes back with an error, and pcscd resets the card as for any client that died.
- The high 16 bits of a reader's state count its insertions and removals, so a card swapped between two looks shows.
- The high 16 bits given for the reader `\\\\?PnP?\\Notification` say how many readers are known, so one that comes
  between the list and the wait is not missed.
- EndTransaction with a reset resets before it lets others in; Disconnect lets them in first (winscard.c).
"""

import os
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from smartcard import scard

from passevue.card.apdu import Protocol
from passevue.errors import CardAbsent, CardError, CardFault

PNP = "\\\\?PnP?\\Notification"
FOREVER = int(scard.INFINITE)
MOST_READERS = 16  # of one pcscd (PCSCLITE_MAX_READERS_CONTEXTS)
_SOCKET_NAME = "/pcscd.comm"  # wherever pcscd has it

PRESENT = int(scard.SCARD_STATE_PRESENT)
MUTE = int(scard.SCARD_STATE_MUTE)
UNKNOWN = int(scard.SCARD_STATE_UNKNOWN) | int(scard.SCARD_STATE_UNAVAILABLE)
_CHANGED = int(scard.SCARD_STATE_CHANGED)

_OK = int(scard.SCARD_S_SUCCESS)
TIMEOUT = int(scard.SCARD_E_TIMEOUT)
CANCELLED = int(scard.SCARD_E_CANCELLED)
RESET = int(scard.SCARD_W_RESET_CARD)
BUSY = int(scard.SCARD_E_SHARING_VIOLATION)
_NO_READERS = int(scard.SCARD_E_NO_READERS_AVAILABLE)
_ABSENT = frozenset(
    int(code)
    for code in (
        scard.SCARD_W_REMOVED_CARD,
        scard.SCARD_E_NO_SMARTCARD,
        scard.SCARD_E_UNKNOWN_READER,
        scard.SCARD_E_READER_UNAVAILABLE,
        _NO_READERS,
    )
)
_MUTE = frozenset(
    int(code)
    for code in (
        scard.SCARD_W_UNRESPONSIVE_CARD,
        scard.SCARD_W_UNPOWERED_CARD,
        scard.SCARD_W_UNSUPPORTED_CARD,
        scard.SCARD_E_PROTO_MISMATCH,
    )
)
_AWAY = frozenset(
    int(code)
    for code in (
        scard.SCARD_E_NO_SERVICE,
        scard.SCARD_E_SERVICE_STOPPED,
        scard.SCARD_F_COMM_ERROR,
        scard.SCARD_E_INVALID_HANDLE,
    )
)
_FORBIDDEN = int(scard.SCARD_W_SECURITY_VIOLATION)  # polkit said no (Debian 13)

_establishing = threading.Lock()
_begun: list[frozenset[int]] = []  # the sockets there were when the one under way began


class ServiceAway(CardError):
    """pcscd does not answer, is being restarted, or does not let this account in."""

    usual_hint = "Le service des lecteurs de cartes ne répond pas : il redémarre de lui-même, attendez un instant."


def error_of(code: int, what: str) -> CardError:
    """Our error for a PC/SC result."""
    message = f"{what}: {code:08X}"
    if code in _ABSENT:
        return CardAbsent(message)
    if code in _MUTE:
        hint = "La carte ne répond pas : vérifiez qu’elle est dans le bon sens, puce vers l’avant, et bien enfoncée."
        return CardFault(message, hint=hint)
    if code in _AWAY:
        return ServiceAway(message)
    if code == _FORBIDDEN:
        hint = "Ce compte n’a pas le droit d’utiliser les lecteurs de cartes : voyez hw/README.md (polkit)."
        return ServiceAway(message, hint=hint)
    if code == BUSY:
        hint = "La carte est utilisée par un autre programme : fermez-le, ou attendez qu’il ait fini."
        return CardFault(message, hint=hint)
    if code == RESET:
        hint = "Un autre programme a utilisé la carte entre-temps : recommencez."
        return CardFault(message, hint=hint)
    return CardFault(message)


@dataclass(frozen=True, slots=True)
class Look:
    """A reader as PC/SC sees it at one moment."""

    reader: str
    state: int
    atr: bytes

    @property
    def moves(self) -> int:
        """Insertions and removals so far, modulo 65,536."""
        return self.state >> 16 & 0xFFFF

    @property
    def known(self) -> bool:
        return not self.state & UNKNOWN


class Context:
    """One client of pcscd. Used by one thread; `cancel` and `cut` may be called from another.

    Raises:
        ServiceAway: no pcscd answers.
    """

    def __init__(self) -> None:
        with _establishing:
            before = _sockets()
            _begun.append(before)
            try:
                code, handle = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
            finally:
                _begun.clear()
            if code != _OK:
                raise error_of(_unsigned(code), "SCardEstablishContext")
            self._cord = _cord(before)
        self._handle = handle
        self._listed = 0

    @staticmethod
    def cut_begun() -> None:
        """As `cut`, for a context that is being established: pcscd took the connection and says nothing."""
        threading.Thread(target=_cut_begun, name="pcsc-cut", daemon=True).start()  # it lists /proc

    def readers(self) -> tuple[str, ...]:
        """Names of the readers that pcscd has now."""
        code, names = scard.SCardListReaders(self._handle, [])
        self._listed = 0
        if _unsigned(code) == _NO_READERS:
            return ()
        _settle(code, "SCardListReaders")
        self._listed = len(names)  # more than the names when two readers have the same
        return tuple(dict.fromkeys(str(name) for name in names))[:MOST_READERS]

    def look(self, readers: Sequence[str]) -> tuple[Look, ...]:
        """The readers as they are, without waiting."""
        if not readers:
            return ()
        code, states = scard.SCardGetStatusChange(self._handle, 0, [(name, 0) for name in readers])
        if _unsigned(code) != TIMEOUT:
            _settle(code, "SCardGetStatusChange")
        return _looks(states)

    def wait(self, known: Sequence[Look], timeout_ms: int = FOREVER) -> tuple[Look, ...]:
        """Wait until a reader of `known` is no longer so, one comes or goes since `readers`, or `cancel`.

        Raises:
            CardAbsent: one of `known` is no longer there.
        """
        asked: list[Any] = [(look.reader, look.state & ~_CHANGED, list(look.atr)) for look in known]
        asked.append((PNP, self._listed << 16))
        code, states = scard.SCardGetStatusChange(self._handle, timeout_ms, asked)
        if _unsigned(code) not in (TIMEOUT, CANCELLED):
            _settle(code, "SCardGetStatusChange")
        return tuple(look for look in _looks(states) if look.reader != PNP)

    def cancel(self) -> None:
        """Make the thread that waits come back."""
        scard.SCardCancel(self._handle)

    def cut(self) -> bool:
        """Make any call that waits come back with an error; the context is of no more use. False: no way to."""
        cord = self._cord
        if cord is None:
            return False
        with suppress(OSError):
            cord.shutdown(socket.SHUT_RDWR)
        return True

    def release(self) -> None:
        scard.SCardReleaseContext(self._handle)
        if self._cord is not None:
            self._cord.close()

    def connect(self, reader: str) -> "Connection":
        """Power the card in that reader.

        Raises:
            CardAbsent, CardFault, ServiceAway: as `error_of`.
        """
        code, handle, protocol = scard.SCardConnect(
            self._handle, reader, scard.SCARD_SHARE_SHARED, scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
        )
        _settle(code, "SCardConnect")
        return Connection(handle, protocol)


class Connection:
    """A powered card. `transaction` keeps everyone else out until `end`."""

    def __init__(self, handle: Any, protocol: int) -> None:
        self._handle = handle
        self.protocol = _protocol(protocol)

    def transaction(self) -> None:
        """Keep other programs out; a card that one of them had reset is taken as it is."""
        code = _unsigned(scard.SCardBeginTransaction(self._handle))
        if code == RESET:
            again, protocol = scard.SCardReconnect(
                self._handle,
                scard.SCARD_SHARE_SHARED,
                scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1,
                scard.SCARD_RESET_CARD,
            )
            _settle(again, "SCardReconnect")
            self.protocol = _protocol(protocol)
            code = _unsigned(scard.SCardBeginTransaction(self._handle))
        _settle(code, "SCardBeginTransaction")

    def atr(self) -> bytes:
        code, _reader, _state, _protocol, atr = scard.SCardStatus(self._handle)
        _settle(code, "SCardStatus")
        return bytes(atr)

    def exchange(self, apdu: bytes | bytearray) -> bytes:
        given = list(apdu)
        pci = scard.SCARD_PCI_T0 if self.protocol is Protocol.T0 else scard.SCARD_PCI_T1
        try:
            code, answer = scard.SCardTransmit(self._handle, pci, given)
        finally:
            given[:] = [0] * len(given)  # it may hold a code
        _settle(code, "SCardTransmit")
        return bytes(answer)

    def end(self) -> None:
        """Reset the card, let others in, unpower it: nothing that was verified stays. Never fails."""
        scard.SCardEndTransaction(self._handle, scard.SCARD_RESET_CARD)
        scard.SCardDisconnect(self._handle, scard.SCARD_UNPOWER_CARD)


def _protocol(active: int) -> Protocol:
    try:
        return Protocol(int(active))
    except ValueError:
        raise CardFault(f"the reader speaks protocol {active}, neither T=0 nor T=1") from None


def _looks(states: Sequence[Any]) -> tuple[Look, ...]:
    return tuple(Look(str(name), int(state) & 0xFFFFFFFF, bytes(atr)) for name, state, atr in states)


def _settle(code: int, what: str) -> None:
    if code != _OK:
        raise error_of(_unsigned(code), what)


def _unsigned(code: int) -> int:
    return int(code) & 0xFFFFFFFF


# --- the socket of a context ----------------------------------------------------------------------------------------


def _sockets() -> frozenset[int]:
    """File descriptors of this process that are sockets; empty where /proc does not tell."""
    found = set()
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return frozenset()
    for name in names:
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                found.add(int(name))
    return frozenset(found)


def _cut_begun() -> None:
    for before in tuple(_begun):
        if (cord := _cord(before)) is not None:
            with suppress(OSError):
                cord.shutdown(socket.SHUT_RDWR)
            cord.close()


def _cord(before: frozenset[int]) -> socket.socket | None:
    """A second handle on the socket that the new context opened to pcscd; None when it cannot be told which."""
    found = [cord for fd in _sockets() - before if (cord := _second_handle(fd)) is not None]
    if len(found) == 1:
        return found[0]
    for cord in found:
        cord.close()
    return None


def _second_handle(fd: int) -> socket.socket | None:
    try:
        copy = socket.socket(fileno=os.dup(fd))
    except OSError:
        return None
    try:
        if copy.family == socket.AF_UNIX and str(copy.getpeername()).endswith(_SOCKET_NAME):
            return copy
    except OSError:
        pass
    copy.close()
    return None


def pause(stop: threading.Event, tries: int) -> None:
    """Wait before pcscd is asked again: 50 ms, doubled each time, 2 s at most."""
    stop.wait(min(0.05 * 2 ** min(tries, 6), 2.0))


def now() -> float:
    return time.monotonic()
