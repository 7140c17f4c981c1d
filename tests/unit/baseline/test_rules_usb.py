"""USB: USB-01 and USB-03, each on a healthy box, on one that is not, and on garbage."""

from pathlib import Path

import pytest

from passevue.baseline.rule import Rule, Status
from passevue.baseline.rules.usb_default_deny import RULE as USB_DEFAULT_DENY
from passevue.baseline.rules.usb_inventory import RULE as USB_INVENTORY
from passevue.errors import ConfigError, Unreadable
from tests.unit.baseline.a_box import USB_FOLDER, ABox, assert_fails

RULES = (
    USB_DEFAULT_DENY,
    USB_INVENTORY,
)
READER, KEYBOARD, STORAGE, HUB = "0b0000", "030101", "080650", "090000"
SHIPPED = "/usr/share/passevue/hw/readers"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.slug)
def test_a_healthy_box_passes(rule: Rule, tmp_path: Path) -> None:
    assert ABox(tmp_path).look(rule).status is Status.PASS


@pytest.mark.parametrize("value", ["1", "2", "-1", ""])
def test_a_controller_that_takes_devices_is_named(value: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.file(f"{USB_FOLDER}/usb2/authorized_default", value + "\n")
    assert_fails(USB_DEFAULT_DENY, box, "controllers that take anything: usb2")


@pytest.mark.parametrize("name", ["acs-acr39u.toml", "another.toml"])
def test_a_reader_file_that_is_not_signed_fails(name: str, tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.file(f"{SHIPPED}/{name}", "name = 'any'")
    assert_fails(USB_DEFAULT_DENY, box, "reader files are not those of the manifest")


def test_a_reader_file_that_is_gone_fails(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    (tmp_path / SHIPPED.lstrip("/") / "acs-acr39u.toml").unlink()
    assert_fails(USB_DEFAULT_DENY, box, "1 reader files are not")


def test_a_manifest_without_reader_files_is_no_measure(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.manifest["files"] = {"/etc/other": "00"}
    with pytest.raises(Unreadable):
        box.look(USB_DEFAULT_DENY)


@pytest.mark.parametrize(
    ("interfaces", "ids", "told"),
    [
        ((STORAGE,), (0x0781, 0x5567), "0781:5567 not_a_reader"),
        ((KEYBOARD,), (0x04E6, 0x5810), "04e6:5810 other_interfaces"),
        ((READER, KEYBOARD), (0x04E6, 0x5810), "04e6:5810 other_interfaces"),
        ((READER,), (0xFFFF, 0x0001), "ffff:0001 not_listed"),
        ((HUB, STORAGE), (0x0781, 0x5567), "not_a_reader"),
    ],
)
def test_what_does_not_belong_there_is_named(
    interfaces: tuple[str, ...], ids: tuple[int, int], told: str, tmp_path: Path
) -> None:
    box = ABox(tmp_path)
    box.plug("1-1", HUB, vendor=0x1D6B, product=2)
    box.plug("1-1.4", *interfaces, vendor=ids[0], product=ids[1])
    assert_fails(USB_INVENTORY, box, told)


def test_a_listed_reader_passes_and_is_told(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.plug("1-2", READER)
    assert box.look(USB_INVENTORY).observed == "1 devices; readers: Identiv uTrust 2700 R"


def test_a_firmware_that_was_not_tried_fails_where_some_were(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.plug("1-2", READER, firmware=0x0203)
    file = tmp_path / SHIPPED.lstrip("/") / "identiv-utrust-2700-r.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("tested = []", 'tested = ["2.01"]'), encoding="utf-8")
    assert_fails(USB_INVENTORY, box, "firmware 2.03, not tried")
    box.plug("1-2", READER, firmware=0x0201)
    assert box.look(USB_INVENTORY).status is Status.PASS


def test_a_device_whose_descriptors_are_cut_is_unexpected(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.plug("1-2", READER)
    whole = (tmp_path / USB_FOLDER.lstrip("/") / "1-2" / "descriptors").read_bytes()
    for length in range(len(whole)):
        box.file(f"{USB_FOLDER}/1-2/descriptors", whole[:length])
        assert_fails(USB_INVENTORY, box, "????:????" if length != 18 else "04e6:5810")


def test_endless_descriptors_are_not_read_to_their_end(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.file(f"{USB_FOLDER}/1-2/descriptors", b"\x12\x01" + b"\x02\x09" * 500_000)
    assert_fails(USB_INVENTORY, box, "unreadable")


def test_a_list_of_readers_that_cannot_be_read_is_no_measure(tmp_path: Path) -> None:
    box = ABox(tmp_path)
    box.file(f"{SHIPPED}/bad.toml", "[" * 1000)
    with pytest.raises(ConfigError):
        box.look(USB_INVENTORY)
