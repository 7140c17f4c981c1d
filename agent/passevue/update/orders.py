"""What people ask of the machine: one small file for each kind of order, put there by the page or by root, read by
who carries it out.

    <data_dir>/orders/install.json      {"schema", "id", "at", "by", "values": {…}}; and the bundle, beside it
    <data_dir>/orders/postpone.json     cancel.json  configure.json  erase.json  recovery.json

Rules:
- Zones share a group, so any of them could write into a shared folder, intake with its hostile input included. This
  folder is the page's alone (2750, tmpfiles): who reads an order looks at the owner of the open file (page, root, or
  itself), that it is a regular file with one name, and that nobody but its owner may write it.
- An order is carried out once (by its id), and only when it is young: what lay there since before a power cut is not
  surprising anybody.
- A configuration that was uploaded may hold keys: its owner's alone (0600), and gone with its order.
"""

import json
import os
import re
import stat
import time
import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from passevue.errors import TrustError, Unreadable
from passevue.shared import make_folder
from passevue.update.row_file import write_synced

FOLDER = "orders"
MAX_BYTES = 64 << 10
YOUNG = timedelta(minutes=10)
DOCUMENTS = (".toml", ".sig")
_NAME = re.compile(r"[0-9a-zA-Z][0-9a-zA-Z._-]{0,80}", re.ASCII)


class Wish(StrEnum):
    """Kinds of orders."""

    INSTALL = "install"
    POSTPONE = "postpone"
    CANCEL = "cancel"
    CONFIGURE = "configure"
    ERASE = "erase"
    RECOVERY = "recovery"


@dataclass(frozen=True, slots=True)
class Order:
    wish: Wish
    id: str
    at: datetime
    by: str  # account:root, site-admin
    values: Mapping[str, Any] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """A value that is a text; "" when it is not there or something else."""
        found = self.values.get(name, "")
        return found if isinstance(found, str) else ""


class Orders:
    """One end of the folder. `trusted`: users whose orders are taken, besides root and oneself."""

    def __init__(self, data_dir: Path, trusted: Collection[int] = ()) -> None:
        self.folder = data_dir / FOLDER
        self._trusted = frozenset({0, os.geteuid(), *trusted})

    def put(self, wish: Wish, by: str, at: datetime, values: Mapping[str, Any] | None = None) -> Order:
        """
        Raises:
            StoreError: it is not on the disk.
        """
        order = Order(wish, uuid.uuid4().hex, at, by, values or {})
        told = {"schema": 1, "id": order.id, "at": at.isoformat(), "by": by, "values": dict(order.values)}
        write_synced(self.folder / f"{wish}.json", json.dumps(told).encode())
        return order

    def take(self, wish: Wish, now: datetime, seen: Collection[str]) -> Order | None:
        """The order that is there, when it is new and young.

        Raises:
            TrustError: it was written by somebody else. Unreadable: it is no order.
        """
        try:
            file = self.open(f"{wish}.json")
        except FileNotFoundError:
            return None
        with file:
            return _fresh(_order_of(wish, file.read(MAX_BYTES + 1)), now, seen)

    def claim(self, wish: Wish, now: datetime, seen: Collection[str]) -> Order | None:
        """As `take`, for root, whom systemd starts while an order is there: it leaves the folder, whatever it is, and
        the next one that comes is not taken for it.

        Raises:
            TrustError: it was written by somebody else, or cannot be moved. Unreadable: it is no order.
        """
        aside = self.folder / f"{wish}.taken"
        try:
            (self.folder / f"{wish}.json").replace(aside)
        except FileNotFoundError:
            return None
        except OSError as err:
            raise TrustError(f"an order cannot be taken: {err.strerror}") from err
        try:
            with self.open(aside.name) as file:
                return _fresh(_order_of(wish, file.read(MAX_BYTES + 1)), now, seen)
        finally:
            with suppress(OSError):
                aside.unlink(missing_ok=True)

    def open(self, name: str) -> IO[bytes]:
        """A file of the folder that one of those trusted put there.

        Raises:
            FileNotFoundError: it is not there.
            TrustError: it is not a file that only they can have written.
            Unreadable: not a name of a file here.
        """
        if not _NAME.fullmatch(name):
            raise Unreadable("not a name of a file among the orders")
        try:
            handle = os.open(self.folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise
        except OSError as err:
            raise TrustError(f"an order cannot be opened: {err.strerror}") from err
        found = os.fstat(handle)
        sound = stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and not found.st_mode & 0o022
        if not sound or found.st_uid not in self._trusted:
            os.close(handle)
            raise TrustError("an order that was not put there by the page or by root")
        return open(handle, "rb")

    def mark(self, wish: Wish) -> str:
        """Which file the order is, whatever it is: another one put there has another mark.
        "" when it has gone. No order's id.
        """
        try:
            found = (self.folder / f"{wish}.json").lstat()
        except OSError:
            return ""
        return f"{wish}:{found.st_ino}:{found.st_ctime_ns}"

    def draft(self, suffix: str, mode: int = 0o600) -> tuple[Path, IO[bytes]]:
        """A new file for something that goes along with an order: its path, and the file, to be filled and synced.
        `mode`: 0640 for what another zone reads.

        Raises:
            OSError: it cannot be made.
        """
        make_folder(self.folder)
        path = self.folder / f"{uuid.uuid4().hex}{suffix}"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        os.fchmod(handle, mode)
        return path, open(handle, "wb")

    def sweep(self, kept: Collection[str], suffixes: Collection[str] = (".raucb", *DOCUMENTS)) -> None:
        """Remove bundles and configurations that no order needs any more, and that are no longer young. Only by who put
        them there, or by root.
        """
        if not self.folder.is_dir():
            return
        old = time.time() - 2 * YOUNG.total_seconds()
        for path in self.folder.iterdir():
            if path.suffix in suffixes and path.name not in kept and path.stat().st_mtime < old:
                path.unlink(missing_ok=True)

    def clear(self, now: datetime) -> None:
        """Remove configurations that no order needs which still waits. For who begins to take uploads: none is on its
        way.
        """
        try:
            order = self.take(Wish.CONFIGURE, now, ())
        except (TrustError, Unreadable):
            order = None
        kept = {order.text("document"), order.text("signature")} if order is not None else set()
        with suppress(OSError):  # the next start comes by again
            for path in self.folder.iterdir():
                if path.suffix in DOCUMENTS and path.name not in kept:
                    path.unlink(missing_ok=True)


def _fresh(order: Order, now: datetime, seen: Collection[str]) -> Order | None:
    return None if order.id in seen or not timedelta(minutes=-1) < now - order.at < YOUNG else order


def _order_of(wish: Wish, data: bytes) -> Order:
    try:
        told: Any = json.loads(data) if len(data) <= MAX_BYTES else None
        order = Order(
            wish, str(told["id"]), datetime.fromisoformat(told["at"]), str(told["by"])[:100], dict(told["values"])
        )
        if told["schema"] != 1 or order.at.tzinfo is None or len(order.id) > 64:
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError) as err:
        raise Unreadable("not an order of ours") from err
    return order
