"""Indexes of the store that hold part of a table, for migrations and their tests. `metadata` is the schema with them.

Apart from the tables, as their options load SQLAlchemy's dialects of both engines: a box on SQLite would hold that of
PostgreSQL for years in each of three processes.
"""

from sqlalchemy import Index, literal_column

from passevue.queue.schema import entry, metadata, received

__all__ = ["metadata"]

_conflict = received.c.conflict == literal_column("1")
Index("received_conflict", received.c.id, sqlite_where=_conflict, postgresql_where=_conflict)

_due = entry.c.due_at.is_not(None)
Index("entry_due", entry.c.rank, entry.c.due_at, entry.c.number, entry.c.state, sqlite_where=_due,
      postgresql_where=_due)  # fmt: skip
Index("entry_lane", entry.c.lane, entry.c.number, sqlite_where=entry.c.lane.is_not(None),
      postgresql_where=entry.c.lane.is_not(None))  # fmt: skip
_unsettled = entry.c.settled_at.is_(None)
Index("entry_open", entry.c.state, entry.c.reason, entry.c.received_at, entry.c.parked, sqlite_where=_unsettled,
      postgresql_where=_unsettled)  # fmt: skip
_settled = entry.c.settled_at.is_not(None)
Index("entry_settled", entry.c.purged, entry.c.settled_at, sqlite_where=_settled,
      postgresql_where=_settled)  # fmt: skip
