"""What is kept between runs, and what is written where."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue.network.apply import KEPT_S, MOST_ADDRESSES, look_up, read_seen, remember, write_files

A, B = ip_address("192.0.2.1"), ip_address("192.0.2.2")


def test_an_address_is_kept_for_a_day_after_the_resolver_last_gave_it() -> None:
    seen = remember({}, {"a.example": (A,)}, ["a.example"], now=1000.0)
    seen = remember(seen, {"a.example": (B,)}, ["a.example"], now=2000.0)
    assert set(seen["a.example"]) == {str(A), str(B)}
    seen = remember(seen, {}, ["a.example"], now=1000.0 + KEPT_S)
    assert set(seen["a.example"]) == {str(B)}


def test_a_name_that_left_the_configuration_is_forgotten() -> None:
    seen = remember({}, {"a.example": (A,)}, ["a.example"], now=0.0)
    assert remember(seen, {}, ["b.example"], now=1.0) == {"b.example": {}}


def test_a_clock_set_back_forgets_nothing() -> None:
    seen = remember({}, {"a.example": (A,)}, ["a.example"], now=1e9)
    assert remember(seen, {}, ["a.example"], now=0.0) == seen


def test_a_resolver_that_lies_at_length_is_bounded() -> None:
    many = tuple(ip_address(number) for number in range(0x0A000000, 0x0A000000 + 500))
    seen = remember({}, {"a.example": many}, ["a.example"], now=0.0)
    assert len(seen["a.example"]) == MOST_ADDRESSES


@given(st.binary(max_size=300))
def test_any_bytes_where_the_last_run_left_its_notes_are_nothing_or_addresses(data: bytes) -> None:
    with _memory(data) as path:
        seen = read_seen(path)
    for addresses in seen.values():
        for address, at in addresses.items():
            assert ip_address(address)
            assert isinstance(at, float)


@contextmanager
def _memory(data: bytes) -> Iterator[Path]:
    handle = os.memfd_create("seen")
    try:
        os.write(handle, data)
        yield Path(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": {"x": 1}}', '{"a": {"1.2.3.4": "y"}}', "null"])
def test_notes_that_are_not_ours_are_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "seen.json").write_text(text)
    assert read_seen(tmp_path / "seen.json") == {}


def test_notes_are_read_as_they_were_written(tmp_path: Path) -> None:
    seen = remember({}, {"a.example": (A, ip_address("2001:db8::1"))}, ["a.example"], now=5.0)
    (tmp_path / "seen.json").write_text(json.dumps(seen))
    assert read_seen(tmp_path / "seen.json") == seen


def test_files_of_an_earlier_configuration_go(tmp_path: Path) -> None:
    networkd, ours = tmp_path / "networkd", tmp_path / "ours"
    write_files({"networkd/10-inside.network": "a", "chrony/x.sources": "b"}, ours, networkd)
    write_files({"chrony/x.sources": "c"}, ours, networkd)
    assert list(networkd.iterdir()) == []
    assert (ours / "chrony/x.sources").read_text() == "c"
    assert (ours / "chrony/x.sources").stat().st_mode & 0o777 == 0o644


def test_a_name_that_does_not_exist_is_left_out_in_time() -> None:
    assert look_up(["localhost", "nowhere.invalid"], within_s=5.0).keys() <= {"localhost"}
