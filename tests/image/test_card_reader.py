"""A reader on a real cable, as far as the guest can tell: USB, CCID, pcscd, the host zone, the page."""

from pathlib import Path

import pytest

from tests.image.lab import Lab
from tests.image.machine import Machine
from tests.image.test_usb import devices, inventory, is_told, refusals, seen
from tests.image.usb_reader import LISTED, Slot, reader
from tests.image.usb_redir import Plugged
from tests.image.waiting import eventually
from tests.peers.card import Holder, Profile, VirtualCard

ASKS = "Insérez votre carte"
CODE = 'name="pin"'  # the card was read and is believed: only its code is missing
NUMBERS = f"{LISTED[0]:04x}:{LISTED[1]:04x}"


@pytest.fixture
def cable_socket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("usb") / "cable"


async def listed(box: Machine) -> str:
    """What the box says of its readers."""
    return (await box.console.run("passevue", "card", "list", "--json", timeout_s=120, check=False)).out


async def sign_in_page(box: Machine) -> str:
    return (await box.get("/sign-in", wait_s=60))[1].decode()


def a_card(lab: Lab) -> VirtualCard:
    """Of a person whose authority the box trusts."""
    profile = Profile(holder=Holder())
    return VirtualCard(profile, lab.site.persons.card_keys(profile))


async def test_a_reader_of_the_list_is_let_in_and_its_card_is_seen_on_the_page(
    lab: Lab, box: Machine, cable_socket: Path
) -> None:
    slot = Slot()
    async with Plugged(reader(slot), cable_socket) as cable:
        await cable.into(box, "listed", port="3")
        await eventually(lambda: devices(box), lambda found: found.get(NUMBERS, ("0", 0))[0] == "1", 120)
        await eventually(lambda: sign_in_page(box), lambda text: ASKS in text, 180, pause_s=5)
        slot.insert(a_card(lab))
        await eventually(lambda: sign_in_page(box), lambda text: CODE in text, 180, pause_s=5)
        slot.remove()
        await eventually(lambda: sign_in_page(box), lambda text: ASKS in text, 180, pause_s=5)


async def test_a_reader_pulled_out_with_its_card_is_gone_from_the_page(
    lab: Lab, box: Machine, cable_socket: Path
) -> None:
    slot = Slot()
    slot.insert(a_card(lab))
    without = await sign_in_page(box)
    async with Plugged(reader(slot), cable_socket) as cable:
        await cable.into(box, "listed", port="3")
        await eventually(lambda: sign_in_page(box), lambda text: slot.commands > 0 and text != without, 180, pause_s=5)
        await cable.pull()
        await eventually(lambda: listed(box), lambda text: "Identiv" not in text, 180, pause_s=5)


async def test_a_reader_that_is_a_keyboard_too_stays_dead_as_a_whole(box: Machine, cable_socket: Path) -> None:
    """The same numbers as the listed one: what counts is what it can do."""
    before, told = await inventory(box), await refusals(box)
    device = reader(Slot(), keyboard=True)
    async with Plugged(device, cable_socket) as cable:
        await cable.into(box, "evil", port="3")
        assert await seen(box, NUMBERS) == ("0", 0)
        assert device.woken == 0, "the guest has configured it"
        assert await inventory(box) == before
        await is_told(box, told, "other_interfaces")


async def test_a_reader_that_is_not_on_the_list_stays_dead(box: Machine) -> None:
    """QEMU's own, which is soldered to this machine: nobody of ours has held one in hand."""
    assert await seen(box, "08e6:4433") == ("0", 0)
    assert "08e6" not in await listed(box)
