"""Where zones meet: sockets passed by systemd or opened here, who may come to each, and links kept up.

    meeting = Meeting(Path("/run/passevue"))
    door = await meeting.open_door(CARD, Part.PAGE, serve)    # this zone's end: `serve(sock)` for each that comes
    line = Line(meeting, CARD, Part.HOST, make_link)          # the other end: one link, made anew whenever it ends
    … door.run(), line.run()                                  # parts of the box

Rules:
- Whoever is at the other end of a socket is the user of the zone that it is for (SO_PEERCRED), asked of the kernel
  before a byte is read or sent. Nobody else is answered.
- A socket that systemd passes is taken as it is; one opened here is 0660 and locked against a second process.
- No zone waits for another to be there: a line that ends is tried again for ever, quickly first, then once a second.
  What a person has just asked waits two seconds for it (`Line.met`).

Facts: for whoever connects, SO_PEERCRED names who made the socket listen: the zone's own user, or root when systemd
did. A Unix socket's path holds 107 bytes; a longer one is reached through /proc/self/fd.
"""

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import structlog

from passevue.errors import StoreError, ZoneAway
from passevue.zones.link import Link
from passevue.zones.part import Part, user_of

MOST_AT_ONCE = 4  # one, and what is left of those before a restart
BACKLOG = 8
LONGEST_PATH = 100
AGAIN_S = (0.05, 0.1, 0.2, 0.5, 1.0)
CONNECT_S = 5.0
MET_WITHIN_S = 2.0  # a zone that restarts is met again within a second
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid

log = structlog.get_logger()


class Place(StrEnum):
    """A local socket: its name for systemd (FileDescriptorName=), and of its file."""

    IMAGES = "images"  # of intake, for national
    CARD = "card"  # of host, for page
    IN_PERSON = "in-person"  # of national, for page


@dataclass(frozen=True)
class Meeting:
    """One process's way to the others.

    Attributes:
        folder: of the sockets.
        passed: listening sockets by name, as systemd passed them.
        users: user of each zone, where it is not the usual one.
    """

    folder: Path
    passed: Mapping[str, socket.socket] = field(default_factory=dict)
    users: Mapping[Part, int] = field(default_factory=dict)

    def user(self, part: Part) -> int:
        return self.users[part] if part in self.users else user_of(part)

    @contextlib.asynccontextmanager
    async def open_door(
        self, place: Place, guest: Part, serve: Callable[[socket.socket], Awaitable[None]]
    ) -> AsyncIterator["Door"]:
        """The listening end of `place`, for zone `guest`.

        Raises:
            StoreError: the socket cannot be opened, or another process has it.
        """
        held = contextlib.ExitStack()
        try:
            sock = self.passed.get(place)
            if sock is None:
                sock = await asyncio.to_thread(self._listening, place, held)
            held.callback(sock.close)
            yield Door(place, sock, await asyncio.to_thread(self.user, guest), serve)
        finally:
            await asyncio.to_thread(held.close)

    def _listening(self, place: Place, held: contextlib.ExitStack) -> socket.socket:
        path = self.folder / f"{place}.sock"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = held.enter_context((self.folder / f"{place}.lock").open("ab"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
            sock = held.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)))
            with _reachable(path) as address:
                sock.bind(address)
            path.chmod(0o660)
        except OSError as err:
            hint = "Un autre boîtier Passevue fonctionne déjà, ou le dossier des prises locales n’est pas accessible."
            raise StoreError(f"{path} cannot be listened on: {err.strerror}", hint=hint) from err
        held.callback(lambda: path.unlink(missing_ok=True))
        sock.listen(BACKLOG)
        sock.setblocking(False)
        return sock

    async def connect(self, place: Place, host: Part) -> socket.socket:
        """A connection to zone `host` at `place`.

        Raises:
            OSError: nobody is there, or it is not the user of that zone.
        """
        sock = await asyncio.to_thread(self._connected, place)
        try:
            expected = {await asyncio.to_thread(self.user, host), 0}
            if (found := peer_user(sock)) not in expected:
                log.error("zone_refused", endpoint=place.value, number=found)
                raise OSError(f"user {found} is not that of {host}")
        except BaseException:
            sock.close()
            raise
        return sock

    def _connected(self, place: Place) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(CONNECT_S)
            with _reachable(self.folder / f"{place}.sock") as address:
                sock.connect(address)
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        return sock


class Door:
    """The listening end of one place. `run` returns only when cancelled."""

    def __init__(
        self, place: Place, sock: socket.socket, user: int, serve: Callable[[socket.socket], Awaitable[None]]
    ) -> None:
        self.name = place.value
        self._place = place
        self._sock = sock
        self._user = user
        self._serve = serve
        self._open = 0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    sock, _ = await loop.sock_accept(self._sock)
                except OSError as err:  # out of file descriptors
                    log.error("zone_not_met", endpoint=self._place.value, error=err.strerror)
                    await asyncio.sleep(AGAIN_S[-1])
                    continue
                if self._admits(sock):
                    self._open += 1
                    group.create_task(self._keep(sock), name=f"zone {self._place}")
                else:
                    sock.close()

    def _admits(self, sock: socket.socket) -> bool:
        found = peer_user(sock)
        if found != self._user:
            log.error("zone_refused", endpoint=self._place.value, number=found)
            return False
        return self._open < MOST_AT_ONCE

    async def _keep(self, sock: socket.socket) -> None:
        try:
            await self._serve(sock)
        finally:
            self._open -= 1
            sock.close()


async def _nothing_to_say(_link: Link) -> None:
    pass


class Line:
    """The connecting end of one place: a link, made again whenever it ends. `run` returns only when cancelled.

    Args:
        make: the link over a new connection; to call its argument once the far side has spoken.
        up: awaited when the far side is there, while the link runs.
        down: called when a link that was up has ended.
    """

    def __init__(
        self,
        meeting: Meeting,
        place: Place,
        host: Part,
        make: Callable[[socket.socket, Callable[[], None]], Link],
        *,
        up: Callable[[Link], Awaitable[None]] = _nothing_to_say,
        down: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = place.value
        self._meeting = meeting
        self._place = place
        self._host = host
        self._make = make
        self._up = up
        self._down = down
        self._link: Link | None = None
        self._met = asyncio.Event()

    @property
    def link(self) -> Link | None:
        """The link, while the far side is there."""
        return self._link if self._link is not None and not self._link.over else None

    async def met(self, within_s: float = MET_WITHIN_S) -> Link | None:
        """As `link`, after a moment's wait for a far side that is just coming: somebody waits for what is asked."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.link is None:
                    self._met.clear()
                    await self._met.wait()
        return self.link

    async def run(self) -> None:
        tries = 0
        while True:
            try:
                sock = await self._meeting.connect(self._place, self._host)
            except OSError:
                await asyncio.sleep(AGAIN_S[min(tries, len(AGAIN_S) - 1)])
                tries += 1
                continue
            tries = 0 if await self._live(sock) else tries + 1
            await asyncio.sleep(AGAIN_S[min(tries, len(AGAIN_S) - 1)])

    async def _live(self, sock: socket.socket) -> bool:
        """Run one link to its end; whether the far side ever spoke."""
        spoke = asyncio.Event()

        def spoken() -> None:
            self._link = link
            self._met.set()
            log.info("zone_met", endpoint=self._place.value)
            spoke.set()

        link = self._make(sock, spoken)
        try:
            async with asyncio.TaskGroup() as group:
                greeting = group.create_task(self._greet(link, spoke), name=f"{self._place} up")
                await link.run()
                greeting.cancel()
        finally:
            sock.close()
            self._link = None
            if spoke.is_set():
                log.info("zone_left", endpoint=self._place.value)
                self._down()
        return spoke.is_set()

    async def _greet(self, link: Link, spoke: asyncio.Event) -> None:
        await spoke.wait()
        with contextlib.suppress(ZoneAway):  # gone again: `run` sees it
            await self._up(link)


def peer_user(sock: socket.socket) -> int:
    """The user at the other end, as the kernel says (SO_PEERCRED, unix(7))."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _pid, uid, _gid = _CREDENTIALS.unpack(raw)
    return int(uid)


@contextlib.contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """An address of `path` that a sockaddr_un can hold."""
    if len(os.fsencode(path)) <= LONGEST_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
