"""Ports for servers whose port must be known before they listen, or that leave and come back at the same one.

They lie below those that the kernel gives to connections going out (ip(7), `ip_local_port_range`): asked of the kernel
itself, a port would soon be some connection's, and the server that was to have it could not start.
"""

import contextlib
import itertools
import os
import socket
from collections.abc import Iterator
from pathlib import Path

_LOWEST = 10_000
_HIGHEST = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])


def free_port() -> int:
    return free_ports(1)


def free_ports(count: int) -> int:
    """The first of `count` ports that follow each other, that nobody listens on and that this process gave to nobody.

    Raises: RuntimeError: there are none.
    """
    for first in itertools.islice(_turn, _HIGHEST - _LOWEST):
        ports = range(first, first + count)
        if ports.stop <= _HIGHEST and all(map(_free, ports)):
            for _ in ports[1:]:
                next(_turn)
            return first
    raise RuntimeError(f"no {count} free ports from {_LOWEST} to {_HIGHEST}")


def _round(start: int) -> Iterator[int]:
    return itertools.cycle([*range(start, _HIGHEST), *range(_LOWEST, start)])


def _begin() -> None:
    """Where this process begins: elsewhere than its parent and its neighbours."""
    global _turn
    _turn = _round(_LOWEST + int.from_bytes(os.urandom(4)) % (_HIGHEST - _LOWEST))


def _free(port: int) -> bool:
    with socket.socket() as sock, contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of a server that ended do not matter
        sock.bind(("", port))
        return True
    return False


_turn = _round(_LOWEST)
_begin()
os.register_at_fork(after_in_child=_begin)
