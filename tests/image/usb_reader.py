"""A CCID reader of the box's list (hw/readers), with a virtual CPS in it; and one that is a keyboard as well.

    slot = Slot()
    async with Plugged(reader(slot), folder / "usb.sock") as cable:
        await cable.into(machine, "listed", port="3")
        slot.insert(VirtualCard());  slot.remove()

CCID: "Specification for Integrated Circuit(s) Cards Interface Devices", revision 1.1. Exchange is by extended APDU, so
that the reader itself speaks T=0 with the card, the only protocol in the ATR of a CPS.
"""

import asyncio
import struct
from collections import deque

from tests.image.usb_redir import Device, Endpoint, Interface
from tests.peers.card import CardMute, CardRemoved, VirtualCard

LISTED = 0x04E6, 0x5810  # Identiv uTrust 2700 R: hw/readers/identiv-utrust-2700-r.toml
OUT, IN, TELLS, KEYS = 0x01, 0x82, 0x83, 0x84
LONGEST = 65_544 + 10
POWER_ON, POWER_OFF, SLOT_STATUS, EXCHANGE = 0x62, 0x63, 0x65, 0x6F
PARAMETERS = 0x61, 0x6C, 0x6D
DATA, STATUS, PARAMETERS_ARE, SLOT_CHANGED = 0x80, 0x81, 0x82, 0x50
ACTIVE, INACTIVE, ABSENT, FAILED = 0, 1, 2, 0x40
MUTE, UNKNOWN = 0xFE, 0x00  # bError
T0_PARAMETERS = bytes.fromhex("1100000a00")
FEATURES = 0x0004_007E  # everything automatic, extended APDU
KEYBOARD_REPORT = bytes.fromhex(
    "05010906a101050719e029e71500250175019508810295017508810395057501050819012905910295017503910395067508150025650507190029658100c0"
)


class Slot:
    """Of one reader: what the guest says to it, and the card."""

    def __init__(self) -> None:
        self.card: VirtualCard | None = None
        self.powered = False
        self.commands = 0  # APDUs that came
        self._bytes = b""
        self._answers: deque[bytes] = deque()
        self._ready = asyncio.Event()
        self._changes: asyncio.Queue[bytes] = asyncio.Queue()

    def insert(self, card: VirtualCard) -> None:
        card.insert()
        self.card, self.powered = card, False
        self._changes.put_nowait(bytes([SLOT_CHANGED, 0b11]))

    def remove(self) -> None:
        self.card, self.powered = None, False
        self._changes.put_nowait(bytes([SLOT_CHANGED, 0b10]))

    # What the device does (usb_redir.Functions)

    async def interrupt(self) -> tuple[int, bytes]:
        return TELLS, await self._changes.get()

    async def bulk_out(self, data: bytes) -> None:
        self._bytes += data
        while len(self._bytes) >= 10 and len(self._bytes) >= 10 + (size := struct.unpack_from("<I", self._bytes, 1)[0]):
            message, self._bytes = self._bytes[: 10 + size], self._bytes[10 + size :]
            self._answers.append(await asyncio.to_thread(self._answer, message))
            self._ready.set()

    async def bulk_in(self) -> bytes:
        while not self._answers:
            self._ready.clear()
            await self._ready.wait()
        return self._answers.popleft()

    # CCID § 6

    def _answer(self, message: bytes) -> bytes:
        kind, number = message[0], message[6]
        card = self.card
        if kind == POWER_ON:
            if card is None:
                return self._said(DATA, number, b"", FAILED, MUTE)
            self.powered = True
            return self._said(DATA, number, card.power())
        if kind == POWER_OFF:
            self.powered = False
        elif kind == EXCHANGE:
            return self._exchange(card, number, message[10:])
        elif kind in PARAMETERS:
            return self._said(PARAMETERS_ARE, number, T0_PARAMETERS)
        elif kind != SLOT_STATUS:
            return self._said(STATUS, number, b"", FAILED, UNKNOWN)
        return self._said(STATUS, number, b"")

    def _exchange(self, card: VirtualCard | None, number: int, apdu: bytes) -> bytes:
        self.commands += 1
        if card is None:
            return self._said(DATA, number, b"", FAILED, MUTE)
        try:
            return self._said(DATA, number, card.answer(apdu))
        except (CardMute, CardRemoved):
            return self._said(DATA, number, b"", FAILED, MUTE)

    def _said(self, kind: int, number: int, data: bytes, failed: int = 0, error: int = 0, last: int = 0) -> bytes:
        card = ABSENT if self.card is None else ACTIVE if self.powered else INACTIVE
        return struct.pack("<BIBBBBB", kind, len(data), 0, number, card | failed, error, last) + data


def reader(slot: Slot, numbers: tuple[int, int] = LISTED, *, keyboard: bool = False) -> Device:
    ccid = struct.pack(
        "<BBHBBIIIBIIBIIIIIBBHBB",
        *(54, 0x21, 0x0110, 0, 7, 3, 3580, 3580, 0, 9600, 9600, 0, 254, 0, 0),
        *(FEATURES, LONGEST, 0xFF, 0xFF, 0, 0, 1),
    )
    ends = Endpoint(OUT, 2), Endpoint(IN, 2), Endpoint(TELLS, 3, 8, 16)
    interfaces = [Interface((0x0B, 0, 0), ends, ccid)]
    if keyboard:
        hid = struct.pack("<BBHBBBH", 9, 0x21, 0x0111, 0, 1, 0x22, len(KEYBOARD_REPORT))
        interfaces.append(Interface((3, 1, 1), (Endpoint(KEYS, 3, 8, 10),), hid))
    return Device(
        *numbers,
        tuple(interfaces),
        slot,
        name="Identiv uTrust 2700 R Smart Card Reader",
        report=KEYBOARD_REPORT if keyboard else b"",
    )
