"""Who gets in at the page's listener, and how much: decided before a request costs anything (N-22, reliability § 8).

- connections at once, in all and from one address; a connection that asks nothing in time is closed;
- requests a second from one address, as a bucket that refills;
- the Host header names this box: a site elsewhere that points its name at our address (DNS rebinding) gets nothing.
"""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import cast

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Limits:
    """Enough for every screen of a centre; few enough to stay small."""

    connections: int = 128
    connections_per_address: int = 32
    first_request_s: float = 10.0
    keep_alive_s: float = 20.0
    requests_per_s: float = 20.0
    burst: int = 60
    streams: int = 64
    streams_per_address: int = 16
    stream_s: float = 3600.0  # a live view is renewed by its browser after that
    addresses: int = 4096  # remembered by the bucket


class Door:
    """Accepts connections for an aiohttp server; `spoke` is told at each request that its connection is alive."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._open: Counter[str] = Counter()
        self._silent: set[asyncio.BaseTransport] = set()

    def protocol(self, serve: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
        """The factory to hand to `create_server`, with the aiohttp server as `serve`."""
        return _Visitor(self, serve)

    def spoke(self, request: web.Request) -> None:
        if request.transport is not None:
            self._silent.discard(request.transport)

    def enter(self, transport: asyncio.Transport) -> str | None:
        """The visitor's address, or None when there is no room for it."""
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if peer else ""
        if self._open.total() >= self.limits.connections or self._open[address] >= self.limits.connections_per_address:
            return None
        self._open[address] += 1
        self._silent.add(transport)
        loop = asyncio.get_running_loop()
        loop.call_later(self.limits.first_request_s, self._close_if_silent, transport)
        return address

    def leave(self, address: str, transport: asyncio.BaseTransport) -> None:
        self._silent.discard(transport)
        self._open[address] -= 1
        if self._open[address] <= 0:
            del self._open[address]

    def _close_if_silent(self, transport: asyncio.Transport) -> None:
        if transport in self._silent:
            transport.abort()


class _Visitor(asyncio.Protocol):
    """Passes everything on to aiohttp's own protocol, and keeps count."""

    def __init__(self, door: Door, serve: Callable[[], asyncio.Protocol]) -> None:
        self._door = door
        self._serve = serve
        self._inner: asyncio.Protocol | None = None
        self._address = ""
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast("asyncio.Transport", transport)  # a stream server makes no other; uvloop's is no subclass
        address = self._door.enter(stream)
        if address is None:
            stream.abort()
            return
        self._address, self._transport = address, transport
        self._inner = self._serve()
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._inner is not None else None

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._inner is not None and self._transport is not None:
            self._door.leave(self._address, self._transport)
            self._inner.connection_lost(exc)


@dataclass(slots=True)
class Bucket:
    """How many requests each address may still make. `now` is monotonic seconds."""

    limits: Limits
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)

    def take(self, address: str, now: float) -> bool:
        left, at = self._left.pop(address, (float(self.limits.burst), now))
        left = min(self.limits.burst, left + (now - at) * self.limits.requests_per_s)
        allowed = left >= 1
        self._left[address] = (left - 1 if allowed else left, now)
        if len(self._left) > self.limits.addresses:
            del self._left[next(iter(self._left))]  # the one that has been quiet the longest
        return allowed


def is_our_host(header: str | None, names: frozenset[str]) -> bool:
    """Whether a Host header names us: one of `names`, or an address. An address cannot be rebound to ours."""
    if not header or len(header) > 255:
        return False
    host = header.rsplit(":", 1)[0] if not header.endswith("]") and ":" in header else header
    if header.startswith("[") and not host.endswith("]"):
        return False
    host = host.lower().rstrip(".")
    if host in names:
        return True
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def factory(door: Door, serve: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
    return partial(door.protocol, serve)
