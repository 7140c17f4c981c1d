"""What a machine is while it is switched off: disk, firmware variables, TPM. Cheap to copy; a copy is a machine apart.

    state = State.new(folder, image=Path("passevue.raw"))
    other = state.copy(folder2)          # same disk, same TPM: before what is done to one or the other
    other.replace_tpm()                  # the disk in another machine
    other.make_fickle()                  # for power cuts

Disks are qcow2 overlays: copying writes nothing of the disk itself. The folder copied from must not run meanwhile or
afterwards.
"""

import shutil
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from tests.image import firmware

DISK_BYTES = 16 << 30


@dataclass(frozen=True)
class State:
    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "disk.qcow2"

    @property
    def fickle(self) -> Path:
        """When it is there, it is the disk, and loses at a power cut what was not flushed (fickle_disk.py)."""
        return self.folder / "disk.raw"

    @property
    def variables(self) -> Path:
        return self.folder / "variables.qcow2"

    @property
    def tpm(self) -> Path:
        return self.folder / "tpm"

    @property
    def serial_number(self) -> uuid.UUID:
        """What the board's maker wrote into its firmware (SMBIOS type 1): a copy of the machine is the same machine."""
        return uuid.UUID((self.folder / "serial_number").read_text())

    @classmethod
    def new(cls, folder: Path, image: Path, disk_bytes: int = DISK_BYTES) -> "State":
        """A machine fresh from the depot: the image on its disk, no keys in its firmware, a TPM that knows nothing."""
        state = cls(folder)
        folder.mkdir(parents=True)
        (folder / "serial_number").write_text(str(uuid.uuid4()))
        overlay(image, "raw", state.disk, disk_bytes)
        state.clear_variables()
        return state

    def copy(self, folder: Path) -> "State":
        other = State(folder)
        folder.mkdir(parents=True)
        shutil.copy(self.folder / "serial_number", folder)
        overlay(self.disk, "qcow2", other.disk)
        shutil.copy(self.variables, other.variables)
        if self.tpm.exists():
            shutil.copytree(self.tpm, other.tpm)
        return other

    def make_fickle(self) -> None:
        run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(self.disk), str(self.fickle))

    def clear_variables(self) -> None:
        """The firmware as its maker delivered it: in setup mode."""
        self._set_variables(firmware.AS_DELIVERED)

    def switch_secure_boot_off(self) -> None:
        now, then = self.folder / "variables.fd", self.folder / "variables-off.fd"
        run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(self.variables), str(now))
        self._set_variables(firmware.secure_boot_off(now, then))

    def _set_variables(self, variables: Path) -> None:
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(variables), str(self.variables))

    def replace_tpm(self) -> None:
        shutil.rmtree(self.tpm, ignore_errors=True)


def overlay(base: Path, form: str, target: Path, size: int | None = None) -> None:
    run(
        *("qemu-img", "create", "-q", "-f", "qcow2", "-F", form, "-b", str(base.resolve()), str(target)),
        *([] if size is None else [str(size)]),
    )


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{argv[0]} left with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
