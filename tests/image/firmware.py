"""OVMF with Secure Boot: as delivered, in setup mode, where the box enrols its own keys at the first start.

Debian's `ovmf` gives code (read only, in system management mode) and empty variables; `virt-fw-vars` of virt-firmware
changes what a person would change in the firmware's setup.
"""

import subprocess
from pathlib import Path

CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd")
AS_DELIVERED = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
TOOLS = Path(__file__).parents[2] / ".cache/image-test"


def secure_boot_off(variables: Path, target: Path) -> Path:
    """The same keys, and Secure Boot switched off."""
    command = [str(TOOLS / "bin/virt-fw-vars"), "--input", str(variables), "--output", str(target)]
    command += ["--set-false", "SecureBootEnable"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"virt-fw-vars left with {done.returncode}: {done.stderr}")
    return target
