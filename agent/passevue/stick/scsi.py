"""A stick as blocks: SCSI commands in the bulk-only transport, of which only those that read.

    disk = Disk(transport)
    disk.size, disk.sector; disk.read(0, 512)

Facts:
- A command is 31 bytes, its data follow, then 13 bytes of status; who halts an endpoint has said no, and tells why in
  the status after the halt is taken away.
- Just let in, a stick fails for a while, is not ready, or says that its medium is new: asked again, `READY_S` long.
- Some send an empty packet before the status, or the status in place of the data: taken as what they are.
- Nothing that a stick says is believed: not its lengths, its numbers, its size.

Source: USB Mass Storage Class Bulk-Only Transport 1.0 §§ 5, 6; SPC-4 §§ 6.4, 6.27, 6.37; SBC-3 §§ 5.11, 5.16.
"""

import struct
import time
from contextlib import suppress

from passevue.errors import Unreadable
from passevue.stick.usbfs import GONE, MOST_BYTES, Stalled, Transport

READY_S = 15.0
AGAIN_S = 0.25
PIECE = 256 << 10
TRIES = 3
SECTORS = (512, 1024, 2048, 4096)

_COMMAND = struct.Struct("<4sIIBBB16s")
_STATUS = struct.Struct("<4sIIB")
_TEST_UNIT_READY, _REQUEST_SENSE, _INQUIRY, _READ_CAPACITY, _READ = 0x00, 0x03, 0x12, 0x25, 0x28
_SIZE = "Cette clé est trop grande, ou n’en est pas une."
_FAILED = "La clé se lit mal : essayez-en une autre."


class Failed(Exception):
    """The stick says no to one command."""


class Disk:
    """Blocks of a stick that is ready. Blocking.

    Attributes:
        sector: bytes of a block.
        size: bytes of the whole.
    """

    def __init__(self, transport: Transport, ready_s: float = READY_S) -> None:
        """Raises: Unreadable: no stick that can be read, or it does not become ready."""
        self._transport = transport
        self._tag = 0
        self._until = time.monotonic() + ready_s
        self._meet()
        last, self.sector = struct.unpack(">II", self._asked(_READ_CAPACITY, 8))
        if self.sector not in SECTORS or last == 0xFFFFFFFF:
            raise Unreadable("a stick of a size that is not read", hint=_SIZE)
        self.size = (last + 1) * self.sector

    def read(self, at: int, length: int) -> bytes:
        """
        Raises:
            Unreadable: beyond the end, or the stick fails.
        """
        if at < 0 or length < 0 or at + length > self.size:
            raise Unreadable("beyond the end of a stick", hint=_FAILED)
        first, end = at // self.sector, -(-(at + length) // self.sector)
        found = bytearray()
        step = PIECE // self.sector
        for block in range(first, end, step):
            found += self._blocks(block, min(step, end - block))
        return bytes(found[at - first * self.sector :][:length])

    def _blocks(self, first: int, count: int) -> bytes:
        return self._asked(_READ, count * self.sector, struct.pack(">BIBH", 0, first, 0, count))

    def _meet(self) -> None:
        kind = self._in_time(_INQUIRY, 36, bytes((0, 0, 0, 36)))[:1]
        if kind != b"\0":  # a direct-access device that is there: SPC-4 table 141
            raise Unreadable("a USB device that is no disk", hint="Cet appareil USB n’est pas une clé de stockage.")
        self._in_time(_TEST_UNIT_READY, 0)

    def _in_time(self, operation: int, length: int, rest: bytes = b"") -> bytes:
        """What it says once it is ready."""
        while True:
            try:
                return self._run(operation, rest, length)
            except Failed:
                if time.monotonic() > self._until:
                    raise Unreadable("a stick that is never ready", hint=_FAILED) from None
                self._sense()
                time.sleep(AGAIN_S)

    def _asked(self, operation: int, length: int, rest: bytes = b"") -> bytes:
        """All of `length` bytes; a stick that says no is asked why, and once more."""
        for _ in range(TRIES):
            try:
                if len(found := self._run(operation, rest, length)) == length:
                    return found
            except Failed:
                self._sense()
        raise Unreadable("a stick does not give what is asked", hint=_FAILED)

    def _sense(self) -> None:
        """Why it failed: asked so that it goes on, not for what it says."""
        with suppress(Failed):
            self._run(_REQUEST_SENSE, bytes((0, 0, 0, 18)), 18)

    def _run(self, operation: int, rest: bytes, length: int) -> bytes:
        """One command with its data.

        Raises:
            Failed: it says no. Unreadable: it is gone, or does not speak the transport.
        """
        self._tag = self._tag % 0xFFFFFFFF + 1
        block = bytes((operation,)) + rest
        command = block.ljust(6 if operation < 0x20 else 10, b"\0")
        self._send(_COMMAND.pack(b"USBC", self._tag, length, 0x80, 0, len(command), command))
        found = self._data(length)
        if len(found) == _STATUS.size and length != _STATUS.size and found.startswith(b"USBS"):
            self._judge(found)
            return b""
        self._finish()
        return found

    def _send(self, command: bytes) -> None:
        try:
            self._transport.send(command)
        except Stalled:
            self._recover()
            raise Failed from None

    def _data(self, length: int) -> bytes:
        found = bytearray()
        try:
            while len(found) < length:
                wanted = min(length - len(found), MOST_BYTES)
                found += (piece := self._transport.receive(wanted))
                if len(piece) < wanted:  # a short packet: that is all
                    break
        except Stalled:
            self._go_on()
        return bytes(found)

    def _finish(self) -> None:
        try:
            status = self._transport.receive(_STATUS.size) or self._status_again()
        except Stalled:
            self._go_on()
            status = self._status_again()
        self._judge(status)

    def _judge(self, status: bytes) -> None:
        """Raises: Failed."""
        signature, tag, _, said = _STATUS.unpack(status.ljust(_STATUS.size, b"\0")[: _STATUS.size])
        if len(status) != _STATUS.size or signature != b"USBS" or tag != self._tag or said > 1:
            self._recover()
            raise Failed
        if said:
            raise Failed

    def _status_again(self) -> bytes:
        try:
            return self._transport.receive(_STATUS.size)
        except Stalled:
            return b""

    def _go_on(self) -> None:
        """It has halted and is asked on. Raises: Failed: it halts at that too."""
        try:
            self._transport.clear(into=True)
        except Stalled:
            self._recover()
            raise Failed from None

    def _recover(self) -> None:
        """Reset recovery (Bulk-Only Transport § 5.3.4)."""
        try:
            self._transport.reset()
            self._transport.clear(into=True)
            self._transport.clear(into=False)
        except Stalled as err:
            raise Unreadable("a stick that cannot be reset", hint=GONE) from err
