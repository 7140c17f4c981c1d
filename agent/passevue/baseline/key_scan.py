"""Looks for private keys that lie in clear on the data partition (CERT-02): run by root, who alone may open every file.

What is told is where, never what: `{"files": 412, "found": ["/var/lib/passevue/left.pem"]}`.

Facts:
- A key is a small file. PEM has its first line at the start of a line (RFC 7468); PKCS#8, PKCS#1 and SEC 1 are a DER
  SEQUENCE that begins with a version number, PKCS#12 the same with version 3. A public key or certificate begins with
  another SEQUENCE.
- What neighbours sent is kept in the queue's database, in the files of images and in the journal: a neighbour that
  sends the words of a PEM header must not be able to close the box. Those formats are told by their first bytes.
- An encrypted systemd credential is base64 or binary without either form.
"""

import json
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from passevue.baseline.machine import Unmeasurable

PLACES: Final = ("var", "etc", "root", "home", "srv", "efi", "boot")  # the last two: the ESP, which nothing encrypts
LONGEST: Final = 64 << 10  # of a key file that is looked into whole
HEAD: Final = 64 << 10  # of a longer file
MOST_FILES: Final = 500_000
MOST_FOUND: Final = 20
WITHIN_S: Final = 60.0

_PEM = re.compile(rb"(?:^|\n)-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----")
_NOT_OURS: Final = (b"SQLite format 3\0", b"LPKSHHRH", b"passevue-audit ")  # databases, journal, audit trail
_VERSIONS: Final = (b"\x02\x01\x00", b"\x02\x01\x01", b"\x02\x01\x03")


@dataclass(frozen=True, slots=True)
class Scan:
    """`found`: paths below the root, the first `MOST_FOUND` of them."""

    files: int
    found: tuple[str, ...]


def report(root: Path = Path("/")) -> str:
    """The scan of a box as JSON. Blocks. Raises: Unmeasurable, OSError."""
    scan = find_keys(root)
    return json.dumps({"files": scan.files, "found": list(scan.found)})


def find_keys(root: Path, within_s: float = WITHIN_S) -> Scan:
    """Blocks. Raises: Unmeasurable when there are too many files for the time; OSError."""
    until = time.monotonic() + within_s
    files = 0
    found: list[str] = []
    for path in _files(root):
        files += 1
        if files > MOST_FILES or time.monotonic() > until:
            raise Unmeasurable(f"more files than can be looked through: {files}")
        if len(found) < MOST_FOUND and _holds_key(path):
            found.append("/" + str(path.relative_to(root)))
    return Scan(files, tuple(found))


def _files(root: Path) -> Iterator[Path]:
    """Files of what can be written; links are not followed."""
    for place in PLACES:
        top = root / place
        if top.is_dir() and not top.is_symlink():
            yield from _below(top)


def _below(top: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(top, onerror=_hidden, followlinks=False):
        folders.sort()
        for name in sorted(names):
            yield Path(folder, name)


def _hidden(err: OSError) -> None:
    """A folder that is gone meanwhile is no matter; one that may not be looked into is."""
    if not isinstance(err, FileNotFoundError):
        raise err


def _holds_key(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOATIME)
    except PermissionError:  # O_NOATIME is for the owner of the file and for root
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # gone meanwhile, a link, a socket
        return False
    with open(handle, "rb") as file:
        seen = os.fstat(handle)
        if not stat.S_ISREG(seen.st_mode) or seen.st_size == 0:
            return False
        return is_private_key(file.read(HEAD), short=seen.st_size <= LONGEST)


def is_private_key(head: bytes, *, short: bool = True) -> bool:
    """Whether a file that begins with `head` holds a private key. `short`: that is all of it."""
    if head.startswith(_NOT_OURS):
        return False
    if _PEM.search(head):
        return b"\0" not in head  # a text, not a file that quotes one
    return short and _is_der_key(head)


def _is_der_key(data: bytes) -> bool:
    """A SEQUENCE as long as the file, which begins with the version of a private key or of a PKCS#12."""
    if len(data) < 40 or data[0] != 0x30:
        return False
    length, at = data[1], 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 3:
            return False
        length, at = int.from_bytes(data[2 : 2 + count], "big"), 2 + count
    return abs(len(data) - at - length) <= 2 and data[at : at + 3] in _VERSIONS and _goes_on_as_key(data[at + 3 :])


def _goes_on_as_key(rest: bytes) -> bool:
    """After the version: an algorithm or AuthSafe (SEQUENCE), a modulus (long INTEGER) or a scalar (OCTETS)."""
    return rest[:1] in (b"\x30", b"\x04") or (rest[:1] == b"\x02" and rest[1:2] >= b"\x40")
