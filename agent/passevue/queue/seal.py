"""Hashes that say whether what is read back is what was written (Q-17)."""

import hashlib
from hmac import compare_digest

from passevue.errors import Damaged

__all__ = ["octets", "sealed", "sha256", "verify"]


def octets(value: object) -> bytes:
    """A column of bytes as bytes, whatever the driver calls them.

    Raises:
        Damaged: it is something else: a flipped bit can make SQLite take a value for another type.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise Damaged(f"expected bytes instead got {type(value).__name__}")


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def sealed(*parts: bytes | str | int) -> bytes:
    """One hash over several values; lengths are in it, so no two lists of parts give the same bytes."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(raw))
        digest.update(raw)
    return digest.digest()


def verify(expected: bytes, found: bytes, what: str) -> None:
    """Raises:
    Damaged: the two hashes differ; `what` names the thing, never its content.
    """
    if not compare_digest(expected, found):
        raise Damaged(f"{what} is not what was written")
