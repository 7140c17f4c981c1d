"""What a person takes out of an entry, as files: the received bytes, the KOS, its metadata and signature.

These hold identities: only a person asks for them, the caller audits it, and the files are the owner's alone.
"""

import os
from pathlib import Path

from passevue.errors import StoreError

__all__ = ["write_files"]

NAMES = {"received": "message.bin", "kos": "kos.dcm", "metadata": "metadata.xml", "signature": "signature.xml"}


def write_files(folder: Path, number: int, parts: dict[str, bytes]) -> tuple[Path, ...]:
    """
    Raises:
        StoreError: the folder cannot be written.
    """
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for part, data in parts.items():
            path = folder / f"{number}-{NAMES[part]}"
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
                file.write(data)
            written.append(path)
    except OSError as err:
        raise StoreError(f"the export cannot be written: {err.strerror}", hint="Choisissez un autre dossier.") from err
    return tuple(written)
