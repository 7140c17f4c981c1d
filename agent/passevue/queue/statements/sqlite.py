"""Writes `sqlite.sql` anew: every statement of this folder as SQLAlchemy makes it for SQLite.

python -m passevue.queue.statements.sqlite
"""

import importlib
import pkgutil
from collections.abc import Iterator

from sqlalchemy import Executable
from sqlalchemy.dialects import sqlite

from passevue.queue import statements


def names() -> Iterator[str]:
    """Of every statement."""
    for module in pkgutil.iter_modules(statements.__path__):
        if module.name != "sqlite":
            found = vars(importlib.import_module(f"{statements.__name__}.{module.name}"))
            yield from (
                f"{module.name}.{name}"
                for name, value in found.items()
                if name.isupper() and isinstance(value, Executable)
            )


def written() -> str:
    """What the file is to hold."""
    dialect = sqlite.dialect(paramstyle="qmark")
    return statements.to_text({name: statements.compiled(name, dialect) for name in names()})


if __name__ == "__main__":
    statements.SQLITE.write_text(written(), encoding="utf-8")
