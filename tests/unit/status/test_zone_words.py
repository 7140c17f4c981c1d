"""The counters of several processes on one page: added up, forgotten with who counted them, not believed blindly."""

import json
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from passevue.status.metrics import Metrics
from passevue.status.tally import Tally
from passevue.status.zone_words import FRESH, REMEMBERED, ZoneWord, read, resident_bytes, write
from tests.unit.status.states import trouble

NOW = trouble().at


def counting(zone: str, received: int, at: datetime = NOW) -> ZoneWord:
    tally = Tally()
    tally.received.add("report", "AA", amount=received)
    tally.tries.add("ITI-41", "success", amount=0 if zone == "intake" else 2)
    return ZoneWord(zone, at, 50 << 20, tally.families())


def shown(*words: ZoneWord) -> list[str]:
    tally = Tally()
    tally.received.add("report", "AA")
    tally.hear((ZoneWord("page", NOW, 1 << 20, ()), *words))
    return Metrics(tally).text(trouble()).decode().splitlines()


def test_counters_of_all_zones_are_added_up() -> None:
    lines = shown(counting("intake", 5), counting("national", 7))
    assert 'passevue_received_total{answer="AA",kind="report"} 13.0' in lines
    assert 'passevue_tries_total{outcome="success",transaction="ITI-41"} 2.0' in lines
    assert sum(line.startswith("# TYPE passevue_received_total") for line in lines) == 1
    assert 'passevue_zone_up{zone="national"} 1.0' in lines
    assert 'passevue_zone_resident_bytes{zone="intake"} 5.24288e+07' in lines


def test_a_zone_that_says_nothing_is_down_and_its_counters_are_gone_then_forgotten() -> None:
    lines = shown(counting("intake", 5, NOW - FRESH), counting("old", 9, NOW - REMEMBERED))
    assert 'passevue_received_total{answer="AA",kind="report"} 1.0' in lines
    assert 'passevue_zone_up{zone="intake"} 0.0' in lines
    assert not any('"old"' in line for line in lines)
    assert not any("resident" in line and '"intake"' in line for line in lines)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    word = counting("intake", 5)
    write(tmp_path / "status", word)
    assert read(tmp_path / "status") == (word,)


JSON = st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5).map(
    lambda one: json.dumps(one).encode()
)


@given(st.binary(max_size=200) | JSON)
def test_any_file_is_read_or_counts_for_nothing(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / "metrics-x.json").write_bytes(data)
        assert read(Path(folder)) == ()


def test_a_time_without_zone_is_none(tmp_path: Path) -> None:
    write(tmp_path, ZoneWord("intake", datetime(2026, 11, 21), 1))
    assert read(tmp_path) == ()


def test_a_process_knows_its_memory() -> None:
    assert 1 << 20 < resident_bytes() < 1 << 36
