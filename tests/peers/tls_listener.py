"""Somebody who agrees on TLS as the DMP does, keeps every byte that comes, and never answers."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from typing import Self

from tests.peers.pki import Pki
from tests.peers.tls_site import server_context

PIECE_S = 0.1


class TlsListener:
    """Listens on loopback, with the certificate of 127.0.0.1, on a thread: what a client does to it blocks nobody.

    Attributes:
        received: what came inside TLS, of all connections.
        ended: connections that are over, or came to nothing.
    """

    def __init__(self, pki: Pki) -> None:
        self._context = server_context(pki, "127.0.0.1", [pki.authority])
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._stopping = False
        self._thread = threading.Thread(target=self._live, daemon=True)
        self.received = b""
        self.ended = 0

    async def __aenter__(self) -> Self:
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await asyncio.to_thread(self._thread.join)
        self._listening.close()

    def _live(self) -> None:
        """One connection after the other."""
        self._listening.settimeout(PIECE_S)
        while not self._stopping:
            try:
                connection, _ = self._listening.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(PIECE_S * 100)
                self._take(connection)
            self.ended += 1

    def _take(self, connection: socket.socket) -> None:
        try:
            with self._context.wrap_socket(connection, server_side=True) as tls:
                tls.settimeout(PIECE_S)
                while not self._stopping:
                    try:
                        piece = tls.recv(65_536)
                    except TimeoutError:
                        continue
                    if not piece:
                        return
                    self.received += piece
        except OSError:
            pass

    async def left(self, count: int, within_s: float = 20) -> None:
        """Once that many connections are over."""
        await _until(lambda: self.ended >= count, within_s)

    async def reads(self, wanted: bytes, within_s: float = 20) -> None:
        """Once `wanted` has come."""
        await _until(lambda: wanted in self.received, within_s)


async def _until(done: Callable[[], bool], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline, f"not within {within_s:g} s"
        await asyncio.sleep(0.02)
