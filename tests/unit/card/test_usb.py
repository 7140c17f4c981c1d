"""Which USB devices may work: the list, the descriptors, the verdict, what is written."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passevue.card.usb import (
    Arrival,
    Device,
    ReaderModel,
    UsbWatch,
    authorize,
    decide,
    judged,
    read_device,
    read_reader_files,
    reader_folder,
)
from passevue.errors import ConfigError, Unreadable

READER, KEYBOARD, DISK, HUB, NETWORK = "0b0000", "030101", "080650", "090000", "020600"
MODEL = ReaderModel("x.toml", "X", "contact", (("04e6", "5810"),), frozenset({READER}))


def descriptors(vendor: int, product: int, *interfaces: str) -> bytes:
    """Device, configuration and interface descriptors (USB 2.0 tables 9-8, 9-10, 9-12)."""
    device = bytes([18, 1, 0, 2, 0, 0, 0, 8]) + vendor.to_bytes(2, "little") + product.to_bytes(2, "little") + bytes(6)
    body = b"".join(bytes([9, 4, index, 0, 1]) + bytes.fromhex(each) + b"\0" for index, each in enumerate(interfaces))
    return device + bytes([9, 2, 9, 0, len(interfaces), 1, 0, 0x80, 50]) + body


def plugged(folder: Path, raw: bytes, name: str = "1-2") -> Path:
    path = folder / name
    path.mkdir(parents=True)
    (path / "descriptors").write_bytes(raw)
    (path / "authorized").write_text("0")
    return path


def device(*interfaces: str, vendor: str = "04e6", product: str = "5810") -> Device:
    return Device(Path("/sys/x"), vendor, product, interfaces)


@pytest.mark.parametrize(
    ("found", "allowed", "reason"),
    [
        (device(READER), True, "listed"),
        (device(READER, product="ffff"), False, "not_listed"),
        (device(READER, KEYBOARD), False, "other_interfaces"),  # a reader that is also a keyboard
        (device(KEYBOARD), False, "other_interfaces"),  # a keyboard with a reader's numbers
        (device(), False, "other_interfaces"),
        (device(HUB, vendor="1d6b"), True, "hub"),
        (device(HUB, DISK, vendor="1d6b"), False, "not_a_reader"),
        (device(KEYBOARD, vendor="046d"), False, "not_a_reader"),
        (device(DISK, vendor="0781"), False, "not_a_reader"),
        (device(NETWORK, vendor="0bda"), False, "not_a_reader"),
        (device("0b0001"), False, "other_interfaces"),
    ],
)
def test_only_readers_of_the_list_and_hubs_work(found: Device, allowed: bool, reason: str) -> None:
    verdict = decide(found, [MODEL])
    assert (verdict.allowed, verdict.reason) == (allowed, reason)


def test_a_device_is_what_its_descriptors_say(tmp_path: Path) -> None:
    found = read_device(plugged(tmp_path, descriptors(0x04E6, 0x5810, READER, KEYBOARD, READER)))
    assert (found.vendor, found.product, found.interfaces) == ("04e6", "5810", (READER, KEYBOARD))


_TOO_MANY = descriptors(1, 2, *[READER] * 40)
_CUT = descriptors(1, 2, READER)[:-1]


@pytest.mark.parametrize("raw", [b"", b"\x12", bytes(18), _CUT, descriptors(1, 2) + b"\x00", bytes(70_000), _TOO_MANY])
def test_descriptors_that_are_not_whole_are_refused(tmp_path: Path, raw: bytes) -> None:
    path = plugged(tmp_path, raw)
    with pytest.raises(Unreadable):
        read_device(path)
    assert not judged(path, [MODEL]).verdict.allowed


@settings(deadline=None)
@given(raw=st.binary(max_size=120))
def test_any_descriptors_are_a_device_or_our_own_error(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.mktemp("usb") / "1-1"
    path.mkdir()
    (path / "descriptors").write_bytes(raw)
    with suppress(Unreadable):
        decide(read_device(path), [MODEL])


def test_a_verdict_is_written_for_the_kernel(tmp_path: Path) -> None:
    path = plugged(tmp_path, descriptors(1, 2, READER))
    authorize(path, True)
    assert (path / "authorized").read_text() == "1"
    authorize(path, False)
    assert (path / "authorized").read_text() == "0"
    with pytest.raises(Unreadable):
        authorize(tmp_path / "gone", True)


async def test_devices_of_the_start_are_judged_and_enforced(tmp_path: Path) -> None:
    good = plugged(tmp_path, descriptors(0x04E6, 0x5810, READER), "1-1")
    bad = plugged(tmp_path, descriptors(0x04E6, 0x5810, READER, KEYBOARD), "1-2.4")
    (bad / "authorized").write_text("1")
    plugged(tmp_path, descriptors(0x1D6B, 2, HUB), "usb1")
    hub = plugged(tmp_path, descriptors(0x1D6B, 2, HUB), "1-3")
    false_hub = plugged(tmp_path, descriptors(0x1D6B, 2, HUB, KEYBOARD), "1-4")
    plugged(tmp_path, descriptors(1, 2, DISK), "1-1:1.0")  # an interface, not a device
    watch = UsbWatch([MODEL], enforce=True, devices=tmp_path)
    running = asyncio.ensure_future(watch.run())
    found = []
    async with asyncio.timeout(5):
        async for event in watch.events():
            assert isinstance(event, Arrival)
            found.append((event.device.path.name, event.verdict.allowed))
            if len(found) == 5:
                break
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert sorted(found) == [("1-1", True), ("1-2.4", False), ("1-3", True), ("1-4", False), ("usb1", True)]
    assert ((hub / "authorized").read_text(), (false_hub / "authorized").read_text()) == ("1", "0")
    assert ((good / "authorized").read_text(), (bad / "authorized").read_text()) == ("1", "0")
    assert (tmp_path / "usb1" / "authorized").read_text() == "0"  # left as it was


def test_without_enforcing_nothing_is_written(tmp_path: Path) -> None:
    path = plugged(tmp_path, descriptors(0x04E6, 0x5810, READER))
    assert next(UsbWatch([MODEL], devices=tmp_path).present()).verdict.allowed
    assert (path / "authorized").read_text() == "0"


def test_a_machine_without_usb_has_no_devices(tmp_path: Path) -> None:
    assert list(UsbWatch([MODEL], devices=tmp_path / "none").present()) == []


# --- the list --------------------------------------------------------------------------------------------------------

GOOD = '[usb]\nids = ["04e6:5810"]\ninterfaces = ["0b0000"]\n'


def test_our_own_list_is_read() -> None:
    models = read_reader_files(reader_folder())
    ids = [each for model in models for each in model.ids]
    assert len(ids) == len(set(ids)) >= 5


@pytest.mark.parametrize(
    "content",
    [
        "",
        "not toml [",
        'name = "x"\nkind = "contact"\n',
        f'name = "x"\nkind = "other"\n{GOOD}',
        f'name = "x"\nkind = "contact"\nextra = 1\n{GOOD}',
        f'name = 3\nkind = "contact"\n{GOOD}',
        'name = "x"\nkind = "contact"\n[usb]\nids = ["04E6:5810"]\ninterfaces = ["0b0000"]\n',
        'name = "x"\nkind = "contact"\n[usb]\nids = []\ninterfaces = ["0b0000"]\n',
        'name = "x"\nkind = "contact"\n[usb]\nids = ["04e6:5810"]\ninterfaces = ["0b0000", "030101"]\n',
        'name = "x"\nkind = "contact"\n[usb]\nids = "04e6:5810"\ninterfaces = []\n',
    ],
)
def test_a_reader_file_that_means_nothing_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "odd.toml").write_text(content)
    with pytest.raises(ConfigError, match=r"odd\.toml"):
        read_reader_files(tmp_path)


def test_an_empty_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        read_reader_files(tmp_path)
