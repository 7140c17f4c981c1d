"""LOG-03: the TPM signs how far the trail is; whatever is changed afterwards, in the trail or in the row, is seen."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from passevue.baseline.audit_head import NAME, write_head
from passevue.baseline.rule import Status
from passevue.baseline.rules.audit_chained import RULE as AUDIT_CHAINED
from passevue.cli.commands import app
from passevue.config_example import example
from passevue.errors import Unreadable
from passevue.notary.attestation import read_attestation
from passevue.notary.head import Head, line, read_line, to_attest
from passevue.notary.heads import EVERY_S, FIRST_WITHIN_S, judge, key_id, read_keys
from passevue.notary.trail import Record, end_of_trail
from passevue.notary.work import work
from tests.unit.baseline.machines import BOOT_ID
from tests.unit.notary.a_notary import ABox, at
from tests.unit.notary.chip import Chip, needs_tpm

pytestmark = needs_tpm
LONG = int(FIRST_WITHIN_S) + 60


def sees(box: ABox) -> str:
    """What LOG-03 observes, and that it fails."""
    found = box.look(AUDIT_CHAINED)
    assert found.status is Status.FAIL, found
    return found.observed


def passes(box: ABox) -> str:
    found = box.look(AUDIT_CHAINED)
    assert found.status is Status.PASS, found
    return found.observed


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[ABox, Path]:
    """Three heads, with records between them, in three starts; and where its TPM lies."""
    folder = tmp_path_factory.mktemp("first")
    with Chip(folder / "tpm") as chip:
        box = ABox(folder / "box", chip)
        for number in range(3):
            chip.restart()
            box.started(f"{number}{BOOT_ID[1:]}", 100)
            box.recorded(4)
            assert box.signs() == 0
            box.later(LONG)
    assert "12 records in 3 files, 3 signed heads" in passes(box)
    return box, folder / "tpm"


@pytest.fixture
def signed(first: tuple[ABox, Path], tmp_path: Path) -> Iterator[ABox]:
    """A copy of it, to be spoiled."""
    box, tpm = first
    shutil.copytree(tpm, tmp_path / "tpm", ignore=shutil.ignore_patterns(".lock"))
    with Chip(tmp_path / "tpm") as chip:
        yield box.copied(tmp_path / "box", chip)


def test_a_head_says_how_far_the_trail_is_and_the_tpm_signs_it(signed: ABox) -> None:
    judged = judge(signed.place.heads(), read_keys(signed.place.keys()))
    assert judged.wrong == ()
    last = judged.heads[-1]
    assert last.head.end == end_of_trail(signed.trail) == Record(12, last.head.end.chain)
    assert (last.head.count, last.head.version, last.head.index) == (3, "1.4.2", 1)
    assert last.head.serial == "7F3A-90C1-22BF"
    assert [each.moment.resets for each in judged.heads] == sorted({each.moment.resets for each in judged.heads})


def test_an_outsider_checks_a_head_with_openssl_alone(signed: ABox, tmp_path: Path) -> None:
    """As the README says: no program of ours, no TPM."""
    script = (
        "tail -n 1 heads >line; cut -d' ' -f1-13 line | tr -d '\\n' | sha256sum | cut -c1-64 >digest;"
        "cut -d' ' -f14 line | base64 -d >time; cut -d' ' -f15 line | base64 -d >signature;"
        "openssl dgst -sha256 -verify keys.pem -signature signature time &&"
        "od -An -v -tx1 time | tr -d ' \\n' | grep -c -f digest"
    )
    done = subprocess.run(["sh", "-c", script], cwd=signed.folder, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["Verified", "OK", "1"], done


def test_the_key_outlives_restarts_and_is_another_in_another_tpm(signed: ABox, tmp_path: Path) -> None:
    assert len(read_keys(signed.place.keys())) == 1
    with Chip(tmp_path / "other") as other:
        signed.chip = other
        assert signed.signs() == 0
        assert "more than one TPM key" in sees(signed)


def test_after_an_erasure_the_key_is_gone_for_good(signed: ABox) -> None:
    assert signed.chip
    signed.chip.tpm.run("tpm2_clear", "-c", "l")
    assert signed.signs() == 0
    assert len(read_keys(signed.place.keys())) == 2
    assert "more than one TPM key" in sees(signed)


def test_without_a_tpm_no_head_is_made_and_the_rule_says_so_after_an_hour(signed: ABox) -> None:
    before = signed.lines()
    signed.chip = None
    signed.started(BOOT_ID, 100)
    assert signed.signs() == 1
    assert signed.lines() == before
    passes(signed)
    signed.later(LONG)
    assert "no head was signed since the start" in sees(signed)


def test_a_box_that_never_signed_fails_after_an_hour(box: ABox) -> None:
    box.recorded(2)
    passes(box)
    box.later(LONG)
    assert "no head was signed since the start" in sees(box)


def test_a_head_that_is_days_old_fails_whatever_the_clock_says(signed: ABox) -> None:
    signed.later(int(EVERY_S) - LONG)
    passes(signed)
    signed.files.now = signed.clock = at("2099-01-01")
    passes(signed)
    signed.later(120)
    assert "days old" in sees(signed)


@pytest.mark.parametrize("wrong", ["1970-01-01", "2099-12-31"])
def test_a_wrong_clock_is_written_down_and_hurts_no_row(signed: ABox, wrong: str) -> None:
    right, signed.clock = signed.clock, at(wrong)
    assert signed.signs() == 0
    signed.clock = right
    assert signed.signs() == 0
    passes(signed)
    assert read_line(signed.lines()[3].rstrip()).head.at == at(wrong)


def test_before_the_trail_begins_its_absence_is_signed(box: ABox) -> None:
    assert box.signs() == 0
    box.later(LONG)
    passes(box)
    box.recorded(3)
    assert box.signs() == 0
    assert "3 records in 1 files, 2 signed heads" in passes(box)


def test_the_command_tells_it_too(signed: ABox, tmp_path: Path) -> None:
    path = tmp_path / "passevue.toml"
    data = signed.files.root / "var/lib/passevue"
    path.write_text(example().replace('"/var/lib/passevue"', f'"{data}"'), encoding="utf-8")

    def verified(*words: str) -> Result:
        asked = ["audit", "verify", "--config", str(path), "--heads", str(signed.folder), *words]
        return CliRunner().invoke(app, asked, env={"COLUMNS": "200"})

    told = json.loads(verified("--json").stdout)
    assert (told["whole"], told["signed"]["heads"], told["signed"]["number"]) == (True, 3, 12)
    assert "3 têtes signées" in verified().output
    newest = sorted(signed.trail.glob("audit-*.log"))[-1]
    newest.write_bytes(b"".join(newest.read_bytes().splitlines(keepends=True)[:-1]))
    lost = verified("--json")
    assert (lost.exit_code, json.loads(lost.stdout)["records"]) == (1, 11)
    assert "12, dont parle une tête signée, n'y est plus" in json.loads(lost.stdout)["wrong"][0]
    signed.write(_swapped(signed.lines()))
    assert "têtes signées : " in verified().output


# --- the trail is changed --------------------------------------------------------------------------------------------


def test_records_cut_off_the_end_are_missed_although_the_rest_is_whole(signed: ABox) -> None:
    newest = sorted(signed.trail.glob("audit-*.log"))[-1]
    newest.write_bytes(b"".join(newest.read_bytes().splitlines(keepends=True)[:-1]))
    assert sees(signed) == "record 12, of which a signed head speaks, is gone or another"
    signed.recorded(5, version="2")  # and the trail went on
    assert sees(signed) == "record 12, of which a signed head speaks, is gone or another"


@pytest.mark.parametrize("again", [0, 5, 40])
def test_a_trail_that_was_written_anew_is_no_longer_the_one_that_was_signed(signed: ABox, again: int) -> None:
    """By who may write all of it: its chain is whole."""
    for path in signed.trail.glob("audit-*.log"):
        path.unlink()
    if again:
        signed.recorded(again, version="2")
    assert "of which a signed head speaks" in sees(signed)
    assert signed.signs() == 0
    assert sees(signed)


def test_oldest_files_may_go_when_their_time_is_up(signed: ABox) -> None:
    for path in sorted(signed.trail.glob("audit-*.log"))[:2]:
        path.unlink()
    passes(signed)


# --- the row of heads is changed -------------------------------------------------------------------------------------


def _cut(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2]]


def _swapped(lines: list[bytes]) -> list[bytes]:
    return [lines[1], lines[0], lines[2]]


def _begun_late(lines: list[bytes]) -> list[bytes]:
    return lines[1:]


def _twice(lines: list[bytes]) -> list[bytes]:
    return [*lines, lines[2]]


def _other_word(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b" 1.4.2 ", b" 1.4.3 "), lines[2]]


def _other_signature(lines: list[bytes]) -> list[bytes]:
    words = [each.split(b" ") for each in lines]
    words[2][-1] = words[1][-1]
    return [b" ".join(each) for each in words]


def _other_attestation(lines: list[bytes]) -> list[bytes]:
    """Well signed, of another head."""
    words = [each.split(b" ") for each in lines]
    words[2][-2:] = words[1][-2:]
    return [b" ".join(each) for each in words]


def _noise(lines: list[bytes]) -> list[bytes]:
    return [*lines, b"\x00\xff noise\n"]


@pytest.mark.parametrize(
    "harm", [_cut, _swapped, _begun_late, _twice, _other_word, _other_signature, _other_attestation, _noise]
)
def test_what_was_cut_moved_or_changed_in_the_row_is_seen_and_stays_seen(signed: ABox, harm: object) -> None:
    signed.write(harm(signed.lines()))  # type: ignore[operator]
    assert sees(signed).startswith("signed heads: ")
    signed.signs()
    assert sees(signed).startswith("signed heads: ")


def test_a_head_cut_off_the_end_is_missed_by_the_engines_note(signed: ABox) -> None:
    """Another zone's file: no one of them can cut both."""
    baseline = signed.files.root / "var/lib/passevue/baseline"
    write_head(baseline, signed.files.machine())
    assert json.loads((baseline / NAME).read_text())["heads"] == 3
    signed.write(signed.lines()[:2])
    assert "signed head 3, which was there, is gone or another" in sees(signed)
    signed.recorded(1)
    assert signed.signs() == 0
    assert "signed head 3, which was there, is gone or another" in sees(signed)


def test_a_power_cut_in_the_middle_of_a_line_costs_that_line_alone(signed: ABox) -> None:
    whole = signed.lines()
    for torn in (whole[2][:1], whole[2][:-1], whole[2][:400]):
        signed.write([*whole[:2], torn])
        assert len(judge(signed.place.heads(), read_keys(signed.place.keys())).heads) == 2
        assert signed.signs() == 0
        assert "3 signed heads" in passes(signed)
        assert signed.lines()[:2] == whole[:2]


@pytest.mark.parametrize("kind", ["pipe", "link", "noise", "long number", "long header", "empty"])
def test_what_a_zone_lays_among_the_trail_holds_nothing_up(signed: ABox, kind: str) -> None:
    other = signed.trail / "audit-9999999999.log"
    match kind:
        case "pipe":
            os.mkfifo(other)
        case "link":
            other.symlink_to(signed.folder / "heads")
        case "noise":
            other.write_bytes(b"\x00\n<\n\n")
        case "long number":  # longer than Python makes one of
            other.write_bytes(b"passevue-audit 1 1 %b\n%b %b <x/>\n" % (b"0" * 64, b"9" * 5000, b"0" * 64))
        case "long header":
            other.write_bytes(b"passevue-audit 1 %b %b\n" % (b"9" * 5000, b"0" * 64))
        case _:
            other.touch()
    assert signed.signs() == (0 if kind == "empty" else 1)
    assert len(signed.lines()) == (4 if kind == "empty" else 3)
    if kind in ("noise", "long number", "long header"):
        assert "break" in sees(signed)


def test_a_lost_key_file_is_told_and_made_again_by_the_tpm(signed: ABox) -> None:
    (signed.folder / "keys.pem").unlink()
    assert "its key is not there" in sees(signed)
    assert signed.signs() == 0
    passes(signed)


def test_who_has_no_such_tpm_forges_no_head(signed: ABox) -> None:
    """A key of their own, everything else right: it is another key, and the row says so."""
    forger = ec.generate_private_key(ec.SECP256R1())
    der = forger.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    last = read_line(signed.lines()[2].rstrip())
    told = {name: getattr(last.head, name) for name in Head.__slots__}
    forged = Head(**{**told, "count": 4, "key": key_id(der), "before": last.digest})
    attested = last.attested.replace(last.moment.digest, to_attest(forged))
    signature = forger.sign(attested, ec.ECDSA(SHA256()))
    pem = forger.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed.place.add_head(line(forged, attested, signature))
    assert "its key is not there" in sees(signed)
    signed.place.add_key(pem)
    assert "more than one TPM key" in sees(signed)


def test_the_tpm_signs_no_time_but_its_own(signed: ABox) -> None:
    """Its key is restricted: what begins like the TPM's own word and is not is refused, whoever asks."""
    assert signed.chip
    forged = signed.folder / "forged"
    forged.write_bytes(read_line(signed.lines()[2].rstrip()).attested)
    with signed.chip.tpm.key() as key:
        context = str(key._folder / "key")
        with pytest.raises(Exception, match="tpm2_sign left with"):
            signed.chip.tpm.run("tpm2_sign", "-c", context, "-g", "sha256", "-o", str(forged) + ".sig", str(forged))


@given(st.binary(max_size=300) | st.lists(st.binary(max_size=40), max_size=8).map(b"\n".join))
def test_any_bytes_are_judged_in_bounded_time(data: bytes) -> None:
    assert judge(data + b"\n", read_keys(data)).heads == ()
    for read in (read_attestation, read_line):
        with pytest.raises(Unreadable):
            read(data)


def test_words_that_would_break_a_line_are_not_signed(box: ABox) -> None:
    box.recorded(1)
    box.installed(1, version="1.4 2")
    assert box.signs() == 1
    assert box.lines() == []


def test_a_digest_is_of_the_line(signed: ABox) -> None:
    first, second = signed.lines()[:2]
    assert read_line(second.rstrip()).head.before == hashlib.sha256(first.rstrip(b"\n")).hexdigest()


def test_a_head_is_due_once_a_start_every_six_hours_and_when_the_index_is_raised(box: ABox) -> None:
    box.recorded(1)

    def heads_after_a_run() -> int:
        assert work(box.notary, box.clock) == 0
        return len(box.lines())

    assert heads_after_a_run() == 1
    box.later(3600)
    assert heads_after_a_run() == 1
    box.later(5 * 3600)
    assert heads_after_a_run() == 2
    box.started(BOOT_ID[::-1].replace("-", ""), 50)
    assert heads_after_a_run() == 3
    box.installed(2)
    assert heads_after_a_run() == 4
    assert heads_after_a_run() == 4
