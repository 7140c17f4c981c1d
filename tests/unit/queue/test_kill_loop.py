"""Some of the kills of F-01; thousands by hand: `python -m tests.unit.queue.kill_loop 10000`."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
KILLS = 200


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_hundred_kills_lose_and_double_nothing() -> None:
    """In a process of its own: it forks, and must have no thread of the tests in it."""
    seed = str(random.randrange(1 << 30))
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.queue.kill_loop", str(KILLS), "--seed", seed],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"seed {seed}\n{done.stdout}\n{done.stderr}"
