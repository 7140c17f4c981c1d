"""The one USB stick that is plugged in: found by its descriptors, let in for as long as it is read, dead again after.

    with let_in(find(DEVICES)) as device:
        …

Rules:
- Only a device whose every interface is mass storage by the bulk-only transport (class 08, SCSI 06, 50; 62 is the same
  data by UAS, which we do not speak). A stick that is a keyboard too is none.
- Two sticks at once are refused: nobody can know which was meant.
- A device that becomes something else has to come anew for that, and is dead then like any other.

Source: USB Mass Storage Class Specification Overview 1.4 §§ 2, 3; USB 2.0 § 9.6; Linux, usb/authorization.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from passevue.card import usb
from passevue.errors import Refused, Unreadable

NODES = Path("/dev/bus/usb")
BULK_ONLY, UAS = "080650", "080662"
_BULK = 2  # bmAttributes
_ALIKE = "Cet appareil USB n’est pas une clé que le boîtier lit : prenez une simple clé de stockage."


@dataclass(frozen=True, slots=True)
class Device:
    """A stick that works: the file of usbfs, its interface, the addresses of its two endpoints."""

    node: Path
    interface: int
    endpoint_in: int
    endpoint_out: int


def find(devices: Path) -> Path:
    """The folder in sysfs of the one stick.

    Raises:
        Refused: there is none, or more than one.
    """
    sticks = [each for each in usb.plugged_in(devices) if _is_stick(each)]
    if not sticks:
        hint = "Aucune clé USB n’est branchée au boîtier, ou ce n’est pas une simple clé de stockage."
        raise Refused("stick-none", "no USB stick", hint=hint)
    if len(sticks) > 1:
        hint = "Plusieurs clés USB sont branchées au boîtier : n’en laissez qu’une."
        raise Refused("stick-several", "more than one USB stick", hint=hint)
    return sticks[0]


def put_out(devices: Path = usb.DEVICES) -> None:
    """Every stick is dead again, for who was killed while one was read."""
    for path in usb.plugged_in(devices):
        if _is_stick(path):
            with suppress(Unreadable):
                usb.authorize(path, False)


def _is_stick(path: Path) -> bool:
    with suppress(Unreadable):
        found = set(usb.read_device(path).interfaces)
        return BULK_ONLY in found and found <= {BULK_ONLY, UAS}
    return False


@contextmanager
def let_in(path: Path, nodes: Path = NODES) -> Iterator[Device]:
    """The stick of that folder, authorised while in it.

    Raises:
        Unreadable: it is gone, cannot be let in, or is something else now.
    """
    try:
        _authorized(path)
        yield _described(path, nodes)
    finally:
        with suppress(Unreadable):  # it has left by itself
            usb.authorize(path, False)


def _authorized(path: Path) -> None:
    try:
        usb.authorize(path, True)
    except Unreadable as err:  # the kernel says so too when the device refuses what it is asked first
        raise Unreadable(err.message, hint=_ALIKE) from err
    if not _is_stick(path):
        raise Unreadable("a USB stick became something else", hint=_ALIKE)


def _described(path: Path, nodes: Path) -> Device:
    try:
        chosen = int((path / "bConfigurationValue").read_text(encoding="ascii"))
        bus, number = (int((path / name).read_text(encoding="ascii")) for name in ("busnum", "devnum"))
        raw = (path / "descriptors").read_bytes()[: usb.MOST_DESCRIPTOR_BYTES]
    except (OSError, ValueError) as err:
        raise Unreadable("a USB stick was not set up", hint=_ALIKE) from err
    interface, into, out = _bulk_only(raw, chosen)
    return Device(nodes / f"{bus:03}/{number:03}", interface, into, out)


def _bulk_only(raw: bytes, chosen: int) -> tuple[int, int, int]:
    """Number and endpoints of the first bulk-only interface of the configuration that was chosen."""
    configuration = interface = -1
    into = out = 0
    at = raw[0]
    while at + 1 < len(raw) and raw[at] >= 2:
        each = raw[at : at + raw[at]]
        match each[1]:  # bDescriptorType: configuration, interface, endpoint
            case 2 if len(each) >= 6:
                configuration = each[5]
            case 4 if len(each) >= 9:
                if into and out:
                    break
                wanted = configuration == chosen and each[3] == 0 and each[5:8].hex() == BULK_ONLY
                interface, into, out = (each[2] if wanted else -1), 0, 0
            case 5 if len(each) >= 7 and interface >= 0 and each[3] & 3 == _BULK:
                into, out = (each[2], out) if each[2] & 0x80 else (into, each[2])
            case _:
                pass
        at += raw[at]
    if interface < 0 or not into or not out:
        raise Unreadable("a USB stick without bulk-only interface", hint=_ALIKE)
    return interface, into, out
