"""Alembic's scripts: how a store of any earlier release becomes one of today. Run by `passevue.queue.migrate` alone.

A new release adds `versions/v000N_….py`, raises `schema.SCHEMA` to N, and only adds: nullable columns, tables, indexes.
The release before must go on working on the result (Q-16); what nobody reads any more is dropped one release later.
"""
