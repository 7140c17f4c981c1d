"""Alembic's entry: one connection, handed over by `passevue.queue.migrate`, one transaction for each step."""

from alembic import context

from passevue.queue.indexes import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, transaction_per_migration=True
)
with context.begin_transaction():
    context.run_migrations()
