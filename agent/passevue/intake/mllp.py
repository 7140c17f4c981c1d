"""The MLLP listener: moves bytes between the RIS's connections and the desk, over TCP or TLS, and holds the bounds.

Rules the module keeps (reliability § 8):

- Who may connect, and how many at once, is decided by address before a byte is read, of TLS either.
- Messages of a connection are answered one after the other, in their order: what one patient's reports do to each
  other depends on it. Connections are answered side by side.
- While a message is answered, no more is read from its connection: TCP makes the sender wait.
- Silence inside a message, a message that takes too long, and a sender that does not read its ACKs end the connection.
  A RIS sends again what was not acknowledged.
- Messages over `mllp_connection.LARGE` are few at once, so that memory is bounded by the sum of small ones and a few
  large ones; others wait with their bytes in the network.
- Stopping: nothing new is accepted, what is being answered is answered within `GRACE_S`, the rest is cut: either way
  nothing is half taken.

    server = MllpServer(config.ris, desk)
    await server.run()              # until cancelled; `await server.started()` then `server.port` say where
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

import structlog

from passevue.config import Ris
from passevue.intake.mllp_connection import Connection, Desk, Room
from passevue.intake.tls import listener_context

log = structlog.get_logger()

LARGE_AT_ONCE = 2
GRACE_S = 10.0  # half of the 20 s in which the box stops
PAUSE_S = 0.5  # after a failed accept
BACKLOG = 128


class MllpServer:
    """The listener as one part of the box."""

    name = "mllp"

    def __init__(
        self, ris: Ris, desk: Desk, *, sock: socket.socket | None = None, paused: Callable[[], bool] = lambda: False
    ) -> None:
        """`sock`: already listening, opened by systemd in our place. `paused`: whether nothing new is taken for now."""
        self._paused = paused
        self._sock = sock
        self._ris = ris
        self._desk = desk
        self._tls = listener_context(ris.tls) if ris.tls is not None else None
        self._started = asyncio.Event()
        self._port = 0
        self._connections: set[Connection] = set()
        self._by_peer: Counter[str] = Counter()
        self._room = Room(LARGE_AT_ONCE)

    @property
    def port(self) -> int:
        """Where it listens; known once started."""
        return self._port

    @property
    def connections(self) -> int:
        return len(self._connections)

    def hush(self) -> None:
        """Every connection ends once what is being answered on it is answered. On the loop's own thread."""
        for connection in list(self._connections):
            connection.stop()

    async def started(self) -> None:
        await self._started.wait()

    async def run(self) -> None:
        """Listens until cancelled.

        Raises:
            OSError: the address cannot be listened on.
        """
        listener = self._sock or _listen(self._ris.host, self._ris.port)
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
        connections = list(self._connections)
        for connection in connections:
            connection.stop()
        if tasks := [each.task for each in connections if each.task is not None]:
            await asyncio.wait(tasks, timeout=GRACE_S)
        for connection in connections:
            connection.abort()

    def _admit(self, sock: socket.socket, peer: str, group: asyncio.TaskGroup) -> None:
        """Gives the connection its task, unless it is one too many or of a stranger."""
        if self._paused():  # the machine is about to restart: the sender tries again
            sock.close()
            return
        reason = self._why_not(peer)
        if reason:
            log.warning("mllp_connection_refused", peer=peer, reason=reason)
            self._desk.broken_off(peer, reason)
            sock.close()
            return
        connection = Connection(peer, self._ris, self._desk, self._tls, self._room, self._dismiss)
        self._by_peer[peer] += 1
        self._connections.add(connection)
        connection.task = group.create_task(connection.serve(sock), name=f"mllp {peer}")

    def _dismiss(self, connection: Connection) -> None:
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
