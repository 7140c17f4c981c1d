"""Where the processes of one box leave what the others show or add to."""

from pathlib import Path

from passevue.config import Config


def status_folder(config: Config) -> Path:
    """Last words of neighbours and zones."""
    return config.box.data_dir / "status"


def audit_folder(config: Config) -> Path:
    return config.box.data_dir / "audit"
