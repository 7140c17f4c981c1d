"""The MLLP listener: moves bytes between the RIS's connections and the desk, over TCP or TLS, and holds the bounds.

Rules the module keeps (reliability § 8):

- Who may connect, and how many at once, is decided by address before a byte is read, of TLS either.
- Messages of a connection are answered one after the other, in their order: what one patient's reports do to each
  other depends on it. Connections are answered side by side.
- While a message is answered, no more is read from its connection: TCP makes the sender wait.
- Silence inside a message, a message that takes too long, and a sender that does not read its ACKs end the connection.
  A RIS sends again what was not acknowledged.
- Messages over `LARGE` are few at once, so that memory is bounded by the sum of small ones and a few large ones; others
  wait with their bytes in the network.
- Stopping: nothing new is accepted, what is being answered is answered within `GRACE_S`, the rest is cut: either way
  nothing is half taken.

    server = MllpServer(config.ris, desk)
    await server.run()              # until cancelled; `await server.started()` then `server.port` say where
"""

import asyncio
import socket
import ssl
from collections import Counter, deque
from ipaddress import IPv6Address, ip_address
from typing import Protocol, cast

import structlog

from passevue.config import Ris
from passevue.errors import Unreadable
from passevue.intake.mllp_frames import END, START, Frame, Framer
from passevue.intake.tls import listener_context

log = structlog.get_logger()

LARGE = 1 << 20  # three times a usual report: 64 connections of it are 64 MiB
LARGE_AT_ONCE = 2
GRACE_S = 10.0  # half of the 20 s in which the box stops
HANDSHAKE_S = 10.0
SHUTDOWN_S = 1.0
PAUSE_S = 0.5  # after a failed accept
BACKLOG = 128
UNREAD_ACKS_BYTES = 64 << 10  # beyond what the kernel buffers: a sender that never reads has some thousand ACKs there


class Desk(Protocol):
    """Answers one message; `ris.RisDesk` is the real one."""

    async def answer(self, raw: bytes, peer: str) -> bytes | None:
        """The ACK; empty to say nothing; None when no answer is possible and the connection is to be closed."""
        ...

    def too_long(self, head: bytes, most: int, peer: str) -> bytes | None:
        """The same for a message of more than `most` bytes, given its head."""
        ...


class MllpServer:
    """The listener as one part of the box."""

    name = "mllp"

    def __init__(self, ris: Ris, desk: Desk) -> None:
        self._ris = ris
        self._desk = desk
        self._tls = listener_context(ris.tls) if ris.tls is not None else None
        self._started = asyncio.Event()
        self._port = 0
        self._connections: set[_Connection] = set()
        self._by_peer: Counter[str] = Counter()
        self._stopping = False
        self.room = _Room(LARGE_AT_ONCE)

    @property
    def port(self) -> int:
        """Where it listens; known once started."""
        return self._port

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def started(self) -> None:
        await self._started.wait()

    async def run(self) -> None:
        """Listens until cancelled.

        Raises:
            OSError: the address cannot be listened on.
        """
        self._stopping = False
        listener = _listen(self._ris.host, self._ris.port)
        with listener:
            self._port = listener.getsockname()[1]
            async with asyncio.TaskGroup() as group:
                self._started.set()
                log.info("mllp_listening", host=self._ris.host, port=self._port, tls=self._tls is not None)
                try:
                    await self._accept(listener, group)
                finally:
                    self._started.clear()
                    listener.close()
                    await self._stop()

    async def _accept(self, listener: socket.socket, group: asyncio.TaskGroup) -> None:
        """Not `loop.create_server`: it shakes hands with strangers, and uvloop's reads before it can be told not to."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, address = await loop.sock_accept(listener)
            except OSError as err:  # out of file descriptors, or the far side is gone already
                log.warning("mllp_accept_failed", error=err.strerror or type(err).__name__)
                await asyncio.sleep(PAUSE_S)
                continue
            self._admit(sock, _address(str(address[0])), group)

    async def _stop(self) -> None:
        self._stopping = True
        connections = list(self._connections)
        for connection in connections:
            connection.stop()
        if tasks := [each.task for each in connections if each.task is not None]:
            await asyncio.wait(tasks, timeout=GRACE_S)
        for connection in connections:
            connection.abort()

    def _admit(self, sock: socket.socket, peer: str, group: asyncio.TaskGroup) -> None:
        """Gives the connection its task, unless it is one too many or of a stranger."""
        reason = self._why_not(peer)
        if reason:
            log.warning("mllp_connection_refused", peer=peer, reason=reason)
            sock.close()
            return
        connection = _Connection(self, peer)
        self._by_peer[peer] += 1
        self._connections.add(connection)
        connection.task = group.create_task(connection.serve(sock), name=f"mllp {peer}")

    # For the connections

    def dismiss(self, connection: "_Connection") -> None:
        if connection in self._connections:
            self._connections.remove(connection)
            self._by_peer[connection.peer] -= 1
            if not self._by_peer[connection.peer]:
                del self._by_peer[connection.peer]

    def _why_not(self, peer: str) -> str:
        address = ip_address(peer)
        if not any(address.version == network.version and address in network for network in self._ris.senders):
            return "not among ris.senders"
        if len(self._connections) >= self._ris.max_connections:
            return "ris.max_connections reached"
        if self._by_peer[peer] >= self._ris.max_connections_per_peer:
            return "ris.max_connections_per_peer reached"
        return ""

    @property
    def ris(self) -> Ris:
        return self._ris

    @property
    def desk(self) -> Desk:
        return self._desk

    @property
    def tls(self) -> ssl.SSLContext | None:
        return self._tls


class _Room:
    """Places for messages over `LARGE`, given in the order they are asked for. Who waits reads nothing."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: deque[_Connection] = deque()

    def take(self, connection: "_Connection") -> bool:
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

    def leave(self, connection: "_Connection") -> None:
        if connection in self._waiting:
            self._waiting.remove(connection)


class _Connection(asyncio.Protocol):
    """One connection: bytes in by callbacks, answers out by its task."""

    def __init__(self, server: MllpServer, peer: str) -> None:
        self.peer = peer
        self.task: asyncio.Task[None] | None = None
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._framer = Framer(server.ris.max_message_bytes)
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
        return self._server.tls is None

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
        tls = self._server.tls
        try:
            await self._loop.connect_accepted_socket(
                lambda: self,
                sock,
                ssl=tls,
                ssl_handshake_timeout=HANDSHAKE_S if tls else None,
                ssl_shutdown_timeout=SHUTDOWN_S if tls else None,
            )
        except (OSError, TimeoutError) as err:  # ssl.SSLError is an OSError
            log.warning("mllp_tls_refused", peer=self.peer, reason=getattr(err, "reason", "") or type(err).__name__)
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
        ris, desk = self._server.ris, self._server.desk
        if frame.whole:
            ack = await desk.answer(frame.content, self.peer)
        else:
            ack = desk.too_long(frame.content, ris.max_message_bytes, self.peer)
        self._last_byte = self._loop.time()
        if self._framer.held <= LARGE:
            self._give_room_back()
        if ack is None or self._lost or self._transport is None:
            return False
        if ack:
            self._transport.write(START + ack + END)
            await self._read_by_peer(ris.idle_timeout_s)
        return not self._lost

    async def _read_by_peer(self, timeout_s: float) -> None:
        if not self._writable.is_set():
            async with asyncio.timeout(timeout_s):
                await self._writable.wait()

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._server.room.leave(self)
        self._give_room_back()
        self._server.dismiss(self)
        if self._transport is not None and not self._lost:  # a TLS transport that is lost answers no question
            if self._transport.get_write_buffer_size():  # the last ACK is still on its way to a slow reader
                self._loop.call_later(self._server.ris.idle_timeout_s, self._transport.abort)
            self._transport.close()

    # Reading or not

    def _flow(self) -> None:
        """Reads only when nothing waits to be answered, and a large message has its place."""
        wait = bool(self._frames) or self._busy or self._waits_for_room
        if wait:
            self._pause()
        elif self._paused and not self._ended and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def _pause(self) -> None:
        if not self._paused and not self._ended and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _ask_for_room(self) -> None:
        if self._framer.held > LARGE and not self._has_room and not self._waits_for_room:
            self._has_room = self._server.room.take(self)
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
            self._server.room.give_back()

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
        self._frames.clear()
        self._end()
        if self._transport is not None and not self._busy:
            self._transport.abort()

    # Time

    def _watch(self) -> None:
        """One timer a connection, which looks and is set again: bytes do not touch it."""
        if self._ended:
            return
        ris, now = self._server.ris, self._loop.time()
        due = now + min(ris.idle_timeout_s, ris.message_timeout_s)  # a message may begin before it rings
        if not self._paused:  # else the sender waits for us
            cause, out = self._due()
            if out <= now:
                self._give_up("too_slow", cause)
                return
            due = min(due, out)
        self._timer = self._loop.call_at(due, self._watch)

    def _due(self) -> tuple[str, float]:
        """What runs out first, and when."""
        ris = self._server.ris
        if not self._framer.inside:
            return "silent between messages", self._last_byte + ris.keep_open_s
        return min(
            ("silent inside a message", self._last_byte + ris.idle_timeout_s),
            ("message not whole in time", self._began + ris.message_timeout_s),
            key=lambda each: each[1],
        )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=host == "::")
    listener.setblocking(False)
    return listener


def _address(text: str) -> str:
    """An address without its zone; IPv4 as such when it comes mapped into IPv6."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)
