"""A TPM that is a program (swtpm), reached by the TPM's own tools over two ports of this machine.

with Chip(folder) as chip:
    Tpm(chip.tcti).key() …
    chip.restart()                      # the machine was off: another start, by the TPM's own count
"""

import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

import pytest

from passevue.notary.tpm import Tpm

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
SWTPM = shutil.which("swtpm", path=_PATH)
needs_tpm = pytest.mark.skipif(
    SWTPM is None or shutil.which("tpm2_gettime") is None, reason="swtpm or tpm2-tools is not installed"
)
_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
STARTS_WITHIN_S = 60.0
TRIES = 50


class Chip:
    """Runs while it is open. Its seeds and what it keeps lie in `folder`: another folder is another TPM."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    def __enter__(self) -> "Chip":
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def tcti(self) -> str:
        return f"swtpm:host=127.0.0.1,port={self._port}"

    @property
    def tpm(self) -> Tpm:
        """Empty of what was loaded before: the kernel's `/dev/tpmrm0` sees to that for each program."""
        tpm = Tpm(self.tcti)
        tpm.run("tpm2_flushcontext", "-t")
        return tpm

    def restart(self) -> None:
        self.stop()
        self._start()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for _ in range(TRIES):  # somebody may take a port between our look and its start: then two others
            self._port = _two_free_ports()
            self._process = self._run()
            if self._answers():
                return
            self.stop()
        raise RuntimeError(f"swtpm does not start: {(self._folder / 'log').read_text(errors='replace')[-500:]}")

    def _run(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                str(SWTPM), "socket", "--tpm2", "--tpmstate", f"dir={self._folder}",
                "--server", f"type=tcp,bindaddr=127.0.0.1,port={self._port}",
                "--ctrl", f"type=tcp,bindaddr=127.0.0.1,port={self._port + 1}",
                "--flags", "not-need-init,startup-clear", "--log", f"file={self._folder}/log",
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=_dies_with_us,
        )  # fmt: skip

    def _answers(self) -> bool:
        """Whether our own process, and no other on that port, answers: it lives, and its tools speak with it."""
        assert self._process is not None
        until = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < until and self._process.poll() is None:
            try:
                for port in (self._port + 1, self._port):
                    socket.create_connection(("127.0.0.1", port), timeout=5).close()
            except OSError:
                time.sleep(0.01)
                continue
            return self._process.poll() is None
        return False


def _dies_with_us() -> None:
    """Called in the child before its program: a test run that is killed leaves no TPM behind."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _two_free_ports() -> int:
    """The first of two neighbours: the tools expect the control port right behind the other. Below those that the
    kernel gives to who asks for any, so that a look at one that nobody has does not meet itself."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
