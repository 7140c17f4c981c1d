"""`passevue baseline facts` as systemd runs it: what is left for the engine, and how little it loads."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from passevue.baseline.collect import ALL, HANDS, JOINED, Hand
from passevue.baseline.facts import MAX_BYTES
from passevue.baseline.report import EXIT_ENGINE_FAILED
from passevue.cli.facts import gather
from passevue.cli.glance import path_in

PROGRAM = """
import sys
import passevue.cli.facts, passevue.cli.words
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
NEVER = {
    "aiohttp",
    "asyncio",
    "cryptography",
    "lxml",
    "pydantic",
    "rich",
    "sqlalchemy",
    "structlog",
    "tomllib",
    "typer",
}


def boot_id(root: Path) -> None:
    """All that a machine must say of itself."""
    path = root / "proc/sys/kernel/random/boot_id"
    path.parent.mkdir(parents=True)
    path.write_text("0f6a24e5-0000-4000-8000-000000000000\n", encoding="ascii")
    (root / "proc/uptime").write_text("90.00 80.00\n", encoding="ascii")


def told(place: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return found


def test_a_round_of_facts_is_left_whatever_the_configuration(tmp_path: Path) -> None:
    place = tmp_path / "facts.json"
    boot_id(tmp_path)
    assert gather(tmp_path / "absent.toml", None, place, tmp_path) == 0
    assert place.stat().st_size < MAX_BYTES
    assert "mounts" in json.dumps(told(place))


def test_each_unit_reads_its_own_and_leaves_it_in_its_own_folder(tmp_path: Path) -> None:
    boot_id(tmp_path)
    for hand in (Hand.DEVICES, Hand.NETWORK):
        (tmp_path / f"run/passevue-facts-{hand}").mkdir(parents=True)
        assert gather(tmp_path / "absent.toml", hand, root=tmp_path) == 0
        left = told(tmp_path / f"run/passevue-facts-{hand}/facts.json")
        assert left["texts"].keys() | left["missing"].keys() == HANDS[hand]


def test_one_file_holds_what_all_of_them_read(tmp_path: Path) -> None:
    boot_id(tmp_path)
    (tmp_path / "run/passevue").mkdir(parents=True)
    (tmp_path / "run/passevue-facts-devices").mkdir()
    (tmp_path / "proc/sys/net/core").mkdir(parents=True)
    (tmp_path / "proc/sys/net/core/bpf_jit_harden").write_text("2\n")
    assert gather(tmp_path / "absent.toml", Hand.DEVICES, root=tmp_path) == 0
    assert gather(tmp_path / "absent.toml", Hand.REST, root=tmp_path) == 0
    whole = told(tmp_path / "run/passevue/facts.json")
    assert {*whole["texts"], *whole["missing"]} == (ALL - set(JOINED["sysctls"])) | {"sysctls"}
    assert whole["missing"]["links"].startswith("passevue-facts-network: ")
    assert whole["missing"]["sysctls"].startswith("passevue-facts-network: ")


def test_the_data_folder_is_read_without_the_library_that_checks_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "passevue.toml"
    for text, folder in [
        ('[box]\ndata_dir = "/var/lib/passevue"\n', Path("/var/lib/passevue")),
        ('[box]\ndata_dir = "data"\n', tmp_path / "data"),
        ('[box]\nname = "Cabinet"\n', None),
        ("box = 3\n", None),
        ("[box\n", None),
    ]:
        config.write_text(text, encoding="utf-8")
        assert path_in(config, "box", "data_dir") == folder
    assert path_in(tmp_path / "absent.toml", "box", "data_dir") is None


def test_facts_that_cannot_be_left_are_told_by_the_exit_code(tmp_path: Path) -> None:
    boot_id(tmp_path)
    assert gather(tmp_path / "absent.toml", None, tmp_path / "nowhere" / "facts.json", tmp_path) == EXIT_ENGINE_FAILED


def test_a_program_that_runs_every_four_minutes_loads_nothing_that_it_does_not_need() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True, timeout=60)
    loaded = set(done.stdout.split())
    assert "passevue" in loaded
    assert not loaded & NEVER
