"""What is asked of systemd over D-Bus: to restart the machine, and how units are."""

from typing import Any

from passevue.update.bus import Bus, Name

SYSTEMD = Name("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
LOGIN = Name("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
_UNIT = "org.freedesktop.systemd1.Unit"
_SERVICE = "org.freedesktop.systemd1.Service"


async def reboot(bus: Bus) -> None:
    """Raises: BusGone, BusError."""
    await bus.call(LOGIN, "Reboot", "b", False)


async def unit(bus: Bus, name: str) -> dict[str, Any]:
    """Properties of a unit: `ActiveState`, `SubState`, `ConditionResult`, and `NRestarts` of a service.

    Raises:
        BusGone, BusError: systemd does not say.
    """
    (path,) = await bus.call(SYSTEMD, "LoadUnit", "s", name)
    told = await bus.properties(Name(SYSTEMD.service, path, _UNIT))
    found = {key: told.get(key) for key in ("ActiveState", "SubState", "ConditionResult", "LoadState")}
    if name.endswith(".service"):
        found["NRestarts"] = await bus.property(Name(SYSTEMD.service, path, _SERVICE), "NRestarts")
    return found
