"""Foreign programs are the machine's: pynetdicom installs a `storescu` and an `echoscu` that are not dcmtk's."""

import os
import sys
from pathlib import Path


def leave_environment() -> None:
    """Take the virtual environment's programs out of PATH, so that a name finds what Debian installed."""
    own = Path(sys.executable).parent
    kept = [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if Path(folder) != own]
    os.environ["PATH"] = os.pathsep.join(kept)
