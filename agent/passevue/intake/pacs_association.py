"""One association that we ask a PACS for, on the event loop: whole messages out and in, each answer with its deadline.

Why not pynetdicom's SCU. Measured on loopback with its own acceptor as the far side, five C-FIND of three answers took
460 ms: it writes command and data set apart without TCP_NODELAY, so that each pair waits 40 ms for a delayed
acknowledgement, and its reactor sleeps between steps. It also reads a PDU of whatever length its header claims, and
needs a thread for each association. With Orthanc as it comes, a study of 13 instances in four series took pynetdicom's
SCU 580 ms, and takes 19 ms here, its note included; one of 3,000 instances 3.0 s and 1.2 s. What an SCU needs of DICOM
is small and is bytes first in `pacs_pdu` and `pacs_dimse`.

Rules:
- A PDU longer than `MAX_PDU`, a command set longer than `MAX_COMMAND` or a data set longer than the caller allows ends
  the association before it is read.
- The association ends with the `async with`: released when all went well, aborted at once when not, or when cancelled.
- Nothing that a PACS sends raises anything but NetworkError (it is away, slow, refuses, leaves) or CabinetError (it
  makes no sense).

Fact: many PACS write command and data set apart too. TCP_QUICKACK, set again after each read because the kernel forgets
it, has our side acknowledge at once: with such a PACS (Orthanc, dcmtk and pynetdicom by default) the 19 ms are 370 ms
without it.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

from passevue.errors import CabinetError, NetworkError, Unreadable
from passevue.intake import pacs_pdu
from passevue.intake.association import PDU_HEADER, RELEASE_RP, PduType
from passevue.intake.dimse import Command, p_data, read_command
from passevue.intake.pacs_pdu import Accepted, Fragment, Offer

MAX_PDU = 1 << 20  # longest PDU taken; reliability § 8
OFFERED_PDU = 1 << 17  # longest PDU asked for: beyond it nothing is gained
MAX_COMMAND = 1 << 16
MAX_IDENTIFIER = 1 << 20
RELEASE_WAIT_S = 1.0
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux only

HINT_AWAY = "Le PACS ne répond pas : vérifiez qu'il est allumé et que son adresse et son port sont les bons."
HINT_REFUSED = "Le PACS refuse la box : déclarez-y le titre AE de la box, et vérifiez le titre AE du PACS."


@dataclass(frozen=True, slots=True)
class Address:
    """Where the PACS is, and who speaks."""

    host: str
    port: int
    called: str
    calling: str
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A command set with the data set that came with it, if any, on its presentation context."""

    context_id: int
    command: Command
    data: bytes = b""


@contextlib.asynccontextmanager
async def associated(address: Address, offers: Sequence[Offer], timeout_s: float) -> AsyncIterator["Association"]:
    """An association for as long as the block lasts.

    Raises:
        NetworkError: the PACS cannot be reached, rejects the association, or says nothing for `timeout_s`.
        CabinetError: it answers something that is no association.
    """
    async with _deadline(timeout_s, "to a connection"):
        reader, writer = await _connect(address)
    assoc = Association(reader, writer, timeout_s)
    try:
        await assoc.negotiate(address, offers)
        yield assoc
        await assoc.release()
    finally:
        assoc.drop()


async def _connect(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 16)
    protocol = _Prompt(reader)
    server_hostname = address.host if address.tls else None
    try:
        transport, _ = await loop.create_connection(
            lambda: protocol, address.host, address.port, ssl=address.tls, server_hostname=server_hostname
        )
    except (OSError, ssl.SSLError) as err:
        raise NetworkError(f"PACS cannot be reached: {err.strerror or type(err).__name__}", hint=HINT_AWAY) from err
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


class _Prompt(asyncio.StreamReaderProtocol):
    """A stream that sends and acknowledges at once."""

    _socket: socket.socket | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._socket = transport.get_extra_info("socket")
        self._set(socket.TCP_NODELAY)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.acknowledge_at_once()

    def acknowledge_at_once(self) -> None:
        if _QUICKACK is not None:
            self._set(_QUICKACK)

    def _set(self, option: int) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, option, 1)


class Association:
    """Made by `associated` only."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout_s: float) -> None:
        self._reader = reader
        self._writer = writer
        self._timeout_s = timeout_s
        self._open = False  # an association is established, so that an abort means something to the peer
        self._accepted = Accepted({}, 0)
        self._fragments: Iterator[Fragment] = iter(())
        self._last_message_id = 0
        self.called = ""  # AE title of the PACS

    async def negotiate(self, address: Address, offers: Sequence[Offer]) -> None:
        self.called = address.called
        self._writer.write(pacs_pdu.associate_request(address.called, address.calling, offers, OFFERED_PDU))
        kind, body = await self._pdu("to an association")
        if kind == PduType.ASSOCIATE_RJ:
            with _understood():
                reason = pacs_pdu.rejection(body)
            raise NetworkError(f"PACS rejects the association {reason}", hint=HINT_REFUSED)
        self._open = True
        if kind != PduType.ASSOCIATE_AC:
            raise CabinetError(f"PACS answers a request for an association with a PDU of type {kind}")
        with _understood():
            self._accepted = pacs_pdu.read_accept(body, offers)

    def context(self, abstract_syntax: str) -> tuple[int, str]:
        """Context id and transfer syntax agreed for `abstract_syntax`.

        Raises:
            NetworkError: the PACS did not accept it; someone may yet change that.
        """
        try:
            return self._accepted.contexts[abstract_syntax]
        except KeyError:
            raise NetworkError(f"PACS does not take {abstract_syntax} from us", hint=HINT_REFUSED) from None

    def accepts(self, abstract_syntax: str) -> bool:
        return abstract_syntax in self._accepted.contexts

    def next_message_id(self) -> int:
        self._last_message_id = self._last_message_id % 0xFFFF + 1
        return self._last_message_id

    async def send(self, context_id: int, command: bytes, data: bytes = b"") -> None:
        """Write one message whole, in one piece."""
        pdus = p_data(context_id, command, data, max_length=self._accepted.max_pdu)
        async with _deadline(self._timeout_s, "to what was sent"):
            with _connection_errors():
                self._writer.write(pdus)
                await self._writer.drain()
        protocol = self._writer.transport.get_protocol()
        if isinstance(protocol, _Prompt):
            protocol.acknowledge_at_once()

    async def receive(self, max_data: int = MAX_IDENTIFIER) -> Message:
        """The next message, whole.

        Raises:
            NetworkError: nothing more came for a whole deadline, or the PACS left.
            CabinetError: what came is no message, or longer than `max_data`.
        """
        context_id, data = await self._gather(MAX_COMMAND, is_command=True)
        with _understood():
            command = read_command(data)
        if not command.has_data_set:
            return Message(context_id, command)
        data_context_id, data = await self._gather(max_data, is_command=False)
        if data_context_id != context_id:
            raise CabinetError("PACS sends a command and its data set on two presentation contexts")
        return Message(context_id, command, data)

    async def _gather(self, max_bytes: int, *, is_command: bool) -> tuple[int, bytes]:
        pieces: list[bytes] = []
        size = 0
        while True:
            fragment = await self._fragment()
            size += len(fragment.data)
            if fragment.is_command is not is_command:
                raise CabinetError("PACS mixes the pieces of a command and of a data set")
            if size > max_bytes:
                raise CabinetError(f"PACS sends a message longer than {max_bytes} bytes")
            pieces.append(fragment.data)
            if fragment.is_last:
                return fragment.context_id, b"".join(pieces)

    async def _fragment(self) -> Fragment:
        while True:
            with _understood():
                fragment = next(self._fragments, None)
            if fragment is not None:
                return fragment
            kind, body = await self._pdu("to a query")
            if kind != PduType.DATA_TF:
                raise NetworkError(f"PACS ends the association in the middle of an answer (PDU type {kind})")
            self._fragments = pacs_pdu.read_fragments(body)

    async def _pdu(self, asked: str) -> tuple[int, bytes]:
        async with _deadline(self._timeout_s, asked):
            with _connection_errors():
                kind, length = PDU_HEADER.unpack(await self._reader.readexactly(PDU_HEADER.size))
                if length > MAX_PDU:
                    raise CabinetError(f"PACS sends a PDU of {length} bytes, {MAX_PDU} at most are taken")
                return kind, await self._reader.readexactly(length)

    async def release(self) -> None:
        """Say goodbye; a PACS that does not answer it has still given its answers."""
        self._open = False
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            async with asyncio.timeout(RELEASE_WAIT_S):
                self._writer.write(pacs_pdu.RELEASE_REQUEST)
                await self._reader.readexactly(len(RELEASE_RP))

    def drop(self) -> None:
        """Close, aborting what is still open; never waits."""
        if self._open and not self._writer.is_closing():
            self._writer.write(pacs_pdu.ABORT_REQUEST)
        self._open = False
        if self._writer.transport.get_write_buffer_size():
            self._writer.transport.abort()  # a PACS that reads nothing would keep the socket for ever
        else:
            self._writer.close()


@contextlib.asynccontextmanager
async def _deadline(timeout_s: float, asked: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError as err:
        raise NetworkError(f"no answer of the PACS {asked} within {timeout_s:g} s", hint=HINT_AWAY) from err


@contextlib.contextmanager
def _connection_errors() -> Iterator[None]:
    try:
        yield
    except asyncio.IncompleteReadError as err:
        raise NetworkError("PACS closed the connection in the middle of an answer") from err
    except (OSError, ssl.SSLError) as err:
        if isinstance(err, TimeoutError):
            raise
        raise NetworkError(f"connection to the PACS lost: {err.strerror or type(err).__name__}") from err


@contextlib.contextmanager
def _understood() -> Iterator[None]:
    try:
        yield
    except Unreadable as err:
        raise CabinetError(f"PACS makes no sense: {err.message}") from err
