"""One question of the page, answered with the files of the stick: the work of `passevue-stick.service`. Blocking.

The process that does this has no key, no network, nothing of the data partition, and ends with the answer: what a stick
could take over is that, for as long as somebody has asked for it.
"""

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import structlog

from passevue.card.usb import DEVICES
from passevue.errors import BoxError, Refused, Unreadable
from passevue.stick import wire
from passevue.stick.blocks import Blocks
from passevue.stick.chosen import chosen
from passevue.stick.device import NODES, find, let_in
from passevue.stick.files import files
from passevue.stick.scsi import Disk
from passevue.stick.usbfs import Pipe
from passevue.stick.wire import Kind

WAIT_S = 60.0
"""For a page that does not read on, or asks nothing."""

log = structlog.get_logger()


Opener = Callable[[], AbstractContextManager[Blocks]]
"""Lets a stick in and has its blocks. Raises: BoxError."""


@contextmanager
def the_stick(devices: Path = DEVICES, nodes: Path = NODES) -> Iterator[Blocks]:
    """The one that is plugged in. Raises: Refused, Unreadable."""
    with let_in(find(devices), nodes) as device, Pipe(device) as pipe:
        yield Disk(pipe)


def serve(page: socket.socket, opened: Opener = the_stick) -> None:
    """Answer one connection of the page, and close it."""
    page.settimeout(WAIT_S)
    with page:
        try:
            _answer(page, opened)
        except OSError as err:
            log.warning("stick_page_gone", reason=type(err).__name__)


class Wanted:
    """The stick's blocks for as long as the page waits for them: nothing is read for who has left."""

    def __init__(self, disk: Blocks, page: socket.socket) -> None:
        self._disk, self._page = disk, page
        self.size, self.sector = disk.size, disk.sector

    def read(self, at: int, length: int) -> bytes:
        """Raises: ConnectionResetError: the page has left. Unreadable."""
        still_there(self._page)
        return self._disk.read(at, length)


def still_there(page: socket.socket) -> None:
    """Raises: ConnectionResetError: it has left: it says nothing after its question."""
    if select.select([page], [], [], 0)[0]:
        raise ConnectionResetError


def _answer(page: socket.socket, opened: Opener) -> None:
    try:
        want, serial = wire.read_asking(_line(page))
        still_there(page)
        with opened() as disk:
            for name, file in chosen(files(Wanted(disk, page)), want, serial).items():
                page.sendall(wire.frame(Kind.FILE, {"field": name, "size": file.size}))
                for piece in file.pieces():
                    page.sendall(wire.frame(Kind.DATA, piece))
        page.sendall(wire.frame(Kind.DONE))
        log.info("stick_read")
    except BoxError as err:
        code = err.code if isinstance(err, Refused) else "stick-unreadable"
        log.warning("stick_refused", reason=code, error=err.message)
        page.sendall(wire.frame(Kind.TROUBLE, {"code": code, "hint": err.hint}))


def _line(page: socket.socket) -> bytes:
    found = b""
    while not found.endswith(b"\n"):
        piece = page.recv(wire.MOST_ASKED)
        found += piece
        if not piece or len(found) > wire.MOST_ASKED:
            raise Unreadable("a question without end")
    return found
