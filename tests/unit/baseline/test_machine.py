"""The seam to the box, on this very machine and on folders."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from passevue.baseline.machine import MAX_BYTES, Machine, Ran, Unmeasurable, read_manifest, run_program
from tests.unit.baseline.machines import NOW, Recorded

HERE = Machine(now=datetime.now(UTC))


def test_the_kernel_s_own_files_are_read() -> None:
    assert len(HERE.boot_id) == 36
    assert HERE.uptime_s > 0


def test_a_file_longer_than_it_may_be_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(bytes(101))
    machine = Machine(tmp_path, now=NOW)
    assert machine.read_bytes("/long", 101) == bytes(101)
    with pytest.raises(Unmeasurable):
        machine.read_bytes("/long", 100)


def test_a_pipe_is_no_file_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unmeasurable):
        Machine(tmp_path, now=NOW).read_bytes("/pipe")


def test_only_listed_programs_are_run() -> None:
    with pytest.raises(Unmeasurable):
        HERE.run("sh", "-c", "true")


def test_a_program_that_is_not_there_cannot_be_measured() -> None:
    with pytest.raises(Unmeasurable):
        run_program(("no-such-program",), 1)


def test_a_program_is_run_with_nothing_of_ours() -> None:
    ran = run_program(("env",), 5)
    assert ran.code == 0
    assert {line.partition("=")[0] for line in ran.out.splitlines()} <= {
        "PATH", "LC_ALL", "SYSTEMD_PAGER", "SYSTEMD_COLORS", "PWD", "_", "SHLVL",
    }  # fmt: skip


def test_a_program_that_does_not_end_is_ended() -> None:
    begun = time.monotonic()
    with pytest.raises(Unmeasurable):
        run_program(("sleep", "30"), 0.2)
    assert time.monotonic() - begun < 5


def test_a_program_that_says_too_much_is_ended() -> None:
    with pytest.raises(Unmeasurable):
        run_program(("yes",), 20)


def test_a_program_s_exit_code_is_told() -> None:
    assert run_program(("false",), 5) == Ran(1, "", "")


def test_globs_are_of_the_box_s_own_root(tmp_path: Path) -> None:
    box = Recorded(tmp_path)
    box.file("/etc/a.conf")
    box.file("/etc/b.conf")
    assert box.machine().glob("/etc/*.conf") == ["/etc/a.conf", "/etc/b.conf"]


def test_properties_of_the_bus_are_plain_values(tmp_path: Path) -> None:
    box = Recorded(tmp_path)
    box.answers(
        "busctl --system --json=short --timeout=5 call a.b /c org.freedesktop.DBus.Properties GetAll s a.b.D",
        out='{"type":"a{sv}","data":[{"Name":{"type":"s","data":"x"},"Many":{"type":"as","data":["y"]}}]}',
    )
    assert box.machine().properties("a.b", "/c", "a.b.D") == {"Name": "x", "Many": ["y"]}


@pytest.mark.parametrize("out", ["", "[]", "{}", '{"data":[]}', '{"data":[[1]]}'])
def test_an_answer_of_the_bus_in_another_form_cannot_be_measured(tmp_path: Path, out: str) -> None:
    box = Recorded(tmp_path)
    box.answers(
        "busctl --system --json=short --timeout=5 call a.b /c org.freedesktop.DBus.Properties GetAll s a.b.D", out=out
    )
    with pytest.raises(Unmeasurable):
        box.machine().properties("a.b", "/c", "a.b.D")


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b'{"schema":2}', b'{"schema":1,"version":"1"}', b"\xff",
     b'{"schema":1,"version":"1","profile":"p","built_at":"x"}',
     b'{"schema":1,"version":"1","profile":"p","built_at":"2026-01-01","listeners":[1]}'],
)  # fmt: skip
def test_what_is_no_manifest_cannot_be_measured(data: bytes) -> None:
    with pytest.raises(Unmeasurable):
        read_manifest(data)


def test_a_manifest_says_what_the_image_is(tmp_path: Path) -> None:
    box = Recorded(tmp_path)
    assert not box.machine().appliance
    box.manifest(rules=90, listeners=[{"proto": "tcp", "port": 443}], support_end="2031-11-01", extra=[1])
    machine = box.machine()
    assert machine.appliance
    assert (machine.manifest.version, machine.manifest.rules) == ("1.4.2", 90)
    assert machine.manifest.get("extra") == [1]
    with pytest.raises(Unmeasurable):
        machine.manifest.get("more")


def test_the_bound_of_a_file_leaves_room_for_every_real_one() -> None:
    assert MAX_BYTES >= 1 << 20
