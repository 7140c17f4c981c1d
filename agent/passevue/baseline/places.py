"""Where a box keeps what the rules look at, as its configuration says."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from passevue.config import Config

ROOT: Final = Path("/")
FOLDER: Final = "baseline"
RUNTIME: Final = "/run/passevue-baseline"


def baseline_folder(config: "Config") -> Path:
    """Report and heartbeat."""
    return config.box.data_dir / FOLDER


def verdict_folder(config: "Config", root: Path) -> Path:
    """Where the verdict is left: on the appliance in a folder of this boot, which the engine's user alone writes and
    which zones see that are shown nothing of the kernel (`ProcSubset=pid`); elsewhere beside the report. Blocks."""
    this_boot = root / RUNTIME.lstrip("/")
    return this_boot if this_boot.is_dir() else baseline_folder(config)


def audit_folder(config: "Config") -> Path:
    """The audit trail (`status.observer` says the same: this stage does not see that one)."""
    return config.box.data_dir / "audit"
