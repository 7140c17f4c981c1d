"""A TPM 2.0 that is a program (swtpm), as if soldered to one machine: its state lives in that machine's folder."""

import asyncio
import contextlib
import ctypes
import signal
import subprocess
import tempfile
from pathlib import Path

_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def dies_with_us() -> None:
    """Called in a child before its program: a test run that is killed leaves no machine behind."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Tpm:
    """Runs while its machine is powered; QEMU holds the other end of the socket."""

    def __init__(self, folder: Path, socket: Path) -> None:
        self._folder, self.socket = folder, socket
        self._process: asyncio.subprocess.Process | None = None

    async def power_on(self) -> None:
        if not self._folder.exists():
            manufacture(self._folder)
        self.socket.unlink(missing_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            *("swtpm", "socket", "--tpm2"),
            *("--tpmstate", f"dir={self._folder}"),
            *("--ctrl", f"type=unixio,path={self.socket}"),
            *("--log", f"file={self._folder}/log"),
            preexec_fn=dies_with_us,
        )
        async with asyncio.timeout(30):
            while not self.socket.exists():  # noqa: ASYNC110 (another program makes it)
                await asyncio.sleep(0.02)

    async def power_off(self) -> None:
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._process = None


def manufacture(folder: Path) -> None:
    """A new TPM, with an endorsement key certified by an authority made for it alone, as makers do."""
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        authority = Path(scratch)
        (authority / "ca.conf").write_text(
            f"statedir = {scratch}\nsigningkey = {scratch}/key.pem\nissuercert = {scratch}/issuer.pem\n"
            f"certserial = {scratch}/serial\n"
        )
        (authority / "ca.options").write_text(
            "--platform-manufacturer Tests\n--platform-version 1\n--platform-model VM\n"
        )
        (authority / "setup.conf").write_text(
            "create_certs_tool = /usr/bin/swtpm_localca\n"
            f"create_certs_tool_config = {scratch}/ca.conf\ncreate_certs_tool_options = {scratch}/ca.options\n"
        )
        done = subprocess.run(
            ["swtpm_setup", "--tpm2", "--tpmstate", str(folder), "--create-ek-cert", "--lock-nvram",
             "--config", str(authority / "setup.conf")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"swtpm_setup left with {done.returncode}: {done.stdout}{done.stderr}")
