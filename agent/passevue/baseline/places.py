"""Where a box keeps what the rules look at, as its configuration says."""

from pathlib import Path
from typing import Final

from passevue.config import Config

FOLDER: Final = "baseline"


def baseline_folder(config: Config) -> Path:
    """Report, verdict and heartbeat."""
    return config.box.data_dir / FOLDER


def audit_folder(config: Config) -> Path:
    """The audit trail (`status.observer` says the same: this stage does not see that one)."""
    return config.box.data_dir / "audit"


def crl_folder(config: Config) -> Path:
    """Revocation lists of the realm, as `card.crl_store` keeps them."""
    return config.box.data_dir / "crl" / config.box.realm
