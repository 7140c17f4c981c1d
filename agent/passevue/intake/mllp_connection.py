"""One MLLP connection: bytes in by the transport's callbacks, answers out by one task.

It knows the bounds of `[ris]`, the desk that answers, and the room for large messages; it does not know the listener.
Its clock runs only while the sender is to speak: a slow disk of ours is not the sender's silence.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

import structlog

from passevue.config import Ris
from passevue.errors import Unreadable
from passevue.intake.mllp_frames import END, START, Frame, Framer

log = structlog.get_logger()

LARGE = 1 << 20  # three times a usual report: 64 connections of it are 64 MiB
HANDSHAKE_S = 10.0
SHUTDOWN_S = 1.0
UNREAD_ACKS_BYTES = 64 << 10  # beyond what the kernel buffers: a sender that never reads has some thousand ACKs there


class Desk(Protocol):
    """Answers one message; `ris.RisDesk` is the real one."""

    async def answer(self, raw: bytes, peer: str) -> bytes | None:
        """The ACK; empty to say nothing; None when no answer is possible and the connection is to be closed."""
        ...

    def too_long(self, head: bytes, most: int, peer: str) -> bytes | None:
        """The same for a message of more than `most` bytes, given its head."""
        ...

    def broken_off(self, peer: str, reason: str) -> None:
        """Hears that a connection was not taken, or was closed for what came on it."""
        ...


class Room:
    """Places for messages over `LARGE`, given in the order they are asked for. Who waits reads nothing."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: deque[Connection] = deque()

    def take(self, connection: "Connection") -> bool:
        """True when there is a place; else the connection's `resume_large` is called later."""
        if self._free:
            self._free -= 1
            return True
        self._waiting.append(connection)
        return False

    def give_back(self) -> None:
        if self._waiting:
            self._waiting.popleft().resume_large()
        else:
            self._free += 1

    def leave(self, connection: "Connection") -> None:
        if connection in self._waiting:
            self._waiting.remove(connection)


class Connection(asyncio.Protocol):
    """One connection: bytes in by callbacks, answers out by its task."""

    def __init__(
        self,
        peer: str,
        ris: Ris,
        desk: Desk,
        tls: ssl.SSLContext | None,
        room: Room,
        dismiss: Callable[["Connection"], None],
    ) -> None:
        self.peer = peer
        self.task: asyncio.Task[None] | None = None
        self._ris, self._desk, self._tls, self._room = ris, desk, tls, room
        self._dismiss = dismiss
        self._loop = asyncio.get_running_loop()
        self._framer = Framer(ris.max_message_bytes)
        self._frames: deque[Frame] = deque()
        self._wake = asyncio.Event()  # something for the task: a frame, or the end
        self._writable = asyncio.Event()
        self._writable.set()
        self._transport: asyncio.Transport | None = None
        self._ended = False  # no more will be read
        self._lost = False
        self._busy = False
        self._paused = False
        self._has_room = self._waits_for_room = False
        self._last_byte = self._began = 0.0  # loop time of the last byte, and of the first one of the message under way
        self._timer: asyncio.TimerHandle | None = None

    # Callbacks of the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=UNREAD_ACKS_BYTES)
        self._last_byte = self._loop.time()
        self._watch()

    def data_received(self, data: bytes) -> None:
        self._last_byte = self._loop.time()
        if self._ended:
            return
        try:
            frames = self._framer.feed(data)
        except Unreadable as err:
            self._give_up("not_mllp", err.message)
            return
        if frames or not self._began:
            self._began = self._last_byte if self._framer.inside else 0.0
        if frames:
            self._frames.extend(frames)
            self._wake.set()
        self._ask_for_room()
        self._flow()

    def eof_received(self) -> bool:
        """The sender has said all; what it said whole is still answered. TLS closes both ways at once."""
        self._end()
        return self._tls is None

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._writable.set()
        self._end()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # The task

    async def serve(self, sock: socket.socket) -> None:
        """Answers the messages in their order until the connection ends."""
        try:
            if await self._open(sock):
                while (frame := await self._next()) is not None:
                    if not await self._answer(frame):
                        break
        except (OSError, TimeoutError) as err:
            log.warning("mllp_connection_failed", peer=self.peer, error=type(err).__name__)
        except Exception as err:  # one connection's trouble must not end the part
            log.error("mllp_connection_failed", peer=self.peer, error=type(err).__name__, reason="internal")
        finally:
            self._leave()

    async def _open(self, sock: socket.socket) -> bool:
        """The handshake where TLS is spoken. False: there was none worth the name."""
        tls = self._tls
        try:
            await self._loop.connect_accepted_socket(
                lambda: self,
                sock,
                ssl=tls,
                ssl_handshake_timeout=HANDSHAKE_S if tls else None,
                ssl_shutdown_timeout=SHUTDOWN_S if tls else None,
            )
        except (OSError, TimeoutError) as err:  # ssl.SSLError is an OSError
            log.warning(
                "mllp_handshake_failed", peer=self.peer, reason=getattr(err, "reason", "") or type(err).__name__
            )
            return False
        return True

    async def _next(self) -> Frame | None:
        self._busy = False
        while not self._frames:
            if self._ended:
                return None
            self._flow()
            self._wake.clear()
            await self._wake.wait()
        self._busy = True
        return self._frames.popleft()

    async def _answer(self, frame: Frame) -> bool:
        """False: this connection is of no more use."""
        if frame.whole:
            ack = await self._desk.answer(frame.content, self.peer)
        else:
            ack = self._desk.too_long(frame.content, self._ris.max_message_bytes, self.peer)
        self._last_byte = self._loop.time()
        if self._framer.held <= LARGE:
            self._give_room_back()
        if ack is None or self._lost or self._transport is None:
            return False
        if ack:
            self._transport.write(START + ack + END)
            await self._read_by_peer(self._ris.idle_timeout_s)
        return not self._lost

    async def _read_by_peer(self, timeout_s: float) -> None:
        if not self._writable.is_set():
            async with asyncio.timeout(timeout_s):
                await self._writable.wait()

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._room.leave(self)
        self._give_room_back()
        self._dismiss(self)
        if self._transport is not None and not self._lost:  # a TLS transport that is lost answers no question
            if self._transport.get_write_buffer_size():  # the last ACK is still on its way to a slow reader
                self._loop.call_later(self._ris.idle_timeout_s, self._transport.abort)
            self._transport.close()

    # Reading or not

    def _flow(self) -> None:
        """Reads only when nothing waits to be answered, and a large message has its place."""
        if self._frames or self._busy or self._waits_for_room:
            self._pause()
        elif self._paused and self._is_open() and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def _pause(self) -> None:
        if not self._paused and self._is_open() and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _is_open(self) -> bool:
        """There is something to pause: uvloop's transports take no order once they are closed."""
        return not (self._ended or self._lost or self._transport is None or self._transport.is_closing())

    def _ask_for_room(self) -> None:
        if self._framer.over:
            self._give_room_back()  # it is not held any more
        elif self._framer.held > LARGE and not self._has_room and not self._waits_for_room:
            self._has_room = self._room.take(self)
            self._waits_for_room = not self._has_room

    def resume_large(self) -> None:
        """There is a place now. The time spent waiting for it was ours."""
        now = self._loop.time()
        self._began += now - self._last_byte
        self._last_byte = now
        self._has_room, self._waits_for_room = True, False
        self._flow()

    def _give_room_back(self) -> None:
        if self._has_room:
            self._has_room = False
            self._room.give_back()

    # Ending

    def stop(self) -> None:
        """Nothing more is read; what is being answered is answered."""
        self._frames.clear()
        self._end()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        if self.task is not None:
            self.task.cancel()

    def _end(self) -> None:
        if not self._ended:
            self._pause()
            self._ended = True
        self._wake.set()

    def _give_up(self, event: str, reason: str) -> None:
        log.warning("mllp_connection_closed", peer=self.peer, cause=event, reason=reason)
        self._desk.broken_off(self.peer, reason)
        self._frames.clear()
        self._end()
        if self._transport is not None and not self._busy:
            self._transport.abort()

    # Time

    def _watch(self) -> None:
        """One timer a connection, which looks and is set again: bytes do not touch it."""
        if self._ended:
            return
        now = self._loop.time()
        due = now + min(self._ris.idle_timeout_s, self._ris.message_timeout_s)  # a message may begin before it rings
        if not self._paused:  # else the sender waits for us
            cause, out = self._due()
            if out <= now:
                self._give_up("too_slow", cause)
                return
            due = min(due, out)
        self._timer = self._loop.call_at(due, self._watch)

    def _due(self) -> tuple[str, float]:
        """What runs out first, and when."""
        if not self._framer.inside:
            return "silent between messages", self._last_byte + self._ris.keep_open_s
        return min(
            ("silent inside a message", self._last_byte + self._ris.idle_timeout_s),
            ("message not whole in time", self._began + self._ris.message_timeout_s),
            key=lambda each: each[1],
        )
