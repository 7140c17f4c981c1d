"""One connection of a DICOM neighbour: moves bytes between the socket and the upper layer, and keeps its clock.

Decides nothing. Reading pauses while the session is behind, whatever waits for it: an association holds `HIGH_BYTES`
and what one read of the socket gave. Silence is counted in time spent waiting for the next whole PDU: time that we
spend on the disk is not the peer's, and a byte now and then is no sign of life.
"""

import asyncio
import contextlib
import socket
from collections import deque
from typing import cast

from passevue.errors import NetworkError
from passevue.intake.association import PduError
from passevue.intake.upper_layer import DataFragment, Event, State, UpperLayer

HIGH_BYTES = 512 << 10
LOW_BYTES = 128 << 10
WAKE_BYTES = 256 << 10
EVENT_BYTES = 1 << 10  # that one event takes beside its data: a peer may send commands alone, or a byte at a time
RECEIVE_BUFFER_BYTES = 1 << 20
ARTIM_S = 5.0  # PS3.8 § 9.1.5: how long a peer may take to close after our last word


class Silent(NetworkError):
    """Nothing whole came in time."""


class Lost(NetworkError):
    """The connection went."""


class Wire(asyncio.Protocol):
    """Events in with `next`, bytes out with `write`."""

    def __init__(self, layer: UpperLayer) -> None:
        self.layer = layer
        self.bytes_in = 0
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._events: deque[Event | PduError | Silent] = deque()
        self._held = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._waiting_since = 0.0
        self._silence = 0.0  # waited since the last whole PDU
        self._lost = self._loop.create_future()
        self._writable = asyncio.Event()
        self._writable.set()

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not registered as such
        self._transport.set_write_buffer_limits(high=64 << 10)

    def data_received(self, data: bytes) -> None:
        pdus = self.layer.pdus
        self.bytes_in += len(data)
        try:
            for event in self.layer.receive(data):
                self._events.append(event)
                self._held += _weight(event)
        except PduError as err:
            self._events.append(err)
            self.layer.closed()
        if self.layer.pdus != pdus:
            self._silence = 0.0
            self._waiting_since = self._loop.time()
        if self._held > HIGH_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        if self._events and (self._held > WAKE_BYTES or not isinstance(self._events[-1], DataFragment)):
            self._wake()  # fragments alone may gather a little: the session has nothing to say to them

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._lost.done():
            self._lost.set_result(None)
        self._writable.set()
        self._wake()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # From the session

    async def next(self) -> Event:
        """The next event.

        Raises:
            PduError: the peer broke the protocol.
            Silent: the peer said nothing whole for too long.
            Lost: the connection is gone.
        """
        while not self._events:
            if self._lost.done():
                raise Lost("connection closed without release")
            await self._wait()
        event = self._events.popleft()
        if isinstance(event, PduError | Silent):
            raise event
        self._held -= _weight(event)
        if self._paused and self._held < LOW_BYTES and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return event

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        self._waiting_since = self._loop.time()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._silence += self._loop.time() - self._waiting_since

    def expire(self, now: float, limit_s: float) -> None:
        """Called now and then: end the wait when the peer has been silent for longer than `limit_s`."""
        if self._waiter is not None and self._silence + now - self._waiting_since > limit_s:
            self._events.append(Silent(f"nothing whole came for {limit_s:g} s"))
            self._wake()

    async def write(self, data: bytes) -> None:
        """Send. Waits only when the peer does not read."""
        if self._transport is None or self._lost.done():
            raise Lost("connection is gone")
        self._transport.write(data)
        self._silence = 0.0
        if not self._writable.is_set():
            try:
                async with asyncio.timeout(ARTIM_S):
                    await self._writable.wait()
            except TimeoutError as err:
                raise Silent("the peer does not read our answers") from err

    async def finish(self, last_word: bytes = b"") -> None:
        """Say the last word, give the peer a moment to close, close."""
        self.layer.closed()
        self._events.clear()
        self._held = 0
        if self._transport is None:
            return
        if last_word and not self._lost.done():
            if self._paused:
                self._transport.resume_reading()
            self._transport.write(last_word)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ARTIM_S):
                    await asyncio.shield(self._lost)
        self._transport.abort()

    def drop(self, last_word: bytes = b"") -> None:
        """Close at once, whatever the state; the last word goes out if the peer takes it now."""
        if self._transport is not None and not self._transport.is_closing():
            if self.layer.state is not State.CLOSED:
                self._transport.write(last_word)
            self._transport.abort()
        self.layer.closed()


def _weight(event: Event) -> int:
    return EVENT_BYTES + (len(event.data) if isinstance(event, DataFragment) else 0)


def prepare(connection: socket.socket) -> None:
    """Without Nagle's delay: a response is small and someone waits for it (44 ms an object otherwise)."""
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
