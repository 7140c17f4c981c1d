"""The store's statements by name, as one engine's SQL: `moves.TAKE` is `TAKE` of `statements/moves.py`.

    book = statements_of("sqlite")
    book["moves.TAKE"].sql

Each is written once, in SQLAlchemy Core, in the module here that is named as the one which runs it. What SQLAlchemy
makes of them for SQLite lies beside them in `sqlite.sql`, and a box on SQLite reads that: SQLAlchemy is 11 MiB in each
of three processes, and a second of their start on a small machine. For PostgreSQL it is asked as the box runs.

After a change of a statement or of the schema: `python -m passevue.queue.statements.sqlite`, which writes the file
anew. A test compares.
"""

import importlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["SQLITE", "Statement", "compiled", "statements_of", "to_text"]

SQLITE = Path(__file__).with_name("sqlite.sql")
_ENTRY = re.compile(
    r"^-- name: (?P<name>[^\n]+)\n-- takes: ?(?P<names>[^\n]*)\n-- with: (?P<defaults>[^\n]*)\n(?P<sql>.*?);\n",
    re.M | re.S,
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as one engine's SQL.

    Attributes:
        names: of the parameters in the order of their marks; None where the driver takes them by name.
        defaults: values that the statement brings itself; null where neither it nor who runs it gives one.
    """

    sql: str
    names: tuple[str, ...] | None
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def parameters(self, values: Mapping[str, Any]) -> Any:
        if self.names is None:
            return {**self.defaults, **values}
        if len(values) == len(self.names):
            return tuple([values[name] for name in self.names])
        defaults = self.defaults
        return tuple([values[name] if name in values else defaults.get(name) for name in self.names])


class _Asked(dict[str, Statement]):
    """Compiled one by one, when first run."""

    def __missing__(self, name: str) -> Statement:
        from passevue.queue.postgresql import DIALECT

        self[name] = found = compiled(name, DIALECT)
        return found


@cache
def statements_of(engine: str) -> Mapping[str, Statement]:
    """By name, for `sqlite` or `postgresql`."""
    return _read(SQLITE.read_text(encoding="utf-8")) if engine == "sqlite" else _Asked()


def compiled(name: str, dialect: Any) -> Statement:
    """What SQLAlchemy makes of the statement `name`."""
    module, _, constant = name.partition(".")
    statement = getattr(importlib.import_module(f"{__name__}.{module}"), constant)
    made = statement.compile(dialect=dialect)
    return Statement(str(made), tuple(made.positiontup) if made.positional else None, dict(made.params or {}))


def to_text(statements: Mapping[str, Statement]) -> str:
    """As `sqlite.sql` holds them."""
    told = []
    for name, each in sorted(statements.items()):
        defaults = {key: value for key, value in each.defaults.items() if value is not None}
        takes = ", ".join(each.names or ())
        sql = "\n".join(line.rstrip() for line in each.sql.splitlines())
        told.append(f"-- name: {name}\n-- takes: {takes}\n-- with: {json.dumps(defaults)}\n{sql};\n")
    return "\n".join(told)


def _read(text: str) -> dict[str, Statement]:
    found = {}
    for entry in _ENTRY.finditer(text):
        names = tuple(filter(None, entry["names"].split(", ")))
        given = json.loads(entry["defaults"])
        found[entry["name"]] = Statement(entry["sql"], names, given)
    return found
