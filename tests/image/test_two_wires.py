"""A box between the cabinet and the national network by two cables, and a third that nobody named: each side has what
is its own, and nothing of the other's.
"""

import asyncio
import contextlib
import json

from pynetdicom import AE

from tests.image.lab import BOOT_S, Lab, settled
from tests.image.machine import HOST, Hardware, Machine
from tests.image.screen import screen
from tests.image.sticks import admin_of
from tests.image.test_power_cuts import messages
from tests.image.test_sabotage import answers_from_outside, look
from tests.image.waiting import eventually
from tests.peers.ports import free_port
from tests.peers.ris import Ledger, Ris

OUTSIDE = "10.0.3.2"  # this machine too, as it is seen by the second cable
MAC = "52:54:00:70:76:0{}"
RULES = ("NET-01", "NET-02", "NET-07", "SERV-01")
REACHES = """
import socket, sys
for target in sys.argv[1:]:
    host, port = target.split(":")
    try:
        socket.create_connection((host, int(port)), 10).close()
    except OSError:
        print(target, "no")
    else:
        print(target, "yes")
"""


async def interfaces(machine: Machine) -> dict[str, dict[str, object]]:
    """By the hardware's address."""
    said = json.loads((await machine.console.run("ip", "-json", "address")).out)
    return {one["address"]: one for one in said if "address" in one}


async def is_up(machine: Machine, number: int) -> bool:
    flags = (await interfaces(machine))[MAC.format(number)]["flags"]
    return isinstance(flags, list) and "UP" in flags


async def addresses(machine: Machine) -> set[str]:
    """IPv4 alone."""
    said = json.loads((await machine.console.run("ip", "-json", "-4", "address")).out)
    return {f"{each['local']}/{each['prefixlen']}" for one in said for each in one["addr_info"]} - {"127.0.0.1/8"}


async def reaches(machine: Machine, zone: str, *targets: str) -> set[str]:
    """Where a program of that zone's user gets a connection."""
    run = ("systemd-run", "--quiet", "--pipe", "--wait", f"--uid=passevue-{zone}", "--gid=passevue")
    said = await machine.console.run(*run, "/usr/bin/python3", "-I", "-c", REACHES, *targets, timeout_s=120)
    lines = [line.split() for line in said.out.splitlines()]
    assert len(lines) == len(targets), said
    return {target for target, answer in lines if answer == "yes"}


def associated(port: int) -> bool:
    """Whether the box answers a modality, whatever it says. Blocks."""
    modality = AE(ae_title="MODALITE")
    modality.add_requested_context("1.2.840.10008.1.1")
    modality.acse_timeout = modality.connection_timeout = 60
    association = modality.associate("127.0.0.1", port)
    answered = bool(association.is_established or association.is_rejected)
    if association.is_established:
        association.release()
    return answered


async def acknowledged(port: int) -> bool:
    try:
        async with Ris("127.0.0.1", port, ledger=Ledger(), timeout_s=60) as ris:
            return (await ris.send(next(messages()))).code == "AA"
    except (OSError, EOFError, TimeoutError):
        return False


async def test_each_cable_has_its_own_side_and_one_that_nobody_named_is_down(lab: Lab) -> None:
    dmp, pacs, other = free_port(), free_port(), free_port()
    async with contextlib.AsyncExitStack() as stack:
        for port in (dmp, pacs, other):
            await stack.enter_async_context(await asyncio.start_server(lambda _, out: out.close(), "127.0.0.1", port))
        machine = await stack.enter_async_context(lab.machine(lab.provisioned("two-wires"), Hardware(nics=3)))
        await machine.switch_on()
        await machine.console.answers(BOOT_S)
        await machine.serves("/healthz", BOOT_S)
        names = [(await interfaces(machine))[MAC.format(number)]["ifname"] for number in range(3)]
        document = lab.site.package(
            {
                "network.inside": {"interface": names[0], "addresses": ["10.0.2.15/24"]},
                "network.outside": {"interface": names[1]},
                "registry": {"url": f"https://{OUTSIDE}:{dmp}/si-dmp-server/v2/services"},
                "pacs": {"host": HOST, "port": pacs, "ae_title": "PACS"},
            },
            2,
        )
        async with admin_of(machine) as admin:
            signature = lab.site.signer.sign(document)
            said = await admin.send("/site/machine/configuration", document=document, signature=signature)
            assert "Configuration en place" in said
        await machine.console.run("systemctl", "reboot", check=False)
        await machine.resets(BOOT_S, len(machine.qmp.events))
        await machine.console.answers(BOOT_S)
        await settled(machine)

        await eventually(lambda: addresses(machine), lambda now: now == {"10.0.2.15/24", "10.0.3.15/24"}, BOOT_S, 3)
        assert [await is_up(machine, number) for number in range(3)] == [True, True, False]
        await machine.serves("/healthz", BOOT_S)
        shown = await screen(machine)
        assert "https://10.0.2.15/" in shown
        assert "10.0.3.15" not in shown, "there is no page"

        assert await answers_from_outside(machine, 443, tls=True, wire="net0")
        assert not await answers_from_outside(machine, 443, tls=True, wire="net1")
        ris, modality = free_port(), free_port()
        await machine.qmp.type(f"hostfwd_add net1 tcp:127.0.0.1:{ris}-:2575")
        await machine.qmp.type(f"hostfwd_add net1 tcp:127.0.0.1:{modality}-:11112")
        assert await acknowledged(machine.ports["ris"])
        assert not await acknowledged(ris)
        assert await asyncio.to_thread(associated, machine.ports["modality"])
        assert not await asyncio.to_thread(associated, modality)

        targets = (f"{OUTSIDE}:{dmp}", f"{HOST}:{dmp}", f"{HOST}:{pacs}", f"{OUTSIDE}:{pacs}", f"{OUTSIDE}:{other}")
        assert await reaches(machine, "national", *targets) == {f"{OUTSIDE}:{dmp}", f"{HOST}:{pacs}"}
        for zone in ("intake", "page"):
            assert await reaches(machine, zone, *targets) == set()

        found = await look(machine, *RULES)
        assert {rule: one.status for rule, one in found.items()} == dict.fromkeys(RULES, "pass"), found
