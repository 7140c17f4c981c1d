"""Which schema a store has, and whether this release can use it (Q-16, F-36)."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from passevue.errors import StoreError

__all__ = ["SCHEMA", "THIS", "Release", "number_of", "schema_in", "usable"]

SCHEMA = 1  # number of the last migration; a store of SCHEMA + 1 is opened, one of SCHEMA + 2 is not (F-36)
BUSY_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Release:
    """What a release knows of schemas. There is one in the box; tests have the next ones too.

    Attributes:
        schema: number of its last migration.
        steps: folders with migrations beyond those of `migrations/`.
    """

    schema: int = SCHEMA
    steps: tuple[Path, ...] = ()

    @property
    def newest(self) -> int:
        """The newest schema that it can use."""
        return self.schema + 1


THIS = Release()


def schema_in(path: Path) -> int:
    """Number of the schema of an SQLite database; 0 for an empty one. Blocks.

    Raises:
        StoreError: it is not a number of ours, or the database cannot be read.
    """
    try:
        raw = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            if raw.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone() is None:
                return 0
            row = raw.execute("SELECT version_num FROM alembic_version").fetchone()
        finally:
            raw.close()
    except sqlite3.Error as err:
        raise StoreError(f"the schema cannot be read: {type(err).__name__}") from err
    return number_of(row[0] if row is not None else None)


def number_of(found: object) -> int:
    """What Alembic wrote, as a number. Raises: StoreError: it is not one of ours."""
    if found is None:
        return 0
    if not str(found).isdecimal():
        raise StoreError("the database belongs to another program")
    return int(str(found))


def usable(found: int, release: Release = THIS) -> bool:
    """Whether a store of this schema can be used as it is.

    Raises:
        StoreError: it was made by a release too far ahead.
    """
    if found > release.newest:
        raise StoreError(
            f"expected a store of schema {release.newest} or older instead got {found}",
            hint="La file d’attente vient d’une version plus récente du logiciel. Remettez le boîtier à jour.",
        )
    return found >= release.schema
