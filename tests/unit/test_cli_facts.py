"""`passevue baseline facts` as systemd runs it: what is left for the engine, and how little it loads."""

import json
import subprocess
import sys
from pathlib import Path

from passevue.baseline.facts import MAX_BYTES
from passevue.baseline.report import EXIT_ENGINE_FAILED
from passevue.cli.facts import gather

PROGRAM = """
import sys
import passevue.cli.facts, passevue.cli.words
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
NEVER = {"aiohttp", "cryptography", "lxml", "rich", "sqlalchemy", "typer"}


def boot_id(root: Path) -> None:
    """All that a machine must say of itself."""
    path = root / "proc/sys/kernel/random/boot_id"
    path.parent.mkdir(parents=True)
    path.write_text("0f6a24e5-0000-4000-8000-000000000000\n", encoding="ascii")
    (root / "proc/uptime").write_text("90.00 80.00\n", encoding="ascii")


def test_a_round_of_facts_is_left_whatever_the_configuration(tmp_path: Path) -> None:
    place = tmp_path / "facts.json"
    boot_id(tmp_path)
    assert gather(tmp_path / "absent.toml", place, tmp_path) == 0
    assert place.stat().st_size < MAX_BYTES
    assert "mounts" in json.dumps(json.loads(place.read_text(encoding="utf-8")))


def test_facts_that_cannot_be_left_are_told_by_the_exit_code(tmp_path: Path) -> None:
    boot_id(tmp_path)
    assert gather(tmp_path / "absent.toml", tmp_path / "nowhere" / "facts.json", tmp_path) == EXIT_ENGINE_FAILED


def test_a_program_that_runs_every_four_minutes_loads_nothing_that_it_does_not_need() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True, timeout=60)
    loaded = set(done.stdout.split())
    assert "passevue" in loaded
    assert not loaded & NEVER
