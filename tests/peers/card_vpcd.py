"""A virtual card in a reader of vpcd: what vpcd asks over TCP, the card answers.

    link = VpcdLink(port)             # the port of one vpcd slot: `Pcscd.slots[0].port`
    link.insert(VirtualCard())
    link.swap(other, gap=0.01)        # out, and another in
    link.remove()
    link.close()

Facts (vpcd.c of virtualsmartcard):
- each message is two bytes of length, big-endian, and the content; one byte is an order: 0 off, 1 on, 2 reset, 4 ATR;
  only the last is answered. vpcd listens, the card connects: connected is inserted;
- vpcd looks for a card when pcscd polls, every 400 ms: `insert()` returns at once, PC/SC sees it a moment later;
- a card that comes back between two looks may be taken for the one that was there, never powered: before it comes
  back, the link lets one look fail. So every removal is seen, as with a real reader, and a swap takes two looks;
- no bytes and a card pulled while it answers are the same to vpcd: SCardTransmit gives success and an empty answer,
  where a real reader gives an error; what comes next fails;
- vpcd sends length and content apart: without TCP_QUICKACK each exchange would take 40 ms instead of 0.05;
- a card that says nothing holds vpcd, and with it pcscd, for good: after `waiting_time` the link drops the connection,
  as a reader gives up on a card, and connects again. What PC/SC then sees is a removal and an insertion;
- an answer that does not fit two bytes of length is cut: such lengths are for tests without a reader.
"""

import select
import socket
import threading
import time
from types import TracebackType

from .card import VirtualCard
from .card_faults import CardMute, CardRemoved

POWER_OFF, POWER_ON, RESET, GET_ATR = 0, 1, 2, 4
RETRY = 0.02  # seconds between tries to reach a vpcd that is not there yet, or not any more
SEEN_AFTER = 1.5  # seconds without a card after which pcscd has looked at least twice


class VpcdLink:
    """One slot of a reader, empty until `insert`. Its thread lives as long as a card is in it."""

    def __init__(self, port: int, host: str = "127.0.0.1", waiting_time: float = 2.0) -> None:
        self.address = (host, port)
        self.waiting_time = waiting_time
        self.card: VirtualCard | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None
        self._left_at = -SEEN_AFTER
        self._changing = threading.RLock()
        self._wake, self._waker = socket.socketpair()

    def __enter__(self) -> "VpcdLink":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def insert(self, card: VirtualCard) -> None:
        """Puts the card in; another that was there comes out first."""
        with self._changing:
            self.remove()
            card.insert()
            self.card = card
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._serve, args=(card, self._stop), name="vpcd", daemon=True)
            self._thread.start()

    def remove(self) -> None:
        """Takes the card out, whatever it is doing."""
        with self._changing:
            self._stop.set()
            self._waker.send(b"x")
            if self._thread and self._thread is not threading.current_thread():
                self._thread.join()
            self._wake.recv(64)
            if self.card:
                self._left_at = time.monotonic()
                self.card.machine.power_on()  # without current, it forgets
            self._thread = self.card = None

    def swap(self, card: VirtualCard, gap: float = 0.01) -> None:
        """This card out, the other in after `gap` seconds."""
        with self._changing:
            self.remove()
            time.sleep(gap)
            self.insert(card)

    def close(self) -> None:
        with self._changing:
            if self._wake.fileno() < 0:
                return
            self.remove()
            self._wake.close()
            self._waker.close()

    @property
    def connected(self) -> bool:
        """Whether a vpcd is on the other side at this moment."""
        return self._socket is not None

    # The thread

    def _serve(self, card: VirtualCard, stop: threading.Event) -> None:
        while not stop.is_set() and not card.removed:
            try:
                with socket.create_connection(self.address, timeout=1) as connection:
                    connection.settimeout(None)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._socket = connection
                    if time.monotonic() - self._left_at < SEEN_AFTER:
                        if self._receive(connection):
                            self._left_at = -SEEN_AFTER
                    elif not stop.is_set():
                        self._talk(connection, card, stop)
            except (OSError, CardRemoved):
                pass
            finally:
                self._socket = None
            if not card.removed:
                stop.wait(RETRY)

    def _talk(self, connection: socket.socket, card: VirtualCard, stop: threading.Event) -> None:
        while (message := self._receive(connection)) is not None:
            try:
                said = _obey(card, message[0]) if len(message) == 1 else card.answer(message)
            except CardMute:
                stop.wait(self.waiting_time)
                said = b""
            if said == b"":
                self._left_at = time.monotonic()
                return
            if said is not None and not stop.is_set():
                connection.sendall(min(len(said), 0xFFFF).to_bytes(2, "big") + said[:0xFFFF])

    def _receive(self, connection: socket.socket) -> bytes | None:
        """One message; None when vpcd has gone or the card is to go."""
        head = self._exactly(connection, 2)
        return self._exactly(connection, int.from_bytes(head, "big")) if head else None

    def _exactly(self, connection: socket.socket, size: int) -> bytes | None:
        got = b""
        while len(got) < size:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # not kept by the kernel: each time
            ready, _, _ = select.select([connection, self._wake], [], [])
            part = b"" if self._wake in ready else connection.recv(size - len(got))
            if not part:
                return None
            got += part
        return got or None


def _obey(card: VirtualCard, order: int) -> bytes | None:
    if order == GET_ATR:
        return card.atr
    if order == POWER_ON:
        card.power()
    elif order == RESET:
        card.reset()
    elif order == POWER_OFF:
        card.machine.power_on()
    return None
