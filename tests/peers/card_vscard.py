"""A virtual card in the USB CCID reader of a QEMU guest: the VSCARD protocol, QEMU being the client.

    link = VscardLink(Path("/tmp/card.sock"))
    # qemu … -chardev socket,id=card,path=/tmp/card.sock -device usb-ccid -device ccid-card-passthru,chardev=card
    link.insert(VirtualCard())

Facts (libcacard's vscard_common.h, QEMU's ccid-card-passthru.c):
- each message has twelve bytes before it: type, reader, length, big-endian; the card's side speaks first (Init, then
  ReaderAdd), QEMU answers Init with Init and everything else but an APDU with Error, whose code 0 is success;
- QEMU gives the ATR to the guest itself and tells nobody that the guest powered or reset the card. What a reset must
  forget (the PIN) is therefore forgotten when the card is taken out, no sooner: `reset()` of the card does it by hand;
- an ATR longer than 40 bytes, or an APDU before the ATR, is refused by QEMU.
"""

import contextlib
import socket
import struct
import threading
from enum import IntEnum
from pathlib import Path
from types import TracebackType

from .card import VirtualCard
from .card_faults import CardMute, CardRemoved

HEADER = struct.Struct(">III")
MAGIC = b"VSCD"
VERSION = 2
READER = 0
LONGEST = 1 << 16


class Message(IntEnum):
    INIT = 1
    ERROR = 2
    READER_ADD = 3
    READER_REMOVE = 4
    ATR = 5
    CARD_REMOVE = 6
    APDU = 7
    FLUSH = 8
    FLUSH_COMPLETE = 9


class VscardLink:
    """One reader of one guest. Takes one QEMU at a time, the next when that one has gone."""

    def __init__(self, path: Path, reader_name: str = "Virtual CCID") -> None:
        self.path = path
        self.reader_name = reader_name
        self.card: VirtualCard | None = None
        self.refusals: list[int] = []  # codes other than success that QEMU sent
        self.ready = threading.Event()  # a QEMU has taken the reader
        self._socket: socket.socket | None = None
        self._sending = threading.Lock()
        self._closed = False
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._serve, name="vscard", daemon=True)
        self._thread.start()

    def __enter__(self) -> "VscardLink":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def insert(self, card: VirtualCard) -> None:
        card.insert()
        card.power()
        self.card = card
        self._send(Message.ATR, card.atr)

    def remove(self) -> None:
        card, self.card = self.card, None
        if card:
            card.machine.power_on()
            self._send(Message.CARD_REMOVE)

    def swap(self, card: VirtualCard) -> None:
        self.remove()
        self.insert(card)

    def unplug(self) -> None:
        """The whole reader, with its card."""
        self._send(Message.READER_REMOVE)

    def close(self) -> None:
        self._closed = True
        for one in (self._socket, self._listener):
            if one is not None:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self.path.unlink(missing_ok=True)

    # The thread

    def _serve(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self._socket = connection
                with contextlib.suppress(OSError):
                    self._send(Message.INIT, MAGIC + struct.pack(">II", VERSION, 0))
                    while (got := _receive(connection)) is not None:
                        self._handle(*got)
                self.ready.clear()
                self._socket = None

    def _handle(self, kind: int, content: bytes) -> None:
        if kind == Message.INIT:
            if content[:4] != MAGIC:
                raise ConnectionError("the other side does not speak VSCARD")
            self._send(Message.READER_ADD, self.reader_name.encode() + b"\0")
        elif kind == Message.ERROR:
            self._told(int.from_bytes(content[:4], "big"))
        elif kind == Message.APDU:
            self._answer(content)
        elif kind == Message.FLUSH:
            self._send(Message.FLUSH_COMPLETE)

    def _told(self, code: int) -> None:
        if code:
            self.refusals.append(code)
        elif not self.ready.is_set():
            self.ready.set()
            if self.card:
                self._send(Message.ATR, self.card.atr)

    def _answer(self, command: bytes) -> None:
        card = self.card
        if card is None:
            return
        try:
            self._send(Message.APDU, card.answer(command))
        except CardMute:
            return
        except CardRemoved:
            self.remove()

    def _send(self, kind: Message, content: bytes = b"") -> None:
        connection = self._socket
        if connection is None or (kind is Message.ATR and not self.ready.is_set()):
            return  # told when a QEMU has taken the reader
        with self._sending:
            connection.sendall(HEADER.pack(kind, READER, len(content)) + content)


def _receive(connection: socket.socket) -> tuple[int, bytes] | None:
    head = _exactly(connection, HEADER.size)
    if head is None:
        return None
    kind, _reader, size = HEADER.unpack(head)
    if size > LONGEST:
        raise ConnectionError(f"Expected at most {LONGEST} bytes, {size} announced")
    content = _exactly(connection, size)
    return None if content is None else (kind, content)


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    got = b""
    while len(got) < size:
        part = connection.recv(size - len(got))
        if not part:
            return None
        got += part
    return got
