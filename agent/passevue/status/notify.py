"""What systemd wants to hear: ready, still alive, stopping (sd_notify(3)).

A datagram to the socket named in NOTIFY_SOCKET; without it, every call does nothing. `Watchdog.run` pats at half of
WATCHDOG_USEC, as sd_watchdog_enabled(3) advises, from the same loop that does the work: a loop that hangs is restarted.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping

LONGEST = 1000  # bytes of a STATUS= line; it is shown by `systemctl status`


def notify(*lines: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send e.g. `READY=1`, `STOPPING=1`, `STATUS=3 en attente`; False when nobody listens."""
    address = environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sock:
        try:
            sock.sendto("\n".join(line[:LONGEST] for line in lines).encode(), address.replace("@", "\0", 1))
        except OSError:  # systemd is away or its buffer is full: our work goes on
            return False
    return True


def watchdog_period_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """Seconds between two pats, None when systemd does not ask for them (or asks another process)."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 2_000_000 or None


class Watchdog:
    """A part that pats the watchdog and tells `systemctl status` how things stand."""

    name = "watchdog"

    def __init__(self, status: Callable[[], str] | None = None, environ: Mapping[str, str] = os.environ) -> None:
        self._status = status
        self._environ = environ

    async def run(self) -> None:
        period = watchdog_period_s(self._environ)
        while True:
            if period is not None:
                notify("WATCHDOG=1", environ=self._environ)
            if self._status is not None:
                notify(f"STATUS={self._status()}", environ=self._environ)
            await asyncio.sleep(period or 30)
