"""Bringing a store to today's schema at start, with Alembic (Q-16, F-36). Loaded when there is something to bring.

Rules: expand only; each step is one transaction on both engines, so that a cut in the middle leaves the step undone and
the next start does it; a store one schema ahead is opened as it is (this release is the one that was rolled back to),
a store two ahead is refused.
"""

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, NullPool, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import DBAPIError

from passevue.errors import StoreError
from passevue.queue.connection import BUSY_TIMEOUT_S, is_sqlite, sqlite_file
from passevue.queue.sqlite_settings import prepare_sqlite
from passevue.queue.version import number_of, usable

__all__ = ["engine_for", "migrate", "schema_of", "up_to_date"]

SCRIPTS = Path(__file__).with_name("migrations")
_LOCK = 0x70617373  # PostgreSQL advisory lock: two boxes that start together migrate one after the other


def engine_for(url: str) -> Engine:
    """An SQLAlchemy engine for schema work only; transactions begin where SQLAlchemy says so."""
    if not is_sqlite(url):
        engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
        event.listen(engine, "begin", _lock_postgresql)
        return engine
    path = sqlite_file(url)
    engine = create_engine("sqlite://", creator=lambda: _raw_sqlite(path), poolclass=NullPool)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def schema_of(engine: Engine) -> int:
    """Number of the store's schema; 0 for an empty database.

    Raises:
        StoreError: it is not a number of ours, or the database cannot be read.
    """
    try:
        if not inspect(engine).has_table("alembic_version"):
            return 0
        with engine.connect() as connection:
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except DBAPIError as err:
        raise StoreError(f"the schema cannot be read: {type(err.orig).__name__}") from err
    return number_of(found)


def up_to_date(engine: Engine) -> bool:
    """Whether the store can be used as it is.

    Raises:
        StoreError: it was made by a release too far ahead.
    """
    return usable(schema_of(engine))


def migrate(engine: Engine, *more_scripts: Path, target: str = "head") -> None:
    """Run the missing steps; does nothing when there are none. `more_scripts` are further folders of steps.

    Raises:
        StoreError: a step failed; it left nothing behind.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(map(str, (SCRIPTS / "versions", *more_scripts))))
    try:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, target)
    except DBAPIError as err:
        raise StoreError(f"a schema step failed: {type(err.orig).__name__}") from err


def _raw_sqlite(path: Path) -> sqlite3.Connection:
    raw = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    prepare_sqlite(raw.execute)
    return raw


def _begin_sqlite(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _lock_postgresql(connection: Any) -> None:
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
