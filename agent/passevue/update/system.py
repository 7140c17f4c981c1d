"""RAUC and systemd behind the updater's seam: each question on a connection of its own, so that none outlives the
bus.
"""

from pathlib import Path

from passevue.update.bus import open_bus
from passevue.update.rauc import Bundle, Rauc, Told
from passevue.update.systemd import reboot


class System:
    """`updater.Installer` on the system bus."""

    async def inspect(self, bundle: Path) -> Bundle:
        async with open_bus() as bus:
            return await Rauc(bus).inspect(bundle)

    async def install(self, bundle: Path, told: Told) -> None:
        async with open_bus() as bus:
            await Rauc(bus).install(bundle, told)

    async def reboot(self) -> None:
        async with open_bus() as bus:
            await reboot(bus)
