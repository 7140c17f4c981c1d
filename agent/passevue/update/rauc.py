"""RAUC, asked over D-Bus (de.pengutronix.rauc.Installer; RAUC 1.13).

Facts:
- `InspectBundle` checks the signature and format and tells compatible name and version. `InstallBundle` returns at
  once; the end is the signal `Completed(i)`, 0 for success; why it failed is in the property `LastError`; how far it
  is in `Progress` (percent, text, depth).
- The service is started by the bus when somebody asks; it may go away at any time. A `Completed` that nobody heard is
  found again as `Operation` `idle`.
- Nothing that loosens a check is ever passed: no `ignore-compatible`, no `ignore-version-limit`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from passevue.errors import NetworkError, Refused, TrustError
from passevue.update.bus import Bus, BusError, BusGone, Message, Name

RAUC = Name("de.pengutronix.rauc", "/", "de.pengutronix.rauc.Installer")
INSPECT_S = 120.0
INSTALL_S = 3600.0
LOOK_EVERY_S = 5.0
COMPATIBLE = "passevue-x86-64"

Told = Callable[[int, str], None]  # percent, RAUC's text


@dataclass(frozen=True, slots=True)
class Bundle:
    compatible: str
    version: str


@dataclass(frozen=True, slots=True)
class SlotView:
    """One bootable slot as RAUC sees it."""

    name: str  # rootfs.0
    boot_name: str  # A
    booted: bool
    good: bool
    version: str  # of the bundle last installed there, "" from the factory


class Rauc:
    """RAUC's service on an open bus."""

    def __init__(self, bus: Bus, *, look_every_s: float = LOOK_EVERY_S, install_s: float = INSTALL_S) -> None:
        self._bus = bus
        self._look_every_s = look_every_s
        self._install_s = install_s

    async def inspect(self, bundle: Path) -> Bundle:
        """
        Raises:
            TrustError: RAUC does not believe it.
            BusGone: no RAUC.
        """
        try:
            (told,) = await self._bus.call(RAUC, "InspectBundle", "sa{sv}", str(bundle), {}, within_s=INSPECT_S)
            update = told.get("update", {}) if isinstance(told, dict) else {}
            return Bundle(str(update.get("compatible", "")), str(update.get("version", "")))
        except BusError as err:
            raise TrustError(f"RAUC refuses the bundle: {err.text}", hint=refusal(err.text)) from err

    async def slots(self) -> tuple[SlotView, ...]:
        """The bootable slots. Raises: BusGone, BusError."""
        (found,) = await self._bus.call(RAUC, "GetSlotStatus")
        return tuple(_slot(name, told) for name, told in found if told.get("bootname"))

    async def install(self, bundle: Path, told: Told) -> None:
        """Returns when the other slot is written and is the next to start.

        Raises:
            Refused: `402`: RAUC could not, with its reason. `401`: it does not believe the bundle.
            BusGone: RAUC went away before the end, or never came to it.
        """
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def hear(message: Message) -> None:
            if message.member == "Completed" and message.body:
                _settle(ended, int(message.body[0]))
            elif message.member == "NameOwnerChanged" and message.body[1] and not message.body[2]:
                _settle(ended, -1)
            elif message.member == "PropertiesChanged" and len(message.body) > 1 and "Progress" in message.body[1]:
                _tell(told, message.body[1]["Progress"].value)

        await self._until_idle()  # one that was begun before this process was: ended first, then done anew
        await self._bus.hear(RAUC, hear)
        try:
            await self._bus.call(RAUC, "InstallBundle", "sa{sv}", str(bundle), {})
        except BusError as err:
            raise Refused("402", f"RAUC does not begin: {err.text}", hint=_WRITE_HINT) from err
        try:
            async with asyncio.timeout(self._install_s):
                result = await self._ended(ended, told)
        except TimeoutError as err:
            raise BusGone("RAUC does not come to an end") from err
        if result == -1:
            raise BusGone("RAUC went away while it was writing")
        if result:
            why = str(await self._property("LastError"))
            believed = not any(word in why.lower() for word in ("signature", "verif", "certificate"))
            damaged = "mounting bundle" in why.lower()
            hint = _WRITE_HINT if believed and not damaged else refusal(why)
            raise Refused("402" if believed else "401", f"RAUC failed: {why[:500]}", hint=hint)

    async def _ended(self, ended: "asyncio.Future[int]", told: Told) -> int:
        """The signal, or what the properties say when the signal was missed."""
        idle = 0
        while not ended.done():
            await asyncio.wait([ended], timeout=self._look_every_s)
            if ended.done():
                break
            _tell(told, await self._property("Progress"))
            idle = idle + 1 if await self._property("Operation") == "idle" else 0
            if idle >= 2:  # the signal comes with the change to idle: one look may fall between
                return 1 if await self._property("LastError") else 0
        return ended.result()

    async def _until_idle(self) -> None:
        try:
            async with asyncio.timeout(self._install_s):
                while await self._property("Operation") != "idle":  # noqa: ASYNC110 - another process's
                    await asyncio.sleep(self._look_every_s)
        except TimeoutError as err:
            raise BusGone("RAUC does not come to an end") from err

    async def _property(self, key: str) -> Any:
        return await self._bus.property(RAUC, key)


def refusal(text: str) -> str:
    """What a person reads when RAUC does not believe a bundle."""
    low = text.lower()
    if "revoked" in low:
        return "Ce fichier est signé avec une clé révoquée : demandez-en un autre."
    if "signature" in low or "verif" in low or "certificate" in low:
        return "Ce fichier n’est pas signé par l’éditeur de ce boîtier : il n’est pas installé."
    if "mounting bundle" in low or "format" in low or "squashfs" in low or "size" in low or "short" in low:
        return "Ce fichier est abîmé ou incomplet : téléchargez-le de nouveau."
    return "Ce fichier n’est pas une mise à jour que ce boîtier accepte."


_WRITE_HINT = "La mise à jour n’a pas pu être écrite ; le boîtier continue avec sa version actuelle."


def _slot(name: str, told: dict[str, Any]) -> SlotView:
    return SlotView(
        str(name),
        str(told.get("bootname", "")),
        told.get("state") == "booted",
        told.get("boot-status") == "good",
        str(told.get("bundle.version", "")),
    )


def _settle(future: "asyncio.Future[int]", value: int) -> None:
    if not future.done():
        future.set_result(value)


def _tell(told: Told, progress: Any) -> None:
    if isinstance(progress, (list, tuple)) and len(progress) >= 2:
        told(max(0, min(100, int(progress[0]))), str(progress[1])[:200])


def error_code(error: Exception) -> str:
    """The code of fleet.md § 6 for what went wrong."""
    match error:
        case Refused():
            return error.code
        case TrustError():
            return "401"
        case NetworkError():
            return "402"
    return "402"
