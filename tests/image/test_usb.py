"""What somebody plugs into the running box (USB-01 to USB-03): nothing works but a reader of the list."""

import asyncio
import re
from collections import Counter
from pathlib import Path

from tests.image.machine import Machine
from tests.image.waiting import eventually

STICK, KEYBOARD, NETWORK = "46f4:0001", "0627:0001", "0525:a4a2"  # QEMU's
SEEN = """for d in /sys/bus/usb/devices/*-*; do [ -e $d/idVendor ] &&
 echo "$(cat $d/idVendor):$(cat $d/idProduct) $(cat $d/authorized) $(ls $d | grep -c ':')"; done; true"""


async def devices(box: Machine) -> dict[str, tuple[str, int]]:
    """vendor:product of what is plugged in: `authorized`, and how many interfaces the kernel shows."""
    lines = (await box.console.run("sh", "-c", SEEN)).out.splitlines()
    return {name: (allowed, int(count)) for name, allowed, count in (line.split() for line in lines)}


async def seen(box: Machine, name: str, wait_s: float = 60) -> tuple[str, int]:
    await eventually(lambda: devices(box), lambda found: name in found, wait_s)
    await asyncio.sleep(3)  # time for somebody to let it in
    return (await devices(box))[name]


async def inventory(box: Machine) -> str:
    """Everything that a device could have become: drives, inputs, networks, terminals."""
    command = "ls /sys/block /sys/class/input /sys/class/net /sys/class/tty /dev/hidraw* 2>/dev/null; true"
    return (await box.console.run("sh", "-c", command)).out


async def refusals(box: Machine) -> list[str]:
    """Why the box has refused devices, one after the other, in the words of card/usb.py."""
    command = "journalctl -u passevue-host -o cat --no-pager | grep usb_refused; true"
    lines = (await box.console.run("sh", "-c", command)).out.splitlines()
    return [match.group() for line in lines if (match := re.search("not_a_reader|not_listed|other_interfaces", line))]


async def is_told(box: Machine, before: list[str], reason: str) -> None:
    await eventually(lambda: refusals(box), lambda now: reason in list((Counter(now) - Counter(before)).elements()), 60)


async def test_controllers_leave_new_devices_dead(box: Machine) -> None:
    said = await box.console.run("sh", "-c", "cat /sys/bus/usb/devices/usb*/authorized_default")
    assert set(said.out.split()) == {"0"}


async def test_a_stick_stays_dead_and_is_told(box: Machine, tmp_path: Path) -> None:
    before, told = await inventory(box), await refusals(box)
    stick = tmp_path / "stick.raw"
    stick.write_bytes(bytes(1 << 20))
    await box.add_drive(stick, "stick-drive", read_only=True)
    await box.plug("usb-storage", id="stick", drive="stick-drive")
    assert await seen(box, STICK) == ("0", 0)
    assert await inventory(box) == before
    await is_told(box, told, "not_a_reader")


async def test_a_keyboard_stays_dead_and_is_told(box: Machine) -> None:
    before, told = await inventory(box), await refusals(box)
    await box.plug("usb-kbd", id="keyboard")
    assert await seen(box, KEYBOARD) == ("0", 0)
    assert await inventory(box) == before
    await is_told(box, told, "not_a_reader")


async def test_a_network_card_stays_dead_and_is_told(box: Machine) -> None:
    before, told = await inventory(box), await refusals(box)
    await box.plug("usb-net", id="network")
    assert await seen(box, NETWORK) == ("0", 0)
    assert await inventory(box) == before
    await is_told(box, told, "not_a_reader")


async def test_what_is_behind_a_hub_is_judged_like_any_other(box: Machine) -> None:
    before, told = await inventory(box), await refusals(box)
    await box.plug("usb-hub", id="hub", port="4")
    await asyncio.sleep(3)
    await box.plug("usb-kbd", id="keyboard", port="4.1")
    assert await seen(box, KEYBOARD) == ("0", 0)
    assert await inventory(box) == before
    await is_told(box, told, "not_a_reader")
