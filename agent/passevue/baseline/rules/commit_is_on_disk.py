"""STOR-05: a commit of the queue is synced, and nothing below it throws the sync away.

`synchronous` belongs to a connection: what every connection of ours is given is asked of one that was made so.
"""

import sqlite3
from contextlib import closing

from passevue.baseline.machine import Machine
from passevue.baseline.reading.mounts import holding, read_mounts
from passevue.baseline.remedies import IMAGE_BUG
from passevue.baseline.rule import Effect, Finding, Function, Level, Rule, Text, When, failed, passed
from passevue.errors import Unreadable
from passevue.queue.sqlite_settings import prepare_sqlite

FULL = 2
CARELESS = frozenset({"nobarrier", "barrier=0", "data=writeback", "journal_async_commit"})
CACHES = frozenset({"write back", "write through"})


def check(machine: Machine) -> Finding:
    facts = machine.facts
    synchronous = _synchronous()
    if synchronous < FULL:
        return failed(f"PRAGMA synchronous={synchronous}")
    data = holding(read_mounts(facts.text("mounts")), str(machine.config.box.data_dir))
    if careless := sorted((data.own | data.options) & CARELESS):
        return failed(f"{data.point} mounted with {','.join(careless)}")
    caches = {line.partition(": ")[2] for line in facts.lines("write_cache")}
    if not caches or not caches <= CACHES:
        raise Unreadable("the kernel does not say how the disk's cache is treated")
    return passed(f"synchronous={synchronous}, {data.kind}, disk cache {', '.join(sorted(caches))}")


def _synchronous() -> int:
    with closing(sqlite3.connect(":memory:")) as connection:
        prepare_sqlite(connection.execute)
        return int(connection.execute("PRAGMA synchronous").fetchone()[0])


RULE = Rule(
    id="STOR-05",
    slug="commit_is_on_disk",
    level=Level.MUST,
    effect=Effect.HOLD,
    when=frozenset({When.START}),
    title=Text("Ce qui est accepté est vraiment sur le disque", "What is accepted is really on the disk"),
    why=Text(
        "Une coupure de courant ne doit rien faire perdre de ce que le boîtier a accepté.",
        "A power cut must lose nothing of what the box has accepted.",
    ),
    expected="PRAGMA synchronous >= 2; no nobarrier; the disk's cache is flushed",
    remedy=IMAGE_BUG,
    source="reliability.md § 3",
    check=check,
    holds=frozenset({Function.IMAGES}),
)
