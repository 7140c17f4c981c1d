"""A TLS server that refuses every client certificate, with the alert that a real front would send.

asyncio's own TLS drops the connection before the alert has left; a blocking socket on a thread sends it, and reads on
for a moment so that the reset of a close does not overtake it.
"""

import contextlib
import socket
import ssl
import threading


class Refuser:
    """Listens from `start` to `stop`. `alert` None: the server simply knows no authority of ours (unknown_ca)."""

    def __init__(self, context: ssl.SSLContext, address: tuple[str, int], alert: int | None) -> None:
        self._context = context
        self._address = address
        if alert is not None:
            context.sni_callback = lambda *_: alert
        self._listener: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._listener = socket.create_server(self._address)
        self._thread.start()

    def stop(self) -> None:
        assert self._listener is not None
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _run(self) -> None:
        assert self._listener is not None
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self._refuse(connection)

    def _refuse(self, connection: socket.socket) -> None:
        connection.settimeout(1)
        raw = connection.dup()
        with contextlib.suppress(OSError):
            self._context.wrap_socket(connection, server_side=True)
        with raw, contextlib.suppress(OSError):
            raw.settimeout(0.2)
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(1 << 16):
                pass
