"""One virtual PC that boots the appliance: QEMU with OVMF, Secure Boot, a TPM, a USB controller, a card reader.

    async with Machine(state, ports={"page": 8443, "mllp": 2575}) as machine:
        await machine.switch_on()
        await machine.console.answers(wait_s=300)
        said = await machine.console.run("systemctl", "is-active", "passevue-intake")
    machine.ports["mllp"]            # where the guest's port is on 127.0.0.1
    await machine.plug("usb-kbd", id="keyboard");  await machine.unplug("keyboard")
    await machine.cut_power();  await machine.switch_on()

Everything is emulated, since most build machines have no KVM that does system management mode; PASSEVUE_KVM=1 where it
does. Only one virtual PC runs at a time, over all test runs of this user: a lock is held from switch_on to cut_power.

The guest sees this host as 10.0.2.2; nothing else of the world.
"""

import asyncio
import contextlib
import fcntl
import os
import re
import secrets
import shutil
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import aiohttp

from tests.image import console, firmware
from tests.image.console import Console
from tests.image.qmp import Qmp
from tests.image.state import State
from tests.image.tpm import Tpm, dies_with_us
from tests.peers.card_vscard import VscardLink
from tests.peers.ports import free_port

HOST = "10.0.2.2"  # this machine, as the guest sees it
LOCK = Path(tempfile.gettempdir()) / f"passevue-image-test.{os.getuid()}.lock"
_ESCAPES = re.compile(r"\x1b(\[[0-9;?=]*[A-Za-z]|[()][A-Z0-9]|[=>])")


class MachineError(Exception):
    """The virtual PC is not as it should be: QEMU did not start, or has gone."""


@dataclass(frozen=True)
class Hardware:
    """What is soldered or plugged in before power comes."""

    memory_mib: int = 2048
    cpus: int = 2
    nics: int = 1
    reader: bool = True  # a USB CCID reader, QEMU's
    test_console: bool = True  # brings the unit of console.py in by SMBIOS
    clock: str = "utc"  # QEMU's -rtc base=: a date to boot at another time
    extra: tuple[str, ...] = field(default=())  # QEMU's own arguments


class Machine:
    def __init__(
        self, state: State, *, ports: Mapping[str, int] | None = None, hardware: Hardware | None = None
    ) -> None:
        self.state = state
        self.hardware = hardware or Hardware()
        self.ports = {name: free_port() for name in ports or {}}
        self._guest_ports = dict(ports or {})
        self._run = Path(tempfile.mkdtemp(prefix="pv-vm-"))  # sockets: their paths must be short
        self._tpm = Tpm(state.tpm, self._run / "tpm.sock")
        self._lock: int | None = None
        self._qemu: asyncio.subprocess.Process | None = None
        self._disk: asyncio.subprocess.Process | None = None
        self.seed = secrets.token_hex(4)  # of what a fickle disk loses
        self.cuts = 0
        self.disk_said = ""  # what a fickle disk lost at the last cut
        self._qmp: Qmp | None = None
        self.console = Console(self._run / "console.sock")
        self.reader = VscardLink(self._run / "card.sock") if self.hardware.reader else None
        self.serial_log = state.folder / "serial.log"
        self.switched_on = 0.0  # time.monotonic()

    async def __aenter__(self) -> "Machine":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self.cut_power()
        if self.reader:
            await asyncio.to_thread(self.reader.close)
        shutil.rmtree(self._run, ignore_errors=True)

    # Power

    @property
    def qmp(self) -> Qmp:
        if self._qmp is None:
            raise MachineError("the machine is switched off")
        return self._qmp

    @property
    def on(self) -> bool:
        return self._qemu is not None and self._qemu.returncode is None

    async def switch_on(self, snapshot: str | None = None) -> None:
        """Power; with a snapshot's name, the machine as it was when that was saved.

        A snapshot is loaded into a new QEMU alone: in one that has run, the processor's time stamp counter does not go
        back (QEMU 7.2, cpu_get_ticks), and all of the guest's clocks and watchdogs leap.
        """
        await self._take_the_place()
        await self._tpm.power_on()
        await self._disk_on()
        arguments = self._arguments()
        if snapshot:
            arguments.append("-S")  # nothing runs before it is loaded
        (self.state.folder / "command").write_text(" ".join(arguments) + "\n")
        with (self.state.folder / "qemu.log").open("ab") as log:
            self._qemu = await asyncio.create_subprocess_exec(
                *arguments, stdout=log, stderr=log, preexec_fn=dies_with_us
            )
        self.switched_on = time.monotonic()
        await self._connect()
        if snapshot:
            await self._snapshot_job("snapshot-load", snapshot)
            await self.qmp.execute("cont")

    async def cut_power(self) -> None:
        """At once, as when the plug is pulled. A plain disk keeps what was written, a fickle one what was flushed."""
        await self._disconnect()
        if self._qemu:
            with contextlib.suppress(ProcessLookupError):
                self._qemu.kill()
            await self._qemu.wait()
            self._qemu = None
        await self._disk_off()
        await self._tpm.power_off()
        self._leave_the_place()

    async def gone(self, wait_s: float) -> None:
        """Wait until the guest has switched the machine off by itself."""
        if self._qemu:
            async with asyncio.timeout(wait_s):
                await self._qemu.wait()
        await self.cut_power()

    async def resets(self, wait_s: float, after: int = 0) -> int:
        """Wait until the guest restarts, in QEMU's events from number `after` on; gives that number for next time."""
        await self.qmp.event("RESET", lambda data: bool(data.get("guest")), after=after, wait_s=wait_s)
        return len(self.qmp.events)

    # Snapshots: a running machine, memory and all, inside its qcow2 files

    async def save(self, name: str) -> None:
        await self._snapshot_job("snapshot-save", name)

    async def _snapshot_job(self, kind: str, name: str) -> None:
        nodes = {drive["device"]: drive["inserted"]["node-name"] for drive in await self.qmp.execute("query-block")
                 if drive.get("inserted") and not drive["inserted"]["ro"]}  # fmt: skip
        job = f"{kind}-{len(self.qmp.events)}"
        after = len(self.qmp.events)
        await self.qmp.execute(kind, job_id=job, tag=name, vmstate=nodes["disk"], devices=list(nodes.values()))
        await self.qmp.event(
            "JOB_STATUS_CHANGE", lambda data: data == {"id": job, "status": "concluded"}, after=after, wait_s=300
        )
        for ended in await self.qmp.execute("query-jobs"):
            if ended["id"] == job and "error" in ended:
                raise MachineError(ended["error"])

    # USB and other devices

    async def plug(self, driver: str, id: str, **properties: object) -> None:
        properties.setdefault("bus", "usb.0")
        await self.qmp.execute("device_add", driver=driver, id=id, **properties)

    async def unplug(self, id: str) -> None:
        after = len(self.qmp.events)
        await self.qmp.execute("device_del", id=id)
        await self.qmp.event("DEVICE_DELETED", lambda data: data.get("device") == id, after=after, wait_s=60)

    async def add_drive(self, file: Path, id: str, *, read_only: bool = False) -> None:
        """A raw file as a drive, for a stick: `plug("usb-storage", id="stick", drive=id)`."""
        await self.qmp.execute(
            "blockdev-add",
            driver="raw",
            node_name=id,
            read_only=read_only,
            file={"driver": "file", "filename": str(file)},
        )

    # The guest seen from outside

    def serial(self) -> str:
        """All that came over the serial line since the machine was made, without terminal escapes."""
        return _ESCAPES.sub("", self.serial_log.read_text(errors="replace")) if self.serial_log.exists() else ""

    async def serial_says(self, pattern: str, wait_s: float, since: int = 0) -> re.Match[str]:
        async with asyncio.timeout(wait_s):
            while not (found := re.compile(pattern).search(self.serial(), since)):
                self._must_be_on()
                await asyncio.sleep(0.3)
        return found

    async def get(self, path: str, port: str = "page", *, tls: bool = True, wait_s: float = 10) -> tuple[int, bytes]:
        """Status and body of a page of the guest. Its certificate is its own: not checked here."""
        context: ssl.SSLContext | bool = False
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        url = f"{'https' if tls else 'http'}://127.0.0.1:{self.ports[port]}{path}"
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=wait_s)) as session,
            session.get(url, ssl=context, allow_redirects=False) as response,
        ):
            return response.status, await response.read()

    async def serves(
        self,
        path: str,
        wait_s: float,
        port: str = "page",
        *,
        tls: bool = True,
        fits: Callable[[int, bytes], bool] = lambda status, body: status == 200,
    ) -> tuple[int, bytes]:
        """Wait until the guest serves `path` as it should; what it said at last if it does not."""
        last: object = None
        try:
            async with asyncio.timeout(wait_s):
                while True:
                    self._must_be_on()
                    try:
                        last = got = await self.get(path, port, tls=tls)
                        if fits(*got):
                            return got
                    except (aiohttp.ClientError, OSError, TimeoutError) as err:
                        last = err
                    await asyncio.sleep(0.5)
        except TimeoutError:
            raise TimeoutError(f"{path} within {wait_s} s; last: {last!r}") from None

    # How it is put together

    def _arguments(self) -> list[str]:
        hardware, run = self.hardware, self._run
        kvm = os.environ.get("PASSEVUE_KVM") == "1"
        forwards = "".join(
            f",hostfwd=tcp:127.0.0.1:{self.ports[name]}-:{guest}" for name, guest in self._guest_ports.items()
        )
        arguments = [
            *("qemu-system-x86_64", "-nodefaults", "-display", "none", "-vga", "std"),
            *("-machine", "q35,smm=on", "-accel", "kvm" if kvm else "tcg,thread=multi,tb-size=1024"),
            # Without the instructions that clear memory fast, says the real processor: emulated, they are the slowest.
            *("-cpu", "host" if kvm else "max,-erms,-fsrm", "-smp", str(hardware.cpus), "-m", str(hardware.memory_mib)),
            *("-rtc", f"base={hardware.clock}", "-uuid", str(self.state.serial_number)),
            *("-global", "driver=cfi.pflash01,property=secure,value=on"),
            *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={firmware.CODE}"),
            *("-drive", f"if=pflash,unit=1,format=qcow2,file={self.state.variables}"),
            *("-chardev", f"socket,id=tpm,path={self._tpm.socket}"),
            *("-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0"),
            *("-drive", self._drive(), "-device", "virtio-blk-pci,drive=disk,bootindex=1"),
            *("-netdev", f"user,id=net0{forwards}", "-device", "virtio-net-pci,netdev=net0,mac=52:54:00:70:76:00"),
            *("-device", "virtio-rng-pci", "-device", "qemu-xhci,id=usb,p2=8,p3=8"),
            *("-device", "i6300esb", "-action", "watchdog=reset"),
            *("-chardev", f"file,id=serial,path={self.serial_log},append=on", "-serial", "chardev:serial"),
            *("-chardev", f"socket,id=console,path={run}/console.sock,server=on,wait=off"),
            *("-device", "virtio-serial-pci", "-device", f"virtserialport,chardev=console,name={console.PORT_NAME}"),
            *("-qmp", f"unix:{run}/qmp.sock,server=on,wait=off"),
        ]
        for number in range(1, hardware.nics):
            arguments += ["-netdev", f"user,id=net{number},net=10.0.{2 + number}.0/24"]
            arguments += ["-device", f"virtio-net-pci,netdev=net{number},mac=52:54:00:70:76:0{number}"]
        if self.reader:
            arguments += ["-chardev", f"socket,id=card,path={self.reader.path}"]
            arguments += [
                "-device",
                "usb-ccid,id=reader,bus=usb.0,port=1",
                "-device",
                "ccid-card-passthru,id=card,chardev=card",
            ]
        if hardware.test_console:
            arguments += console.smbios()
        return [*arguments, *hardware.extra]

    async def _disk_on(self) -> None:
        if not self.state.fickle.exists():
            return
        self._disk = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.image.fickle_disk"),
            *("--file", str(self.state.fickle), "--socket", str(self._run / "disk.sock")),
            *("--seed", f"{self.seed}/{self.cuts}"),
            stdout=asyncio.subprocess.PIPE,
            preexec_fn=dies_with_us,
        )
        assert self._disk.stdout
        async with asyncio.timeout(30):
            await self._disk.stdout.readline()  # it listens

    async def _disk_off(self) -> None:
        if self._disk:
            self._disk.terminate()
            said, _ = await self._disk.communicate()
            self.disk_said = said.decode().strip()
            self._disk = None
            self.cuts += 1

    def _drive(self) -> str:
        if self.state.fickle.exists():
            server = f"driver=nbd,server.type=unix,server.path={self._run}/disk.sock".replace(",", ",file.")
            return f"if=none,id=disk,format=raw,file.{server},cache=writeback,discard=unmap"
        return f"if=none,id=disk,format=qcow2,file={self.state.disk},cache=unsafe,discard=unmap"

    async def _connect(self) -> None:
        async with asyncio.timeout(60):
            while self._qmp is None:
                self._must_be_on()
                with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                    self._qmp = await Qmp.connect(self._run / "qmp.sock")
                await asyncio.sleep(0.05)

    async def _disconnect(self) -> None:
        await self.console.close()
        if self._qmp:
            await self._qmp.close()
            self._qmp = None
        for name in ("qmp.sock", "console.sock"):
            (self._run / name).unlink(missing_ok=True)

    def _must_be_on(self) -> None:
        if not self.on:
            log = (self.state.folder / "qemu.log").read_text(errors="replace")
            raise MachineError(f"QEMU has gone: {log[-2000:].strip()}")

    async def _take_the_place(self) -> None:
        handle = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        await asyncio.to_thread(fcntl.flock, handle, fcntl.LOCK_EX)
        self._lock = handle

    def _leave_the_place(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
