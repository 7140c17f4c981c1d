"""An NTP server on this machine (RFC 5905 § 7.3), which the guest sees at 10.0.2.2; it may be ahead."""

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

PORT = 123
SINCE_1900_S = 2_208_988_800


class TimeServer(asyncio.DatagramProtocol):
    """This host's clock as of stratum 1, `ahead_s` seconds later."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead_s = ahead_s

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        now = time.time() + SINCE_1900_S + self._ahead_s
        stamp = struct.pack(">II", int(now), int(now % 1 * 2**32))
        head = struct.pack(">BBbbII4s", 0b00_100_100, 1, 4, -20, 0, 16, b"TEST")
        self._transport.sendto(head + stamp + data[40:48] + stamp + stamp, address)


@asynccontextmanager
async def time_server(ahead_s: float = 0) -> AsyncIterator[None]:
    try:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: TimeServer(ahead_s), local_addr=("127.0.0.1", PORT)
        )
    except OSError as err:
        pytest.skip(f"the box asks port {PORT} of this machine for the time, which cannot be had: {err.strerror}")
    try:
        yield
    finally:
        transport.close()
