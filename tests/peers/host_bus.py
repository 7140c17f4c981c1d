"""A system bus of its own with RAUC, systemd and logind on it, as far as the box asks them; what goes wrong is a
switch.

    async with HostBus.start(tmp_path) as host: …          # host.address for DBUS_SYSTEM_BUS_ADDRESS

The bus is a real dbus-daemon. RAUC's names, signatures, signals and texts are those of RAUC 1.13.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dbus_fast import PropertyAccess, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusError
from dbus_fast.service import ServiceInterface, dbus_property, method, signal

CONF = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
</policy>
</busconfig>"""


@dataclass
class Faults:
    """Switches of RAUC."""

    inspect: str = ""  # an error text
    begin: str = ""  # InstallBundle answers with this error
    install: str = ""  # ends with 1 and this as LastError
    vanish_at: int = 101  # the service goes away at this percentage
    mute: bool = False  # no Completed signal
    slow_s: float = 0.0  # between two steps


class RaucService(ServiceInterface):
    def __init__(self, version: str = "1.5.0", compatible: str = "passevue-x86-64") -> None:
        super().__init__("de.pengutronix.rauc.Installer")
        self.version, self.compatible = version, compatible
        self.faults = Faults()
        self.installed: list[tuple[str, dict[str, object]]] = []
        self.other_good = True
        self.operation, self.last_error, self.progress = "idle", "", [0, "", 0]
        self.tasks: set[asyncio.Task[None]] = set()
        self.vanish = asyncio.Event()

    @method()
    def InspectBundle(self, bundle: "s", args: "a{sv}") -> "a{sv}":  # noqa: F722, F821
        if self.faults.inspect:
            raise DBusError("org.gtk.GDBus.UnmappedGError.Quark._r_2dbundle_2derror_2dquark.Code2", self.faults.inspect)
        if not Path(bundle).is_file():
            raise DBusError("org.gtk.GDBus.UnmappedGError", "Failed to open bundle: No such file or directory")
        update = {"compatible": Variant("s", self.compatible), "version": Variant("s", self.version)}
        return {"manifest-hash": Variant("s", "00"), "update": Variant("a{sv}", update)}

    @method()
    def InstallBundle(self, source: "s", args: "a{sv}") -> None:  # noqa: F722, F821
        if self.faults.begin:
            raise DBusError("org.freedesktop.DBus.Error.Failed", self.faults.begin)
        if self.operation != "idle":
            raise DBusError("org.freedesktop.DBus.Error.Failed", "already processing a different method")
        self.installed.append((source, args))
        task = asyncio.create_task(self._install())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    @method()
    def GetSlotStatus(self) -> "a(sa{sv})":  # noqa: F722
        def slot(name: str, boot: str, booted: bool, good: bool) -> list[object]:
            told = {"bootname": boot, "state": "booted" if booted else "inactive", "class": "rootfs"}
            status = {"boot-status": Variant("s", "good" if good else "bad")}
            return [name, {key: Variant("s", value) for key, value in told.items()} | status]

        verity = ["verity.0", {"class": Variant("s", "verity"), "state": Variant("s", "active")}]
        return [slot("rootfs.0", "A", True, True), slot("rootfs.1", "B", False, self.other_good), verity]

    @dbus_property(access=PropertyAccess.READ)
    def Operation(self) -> "s":  # noqa: F821
        return self.operation

    @dbus_property(access=PropertyAccess.READ)
    def LastError(self) -> "s":  # noqa: F821
        return self.last_error

    @dbus_property(access=PropertyAccess.READ)
    def Progress(self) -> "(isi)":  # noqa: F821
        return self.progress

    @signal()
    def Completed(self, result: int) -> "i":  # noqa: F821
        return result

    async def _install(self) -> None:
        self.operation, self.last_error = "installing", ""
        self.emit_properties_changed({"Operation": self.operation})
        steps = (
            (0, "Installing"),
            (20, "Checking bundle done."),
            (40, "Copying image to rootfs.1"),
            (80, "Copying image to uki.1"),
        )
        for percent, text in steps:
            if percent >= self.faults.vanish_at:
                self.operation = "idle"
                self.vanish.set()
                return
            self.progress = [percent, text, 1]
            self.emit_properties_changed({"Progress": self.progress})
            await asyncio.sleep(self.faults.slow_s)
        self.last_error = self.faults.install
        self.operation = "idle"
        self.progress = [100, "Installing failed." if self.last_error else "Installing done.", 0]
        self.emit_properties_changed(
            {"Operation": self.operation, "Progress": self.progress, "LastError": self.last_error}
        )
        if not self.faults.mute:
            self.Completed(1 if self.last_error else 0)


class Login(ServiceInterface):
    def __init__(self) -> None:
        super().__init__("org.freedesktop.login1.Manager")
        self.reboots = 0
        self.refuses = False

    @method()
    def Reboot(self, interactive: "b") -> None:  # noqa: F821
        if self.refuses:
            raise DBusError("org.freedesktop.DBus.Error.AccessDenied", "Permission denied")
        self.reboots += 1


class UnitObject(ServiceInterface):
    def __init__(self, state: str) -> None:
        super().__init__("org.freedesktop.systemd1.Unit")
        self.state = state

    @dbus_property(access=PropertyAccess.READ)
    def ActiveState(self) -> "s":  # noqa: F821
        return self.state

    @dbus_property(access=PropertyAccess.READ)
    def SubState(self) -> "s":  # noqa: F821
        return "running" if self.state == "active" else "dead"


class ServiceObject(ServiceInterface):
    def __init__(self) -> None:
        super().__init__("org.freedesktop.systemd1.Service")
        self.restarts = 0

    @dbus_property(access=PropertyAccess.READ)
    def NRestarts(self) -> "u":  # noqa: F821
        return self.restarts


class Systemd(ServiceInterface):
    """Any unit that is asked for is there and runs, unless `state` says otherwise."""

    def __init__(self, bus: MessageBus) -> None:
        super().__init__("org.freedesktop.systemd1.Manager")
        self._bus = bus
        self.units: dict[str, tuple[UnitObject, ServiceObject]] = {}

    def unit(self, name: str) -> tuple[UnitObject, ServiceObject]:
        if name not in self.units:
            self.units[name] = UnitObject("active"), ServiceObject()
            for interface in self.units[name]:
                self._bus.export(self.path(name), interface)
        return self.units[name]

    @staticmethod
    def path(name: str) -> str:
        return "/org/freedesktop/systemd1/unit/" + "".join(c if c.isalnum() else f"_{ord(c):02x}" for c in name)

    @method()
    def LoadUnit(self, name: "s") -> "o":  # noqa: F821
        self.unit(name)
        return self.path(name)


@dataclass
class HostBus:
    address: str
    rauc: RaucService
    login: Login
    systemd: Systemd
    buses: list[MessageBus] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def start(cls, folder: Path, version: str = "1.5.0") -> AsyncIterator["HostBus"]:
        path = folder / "bus"
        conf = folder / "bus.conf"
        conf.write_text(CONF.format(path=path))
        daemon = await asyncio.create_subprocess_exec(
            "dbus-daemon",
            f"--config-file={conf}",
            "--nofork",
            "--nopidfile",
            "--print-address",
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert daemon.stdout is not None
            await daemon.stdout.readline()
            host = await cls._join(f"unix:path={path}", version)
            watch = asyncio.create_task(host._vanishing())
            try:
                yield host
            finally:
                watch.cancel()
                for bus in host.buses:
                    bus.disconnect()
        finally:
            daemon.terminate()
            await daemon.wait()

    @classmethod
    async def _join(cls, address: str, version: str) -> "HostBus":
        rauc, login = RaucService(version), Login()
        one, two, three = [await MessageBus(bus_address=address).connect() for _ in range(3)]
        systemd = Systemd(three)
        one.export("/", rauc)
        two.export("/org/freedesktop/login1", login)
        three.export("/org/freedesktop/systemd1", systemd)
        await one.request_name("de.pengutronix.rauc")
        await two.request_name("org.freedesktop.login1")
        await three.request_name("org.freedesktop.systemd1")
        return cls(address, rauc, login, systemd, [one, two, three])

    async def _vanishing(self) -> None:
        """RAUC's service dies, and is there again when somebody asks, as the bus would start it."""
        while True:
            await self.rauc.vanish.wait()
            self.rauc.vanish.clear()
            await self.buses[0].release_name("de.pengutronix.rauc")
            await asyncio.sleep(0.2)
            self.rauc.faults.vanish_at = 101
            await self.buses[0].request_name("de.pengutronix.rauc")


async def main() -> None:
    """By hand: `DBUS_SYSTEM_BUS_ADDRESS=… passevue …` beside it."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        async with HostBus.start(Path(folder)) as host:
            print(f"DBUS_SYSTEM_BUS_ADDRESS={host.address}", flush=True)
            await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    os.umask(0o077)
    asyncio.run(main())
