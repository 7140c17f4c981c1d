"""An HTTPS server of the throw-away IGC-Santé, which goes away and comes back at the same address.

site = TlsSite("127.0.0.1", 0)
await site.start(app, server_context(pki, "127.0.0.1", [pki.authority]))
site.port
await site.stop()
"""

import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.peers.pki import Pki
from tests.peers.ports import free_port


def server_context(
    pki: Pki, host: str, clients: Iterable[Path], *, required: bool = True, ciphers: str = ""
) -> ssl.SSLContext:
    """Shows `host`'s certificate, and asks for one of an authority in the PEM files `clients`."""
    server = pki.server(host, ("localhost",))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ciphers:
        context.set_ciphers(ciphers)
    context.load_cert_chain(server.certificate, server.key)
    for authority in clients:
        context.load_verify_locations(authority)
    context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return context


class TlsSite:
    """One address. `port` 0: one that is free, the same until the end."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port or free_port()
        self._runner: web.AppRunner | None = None

    async def start(self, app: web.Application, context: ssl.SSLContext, **runner: Any) -> None:
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, **runner)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port, ssl_context=context, reuse_address=True)
        await site.start()

    async def stop(self) -> None:
        """Nobody listens any more, open connections are closed."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def connections(self) -> int:
        """Open now, busy or not."""
        if self._runner is None or self._runner.server is None:
            return 0
        return len(self._runner.server.connections)
