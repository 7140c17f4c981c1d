"""OVMF with Secure Boot, enrolled with the keys that the image was signed with, and with none other.

Debian's `ovmf` gives code (read only, in system management mode) and empty variables; `virt-fw-vars` of virt-firmware
puts PK, KEK and db into a copy, as a person would in the firmware's setup.
"""

import subprocess
from pathlib import Path

CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd")
EMPTY = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
TOOLS = Path(__file__).parents[2] / ".cache/image-test"


def enrolled(keys: Path, target: Path) -> Path:
    """Variables of a board of ours: `keys` is a key set of image/keys. Secure Boot is on."""
    owner = (keys / "owner.guid").read_text().strip()
    command = [
        str(TOOLS / "bin/virt-fw-vars"),
        *("--input", str(EMPTY)),
        *("--output", str(target)),
        *("--set-pk", owner, str(keys / "PK.crt")),
        *("--add-kek", owner, str(keys / "KEK.crt")),
        *("--add-db", owner, str(keys / "db.crt")),
        "--secure-boot",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"virt-fw-vars left with {done.returncode}: {done.stderr}")
    return target


def without_keys(target: Path) -> Path:
    """Variables of a machine as delivered: setup mode, Secure Boot off."""
    target.write_bytes(EMPTY.read_bytes())
    return target
