"""A USB device that is a program: QEMU's `usb-redir` brings it into a guest as if it were on the cable.

    async with Plugged(device, folder / "usb.sock") as cable:
        await cable.into(machine, "reader", port="3")      # until cable.pull(), or the end

Facts (usbredir protocol 0.7, https://gitlab.freedesktop.org/spice/usbredir/-/blob/main/docs/usb-redirection-protocol.md):
- each packet has a header before it, little-endian: type, length, id; 32 bits each, id has 64 once both can;
- both sides greet; then the device's side tells interfaces and endpoints before it says that the device is connected;
- an answer has the id of its question; a question that is given up (cancel) is answered with status 1;
- descriptors are asked for by control packets, as on a real cable: nothing between is told of them.
"""

import asyncio
import contextlib
import struct
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.image.machine import Machine

HELLO, CONNECT, DISCONNECT, RESET, INTERFACES, ENDPOINTS = 0, 1, 2, 3, 4, 5
SET_CONFIGURATION, GET_CONFIGURATION, CONFIGURATION = 6, 7, 8
SET_ALTERNATE, GET_ALTERNATE, ALTERNATE = 9, 10, 11
START_INTERRUPT, STOP_INTERRUPT, INTERRUPT_STATUS, CANCEL = 15, 16, 17, 21
CONTROL, BULK, INTERRUPT = 100, 101, 103
CAN = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6  # version told, packet sizes, long ids, long bulk: QEMU's XHCI wants them
LONG = "<IIQ"  # header once both have said that they can
BULK_HEAD = "<BBHIH"
OK, CANCELLED, STALL = 0, 1, 4
FULL_SPEED = 1
GET_DESCRIPTOR, GET_STATUS = 6, 0


@dataclass(frozen=True)
class Endpoint:
    address: int
    kind: int  # 2 bulk, 3 interrupt
    size: int = 64
    interval: int = 0

    def descriptor(self) -> bytes:
        return struct.pack("<BBBBHB", 7, 5, self.address, self.kind, self.size, self.interval)


@dataclass(frozen=True)
class Interface:
    kind: tuple[int, int, int]  # class, subclass, protocol
    endpoints: tuple[Endpoint, ...]
    extra: bytes = b""  # class descriptors


class Functions(Protocol):
    """What a device does once the guest lets it."""

    async def bulk_out(self, data: bytes) -> None: ...
    async def bulk_in(self) -> bytes: ...
    async def interrupt(self) -> tuple[int, bytes]:
        """Endpoint and bytes of what it tells by itself."""
        ...


@dataclass
class Device:
    vendor: int
    product: int
    interfaces: tuple[Interface, ...]
    functions: Functions
    version: int = 0x0100
    name: str = "Virtual device"
    report: bytes = b""  # HID report descriptor, of a device that has such an interface
    woken: int = 0  # how often the guest chose a configuration: a driver may have come

    def device_descriptor(self) -> bytes:
        return struct.pack(
            "<BBHBBBBHHHBBBB", 18, 1, 0x0110, 0, 0, 0, 64, self.vendor, self.product, self.version, 1, 2, 0, 1
        )

    def configuration(self) -> bytes:
        body = b""
        for number, interface in enumerate(self.interfaces):
            head = struct.pack("<BBBBBBBBB", 9, 4, number, 0, len(interface.endpoints), *interface.kind, 0)
            body += head + interface.extra + b"".join(one.descriptor() for one in interface.endpoints)
        return struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), len(self.interfaces), 1, 0, 0x80, 50) + body

    def descriptor(self, kind: int, number: int) -> bytes | None:
        if kind == 1:
            return self.device_descriptor()
        if kind == 2:
            return self.configuration()
        if kind == 0x22:
            return self.report or None
        if kind == 3:
            text = {0: b"\x09\x04", 1: "Tests".encode("utf-16-le"), 2: self.name.encode("utf-16-le")}.get(number)
            return None if text is None else bytes([2 + len(text), 3]) + text
        return None


@dataclass
class Plugged:
    """The cable: a socket of this host that QEMU connects to."""

    device: Device
    socket: Path
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _asked: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _writer: asyncio.StreamWriter | None = None
    _server: asyncio.Server | None = None
    _machine: Machine | None = None
    _id: str = ""

    async def __aenter__(self) -> "Plugged":
        self._server = await asyncio.start_unix_server(self._serve, str(self.socket))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pull()
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def into(self, machine: Machine, id: str, **properties: object) -> None:
        backend = {
            "type": "socket",
            "data": {"addr": {"type": "unix", "data": {"path": str(self.socket)}}, "server": False},
        }
        await machine.qmp.execute("chardev-add", id=f"{id}-cable", backend=backend)
        await machine.plug("usb-redir", id=id, chardev=f"{id}-cable", **properties)
        self._machine, self._id = machine, id

    async def pull(self) -> None:
        machine, self._machine = self._machine, None
        if machine and machine.on:
            await machine.unplug(self._id)  # its chardev goes with it

    # One connection

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self._writer = writer
        try:
            self._send(HELLO, 0, b"tests".ljust(64, b"\0") + struct.pack("<I", CAN))
            self._take(HELLO, 0, await self._hello(reader))
            while True:
                kind, length, number = struct.unpack(LONG, await reader.readexactly(16))
                self._take(kind, number, await reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # QEMU has gone, or has let go of the cable
        finally:
            for asked in self._asked.values():
                asked.cancel()
            writer.close()
            self._tasks.discard(task)

    async def _hello(self, reader: asyncio.StreamReader) -> bytes:
        kind, length, _ = struct.unpack("<III", await reader.readexactly(12))
        body = await reader.readexactly(length)
        if kind != HELLO or struct.unpack_from("<I", body, 64)[0] & CAN != CAN:
            raise ConnectionError("expected a greeting of somebody who can what we can")
        return body

    def _send(self, kind: int, number: int, body: bytes) -> None:
        if self._writer and not self._writer.is_closing():
            head = struct.pack("<III" if kind == HELLO else LONG, kind, len(body), number)
            self._writer.write(head + body)

    def _take(self, kind: int, number: int, body: bytes) -> None:
        if kind == HELLO:
            self._introduce()
        elif kind == SET_CONFIGURATION:
            self.device.woken += 1
            self._send(CONFIGURATION, number, bytes([OK, body[0]]))
        elif kind == GET_CONFIGURATION:
            self._send(CONFIGURATION, number, bytes([OK, 1]))
        elif kind == SET_ALTERNATE:
            self._send(ALTERNATE, number, bytes([OK, body[0], body[1]]))
        elif kind == GET_ALTERNATE:
            self._send(ALTERNATE, number, bytes([OK, body[0], 0]))
        elif kind == START_INTERRUPT:
            self._send(INTERRUPT_STATUS, number, bytes([OK, body[0]]))
            self._start(-1, self._tell())
        elif kind == STOP_INTERRUPT:
            self._send(INTERRUPT_STATUS, number, bytes([OK, body[0]]))
        elif kind == CONTROL:
            self._control(number, body)
        elif kind == BULK:
            self._start(number, self._bulk(number, body))
        elif kind == CANCEL and (asked := self._asked.pop(number, None)):
            asked.cancel()
            self._send(BULK, number, struct.pack(BULK_HEAD, 0x82, CANCELLED, 0, 0, 0))

    def _start(self, number: int, work: Coroutine[Any, Any, None]) -> None:
        if number in self._asked and number < 0:
            work.close()
            return
        task = asyncio.create_task(work)
        self._asked[number] = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _introduce(self) -> None:
        count = len(self.device.interfaces)
        columns = [bytes(range(count)), *(bytes(one.kind[i] for one in self.device.interfaces) for i in range(3))]
        self._send(INTERFACES, 0, struct.pack("<I", count) + b"".join(column.ljust(32, b"\0") for column in columns))
        kinds, intervals, owners, sizes = bytearray(b"\xff" * 32), bytearray(32), bytearray(32), [0] * 32
        kinds[0] = kinds[16] = 0  # control
        sizes[0] = sizes[16] = 64
        for owner, interface in enumerate(self.device.interfaces):
            for one in interface.endpoints:
                index = (one.address & 0x80) >> 3 | one.address & 0x0F
                kinds[index], intervals[index], owners[index], sizes[index] = one.kind, one.interval, owner, one.size
        self._send(ENDPOINTS, 0, bytes(kinds + intervals + owners) + struct.pack("<32H", *sizes))
        about = self.device
        self._send(CONNECT, 0, struct.pack("<BBBBHHH", FULL_SPEED, 0, 0, 0, about.vendor, about.product, about.version))

    def _control(self, number: int, body: bytes) -> None:
        endpoint, request, kind, _status, value, index, length = struct.unpack_from("<BBBBHHH", body)
        data: bytes | None = b""
        if kind & 0x80:
            if request == GET_DESCRIPTOR:
                data = self.device.descriptor(value >> 8, value & 0xFF)
            else:
                data = bytes(2) if request == GET_STATUS else None
        status = STALL if data is None else OK
        data = (data or b"")[:length]
        told = len(data) if kind & 0x80 else length
        self._send(CONTROL, number, struct.pack("<BBBBHHH", endpoint, request, kind, status, value, index, told) + data)

    async def _bulk(self, number: int, body: bytes) -> None:
        endpoint, _status, low, stream, high = struct.unpack_from(BULK_HEAD, body)
        length = high << 16 | low
        data = b""
        if endpoint & 0x80:
            data = (await self.device.functions.bulk_in())[:length]
            length = len(data)
        else:
            await self.device.functions.bulk_out(body[struct.calcsize(BULK_HEAD) :])
        head = struct.pack(BULK_HEAD, endpoint, OK, length & 0xFFFF, stream, length >> 16)
        self._send(BULK, number, head + data)
        self._asked.pop(number, None)

    async def _tell(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                endpoint, data = await self.device.functions.interrupt()
                self._send(INTERRUPT, 0, struct.pack("<BBH", endpoint, OK, len(data)) + data)
