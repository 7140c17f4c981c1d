"""The place where the appliance is tested: one image, one virtual PC at a time, what was measured on the way.

    lab.first_boot      what the fresh image said at its first boot
    await lab.box()     the configured box, running, exactly as it was after its second boot (a snapshot: seconds)
    async with lab.machine(lab.fresh("name")) as machine: ...        a machine of one's own, switched off
    lab.provisioned("name")                                          its copy after first boot and configuration

A first and a second boot cost minutes without hardware virtualisation, so all tests share them. PASSEVUE_IMAGE_KEEP=1
keeps them for the next run of the same image too (to write tests with; never where results count).
"""

import asyncio
import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.image.artefacts import BUILD, Image
from tests.image.configured import Site
from tests.image.machine import Hardware, Machine
from tests.image.screen import digits_on, screen
from tests.image.state import State
from tests.image.waiting import eventually
from tests.peers.ans import Ans

PORTS = {"page": 443, "ris": 2575, "modality": 11112}
BOOT_S = 1500  # an emulated machine on two busy cores; alone it takes a tenth of it
SETTLED_S = 900
READY = "ready"
CLAIMED = "the screen once the box is somebody's, without a restart"


@dataclass
class Boot:
    """One start, as seen from outside and inside. Seconds since the power button."""

    console_s: float = 0.0
    page_s: float = 0.0  # 0: it never answered
    state: str = ""  # as systemd calls it
    enrolled: bool = False  # the loader wrote our Secure Boot keys, and restarted
    said: dict[str, str] = field(default_factory=dict)  # by command line

    def __str__(self) -> str:
        page = f"the page answered after {self.page_s:.0f} s" if self.page_s else "the page did not answer"
        return f"{page}, the system is {self.state}"


@dataclass
class Lab:
    image: Image
    folder: Path
    say: Callable[[str], None]
    figures: dict[str, str] = field(default_factory=dict)
    first_boot: Boot = field(default_factory=Boot)
    second_boot: Boot = field(default_factory=Boot)

    def __post_init__(self) -> None:
        self.keep = kept()
        self.site = Site(self.folder / "site")
        self.image = _own(self.image, self.folder / "image")
        self._box: Machine | None = None

    # Machines

    def fresh(self, name: str) -> State:
        return State.new(self._place(name), self.image.disk)

    def provisioned(self, name: str) -> State:
        return State(self.folder / "provisioned").copy(self._place(name))

    def machine(self, state: State, hardware: Hardware | None = None) -> "Own":
        return Own(self, state, hardware)

    async def box(self) -> Machine:
        """The shared box, as it was when it was ready: whatever the test before has done to it is undone."""
        if self._box is None:
            self._box = Machine(State(self.folder / "box"), ports=PORTS)
        await self._box.cut_power()
        await self._box.switch_on(READY)
        await self._box.console.answers(60)
        return self._box

    async def put_away(self) -> None:
        """The shared box is switched off: there is place for another."""
        if self._box:
            await self._box.cut_power()

    async def close(self) -> None:
        if self._box:
            await self._box.close()

    # The first boots

    async def prepare(self) -> None:
        """From the image to the box that is ready."""
        told = self.folder / "boots.json"
        if told.exists():
            boots = json.loads(told.read_text())
            self.first_boot, self.second_boot = Boot(**boots["first"]), Boot(**boots["second"])
            self.figures = boots["figures"]
            return
        async with Ans() as ans:
            await self._boots(ans)
        self.figures["first boot, power to page"] = f"{self.first_boot.page_s:.0f} s"
        self.figures["second boot, power to page"] = f"{self.second_boot.page_s:.0f} s"
        boots = {"first": asdict(self.first_boot), "second": asdict(self.second_boot), "figures": self.figures}
        told.write_text(json.dumps(boots, indent=1))

    async def _boots(self, ans: Ans) -> None:
        async with Machine(self.fresh("provisioned"), ports=PORTS) as machine:
            self.say("first boot: partitions, encryption, keys")
            self.first_boot = await self._boot(machine, FIRST)
            self.say(f"first boot: {self.first_boot}; configuring")
            await self.site.configure(machine, ans)
            await self.site.ready(machine)  # the store is made: from here on, each start is like the next
            with contextlib.suppress(TimeoutError):  # a test says so
                await eventually(lambda: screen(machine), lambda text: self.site.fingerprint in digits_on(text), 120)
            self.first_boot.said[CLAIMED] = await screen(machine)
            await machine.console.run("systemctl", "poweroff", check=False)
            await machine.gone(BOOT_S)
        async with Machine(self.provisioned("box"), ports=PORTS) as machine:
            self.say("second boot")
            self.second_boot = await self._boot(machine, SECOND)
            self.say(f"second boot: {self.second_boot}")
            await self.site.has_lists(machine)
            await machine.save(READY)

    async def _boot(self, machine: Machine, commands: tuple[str, ...]) -> Boot:
        boot = Boot()
        await machine.switch_on()

        async def page() -> None:
            await machine.serves("/healthz", BOOT_S)
            boot.page_s = time.monotonic() - machine.switched_on

        waiting = asyncio.create_task(page())
        try:
            await machine.console.answers(BOOT_S)
            boot.console_s = time.monotonic() - machine.switched_on
            boot.state = await settled(machine)
            await asyncio.wait([waiting], timeout=30)
        finally:
            waiting.cancel()
        boot.enrolled = "Secure Boot keys successfully enrolled" in machine.serial()
        for command in commands:
            boot.said[command] = (await machine.console.run("sh", "-c", command, check=False)).out
        journal = await machine.console.run("journalctl", "-b", "-o", "short-monotonic", "--no-pager", timeout_s=300)
        await asyncio.to_thread((machine.state.folder / "journal").write_text, journal.out)
        return boot

    def _place(self, name: str) -> Path:
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        return folder


async def settled(machine: Machine, wait_s: float = SETTLED_S) -> str:
    """Wait until nothing is being started any more; what systemd then calls the system."""

    async def state() -> str:
        return (await machine.console.run("systemctl", "is-system-running", check=False)).out.strip()

    with contextlib.suppress(TimeoutError):
        return await eventually(state, lambda now: now not in ("initializing", "starting", "offline"), wait_s, 3)
    return "starting"


class Own:
    """A machine of a test's own; the shared box is switched off meanwhile."""

    def __init__(self, lab: Lab, state: State, hardware: Hardware | None) -> None:
        self._lab = lab
        self._machine = Machine(state, ports=PORTS, hardware=hardware)

    async def __aenter__(self) -> Machine:
        await self._lab.put_away()
        return self._machine

    async def __aexit__(self, *_: object) -> None:
        await self._machine.close()


def kept() -> bool:
    return os.environ.get("PASSEVUE_IMAGE_KEEP") == "1"


def _own(image: Image, folder: Path) -> Image:
    """The same files under a name of ours: a build meanwhile takes nothing away."""
    if not folder.exists():
        folder.mkdir()
        for file in filter(Path.is_file, image.folder.iterdir()):
            os.link(file, folder / file.name)
    return Image(folder)


def folder_of(image: Image) -> Path:
    return BUILD / "test" / image.root_hash[:16]


# What is asked at the end of each boot, once.
FIRST = (
    "journalctl -b -o cat -u systemd-repart.service --no-pager",
    "lsblk -J -o NAME,TYPE,FSTYPE,PARTLABEL,PARTUUID,SIZE,MOUNTPOINTS",
    "cat /proc/cmdline",
    "systemctl --failed --plain --no-legend",
    "cat /etc/machine-id",
)
SECOND = (
    "systemd-analyze time",
    "systemctl --failed --plain --no-legend",
    "cat /proc/cmdline",
    "cat /etc/machine-id",
)
