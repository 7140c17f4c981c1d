"""Where a box keeps what the rules look at, as its configuration says."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from passevue.config import Config

ROOT: Final = Path("/")
FOLDER: Final = "baseline"
RUNTIME: Final = "/run/passevue-baseline"


def baseline_folder(config: "Config") -> Path:
    """What the engine keeps beyond a restart: its last report, when the clock was right, how far the trail had come."""
    return config.box.data_dir / FOLDER


def live_folder(config: "Config", root: Path) -> Path:
    """Where report, verdict and heartbeat are left as they are now. Blocks.

    On the appliance a folder in memory, of this boot: no full disk keeps an old report in it, the engine's user alone
    writes it, and zones see it that are shown nothing of the kernel (`ProcSubset=pid`). Elsewhere what is kept is live.
    """
    this_boot = root / RUNTIME.lstrip("/")
    return this_boot if this_boot.is_dir() else baseline_folder(config)


def audit_folder(config: "Config") -> Path:
    """The audit trail (`status.observer` says the same: this stage does not see that one)."""
    return config.box.data_dir / "audit"
