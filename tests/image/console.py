"""Commands run as root in the guest, over a virtio-serial port: the tests' way in, which the product does not have.

The far end is guest_console.py. It reaches the guest as a systemd credential in QEMU's SMBIOS table (type 11): systemd
(debug-generator, from 256) makes a unit of it. Nothing is added to the image.
"""

import asyncio
import base64
import contextlib
import json
import shlex
from dataclasses import dataclass
from itertools import count
from pathlib import Path

PORT_NAME = "passevue.test"
UNIT = "console-of-tests.service"  # not passevue-*: those are shut in by passevue-.service.d
SLOW = (r"dev-disk-by\x2dpartlabel-passevue\x2dvar", "dev-mapper-root", "dev-mapper-var")
ZONES = ("intake", "national", "page", "host", "facts")
# The gate takes ten minutes to give up, ten more to trust a new version; tests have not so long (fleet.md § 6).
HASTY = "[Service]\nExecStart=\nExecStart=/usr/lib/passevue/health --within 240 --steady 20\n"
_GUEST = Path(__file__).with_name("guest_console.py")
_AGAIN_S = 10  # a request that a reset of the guest swallowed is put again


@dataclass(frozen=True)
class Said:
    """What a command in the guest said."""

    code: int
    out: str
    err: str
    raw: bytes = b""

    def __str__(self) -> str:
        return f"code {self.code}\n{self.out}{self.err}"


class CommandFailed(Exception):
    def __init__(self, argv: tuple[str, ...], said: Said) -> None:
        super().__init__(f"{shlex.join(argv)}: {said}")
        self.said = said


def smbios() -> list[str]:
    """QEMU's arguments that bring the console's unit into the guest."""
    program = base64.b64encode(_GUEST.read_bytes()).decode()
    unit = f"""[Unit]
Description=Console of the tests
ConditionPathExists=!/etc/initrd-release
DefaultDependencies=no
After=systemd-tmpfiles-setup-dev.service
IgnoreOnIsolate=yes

[Service]
ExecStart=/usr/bin/python3 -I -c "import base64;exec(base64.b64decode('{program}'))"
OOMScoreAdjust=-1000
Restart=always
"""
    wanted = f"[Unit]\nWants={UNIT}\n"
    patient = "[Unit]\nJobRunningTimeoutSec=infinity\n"  # ninety seconds are not long on an emulated machine,
    unhurried = "[Service]\nTimeoutStartSec=15min\n"  # nor are three minutes
    return [
        *(word for zone in ZONES for word in _credential(f"systemd.unit-dropin.passevue-{zone}.service", unhurried)),
        *(word for device in SLOW for word in _credential(f"systemd.unit-dropin.{device}.device", patient)),
        *_credential("systemd.unit-dropin.passevue-health.service", HASTY),
        *_credential(f"systemd.extra-unit.{UNIT}", unit),
        *_credential("systemd.unit-dropin.sysinit.target", wanted),
        *_credential("systemd.unit-dropin.emergency.target", wanted),
    ]


def _credential(name: str, text: str) -> list[str]:
    return ["-smbios", f"type=11,value=io.systemd.credential.binary:{name}={base64.b64encode(text.encode()).decode()}"]


class Console:
    """One at a time. Survives resets of the guest, since QEMU keeps the socket."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._numbers = count(1)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def run(self, *argv: str, stdin: bytes = b"", timeout_s: float = 60, check: bool = True) -> Said:
        """Run `argv` in the guest.

        Raises:
            CommandFailed: its code was not 0 (with `check`).
            TimeoutError: the guest did not answer in time; there may be no guest.
        """
        async with self._one_at_a_time:
            said = await self._exchange(argv, stdin, timeout_s)
        if check and said.code:
            raise CommandFailed(argv, said)
        return said

    async def answers(self, wait_s: float) -> None:
        """Wait until the guest's console is there, however often it resets meanwhile."""
        async with asyncio.timeout(wait_s), self._one_at_a_time:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_AGAIN_S):
                        if not (await self._exchange(("true",), b"", _AGAIN_S)).code:
                            return

    async def close(self) -> None:
        if self._streams:
            self._streams[1].close()
            with contextlib.suppress(OSError):
                await self._streams[1].wait_closed()
            self._streams = None

    async def _exchange(self, argv: tuple[str, ...], stdin: bytes, timeout_s: float) -> Said:
        number = next(self._numbers)
        if self._streams is None:
            self._streams = await asyncio.open_unix_connection(str(self._path), limit=1 << 28)
        reader, writer = self._streams
        request = {"id": number, "argv": argv, "stdin": base64.b64encode(stdin).decode(), "timeout_s": timeout_s}
        writer.write(b"\n" + json.dumps(request).encode() + b"\n")
        async with asyncio.timeout(timeout_s + 30):
            await writer.drain()
            while True:
                line = await reader.readline()
                if not line:
                    raise ConnectionError("QEMU has gone")
                with contextlib.suppress(ValueError, KeyError):
                    reply = json.loads(line)
                    if reply["id"] == number:
                        break
        out, err = base64.b64decode(reply["out"]), base64.b64decode(reply["err"])
        return Said(reply["code"], out.decode(errors="replace"), err.decode(errors="replace"), out)
