"""The DICOM listener: modalities, and the PACS when it sends.

    images = Images(config.images, data_dir / "images")
    server = DicomServer(config.modality, images, accept_key_object)
    await server.run()

Limits (reliability § 8). A connection that has not yet associated costs a slot among `WAITING_MOST`; when they run out
the one that has waited longest goes, so idle strangers never keep a neighbour out. Associations are bounded for the box
and, a little lower, for one caller. TLS handshakes count as waiting.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from passevue import config
from passevue.errors import ConfigError
from passevue.intake.association import (
    LOCAL_LIMIT_EXCEEDED,
    TEMPORARY_CONGESTION,
    AbortReason,
    Rejection,
    write_abort,
)
from passevue.intake.commitment_reports import CommitmentReports
from passevue.intake.images import Images
from passevue.intake.room import Level
from passevue.intake.session import Desks, Session, Witness
from passevue.intake.storage import AcceptKeyObject, Sender, StorageDesk
from passevue.intake.tls import listener_context
from passevue.intake.upper_layer import UpperLayer
from passevue.intake.wire import Wire, prepare

WAITING_MOST = 64
BACKLOG = 128
SHARE_OF_ONE_CALLER = 0.75

log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class Visitor:
    """A connection: the task that serves it, its wire once there is one, its sender once it has associated."""

    task: asyncio.Task[None]
    wire: Wire | None = None
    sender: Sender | None = None


@dataclass(slots=True)
class Visitors:
    """Who is connected, in order of arrival."""

    all: dict[asyncio.Task[None], Visitor] = field(default_factory=dict)
    callers: Counter[Sender] = field(default_factory=Counter)

    def waiting(self) -> list[Visitor]:
        return [each for each in self.all.values() if each.sender is None]

    def leave(self, visitor: Visitor) -> None:
        self.all.pop(visitor.task, None)
        if visitor.sender is not None:
            self.callers[visitor.sender] -= 1
            self.callers += Counter()  # forget callers without associations


class DicomServer:
    """One listener. `port` is known once `started` has returned."""

    def __init__(
        self,
        settings: config.Modality,
        images: Images,
        accept_key_object: AcceptKeyObject,
        told: Witness | None = None,
        *,
        sock: socket.socket | None = None,
        paused: Callable[[], bool] = lambda: False,
    ) -> None:
        """`sock`: already listening, opened by systemd in our place. `paused`: whether nothing new is taken for now."""
        self._paused = paused
        self._sock = sock
        self._told = told or Witness()
        self.port = 0
        self._settings = settings
        self._images = images
        self._storage = StorageDesk(images, accept_key_object, settings.max_object_bytes)
        self._reports = CommitmentReports(images, images.folder / "commitments", settings)
        self._tls: ssl.SSLContext | None = None
        self._visitors = Visitors()
        self._ready = asyncio.Event()

    @property
    def associations(self) -> int:
        """Open now."""
        return self._visitors.callers.total()

    async def started(self) -> None:
        await self._ready.wait()

    async def run(self) -> None:
        """Listen until cancelled; associations under way are then aborted.

        Raises:
            ConfigError: the address cannot be listened on, or a file of `tls` is wrong.
            StoreError: the images cannot be used.
        """
        if self._settings.tls is not None:
            self._tls = await asyncio.to_thread(listener_context, self._settings.tls)
        await self._images.start()
        listener = self._sock or listening(self._settings)
        try:
            self.port = listener.getsockname()[1]
            log.info("dicom_listening", port=self.port, tls=self._tls is not None)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._reports.run(), name="commitment reports")
                group.create_task(self._watch(), name="dicom clock")
                self._ready.set()
                await self._accept(listener, group)
        finally:
            listener.close()

    async def _accept(self, listener: socket.socket, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listener)
            except OSError as err:
                if err.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED):
                    raise
                log.error("dicom_accept_failed", error=err.strerror)
                self._make_way(len(self._visitors.waiting()) // 2)
                await asyncio.sleep(0.1)
                continue
            self._make_way(WAITING_MOST - 1)
            task = group.create_task(self._serve(connection, str(address[0])))
            self._visitors.all[task] = Visitor(task)

    def _make_way(self, most: int) -> None:
        """Let go of those that have waited longest to associate, down to `most`."""
        waiting = self._visitors.waiting()
        for visitor in waiting[: max(0, len(waiting) - most)]:
            self._visitors.leave(visitor)
            visitor.task.cancel()

    async def _serve(self, connection: socket.socket, peer: str) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        visitor = self._visitors.all[task]  # entered before the task takes its first step
        wire = Wire(UpperLayer(max_pdu_bytes=self._settings.max_pdu_bytes))
        try:
            with contextlib.ExitStack() as stack:
                stack.callback(connection.close)
                if not await self._connected(connection, wire, peer):
                    return
                stack.pop_all()
            visitor.wire = wire
            await Session(wire, peer, self._desks(visitor)).run()
        except Exception:
            log.exception("dicom_session_failed", peer=peer)  # ours; the others go on
        finally:
            wire.drop(write_abort(AbortReason.NOT_SPECIFIED))
            self._visitors.leave(visitor)

    async def _connected(self, connection: socket.socket, wire: Wire, peer: str) -> bool:
        loop = asyncio.get_running_loop()
        timeout_s = self._settings.first_pdu_timeout_s
        try:
            prepare(connection)
            async with asyncio.timeout(timeout_s):
                await loop.connect_accepted_socket(
                    lambda: wire,
                    connection,
                    ssl=self._tls,
                    ssl_handshake_timeout=timeout_s if self._tls else None,
                )
        except (OSError, TimeoutError, EOFError) as err:  # ssl.SSLError is an OSError
            log.warning("dicom_handshake_failed", peer=peer, error=type(err).__name__)
            return False
        return True

    def _desks(self, visitor: Visitor) -> Desks:
        def established(sender: Sender) -> None:
            visitor.sender = sender
            self._visitors.callers[sender] += 1

        return Desks(self._storage, self._reports, self._busy, established, self._settings, self._told)

    def _busy(self, sender: Sender) -> Rejection | None:
        if self._paused():  # the machine is about to restart: the sender tries again
            return LOCAL_LIMIT_EXCEEDED
        most = self._settings.max_associations
        callers = self._visitors.callers
        if callers.total() >= most or callers[sender] >= max(1, int(most * SHARE_OF_ONE_CALLER)):
            return LOCAL_LIMIT_EXCEEDED
        return TEMPORARY_CONGESTION if self._images.level >= Level.HOLD else None

    async def _watch(self) -> None:
        """End silent connections."""
        loop = asyncio.get_running_loop()
        step = min(self._settings.first_pdu_timeout_s, self._settings.idle_timeout_s, 4.0) / 4
        while True:
            await asyncio.sleep(step)
            now = loop.time()
            for visitor in list(self._visitors.all.values()):
                if visitor.wire is not None:
                    first = visitor.sender is None
                    limit = self._settings.first_pdu_timeout_s if first else self._settings.idle_timeout_s
                    visitor.wire.expire(now, limit)


def listening(settings: config.Modality) -> socket.socket:
    """Raises: ConfigError: the address cannot be listened on."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as err:
        listener.close()
        raise ConfigError(
            "modality.port",
            f"{settings.host}:{settings.port} cannot be listened on: {err.strerror}",
            hint="Vérifiez l'adresse et le port, et qu'aucun autre programme ne les utilise.",
        ) from err
    return listener
