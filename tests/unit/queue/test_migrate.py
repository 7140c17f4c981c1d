"""Schema: migrations lead to today's tables, a cut leaves a step undone, one ahead opens, two ahead refuse (F-36)."""

import asyncio
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event

from passevue.errors import StoreError
from passevue.queue.indexes import metadata
from passevue.queue.migrate import engine_for, migrate, schema_of, up_to_date
from passevue.queue.migrating import migrate_apart
from passevue.queue.store import Store
from passevue.queue.version import SCHEMA
from tests.unit.queue.far_end import message, publish

Open = Callable[..., Awaitable[Store]]


def differences(url: str) -> list[Any]:
    with engine_for(url).connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))


def say_schema(url: str, name: str) -> None:
    with engine_for(url).begin() as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{name}'")


def test_all_migrations_together_give_todays_tables(queue_url: str) -> None:
    engine = engine_for(queue_url)
    assert schema_of(engine) == 0
    migrate(engine)
    assert schema_of(engine) == SCHEMA
    assert differences(queue_url) == []
    migrate(engine)


def test_a_process_that_ends_leads_to_the_same_tables(queue_url: str) -> None:
    migrate_apart(queue_url)
    assert schema_of(engine_for(queue_url)) == SCHEMA
    assert differences(queue_url) == []


def test_that_process_imports_nothing_from_where_it_happens_to_be(
    queue_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sqlalchemy.py").write_text("raise SystemExit('somebody else')\n", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one])  # as on the appliance, which starts with -I
    monkeypatch.chdir(tmp_path)
    migrate_apart(queue_url)
    assert schema_of(engine_for(queue_url)) == SCHEMA


def test_what_goes_wrong_there_is_told_here(queue_url: str, tmp_path: Path) -> None:
    (tmp_path / "v9999_wrong.py").write_text(
        f"from alembic import op\nrevision = '{SCHEMA + 1}'\ndown_revision = '{SCHEMA}'\n"
        "def upgrade():\n    op.execute('ALTER TABLE nobody ADD COLUMN nothing INTEGER')\n",
        encoding="utf-8",
    )
    with pytest.raises(StoreError, match="a schema step failed"):
        migrate_apart(queue_url, (tmp_path,))
    with pytest.raises(StoreError, match="could not be changed: code 1"):
        migrate_apart("nothing at all")


def test_a_migration_cut_at_any_statement_is_done_at_the_next_start(queue_url: str) -> None:
    done = 0
    for cut in range(1, 1000):
        engine = engine_for(queue_url)
        seen = 0

        def lights_out(*_: object, at: int = cut) -> None:
            nonlocal seen
            seen += 1
            if seen == at:
                raise sqlite3.OperationalError("cut")

        event.listen(engine, "before_cursor_execute", lights_out)
        try:
            migrate(engine)
        except (StoreError, sqlite3.OperationalError):
            assert schema_of(engine_for(queue_url)) in (0, SCHEMA)
            continue
        done = cut
        break
    assert done > 20
    assert up_to_date(engine_for(queue_url))
    assert differences(queue_url) == []


async def test_a_store_one_schema_ahead_is_used_as_it_is(opened: Open, queue_url: str, tmp_path: Path) -> None:
    first = await opened(roles={"intake"})
    await first.put(message("1"), [publish(1)])
    await first.close()
    steps = tmp_path / "steps"
    steps.mkdir()
    (steps / "v9999_next.py").write_text(
        f"import sqlalchemy as sa\nfrom alembic import op\nrevision = '{SCHEMA + 1}'\ndown_revision = '{SCHEMA}'\n"
        "def upgrade():\n    op.add_column('entry', sa.Column('priority', sa.Integer))\n"
        "    op.create_table('later', sa.Column('id', sa.Integer, primary_key=True))\n",
        encoding="utf-8",
    )
    await asyncio.to_thread(migrate, engine_for(queue_url), steps)
    assert await asyncio.to_thread(schema_of, engine_for(queue_url)) == SCHEMA + 1
    again = await opened(roles={"intake"})
    await again.put(message("2"), [publish(2)])
    assert (await again.counters()).waiting == 2
    assert await asyncio.to_thread(schema_of, engine_for(queue_url)) == SCHEMA + 1


async def test_a_store_two_schemas_ahead_is_refused(opened: Open, queue_url: str) -> None:
    await (await opened()).close()
    await asyncio.to_thread(say_schema, queue_url, str(SCHEMA + 2))
    with pytest.raises(StoreError, match=f"instead got {SCHEMA + 2}"):
        await opened()


async def test_a_database_of_another_program_is_refused(opened: Open, queue_url: str) -> None:
    await (await opened()).close()
    await asyncio.to_thread(say_schema, queue_url, "ab12cd")
    with pytest.raises(StoreError, match="another program"):
        await opened()
