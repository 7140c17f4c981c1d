import hashlib
import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue.baseline.audit_head import NAME, write_head
from passevue.baseline.reading.audit_chain import Chain, last_record
from passevue.baseline.reading.ini import read_ini
from passevue.baseline.rule import Status
from passevue.baseline.rules.audit_chained import RULE as AUDIT_CHAINED
from passevue.baseline.rules.audit_writes import RULE as AUDIT_WRITES
from passevue.baseline.rules.kernel_audit import RULE as KERNEL_AUDIT
from passevue.baseline.rules.log_export import RULE as LOG_EXPORT
from passevue.baseline.rules.retention import RULE as RETENTION
from passevue.errors import Unreadable
from passevue.status.audit import box_started, to_xml
from passevue.status.audit_trail import AuditTrail, verify
from tests.unit.baseline.machines import NOW, Recorded, look, status

TRAIL = "/var/lib/passevue/audit"


@pytest.fixture
def box(tmp_path: Path) -> Recorded:
    made = Recorded(tmp_path)
    made.manifest(audit_rules=3)
    made.configured()
    made.file("/proc/uptime", "600.00 1200.00\n")  # no head need be signed yet (tests/unit/notary)
    return made


def written(box: Recorded, records: int = 5, max_file_bytes: int = 16 << 20, version: str = "1") -> list[Path]:
    """A trail as the box itself writes it."""
    folder = box.root / TRAIL.lstrip("/")
    for _ in range(records):
        AuditTrail(folder, "1.2.3", max_file_bytes=max_file_bytes).append([to_xml(box_started(NOW, version), "1.2.3")])
    files = sorted(folder.glob("audit-*.log"))
    for path in files:
        os.utime(path, (NOW.timestamp(), NOW.timestamp()))
    return files


def test_a_record_that_was_just_taken_passes(box: Recorded) -> None:
    written(box)
    finding = look(AUDIT_WRITES, box.machine())
    assert (finding.status, finding.observed) == (Status.PASS, "record 5 was taken 0 s ago")


def test_a_trail_that_takes_nothing_any_more_fails(box: Recorded) -> None:
    written(box)
    box.now = NOW + timedelta(minutes=16)
    assert status(AUDIT_WRITES, box.machine()) is Status.FAIL


def test_a_box_without_a_trail_fails(box: Recorded) -> None:
    assert status(AUDIT_WRITES, box.machine()) is Status.FAIL


def test_a_laptop_whose_box_does_not_run_has_nothing_to_say(tmp_path: Path) -> None:
    laptop = Recorded(tmp_path)
    laptop.configured()
    assert status(AUDIT_WRITES, laptop.machine()) is Status.NOT_APPLICABLE
    written(laptop)
    laptop.now = NOW + timedelta(days=2)
    assert status(AUDIT_WRITES, laptop.machine()) is Status.NOT_APPLICABLE


def test_half_a_record_at_the_end_cannot_be_measured(box: Recorded) -> None:
    path = written(box, 1)[-1]
    path.write_bytes(path.read_bytes()[:-20])
    os.utime(path, (NOW.timestamp(), NOW.timestamp()))
    with pytest.raises(Unreadable):
        look(AUDIT_WRITES, box.machine())


def noted(box: Recorded) -> Path:
    """The engine has found the trail whole."""
    folder = box.root / "var/lib/passevue/baseline"
    folder.mkdir(exist_ok=True)
    write_head(folder, box.machine())
    return folder / NAME


def test_what_was_there_once_must_still_be_there(box: Recorded) -> None:
    files = written(box, 6, max_file_bytes=1000)
    noted(box)
    assert status(AUDIT_CHAINED, box.machine()) is Status.PASS
    written(box, 3, max_file_bytes=1000)
    assert status(AUDIT_CHAINED, box.machine()) is Status.PASS
    for path in files[:2]:  # the oldest were taken away, for good reasons
        path.unlink()
    assert status(AUDIT_CHAINED, box.machine()) is Status.PASS


def test_records_cut_off_the_end_fail_although_the_rest_is_whole(box: Recorded) -> None:
    (path,) = written(box, 5)
    noted(box)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    written(box, 3, version="2")  # and the trail went on
    assert verify(path.parent).wrong == ()
    finding = look(AUDIT_CHAINED, box.machine())
    assert (finding.status, finding.observed) == (Status.FAIL, "record 5, which was there, is gone or another")


@pytest.mark.parametrize("kept", ["a new trail", "no file", "no folder"])
def test_a_trail_that_was_begun_anew_fails(box: Recorded, kept: str) -> None:
    (path,) = written(box, 5)
    noted(box)
    path.unlink()
    if kept == "a new trail":
        written(box, 9, version="2")
    if kept == "no folder":
        shutil.rmtree(path.parent)
    assert status(AUDIT_CHAINED, box.machine()) is Status.FAIL


@pytest.mark.parametrize("text", ["", "{", "[]", '{"number": "x", "chain": ""}', "7"])
def test_a_note_that_makes_no_sense_is_none(box: Recorded, text: str) -> None:
    written(box, 2)
    noted(box).write_text(text)
    assert status(AUDIT_CHAINED, box.machine()) is Status.PASS


def test_a_trail_without_a_whole_record_is_not_noted(box: Recorded) -> None:
    folder = box.root / "var/lib/passevue"
    folder.mkdir(parents=True, exist_ok=True)
    write_head(folder, box.machine())
    assert not (folder / NAME).exists()
    path = written(box, 1)[-1]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(Unreadable):
        write_head(folder, box.machine())


def test_a_whole_trail_passes_over_several_files(box: Recorded) -> None:
    files = written(box, 6, max_file_bytes=1000)
    assert len(files) > 1
    finding = look(AUDIT_CHAINED, box.machine())
    assert (finding.status, finding.observed) == (Status.PASS, f"6 records in {len(files)} files")


def _change(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[2].replace(b"passevue", b"somebody", 1), *lines[3:]]


def _drop(lines: list[bytes]) -> list[bytes]:
    return lines[:2] + lines[3:]


def _move(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def _forge(lines: list[bytes]) -> list[bytes]:
    """A record changed, and its own chain made to fit: the next one tells."""
    number, _, xml = lines[2].split(b" ", 2)
    before = lines[1].split(b" ")[1]
    xml = xml.replace(b"passevue", b"somebody", 1)
    chain = hashlib.sha256(before + number + xml.rstrip(b"\n")).hexdigest().encode()
    return [*lines[:2], b" ".join((number, chain, xml)), *lines[3:]]


@pytest.mark.parametrize("harm", [_change, _drop, _move, _forge])
def test_what_was_changed_dropped_or_moved_is_seen_as_the_trail_s_own_check_sees_it(
    box: Recorded, harm: object
) -> None:
    path = written(box)[0]
    path.write_bytes(b"".join(harm(path.read_bytes().splitlines(keepends=True))))  # type: ignore[operator]
    assert status(AUDIT_CHAINED, box.machine()) is Status.FAIL
    assert verify(path.parent).wrong


def test_a_file_that_went_missing_is_seen(box: Recorded) -> None:
    written(box, 8, max_file_bytes=1000)[1].unlink()
    assert status(AUDIT_CHAINED, box.machine()) is Status.FAIL


def test_a_record_that_is_being_written_is_none_yet(box: Recorded) -> None:
    path = written(box)[-1]
    with path.open("ab") as file:
        file.write(b"6 aaaa <half")
    assert status(AUDIT_CHAINED, box.machine()) is Status.PASS


@pytest.mark.parametrize("cut", [10, 100])
def test_a_record_that_was_finished_while_it_was_read_is_none_yet(box: Recorded, cut: int) -> None:
    lines = written(box, 3)[-1].read_bytes().splitlines(keepends=True)
    chain = Chain()
    chain.follow("any", [*lines[:3], lines[3][:cut], lines[3][cut:]], is_last=True)
    assert (chain.records, chain.wrong) == (2, [])


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_any_bytes_are_followed_or_broken(lines: list[bytes]) -> None:
    chain = Chain()
    chain.follow("any", [line + b"\n" for line in lines], is_last=True)
    assert chain.records <= len(lines)


@given(st.binary(max_size=400))
def test_any_tail_is_a_record_or_unreadable(tail: bytes) -> None:
    try:
        assert last_record(tail).number >= 0
    except Unreadable:
        return


def test_without_a_collector_there_is_nothing_to_export(box: Recorded) -> None:
    assert status(LOG_EXPORT, box.machine()) is Status.NOT_APPLICABLE


JOURNAL = "[Journal]\nStorage=persistent\nSystemMaxUse=1G\nMaxRetentionSec=6month\n"


def test_six_months_within_a_bound_pass(box: Recorded) -> None:
    box.file("/usr/lib/systemd/journald.conf.d/10-passevue.conf", JOURNAL)
    path = box.file("/var/log/journal/abc/system.journal")
    os.utime(path, (NOW.timestamp(), NOW.timestamp()))
    assert status(RETENTION, box.machine()) is Status.PASS


@pytest.mark.parametrize(
    "text",
    ["[Journal]\nSystemMaxUse=1G\n", "[Journal]\nSystemMaxUse=1G\nMaxRetentionSec=2year\n",
     "[Journal]\nMaxRetentionSec=26 weeks\n", "[Journal]\nSystemMaxUse=1G\nMaxRetentionSec=7day\n"],
)  # fmt: skip
def test_another_retention_fails(box: Recorded, text: str) -> None:
    box.file("/etc/systemd/journald.conf.d/10-passevue.conf", text)
    assert status(RETENTION, box.machine()) is Status.FAIL


def test_an_old_journal_file_fails(box: Recorded) -> None:
    box.file("/etc/systemd/journald.conf.d/10-passevue.conf", JOURNAL)
    path = box.file("/var/log/journal/abc/system@1.journal")
    os.utime(path, ((NOW - timedelta(days=250)).timestamp(),) * 2)
    assert status(RETENTION, box.machine()) is Status.FAIL


@pytest.mark.parametrize("text", ["key=value", "[A]\nnonsense"])
def test_what_is_no_ini_file_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        read_ini(text)


RULES = "-a always,exit -F arch=b64 -S clock_settime\n-w /etc/passwd -p wa\n-a always,exit -S init_module\n"


def test_immutable_audit_rules_pass(box: Recorded) -> None:
    box.facts |= {"audit_status": "enabled 2\nfailure 1\npid 300\n", "audit_rules": RULES}
    assert status(KERNEL_AUDIT, box.machine()) is Status.PASS


@pytest.mark.parametrize(("enabled", "rules"), [("1", RULES), ("2", "No rules\n"), ("2", RULES.splitlines()[0])])
def test_audit_rules_that_can_be_changed_or_lack_fail(box: Recorded, enabled: str, rules: str) -> None:
    box.facts |= {"audit_status": f"enabled {enabled}\nfailure 1\n", "audit_rules": rules}
    assert status(KERNEL_AUDIT, box.machine()) is Status.FAIL
