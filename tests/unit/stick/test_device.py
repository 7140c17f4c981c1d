"""Which USB device is the stick, in a tree as sysfs shows it; the descriptors are those of real sticks."""

from pathlib import Path

import pytest

from passevue.errors import Refused, Unreadable
from passevue.stick.device import Device, find, let_in, put_out

DEVICE = bytes.fromhex("12010002000000406707815500010102030 1".replace(" ", ""))
# SanDisk-like: one configuration, one bulk-only interface, endpoints 81 and 02.
BULK_ONLY = bytes.fromhex("09022000010100c032 090400000208065000 07058102000200 07050202000200".replace(" ", ""))
# An SSD in a case: the same interface again with UAS as its other setting, SuperSpeed companions between.
UAS = bytes.fromhex(
    "09025900010100c032 090400000208065000 07058102000400 06300f000000 07050202000400 06300f000000"
    " 090400010408066200 07050102000400 06300f000000 0424010 0".replace(" ", "")
)
KEYBOARD = bytes.fromhex("09022900020100a032 090400000208065000 07058102000200 07050202000200 090401000103010100")


def plugged(folder: Path, configuration: bytes, name: str = "1-2", chosen: str = "1") -> Path:
    path = folder / name
    path.mkdir(parents=True)
    (path / "descriptors").write_bytes(DEVICE + configuration)
    (path / "authorized").write_text("0")
    (path / "bConfigurationValue").write_text(chosen + "\n")
    (path / "busnum").write_text("1\n")
    (path / "devnum").write_text("12\n")
    return path


@pytest.mark.parametrize("configuration", [BULK_ONLY, UAS])
def test_the_stick_is_let_in_and_dead_again_after(tmp_path: Path, configuration: bytes) -> None:
    path = plugged(tmp_path, configuration)
    assert find(tmp_path) == path
    with let_in(path, Path("/dev/bus/usb")) as device:
        assert device == Device(Path("/dev/bus/usb/001/012"), 0, 0x81, 0x02)
        assert (path / "authorized").read_text() == "1"
    assert (path / "authorized").read_text() == "0"


def test_a_stick_that_is_a_keyboard_too_is_none(tmp_path: Path) -> None:
    plugged(tmp_path, KEYBOARD)
    with pytest.raises(Refused) as told:
        find(tmp_path)
    assert told.value.code == "stick-none"


def test_no_stick_and_two_sticks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="stick-none"):
        find(tmp_path)
    plugged(tmp_path, BULK_ONLY, "1-1")
    plugged(tmp_path, BULK_ONLY, "2-1.4")
    with pytest.raises(Refused, match="stick-several"):
        find(tmp_path)


def test_every_stick_is_put_out_and_nothing_else(tmp_path: Path) -> None:
    stick, keyboard = plugged(tmp_path, BULK_ONLY, "1-1"), plugged(tmp_path, KEYBOARD, "1-2")
    for path in (stick, keyboard):
        (path / "authorized").write_text("1")
    put_out(tmp_path)
    assert [(path / "authorized").read_text() for path in (stick, keyboard)] == ["0", "1"]


def test_who_becomes_something_else_is_dead_again(tmp_path: Path) -> None:
    path = plugged(tmp_path, KEYBOARD)
    with pytest.raises(Unreadable), let_in(path):
        pytest.fail("it was let in")
    assert (path / "authorized").read_text() == "0"


@pytest.mark.parametrize(
    ("configuration", "chosen"),
    [
        (BULK_ONLY, "2"),  # another configuration than the one with the interface
        (BULK_ONLY, ""),  # none was set: too much power asked for
        (BULK_ONLY[:18], "1"),  # no endpoints
    ],
)
def test_a_stick_that_was_not_set_up_is_refused_and_dead_again(
    tmp_path: Path, configuration: bytes, chosen: str
) -> None:
    path = plugged(tmp_path, configuration, chosen=chosen)
    with pytest.raises(Unreadable) as told, let_in(path):
        pytest.fail("it was let in")
    assert told.value.hint
    assert (path / "authorized").read_text() == "0"
