"""The statements by name: what a box on SQLite runs is what SQLAlchemy makes of what people wrote."""

import re
import subprocess
import sys
from pathlib import Path

from passevue import queue
from passevue.queue import moves
from passevue.queue.postgresql import DIALECT
from passevue.queue.statements import SQLITE, compiled, statements_of, to_text
from passevue.queue.statements import moves as written_moves
from passevue.queue.statements.sqlite import names, written

RUNNERS = sorted(Path(queue.__path__[0]).glob("*.py"))
_NAME = re.compile(r'"([a-z_]+\.[A-Z_]+)"')


def test_the_file_holds_what_sqlalchemy_makes_today() -> None:
    """If not: `python -m passevue.queue.statements.sqlite`."""
    assert SQLITE.read_text(encoding="utf-8") == written()


def test_the_file_is_read_as_it_was_written() -> None:
    assert to_text(statements_of("sqlite")) == written()
    for name, each in statements_of("sqlite").items():
        assert each.sql.count("?") == len(each.names or ()), name
        assert set(each.defaults) <= set(each.names or ()), name


def test_each_is_run_by_the_module_that_it_is_named_after_and_no_other_is() -> None:
    run = {(path.stem, name) for path in RUNNERS for name in _NAME.findall(path.read_text(encoding="utf-8"))}
    assert {name for _, name in run} == set(names())
    assert all(name.startswith(f"{module}.") for module, name in run)


def test_postgresql_has_each_of_them_by_name() -> None:
    book = statements_of("postgresql")
    for name in names():
        assert book[name] == compiled(name, DIALECT)
        assert book[name].names is None


def test_the_columns_of_the_facts_are_counted() -> None:
    assert len(written_moves.FACTS) == moves.FACTS


def test_a_store_on_sqlite_is_opened_and_used_without_sqlalchemy(tmp_path: Path) -> None:
    program = """
import asyncio, sys
from pathlib import Path
from passevue.config import Queue
from passevue.queue.store import Store

async def use():
    store = await Store.open(Queue(), Path(sys.argv[1]))
    await store.entries(most=5)
    await store.archive.studies("")
    await store.close()

asyncio.run(use())
print("sqlalchemy" in sys.modules)
"""
    told = [
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)], check=True, capture_output=True, text=True, timeout=120
        ).stdout.strip()
        for _ in range(2)
    ]
    assert told == ["True", "False"]  # the first start makes the store
