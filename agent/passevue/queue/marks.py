"""The few values that the store says of itself: `mark` is a table of names and texts.

F-37, a restored copy: a copy of the store, started on another machine or after the original went on, would send again
what the original has sent, under new identifiers. So the store carries the machine it belongs to and how often it was
opened for sending (`generation`); the generation is also in a small file beside it. When machine or generation do not
agree with what is found, the store is marked restored and nothing is sent until a person confirms.
"""

import os
from pathlib import Path

from passevue.durable import sync_folder
from passevue.errors import StoreError
from passevue.queue.connection import Connection

__all__ = ["RELEASED", "RESTORED", "bump", "claim", "read_mark", "write_mark"]

MACHINE = "machine"  # fingerprint of the machine that sends from this store
GENERATION = "generation"  # how often it was opened for sending
RESTORED = "restored"  # why nothing is sent until a person confirms; empty: nothing
RELEASED = "released"  # grows when a person lets something go: the dispatcher looks again at once


def read_mark(conn: Connection, name: str) -> str:
    """Empty when it was never written."""
    row = conn.one("marks.READ", which=name)
    return row[0] if row else ""


def write_mark(conn: Connection, name: str, value: str) -> None:
    if conn.one("marks.SET", which=name, value=value) is None:
        conn.run("marks.ADD", name=name, value=value)


def bump(conn: Connection, name: str) -> int:
    value = int(read_mark(conn, name) or 0) + 1
    write_mark(conn, name, str(value))
    return value


def claim(conn: Connection, box: str, marker: Path) -> str:
    """Open the store for sending from `box`: gives why it may not send, or nothing. Runs in a transaction.

    A new store is claimed by its first sender. On PostgreSQL each box has marks of its own.
    """
    suffix = "" if conn.engine == "sqlite" else f":{box}"
    owner = read_mark(conn, MACHINE + suffix)
    generation = int(read_mark(conn, GENERATION + suffix) or 0)
    seen = _read_marker(marker)
    if owner and owner != box:
        write_mark(conn, RESTORED, "other-machine")
    elif seen is not None and seen > generation:
        write_mark(conn, RESTORED, "older-copy")  # the file has seen more openings than the database remembers
    write_mark(conn, MACHINE + suffix, box)
    write_mark(conn, GENERATION + suffix, str(max(generation, seen or 0) + 1))
    return read_mark(conn, RESTORED)


def write_marker(conn: Connection, box: str, marker: Path) -> None:
    """After the claim is committed: the file follows the database, so that it is never ahead by itself."""
    suffix = "" if conn.engine == "sqlite" else f":{box}"
    text = read_mark(conn, GENERATION + suffix)
    fresh = marker.with_suffix(".new")
    try:
        with fresh.open("w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(marker)
        sync_folder(marker.parent)
    except OSError as err:
        raise StoreError(f"the marker of the store cannot be written: {err.strerror}") from err


def _read_marker(marker: Path) -> int | None:
    try:
        text = marker.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
    return int(text) if text.isdecimal() and len(text) < 19 else None
