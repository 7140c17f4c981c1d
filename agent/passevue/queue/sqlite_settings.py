"""The settings without which a commit of SQLite is not a commit; for every connection to an SQLite store."""

from collections.abc import Callable

__all__ = ["PAGE_BYTES", "prepare_sqlite"]

PAGE_BYTES = 8192


def prepare_sqlite(execute: Callable[[str], object]) -> None:
    """`execute` runs one statement of the new connection."""
    execute(f"PRAGMA page_size={PAGE_BYTES}")  # a new file only
    execute("PRAGMA journal_mode=WAL")
    execute("PRAGMA synchronous=FULL")  # never NORMAL: STOR-05
    execute("PRAGMA wal_autocheckpoint=0")  # `checkpoint` does it, when nobody waits
    execute("PRAGMA cache_size=-8192")
    execute("PRAGMA journal_size_limit=67108864")
