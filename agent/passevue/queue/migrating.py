"""Bringing a store to today's schema in a process of its own, which ends.

SQLAlchemy and Alembic take 20 MiB, for a step that a store needs once in years: a zone, which runs for months, is not
to keep them. What the process is told comes on its standard input: a PostgreSQL store's address has a password in it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from passevue.errors import StoreError

__all__ = ["migrate_apart"]

_LONGEST_S = 280.0  # of the five minutes that systemd gives a zone


def migrate_apart(url: str, steps: tuple[Path, ...] = ()) -> None:
    """As `migrate.migrate`. Blocks.

    Raises:
        StoreError: a step failed, or took too long; it left nothing behind.
    """
    told = json.dumps([url, [str(folder) for folder in steps]])
    try:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-P", "-m", __name__],  # nothing is imported from where this process happens to be
            input=told,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise StoreError(f"the schema could not be changed: {type(err).__name__}") from err
    if done.returncode:
        raise StoreError(done.stdout.strip() or f"the schema could not be changed: code {done.returncode}")


def _main() -> int:
    from passevue.queue.migrate import engine_for, migrate

    url, steps = json.load(sys.stdin)
    try:
        migrate(engine_for(url), *map(Path, steps))
    except StoreError as err:
        print(err.message)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
