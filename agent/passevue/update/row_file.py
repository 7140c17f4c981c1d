"""The row on the disk: one JSON file, whole or not at all, synced before the step that it announces.

<data_dir>/update/journey.json     written by the host zone, read by the others and by `passevue update status`
"""

import json
import os
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from passevue.durable import sync_folder
from passevue.errors import StoreError, Unreadable
from passevue.shared import make_folder
from passevue.update.journey import Row, State

FOLDER = "update"
MAX_BYTES = 256 << 10
_TIMES = frozenset({"ordered_at", "since", "deadline", "not_before", "pausing_since", "quiet_again_at"})


class RowFile:
    """One writer, any readers."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / FOLDER
        self.path = self.folder / "journey.json"

    def read(self) -> Row:
        """An idle row when there is none.

        Raises:
            StoreError: it cannot be read.
            Unreadable: it is there, and is no row of ours.
        """
        try:
            with self.path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return Row()
        except OSError as err:
            raise StoreError(f"the update's row cannot be read: {err.strerror}") from err
        return row_of(data)

    def write(self, row: Row) -> None:
        """
        Raises:
            StoreError: it is not on the disk.
        """
        write_synced(self.path, json.dumps(plain(row), ensure_ascii=False).encode())


def plain(row: Row) -> dict[str, Any]:
    """As JSON."""
    return {
        "schema": 1,
        **{key: value.isoformat() if isinstance(value, datetime) else value for key, value in asdict(row).items()},
    }


def row_of(data: bytes) -> Row:
    """
    Raises:
        Unreadable: no row of ours.
    """
    try:
        told = json.loads(data) if len(data) <= MAX_BYTES else {}
        if told.pop("schema") != 1:
            raise ValueError
        known = {field.name: field.type for field in fields(Row)}
        values: dict[str, Any] = {}
        for name, value in told.items():
            if name in _TIMES and value is not None:
                value = datetime.fromisoformat(value)
                if value.tzinfo is None:
                    raise ValueError
            if name in known:
                values[name] = value
        row = Row(**values | {"state": State(values["state"])})
        if not all(isinstance(getattr(row, name), kind) for name, kind in _KINDS.items()):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise Unreadable("the update's row is none of ours") from err
    return row


_KINDS: dict[str, type] = {
    **{field.name: str for field in fields(Row) if field.name not in _TIMES},
    "now": bool,
    "postponed": int,
    "writes": int,
    "unquiet": int,
    "percent": int,
}


def write_synced(path: Path, content: bytes, mode: int = 0o640) -> None:
    """
    Raises:
        StoreError: it is not on the disk.
    """
    aside = path.with_name(path.name + ".new")
    try:
        make_folder(path.parent)
        aside.unlink(missing_ok=True)
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with open(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        sync_folder(path.parent)
    except OSError as err:
        raise StoreError(
            f"{path.name} cannot be written: {err.strerror}", hint="Le disque du boîtier n’accepte pas l’écriture."
        ) from err
