"""USB devices: which may work in this box, and who came. The only module that knows that pyudev wants a thread.

    allowed = read_reader_files(reader_folder())           # hw/readers/*.toml
    verdict = decide(read_device(Path("/sys/bus/usb/devices/1-2")), allowed)
    authorize(device.path, verdict.allowed)

Rules (USB-01, USB-02, N-20):
- Default deny: only hubs, which do nothing by themselves, and readers of the list whose every interface is one that
  their file names. A reader that is also a keyboard is refused as a whole.
- The decision is made from the raw descriptors that the kernel keeps, never from names, which a device chooses itself.
- What is refused is told (`Arrival`), for the page and the audit; `authorize` is the one place that writes.

Facts: the kernel reads the descriptors of a device that is not authorised, and binds no driver to it until `1` is
written to its `authorized` (Documentation/usb/authorization). The image sets `authorized_default` to 0 on each
controller. udev says that a reader is there 40 to 100 ms before pcscd lists it (cps-card.md § 9).
"""

import asyncio
import re
import tomllib
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from passevue.errors import ConfigError, Unreadable

DEVICES = Path("/sys/bus/usb/devices")
INSTALLED = Path("/usr/share/passevue/hw/readers")
SMART_CARD, HUB = 0x0B, 0x09  # bInterfaceClass
MOST_DESCRIPTOR_BYTES = 65_536
MOST_INTERFACES = 32
MOST_WAITING = 256

_DEVICE_DESCRIPTOR, _INTERFACE_DESCRIPTOR = 1, 4  # bDescriptorType (USB 2.0 table 9-5)
_NAME = re.compile(r"\d+-\d+(\.\d+)*|usb\d+")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Device:
    """A USB device as its descriptors say. `interfaces` are class, subclass and protocol of each, in hexadecimal."""

    path: Path
    vendor: str
    product: str
    interfaces: tuple[str, ...]

    @property
    def is_hub(self) -> bool:
        return bool(self.interfaces) and all(each.startswith(f"{HUB:02x}") for each in self.interfaces)

    @property
    def is_reader(self) -> bool:
        return any(each.startswith(f"{SMART_CARD:02x}") for each in self.interfaces)


@dataclass(frozen=True, slots=True)
class ReaderModel:
    """One model of the list: a file of hw/readers."""

    file: str
    name: str
    kind: str  # contact, contactless, both
    ids: tuple[tuple[str, str], ...]
    interfaces: frozenset[str]
    driver: str = "ccid"
    pinpad: bool = False
    tested: tuple[str, ...] = ()
    quirks: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason` is a stable word: hub, listed, not_listed, other_interfaces, not_a_reader, unreadable, changed."""

    allowed: bool
    reason: str
    model: ReaderModel | None = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """A device was plugged in, or was there at start."""

    device: Device
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Departure:
    path: Path


# --- the list --------------------------------------------------------------------------------------------------------


def reader_folder() -> Path:
    """Where the reader files are: installed with the image, or beside the sources."""
    if INSTALLED.is_dir():
        return INSTALLED
    return Path(__file__).resolve().parents[3] / "hw" / "readers"


def read_reader_files(folder: Path) -> tuple[ReaderModel, ...]:
    """Every model of the folder.

    Raises:
        ConfigError: a file is not TOML, lacks a field or has one that means nothing; or there is none at all.
    """
    files = sorted(folder.glob("*.toml"))
    if not files:
        raise ConfigError("hw/readers", f"no reader file in {folder}")
    return tuple(_model(file) for file in files)


_KINDS = frozenset({"contact", "contactless", "both"})
_FIELDS = frozenset({"name", "kind", "driver", "pinpad", "tested", "quirks", "usb"})


def _model(file: Path) -> ReaderModel:
    key = f"hw/readers/{file.name}"
    try:
        content: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(key, f"cannot be read: {error}") from error
    if unknown := set(content) - _FIELDS:
        raise ConfigError(key, f"unknown fields {', '.join(sorted(unknown))}")
    usb = content.get("usb")
    if not isinstance(usb, dict) or set(usb) != {"ids", "interfaces"}:
        raise ConfigError(key, "expected [usb] with ids and interfaces")
    ids = tuple(_id(key, each) for each in _texts(key, usb["ids"]))
    interfaces = frozenset(_texts(key, usb["interfaces"]))
    if any(not re.fullmatch(r"0b[0-9a-f]{4}", each) for each in interfaces) or not interfaces or not ids:
        raise ConfigError(key, "expected ids, and interfaces of class 0b alone")
    if not isinstance(content.get("name"), str) or content.get("kind") not in _KINDS:
        raise ConfigError(key, "expected a name, and a kind of contact, contactless or both")
    return ReaderModel(
        file=file.name,
        name=content["name"],
        kind=content["kind"],
        ids=ids,
        interfaces=interfaces,
        driver=str(content.get("driver", "ccid")),
        pinpad=content.get("pinpad") is True,
        tested=tuple(_texts(key, content.get("tested", []))),
        quirks=str(content.get("quirks", "")),
    )


def _texts(key: str, found: object) -> list[str]:
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ConfigError(key, "expected a list of texts")
    return found


def _id(key: str, text: str) -> tuple[str, str]:
    if not re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{4}", text):
        raise ConfigError(key, f"expected vendor:product as 04e6:5810, got {text!r}")
    return text[:4], text[5:]


# --- the decision ----------------------------------------------------------------------------------------------------


def decide(device: Device, models: Iterable[ReaderModel]) -> Verdict:
    """Whether the device may work in this box."""
    if device.is_hub:
        return Verdict(True, "hub")
    model = next((each for each in models if (device.vendor, device.product) in each.ids), None)
    if model is None:
        return Verdict(False, "not_listed" if device.is_reader else "not_a_reader")
    if not device.is_reader or not set(device.interfaces) <= model.interfaces:
        return Verdict(False, "other_interfaces", model)
    return Verdict(True, "listed", model)


def plugged_in(devices: Path) -> tuple[Path, ...]:
    """The folders of devices and controllers in sysfs, in order of their names."""
    with suppress(OSError):
        return tuple(sorted(path for path in devices.iterdir() if _NAME.fullmatch(path.name)))
    return ()


def read_device(path: Path) -> Device:
    """The device of that sysfs folder.

    Raises:
        Unreadable: it is gone, or its descriptors are not whole.
    """
    try:
        with (path / "descriptors").open("rb") as file:
            raw = file.read(MOST_DESCRIPTOR_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"descriptors of a USB device cannot be read: {error.strerror}") from error
    return _described(path, raw)


def _described(path: Path, raw: bytes) -> Device:
    """Descriptors follow each other: length, type, content (USB 2.0 § 9.5)."""
    if len(raw) > MOST_DESCRIPTOR_BYTES or len(raw) < 18 or raw[0] != 18 or raw[1] != _DEVICE_DESCRIPTOR:
        raise Unreadable("expected a USB device descriptor")
    interfaces: list[str] = []
    at = 18
    while at < len(raw):
        size = raw[at]
        if size < 2 or at + size > len(raw):
            raise Unreadable("USB descriptors are not whole")
        if raw[at + 1] == _INTERFACE_DESCRIPTOR:
            if size < 9 or len(interfaces) >= MOST_INTERFACES:
                raise Unreadable("USB interfaces are not what a device has")
            interfaces.append(raw[at + 5 : at + 8].hex())
        at += size
    vendor, product = (int.from_bytes(raw[start : start + 2], "little") for start in (8, 10))
    return Device(path, f"{vendor:04x}", f"{product:04x}", tuple(dict.fromkeys(interfaces)))


def authorize(path: Path, allowed: bool) -> None:
    """Let the kernel use the device of that sysfs folder, or not.

    Raises:
        Unreadable: no such device, or not ours to write.
    """
    try:
        (path / "authorized").write_text("1" if allowed else "0", encoding="ascii")
    except OSError as error:
        raise Unreadable(f"a USB device cannot be authorised or refused: {error.strerror}") from error


def judged(path: Path, models: Iterable[ReaderModel]) -> Arrival:
    """The device of that folder with its verdict; one that cannot be read is refused."""
    try:
        device = read_device(path)
    except Unreadable:
        return Arrival(Device(path, "", "", ()), Verdict(False, "unreadable"))
    return Arrival(device, decide(device, models))


# --- who comes -------------------------------------------------------------------------------------------------------


class UsbWatch:
    """Tells of USB devices, those of the start first; with `enforce` writes each verdict to the kernel."""

    def __init__(self, models: Iterable[ReaderModel], *, enforce: bool = False, devices: Path = DEVICES) -> None:
        self._models = tuple(models)
        self._enforce = enforce
        self._devices = devices
        self._waiting: asyncio.Queue[Arrival | Departure] = asyncio.Queue(MOST_WAITING)

    async def run(self) -> None:
        """Watch until cancelled."""
        loop = asyncio.get_running_loop()
        observer = await asyncio.to_thread(self._observer, loop)
        try:
            for arrival in await asyncio.to_thread(lambda: list(self.present())):
                self._take(arrival)
            await asyncio.Event().wait()
        finally:
            observer.send_stop()  # its thread ends by itself; joining would hold the loop

    async def events(self) -> AsyncIterator[Arrival | Departure]:
        """For one listener."""
        while True:
            yield await self._waiting.get()

    def present(self) -> Iterator[Arrival]:
        """The devices that are plugged in now. Blocking."""
        for path in plugged_in(self._devices):
            yield self._settled(path)

    def _observer(self, loop: asyncio.AbstractEventLoop) -> Any:
        import pyudev  # only who watches loads it: the rules that judge a device do not

        monitor = pyudev.Monitor.from_netlink(pyudev.Context())
        monitor.filter_by("usb", "usb_device")

        def seen(device: Any) -> None:
            path, action = Path(device.sys_path), device.action
            event = Departure(path) if action == "remove" else self._settled(path) if action == "add" else None
            if event is not None:
                with suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(self._take, event)

        observer = pyudev.MonitorObserver(monitor, callback=seen, name="udev-watch")
        observer.start()
        return observer

    def _settled(self, path: Path) -> Arrival:
        arrival = judged(path, self._models)
        if not self._enforce or path.name.startswith("usb"):  # a controller itself: never refused
            return arrival
        with suppress(Unreadable):  # gone already, or the unit lacks the right: the rule USB-01 tells
            authorize(path, arrival.verdict.allowed)
            again = judged(path, self._models)  # the kernel may have read its descriptors anew
            if again != arrival:
                authorize(path, False)
                return Arrival(again.device, Verdict(False, "changed"))
        return arrival

    def _take(self, event: Arrival | Departure) -> None:
        if isinstance(event, Arrival) and not event.verdict.allowed:
            log.warning("usb_refused", reason=event.verdict.reason)
        if self._waiting.full():  # nobody listens: the oldest goes
            self._waiting.get_nowait()
        self._waiting.put_nowait(event)
