"""Listening sockets that systemd opened for us (sd_listen_fds(3)).

systemd hands them over from descriptor 3 on, counted in LISTEN_FDS and named (FileDescriptorName=) in LISTEN_FDNAMES.
A part asks for its own by name and opens one itself when there is none.
"""

import os
import socket
from collections.abc import Mapping

FIRST = 3  # SD_LISTEN_FDS_START


def passed_sockets(environ: Mapping[str, str] = os.environ, first: int = FIRST) -> dict[str, socket.socket]:
    """The sockets handed over to this process, by name; empty when it was not started that way."""
    if environ.get("LISTEN_PID") != str(os.getpid()) or not environ.get("LISTEN_FDS", "").isdecimal():
        return {}
    count = int(environ["LISTEN_FDS"])
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    found = {}
    for index in range(count):
        os.set_inheritable(first + index, False)
        sock = socket.socket(fileno=first + index)
        sock.setblocking(False)
        found[names[index] if index < len(names) and names[index] else str(index)] = sock
    return found
