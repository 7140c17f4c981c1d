"""Opening a connection to PostgreSQL. Imported where the configuration names one: SQLite alone holds none of it."""

from typing import Any

import psycopg
from sqlalchemy import Dialect
from sqlalchemy.dialects import postgresql

__all__ = ["DIALECT", "open_postgresql"]

DIALECT: Dialect = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]


def open_postgresql(address: str) -> Any:
    """A driver's connection. Raises: psycopg.Error."""
    raw = psycopg.connect(address, autocommit=True, connect_timeout=10)
    raw.execute("SET synchronous_commit TO on")  # an answer is a synced WAL, whatever the server's default
    raw.execute("SET lock_timeout TO '20s'")
    return raw
