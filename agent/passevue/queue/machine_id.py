"""Which machine this is, the same at each start: what the store is claimed by (F-37), and the box's serial number.

systemd takes the machine id of the appliance from the firmware, which is right as long as the firmware has one: another
board is another machine, whatever disk is in it. Some boards have none; there systemd makes one up at each start. For
those the appliance has written down the id of its first start (tmpfiles.d), on the encrypted volume, which no other
machine opens.
"""

from pathlib import Path

__all__ = ["KEPT", "read_machine_id"]

KEPT = "var/lib/passevue-machine-id"
_OF_THIS_START = "etc/machine-id"
_OF_THE_FIRMWARE = "sys/class/dmi/id/product_uuid"  # root's alone, but on the appliance
MOST_BYTES = 100


def read_machine_id(root: Path = Path("/")) -> str:
    """32 hexadecimal digits; "" on a machine that has none. Blocks. `root` is another folder in tests."""
    told = _text(root / _OF_THIS_START)
    firmware = _text(root / _OF_THE_FIRMWARE).replace("-", "").lower()
    if firmware == told or not (kept := _text(root / KEPT)):
        return told
    return kept


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES).decode("ascii", "replace").strip()
    except OSError:
        return ""
