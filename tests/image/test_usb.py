"""What somebody plugs into the running box (USB-01 to USB-03): nothing works but a reader of the list."""

import asyncio
import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.image.configured import Site
from tests.image.lab import Lab
from tests.image.machine import Machine
from tests.image.sticks import admin_of, made, plugged
from tests.image.test_sabotage import look
from tests.image.trail import Trail
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


async def stick_with(box: Machine, folder: Path, files: Mapping[str, bytes], name: str = "stick") -> None:
    def make() -> Path:
        (folder / name).mkdir()
        for file, content in files.items():
            (folder / name / file).write_bytes(content)
        return made(folder / f"{name}.raw", {file: folder / name / file for file in files})

    await plugged(box, await asyncio.to_thread(make), name)


async def denials(box: Machine) -> str:
    search = "journalctl -b --no-pager | grep 'apparmor=.DENIED.' | grep -F 'profile=\"passevue-'; true"
    return (await box.console.run("sh", "-c", search)).out


async def test_a_stick_is_read_when_the_site_admin_asks_and_is_dead_again_after(box: Machine, tmp_path: Path) -> None:
    """What it holds is no bundle: it comes whole as far as RAUC, which refuses it, and nothing else has moved."""
    before, denied = await inventory(box), await denials(box)
    await stick_with(box, tmp_path, {"Mise à jour.raucb": os.urandom(3 << 20)})
    assert await seen(box, STICK) == ("0", 0)
    async with admin_of(box) as admin:
        assert "C’est demandé" in await admin.update_from_stick(120)
        await admin.until("/site/machine", "a été refusée", 180)
    row = await box.console.run("grep", "-o", '"code": *"[0-9]*"', "/var/lib/passevue/update/journey.json")
    assert "401" in row.out, row.out
    said = await box.console.run("journalctl", "-u", "passevue-stick", "-o", "cat", "--no-pager")
    assert "stick_read" in said.out
    assert await seen(box, STICK) == ("0", 0)
    assert await inventory(box) == before, "a driver of the kernel had a part in it"
    assert await denials(box) == denied


async def test_a_stick_that_is_a_keyboard_for_the_kernel_is_not_read(box: Machine) -> None:
    await box.plug("usb-kbd", id="keyboard")
    await seen(box, KEYBOARD)
    async with admin_of(box) as admin:
        assert "Aucune clé USB" in await admin.update_from_stick(60)
    assert await seen(box, KEYBOARD) == ("0", 0)


async def test_a_stick_that_is_pulled_out_while_it_is_read_leaves_nothing(box: Machine, tmp_path: Path) -> None:
    await stick_with(box, tmp_path, {"next.raucb": os.urandom(160 << 20)})
    await seen(box, STICK)
    async with admin_of(box) as admin:
        await admin.post("/site/machine/update/stick")
        await eventually(lambda: admin.get("/site/machine"), lambda page: 'value="0"' not in page, 120)
        await box.unplug("stick")
        await admin.until("/site/machine", "retirée", 120)
    assert (await box.console.run("sh", "-c", "ls /var/lib/passevue/orders/*.raucb; true")).out == ""


async def test_a_configuration_on_a_stick_counts_when_it_is_signed(box: Machine, lab: Lab, tmp_path: Path) -> None:
    site: Site = lab.site
    document = site.package({}, 2)
    await stick_with(box, tmp_path, {"centre.toml": document, "centre.toml.sig": bytes(64)}, "forged")
    async with admin_of(box) as admin:
        assert "La signature n’est pas celle" in await admin.post("/site/machine/configuration/stick")
        await box.unplug("forged")
        await stick_with(
            box, tmp_path, {"centre.toml": document, "centre.toml.sig": site.signer.sign(document)}, "good"
        )
        assert "Configuration en place" in await admin.post("/site/machine/configuration/stick")
    found = await box.console.run("grep", "-c", "number.*2", "/var/lib/passevue/config/provisioning.json", check=False)
    assert found.out.strip() == "1"


async def test_a_keyboard_stays_dead_and_is_told(box: Machine) -> None:
    before, told = await inventory(box), await refusals(box)
    await box.plug("usb-kbd", id="keyboard")
    assert await seen(box, KEYBOARD) == ("0", 0)
    assert await inventory(box) == before
    await is_told(box, told, "not_a_reader")


async def test_what_is_plugged_in_fails_the_rule_and_is_in_the_trail(box: Machine) -> None:
    """USB-03. QEMU's own reader, which is not of the list, is told from the start."""
    trail = await Trail.of(box)
    await box.plug("usb-kbd", id="keyboard")
    await box.plug("usb-net", id="network")
    await seen(box, NETWORK)
    verdict = (await look(box, "USB-03"))["USB-03"]
    assert (verdict.status, verdict.effect) == ("fail", "warn"), verdict
    assert {f"{KEYBOARD} not_a_reader", f"{NETWORK} not_a_reader"} <= set(verdict.observed.split("; ")), verdict
    assert await trail.says('<EventTypeCode csd-code="bad-input"', "not_a_reader")


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
