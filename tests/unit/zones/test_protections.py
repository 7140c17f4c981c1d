"""What the page is told of the baseline while, and before, its engine runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from passevue.baseline.engine import REPORT
from passevue.baseline.places import RUNTIME
from passevue.baseline.report import Report
from passevue.baseline.verdict import Leave
from passevue.config import Config
from passevue.zones.protections import EngineWord
from tests.unit.baseline.machines import NOW, Recorded


@dataclass
class Verdict:
    closed: tuple[str, ...]


def word(root: Path, config: Config, *closed: str) -> EngineWord:
    return EngineWord(config, cast("Leave", Verdict(closed)), root)


@pytest.fixture
def box(tmp_path: Path) -> Recorded:
    made = Recorded(tmp_path / "root")
    made.configured()
    return made


def config_of(box: Recorded) -> Config:
    assert box.config is not None
    return box.config


def test_an_appliance_that_nobody_has_looked_at_yet_says_that_nothing_leaves(box: Recorded) -> None:
    box.manifest()
    found = word(box.root, config_of(box), "APP-01")()
    assert found is not None
    assert (found.at, found.closed, found.on_box, found.rules) == (None, True, True, ())
    assert found.proved
    found = EngineWord(config_of(box), None, box.root)()
    assert found is not None
    assert found.closed


def test_elsewhere_nothing_is_said_before_it_is_known(box: Recorded) -> None:
    assert word(box.root, config_of(box))() is None


def test_the_report_in_memory_is_what_counts(box: Recorded) -> None:
    box.manifest()
    box.file(f"{RUNTIME}/{REPORT}", Report("1.2.3", "1.4.2", "boot", NOW, ()).to_json())
    found = word(box.root, config_of(box))()
    assert found is not None
    assert (found.at, found.closed) == (NOW, False)
