"""Bulk transfers with one USB device through usbfs: of the kernel only the bus itself has a part in it, no driver.

    with Pipe(device) as pipe:
        pipe.send(command)
        answer = pipe.receive(13)

Source: Linux, include/uapi/linux/usbdevice_fs.h; USB 2.0 § 9.4.5 (halted endpoints).
"""

import ctypes
import errno
import fcntl
import os
import struct
from typing import Protocol

from passevue.errors import Unreadable
from passevue.stick.device import Device

TIMEOUT_MS = 10_000
MOST_BYTES = 64 << 10
"""Of one transfer: the kernel gathers it in one piece of memory."""

_CONTROL = struct.Struct("@BBHHHIP")  # struct usbdevfs_ctrltransfer
_BULK = struct.Struct("@IIIP")  # struct usbdevfs_bulktransfer
_WRITE, _READ = 1, 2


def _number(direction: int, number: int, size: int) -> int:
    """_IOC() of include/uapi/asm-generic/ioctl.h, for usbfs."""
    return direction << 30 | size << 16 | ord("U") << 8 | number


USBDEVFS_CONTROL = _number(_READ | _WRITE, 0, _CONTROL.size)
USBDEVFS_BULK = _number(_READ | _WRITE, 2, _BULK.size)
USBDEVFS_CLAIMINTERFACE = _number(_READ, 15, 4)
USBDEVFS_CLEAR_HALT = _number(_READ, 21, 4)

GONE = "La clé a été retirée ou ne répond plus : rebranchez-la, puis recommencez."


class Stalled(Exception):
    """The device halted the endpoint: it refuses this transfer, and waits to be asked on."""


class Transport(Protocol):
    """What carries commands to a mass-storage device and its answers back."""

    def send(self, data: bytes) -> None:
        """Raises: Stalled. Unreadable: the device is gone, or silent."""

    def receive(self, length: int) -> bytes:
        """`length` bytes, at most `MOST_BYTES`; fewer where the device ends early. Raises: as `send`."""

    def clear(self, *, into: bool) -> None:
        """Take the halt from the endpoint that sends to us (`into`), or from the other. Raises: as `send`."""

    def reset(self) -> None:
        """Bulk-Only Mass Storage Reset. Raises: as `send`."""


class Pipe:
    """The two bulk endpoints of a device; its interface is claimed while it is open. Blocking."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._handle = -1

    def __enter__(self) -> "Pipe":
        """Raises: Unreadable: it cannot be opened, or somebody else has its interface."""
        try:
            self._handle = os.open(self._device.node, os.O_RDWR | os.O_CLOEXEC)
            fcntl.ioctl(self._handle, USBDEVFS_CLAIMINTERFACE, struct.pack("@I", self._device.interface))
        except OSError as err:
            self.close()
            raise _gone(err) from err
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The interface goes with the handle."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def send(self, data: bytes) -> None:
        buffer = ctypes.create_string_buffer(data, len(data))
        if self._bulk(self._device.endpoint_out, buffer) != len(data):
            raise Unreadable("a USB device took less than it was sent", hint=GONE)

    def receive(self, length: int) -> bytes:
        buffer = ctypes.create_string_buffer(length)
        taken = self._bulk(self._device.endpoint_in, buffer)
        return buffer.raw[:taken]

    def clear(self, *, into: bool) -> None:
        endpoint = self._device.endpoint_in if into else self._device.endpoint_out
        self._asked(USBDEVFS_CLEAR_HALT, bytearray(struct.pack("@I", endpoint)))

    def reset(self) -> None:
        request = _CONTROL.pack(0x21, 0xFF, 0, self._device.interface, 0, TIMEOUT_MS, 0)
        self._asked(USBDEVFS_CONTROL, bytearray(request))

    def _bulk(self, endpoint: int, buffer: "ctypes.Array[ctypes.c_char]") -> int:
        request = _BULK.pack(endpoint, len(buffer), TIMEOUT_MS, ctypes.addressof(buffer))
        return self._asked(USBDEVFS_BULK, bytearray(request))

    def _asked(self, number: int, argument: bytearray) -> int:
        try:
            done: int = fcntl.ioctl(self._handle, number, argument)
        except OSError as err:
            if err.errno == errno.EPIPE:
                raise Stalled from err
            raise _gone(err) from err
        return done


def _gone(error: OSError) -> Unreadable:
    return Unreadable(f"a USB device does not answer: {error.strerror}", hint=GONE)
