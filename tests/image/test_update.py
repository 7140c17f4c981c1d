"""Two slots and the way back: an update is written, starts, proves itself; after a broken one the old one is back."""

import asyncio
import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.image.artefacts import REPOSITORY, Image
from tests.image.disk_edit import DiskEdit
from tests.image.lab import BOOT_S, Lab, settled
from tests.image.machine import Hardware, Machine
from tests.image.releases import Releases
from tests.image.state import State
from tests.image.sticks import admin_of, made, plugged
from tests.image.test_power_cuts import coin, kept, messages, takes_messages
from tests.image.trail import Trail, happened
from tests.image.waiting import eventually
from tests.peers.ris import Ledger

__all__ = ["coin"]

BUNDLE = "/var/lib/passevue/update/next.raucb"
UPDATE = ("passevue", "update", "install", "--now", "--no-wait")
INSTALL_S = 900
AGENT_ONLY_MB = 15
CUTS = int(os.environ.get("PASSEVUE_CUTS", "10"))  # of the power, during an installation
TRIES = 3
STARTS = 9  # of a release that has proved itself: image/rauc, slots/boot.py
GUARDED = 100_000  # where its starts done begin


@pytest.fixture(scope="session")
def releases(lab: Lab) -> Releases:
    return Releases(lab.image, lab.folder, lab.say)


def carrying(bundle: Path) -> Hardware:
    """A machine with the bundle on a second drive: quicker than any wire of the tests."""
    return Hardware(extra=("-drive", f"if=none,id=bundle,format=raw,readonly=on,file={bundle}",
                           "-device", "virtio-blk-pci,drive=bundle,serial=bundle"))  # fmt: skip


async def up(machine: Machine) -> None:
    """The box has started and knows whether this boot is good."""
    await machine.console.answers(BOOT_S)
    await settled(machine)


async def bring(machine: Machine, bundle: Path) -> None:
    copy = 'head -c "$1" /dev/disk/by-id/virtio-bundle >"$2" && sync "$2"'
    await machine.console.run("sh", "-c", copy, "sh", str(_size(bundle)), BUNDLE, timeout_s=300)


def _size(file: Path) -> int:
    return file.stat().st_size


async def update(machine: Machine, bundle: Path) -> None:
    """As the site's IT person does it: the box looks at it, writes it, and restarts by itself when all is quiet."""
    await bring(machine, bundle)
    after = len(machine.qmp.events)
    await machine.console.run(*UPDATE, BUNDLE, timeout_s=INSTALL_S)
    await machine.resets(INSTALL_S, after)


async def update_from_stick(machine: Machine, bundle: Path, stick: Path) -> float:
    """As the site admin does it with a stick in the box, at its page. Seconds until all of it was read."""
    await plugged(machine, await asyncio.to_thread(made, stick, {"passevue.raucb": bundle}))
    after = len(machine.qmp.events)
    async with admin_of(machine) as admin:
        loop = asyncio.get_running_loop()
        started = loop.time()
        assert "C’est demandé" in await admin.update_from_stick(INSTALL_S, now="yes")
        took = loop.time() - started
    await machine.resets(INSTALL_S, after)
    return took


async def root_hash(machine: Machine) -> str:
    words = (await machine.console.run("cat", "/proc/cmdline")).out.split()
    return next(word.removeprefix("roothash=") for word in words if word.startswith("roothash="))


async def ukis(machine: Machine) -> list[str]:
    said = await machine.console.run("sh", "-c", "ls /efi/EFI/Linux 2>/dev/null || ls /boot/EFI/Linux")
    return sorted(said.out.split())


async def nothing_lost(machine: Machine, ledger: Ledger) -> None:
    found = await kept(machine)
    assert ledger.acknowledged
    assert all(found[line.sha256] == 1 for line in ledger.acknowledged)


async def tells(machine: Machine, state: str, code: str | None, since: int) -> None:
    """What became of the update is told to who asks, and in the audit trail after record number `since`."""

    async def told() -> tuple[str, str | None]:
        said = await machine.console.run("passevue", "update", "status", "--json", check=False, timeout_s=120)
        row = json.loads(said.out)
        return row["state"], row["code"]

    await eventually(told, lambda now: now == (state, code), BOOT_S, pause_s=3)
    assert await Trail(machine, since).says(*happened(f"update-{state}", code or ""))


async def comes_back(machine: Machine, old: Image, tries: int = TRIES) -> None:
    """However the new version fails, the machine ends on the old one, which is healthy."""

    async def running() -> str:
        try:
            async with asyncio.timeout(20):
                return await root_hash(machine)
        except (TimeoutError, ConnectionError):
            return ""

    resets = len([one for one in machine.qmp.events if one["event"] == "RESET"])
    await eventually(running, lambda found: found == old.root_hash, (tries + 1) * BOOT_S, pause_s=5)
    resets = len([one for one in machine.qmp.events if one["event"] == "RESET"]) - resets
    assert resets >= tries, f"{resets} restarts"
    await up(machine)
    assert any(name.startswith(f"passevue_{old.version}.efi") for name in await ukis(machine))
    await machine.serves("/healthz", BOOT_S)


async def test_an_update_from_a_stick_starts_proves_itself_and_keeps_the_data(
    lab: Lab, releases: Releases, tmp_path: Path
) -> None:
    new = releases.good()
    state = lab.provisioned("update")
    ledger, supply = Ledger(), messages()
    async with lab.machine(state) as machine:
        await machine.switch_on()
        await up(machine)
        await takes_messages(machine, ledger, supply)
        seen = (await Trail.of(machine)).seen
        loop = asyncio.get_running_loop()
        started = loop.time()
        took = await update_from_stick(machine, new.bundle, tmp_path / "stick.raw")
        lab.figures["an update of that size read from a stick"] = f"{took:.0f} s, {_size(new.bundle) / 1e6:.0f} MB"
        lab.figures["an update, until the box restarts"] = f"{loop.time() - started:.0f} s"
        started = loop.time()
        await up(machine)
        assert await root_hash(machine) == new.root_hash
        await machine.serves("/healthz", BOOT_S)
        lab.figures["restart into an update, until the page"] = f"{loop.time() - started:.0f} s"
        await eventually(lambda: ukis(machine), lambda names: f"passevue_{new.version}.efi" in names, BOOT_S)
        await tells(machine, "done", None, seen)
        await nothing_lost(machine, ledger)


async def test_after_an_agent_that_does_not_start_the_old_version_is_back(lab: Lab, releases: Releases) -> None:
    new = releases.broken("agent", 2)
    ledger = Ledger()
    async with lab.machine(lab.provisioned("broken-agent"), carrying(new.bundle)) as machine:
        await machine.switch_on()
        await up(machine)
        await takes_messages(machine, ledger, messages())
        seen = (await Trail.of(machine)).seen
        await update(machine, new.bundle)
        loop = asyncio.get_running_loop()
        started = loop.time()
        await comes_back(machine, lab.image, tries=1)
        lab.figures["restart into an agent that does not start, until the old page"] = f"{loop.time() - started:.0f} s"
        await tells(machine, "undone", "501", seen)
        await nothing_lost(machine, ledger)


async def test_after_a_kernel_that_panics_the_old_version_is_back(lab: Lab, releases: Releases) -> None:
    new = releases.with_broken_kernel()
    ledger = Ledger()
    async with lab.machine(lab.provisioned("broken-kernel"), carrying(new.bundle)) as machine:
        await machine.switch_on()
        await up(machine)
        await takes_messages(machine, ledger, messages())
        seen = (await Trail.of(machine)).seen
        await update(machine, new.bundle)
        await comes_back(machine, lab.image)
        await tells(machine, "undone", "501", seen)
        await nothing_lost(machine, ledger)


async def test_after_a_slot_that_rotted_the_old_version_is_back(lab: Lab, releases: Releases) -> None:
    new = releases.good()
    state, ledger = lab.provisioned("rotten-slot"), Ledger()
    async with lab.machine(state, carrying(new.bundle)) as machine:
        await machine.switch_on()
        await up(machine)
        await takes_messages(machine, ledger, messages())
        seen = (await Trail.of(machine)).seen
        await update(machine, new.bundle)
        await machine.cut_power()  # the firmware runs: nothing of the new version has started
        disk = DiskEdit(state.disk)
        disk.flip(disk.partition(f"passevue_{new.version}"), 1024 + 100)
        await machine.switch_on()
        await comes_back(machine, lab.image)
        await tells(machine, "undone", "501", seen)
        await nothing_lost(machine, ledger)


async def test_a_slot_that_rots_after_it_has_proved_itself_is_left_for_the_other(lab: Lab, releases: Releases) -> None:
    new = releases.good()
    state = lab.provisioned("rotten-later")
    ledger, supply = Ledger(), messages()
    async with lab.machine(state, carrying(new.bundle)) as machine:
        await machine.switch_on()
        await up(machine)
        await update(machine, new.bundle)
        await up(machine)
        await eventually(lambda: ukis(machine), lambda names: f"passevue_{new.version}.efi" in names, BOOT_S)
        await takes_messages(machine, ledger, supply)
        seen = (await Trail.of(machine)).seen
        await machine.console.run("systemctl", "start", "passevue-guard.service", timeout_s=120)
        assert f"passevue_{new.version}+{STARTS}-{GUARDED}.efi" in await ukis(machine)
        await machine.console.run("systemctl", "poweroff", check=False)
        await machine.gone(300)
        disk = DiskEdit(state.disk)
        disk.flip(disk.partition(f"passevue_{new.version}"), 1024 + 100)
        loop = asyncio.get_running_loop()
        started = loop.time()
        await machine.switch_on()
        await comes_back(machine, lab.image, STARTS)
        lab.figures[f"{STARTS} starts of a slot that has rotted, then the other"] = f"{loop.time() - started:.0f} s"
        assert f"passevue_{new.version}+0-{GUARDED + STARTS}.efi" in await ukis(machine)
        await tells(machine, "undone", "505", seen)
        await nothing_lost(machine, ledger)


async def written(machine: Machine) -> tuple[int, bool]:
    """How many percent RAUC says that it has done, and whether it is still at it."""
    asked = ("get-property", "de.pengutronix.rauc", "/", "de.pengutronix.rauc.Installer", "Progress", "Operation")
    said = (await machine.console.run("busctl", "--json=short", *asked)).out.splitlines()
    progress, operation = (json.loads(line)["data"] for line in said)
    return int(progress[0]), operation == "installing"


async def test_a_power_cut_during_installation_leaves_a_box_that_starts(
    lab: Lab, releases: Releases, coin: random.Random
) -> None:
    """Old or new, never neither; what was acknowledged is there. The cuts are spread over what RAUC has written: by the
    last the new version may run.
    """
    new = releases.good()
    state = lab.provisioned("cut-update")
    state.make_fickle()
    ledger, supply = Ledger(), messages()
    async with lab.machine(state, carrying(new.bundle)) as machine:
        machine.seed = f"{coin.random()}"
        inside = done = 0
        for cut in range(CUTS):
            await machine.switch_on()
            await up(machine)
            assert await root_hash(machine) in (lab.image.root_hash, new.root_hash)
            await takes_messages(machine, ledger, supply)
            if await root_hash(machine) == new.root_hash:
                lab.say(f"before cut {cut + 1}: the new version runs: the installation had ended")
                break
            await bring(machine, new.bundle)
            await machine.console.run(*UPDATE, BUNDLE, timeout_s=INSTALL_S, check=False)  # one may be under way yet
            after = 1 + 94 * (cut + coin.random()) / CUTS
            percent, writing = await eventually(
                lambda: written(machine), lambda told, after=after: told[0] >= after, INSTALL_S, pause_s=coin.random()
            )
            await machine.cut_power()
            done, inside = done + 1, inside + writing
            lab.say(f"cut {cut + 1} of {CUTS} at {percent} % of the installation; {machine.disk_said}")
        if not machine.on:
            await machine.switch_on()
        await up(machine)
        await machine.serves("/healthz", BOOT_S)
        await nothing_lost(machine, ledger)
    assert done >= CUTS - 1, f"{done} cuts, then the installation had ended"
    assert 2 * inside > done, f"{inside} of {done} cuts came while RAUC wrote"
    lab.figures[f"{done} power cuts during installation"] = f"{inside} while RAUC wrote: always starts, nothing lost"


def test_a_release_that_changes_the_agent_alone_is_little_to_fetch(lab: Lab, releases: Releases) -> None:
    """Of a box that streams it. How it is counted: image/rauc/fetched.py."""
    new = releases.with_changed_agent()
    counted = [REPOSITORY / "image/rauc/fetched.py", lab.image.folder, new.folder, "--most", AGENT_ONLY_MB]
    said = subprocess.run([str(each) for each in counted], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    lab.figures["fetched for three changed modules of the agent"] = said.stdout.splitlines()[-1].partition(": ")[2]


async def test_bundles_that_are_not_ours_or_not_whole_change_nothing(
    lab: Lab, releases: Releases, tmp_path: Path
) -> None:
    new = releases.good()
    whole = new.bundle.read_bytes()
    bad = {
        "one bit": whole[:100_000] + bytes([whole[100_000] ^ 1]) + whole[100_001:],
        "cut": whole[: len(whole) // 2],
        "without signature": whole[: len(whole) - 4096],
        "empty": b"",
        "not a bundle": bytes(1 << 20),
    }
    places, start = {}, 0
    with (tmp_path / "bad").open("wb") as file:
        for name, data in bad.items():
            places[name] = (start, len(data))
            file.write(data)
            start += len(data)
    async with lab.machine(lab.provisioned("bad-bundles"), carrying(tmp_path / "bad")) as machine:
        await machine.switch_on()
        await up(machine)
        before = await ukis(machine)
        for name, (at, size) in places.items():
            take = 'tail -c "+$(($1 + 1))" /dev/disk/by-id/virtio-bundle | head -c "$2" >"$3"'
            await machine.console.run("sh", "-c", take, "sh", str(at), str(size), BUNDLE, timeout_s=600)
            said = await machine.console.run("rauc", "install", BUNDLE, timeout_s=INSTALL_S, check=False)
            assert said.code, f"{name} was installed"
            assert await ukis(machine) == before, name
    partitions = DiskEdit(State(lab.folder / "bad-bundles").disk).partitions()
    assert [one.label for one in partitions].count("_empty") == 2, "the other slot was written"
