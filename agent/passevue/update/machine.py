"""The machine below: which version and which start of it this is."""

import re
from pathlib import Path

from passevue.queue.machine_id import read_machine_id

_COUNTED = "sys/firmware/efi/efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
_GUARDED = re.compile(r"\+\d{1,9}-[1-9]\d{5,8}\.efi\0*\Z", re.ASCII)
"""What has proved itself is counted from a hundred thousand on, for another reason (image/rauc, slots/boot.py)."""


class Machine:
    """`root` is another folder in tests."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    @property
    def version(self) -> str:
        """Of the image that runs; "" where none does."""
        for name in ("usr/lib/os-release", "etc/os-release"):
            try:
                lines = (self.root / name).read_text(encoding="utf-8", errors="replace").splitlines()
            except OSError:
                continue
            told = dict(line.partition("=")[::2] for line in lines if "=" in line)
            if told.get("IMAGE_ID", "").strip('"') == "passevue":
                return told.get("IMAGE_VERSION", "").strip('"')
        return ""

    @property
    def boot_id(self) -> str:
        return self._text("proc/sys/kernel/random/boot_id")

    @property
    def serial(self) -> str:
        """What people type to say that they mean this box: the first twelve digits of its machine id, in fours."""
        told = read_machine_id(self.root)[:12].upper()
        return "-".join(told[at : at + 4] for at in range(0, len(told), 4))

    @property
    def on_trial(self) -> bool:
        """Whether the loader counts the tries of what runs because it has not proved itself yet."""
        try:
            told = (self.root / _COUNTED).read_bytes()[4:].decode("utf-16-le", "replace")
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return not _GUARDED.search(told)

    @property
    def is_appliance(self) -> bool:
        return bool(self.version)

    def _text(self, name: str) -> str:
        try:
            return (self.root / name).read_text(encoding="utf-8", errors="replace").strip()[:100]
        except OSError:
            return ""


def memory_available(root: Path = Path("/")) -> float:
    """The share of memory that is free or can be freed, 0 to 1; 1 when the kernel does not say."""
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        told = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.split()[1:2]}
        return told["MemAvailable"] / told["MemTotal"]
    except (OSError, ValueError, KeyError, IndexError, ZeroDivisionError):
        return 1.0
