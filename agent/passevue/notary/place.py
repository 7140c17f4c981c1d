"""Where the signed heads lie: a folder that one unit writes and the group of the zones reads.

heads       a line a head (`head`), only ever added to
keys.pem    the public key that signs them; more than one when the TPM was cleared or replaced
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from passevue.durable import sync_folder
from passevue.errors import Unreadable

FOLDER: Final = Path("/var/lib/passevue-notary")  # not among the data, whose folder every zone may write
HEADS: Final = "heads"
KEYS: Final = "keys.pem"
MAX_BYTES: Final = 32 << 20  # 25 years of four heads a day
MODE: Final = 0o640


@dataclass(frozen=True, slots=True)
class Place:
    """`folder` is another one in tests, and where somebody looks at a copy."""

    folder: Path = FOLDER

    def heads(self) -> bytes:
        """b"" when there are none yet. Blocks. Raises: OSError; Unreadable past the bound."""
        return self._read(HEADS)

    def keys(self) -> bytes:
        """The same."""
        return self._read(KEYS)

    def sync_heads(self) -> None:
        """Those that were read are on the disk when it returns, whoever wrote them. Blocks. Raises: OSError."""
        handle = os.open(self.folder / HEADS, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _read(self, name: str) -> bytes:
        try:
            handle = os.open(self.folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
        with open(handle, "rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise Unreadable(f"{name} is longer than {MAX_BYTES} bytes")
        return data

    def add_head(self, line: bytes) -> None:
        """On the disk when it returns. What a power cut left of a line before is cut away. Blocks. Raises: OSError."""
        self._add(HEADS, line)

    def add_key(self, pem: bytes) -> None:
        """The same."""
        self._add(KEYS, pem.strip() + b"\n")

    def _add(self, name: str, data: bytes) -> None:
        path = self.folder / name
        begins = not path.exists()
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)
        with open(handle, "r+b", buffering=0) as file:
            kept = file.read(MAX_BYTES + 1)
            whole = kept.rfind(b"\n") + 1
            if whole != len(kept):
                file.truncate(whole)
            file.seek(whole)
            left = memoryview(data)
            while left:
                left = left[file.write(left) :]
            os.fsync(handle)
        if begins:
            sync_folder(self.folder)
