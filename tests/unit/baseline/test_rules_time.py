import json
from datetime import timedelta
from pathlib import Path

import pytest

from passevue.baseline.last_right import LastRight, note_right, read_last_right, write_last_right
from passevue.baseline.reading.chrony import read_sources, read_tracking
from passevue.baseline.rule import Effect, Status
from passevue.baseline.rules.time_floor import RULE as TIME_FLOOR
from passevue.baseline.rules.time_sources import RULE as TIME_SOURCES
from passevue.baseline.rules.time_synchronised import RULE as TIME_SYNCHRONISED
from passevue.errors import Unreadable
from tests.unit.baseline.machines import BOOT_ID, NOW, Recorded, look, status

# chronyc 4.6 -c tracking, sources, authdata
TRACKING = "{ref},192.0.2.7,{stratum},{at},{offset},0.000012,0.000100,-12.5,0.001,0.05,0.012,{dispersion},64.5,{leap}\n"
SOURCES = (
    "^,*,192.0.2.7,2,6,377,12,-0.000012,-0.000010,0.012\n"
    "^,+,192.0.2.8,2,6,377,14,0.000100,0.000110,0.015\n"
    "^,?,192.0.2.9,0,6,0,4294967295,0.0,0.0,0.0\n"
)
AUTH = "192.0.2.7,NTS,1,15,256,33,0,0,8,100\n192.0.2.8,-,0,0,0,0,0,0,0,0\n"


@pytest.fixture
def box(tmp_path: Path) -> Recorded:
    made = Recorded(tmp_path)
    made.manifest()
    made.configured()
    return made


def tracking(
    offset: str = "-0.000420", leap: str = "Normal", stratum: int = 3, age_s: float = 30, dispersion: float = 0.001
) -> str:
    at = NOW.timestamp() - age_s
    return TRACKING.format(
        ref="C0000207", stratum=stratum, at=f"{at:.9f}", offset=offset, leap=leap, dispersion=dispersion
    )


def last_right(box: Recorded, seconds_ago: float, set_by: timedelta = timedelta(), boot_id: str = BOOT_ID) -> None:
    """The engine saw a right clock `seconds_ago`; since then it was set by `set_by`."""
    folder = box.root / "var/lib/passevue/baseline"
    folder.mkdir(parents=True, exist_ok=True)
    at = NOW - timedelta(seconds=seconds_ago) - set_by
    write_last_right(folder, LastRight(boot_id, 4000.0 - seconds_ago, at, at))


def test_a_clock_right_to_a_second_passes(box: Recorded) -> None:
    box.facts["chrony_tracking"] = tracking()
    last_right(box, 600)
    assert status(TIME_SYNCHRONISED, box.machine()) is Status.PASS


@pytest.mark.parametrize("offset", ["1.84", "-1.84"])
def test_a_clock_that_is_off_holds(box: Recorded, offset: str) -> None:
    box.facts["chrony_tracking"] = tracking(offset)
    finding = look(TIME_SYNCHRONISED, box.machine())
    assert (finding.status, finding.effect, finding.observed) == (Status.FAIL, None, "offset 1.84 s")


@pytest.mark.parametrize(
    "said",
    [
        tracking(offset="61.0"),
        tracking(leap="Not synchronised", stratum=0),
        TRACKING.format(ref="0", stratum=0, at="0.0", offset="0.0", leap="Not synchronised", dispersion=1.0),
    ],
)
def test_a_clock_far_off_or_never_right_blocks(box: Recorded, said: str) -> None:
    box.facts["chrony_tracking"] = said
    finding = look(TIME_SYNCHRONISED, box.machine())
    assert (finding.status, finding.effect) == (Status.FAIL, Effect.BLOCK)


@pytest.mark.parametrize("days", [365, -365])
def test_a_clock_that_was_set_by_a_year_blocks_until_it_is_measured_again(box: Recorded, days: int) -> None:
    moved = timedelta(days=days)
    last_right(box, 600, set_by=moved)
    box.facts["chrony_tracking"] = tracking(age_s=30 + moved.total_seconds())  # measured before
    finding = look(TIME_SYNCHRONISED, box.machine())
    assert (finding.status, finding.effect) == (Status.FAIL, Effect.BLOCK)
    box.facts["chrony_tracking"] = tracking(age_s=30)  # measured since: chrony itself set it right
    assert status(TIME_SYNCHRONISED, box.machine()) is Status.PASS


@pytest.mark.parametrize("minutes", [20, 60, 110, -30, -110])
def test_a_clock_that_was_set_by_less_than_the_age_of_a_measurement_blocks_too(box: Recorded, minutes: int) -> None:
    moved = timedelta(minutes=minutes)
    last_right(box, 300, set_by=moved)
    box.facts["chrony_tracking"] = tracking(age_s=400 + moved.total_seconds())  # before, in the clock of then
    finding = look(TIME_SYNCHRONISED, box.machine())
    assert (finding.status, finding.effect) == (Status.FAIL, Effect.BLOCK)
    assert f"{moved.total_seconds():+.0f} s" in finding.observed


@pytest.mark.parametrize("seconds", [30, -30])
def test_a_clock_that_was_set_by_seconds_holds_until_it_is_measured_again(box: Recorded, seconds: int) -> None:
    last_right(box, 20, set_by=timedelta(seconds=seconds))
    box.facts["chrony_tracking"] = tracking(age_s=25 + seconds)
    finding = look(TIME_SYNCHRONISED, box.machine())
    assert (finding.status, finding.effect) == (Status.FAIL, None)
    box.facts["chrony_tracking"] = tracking(age_s=5)
    assert status(TIME_SYNCHRONISED, box.machine()) is Status.PASS


def test_a_look_that_comes_late_takes_its_own_delay_for_no_setting_of_the_clock(box: Recorded) -> None:
    """`now` is of the round's beginning; the kernel's clock went on meanwhile."""
    last_right(box, 600)
    for age_s in (30, -200):  # measured before the round began, or since
        box.facts["chrony_tracking"] = tracking(age_s=age_s)
        machine = box.machine()
        machine._made_s -= 300  # it began five minutes ago
        box.file("/proc/uptime", "4300.00 8000.00\n")
        assert look(TIME_SYNCHRONISED, machine).status is Status.PASS


def test_what_is_noted_is_the_clock_that_was_found_right(box: Recorded) -> None:
    """Not one that was set while the other rules were looked at."""
    folder = box.root / "var/lib/passevue/baseline"
    folder.mkdir(parents=True)
    machine = box.machine()
    note_right(folder, machine)
    known = read_last_right(machine)
    assert known is not None
    assert known.at == NOW
    assert known.uptime_s <= 4000.0


@pytest.mark.parametrize(("age_h", "dispersion", "effect"), [(48, 1.3, None), (9000, 90.0, Effect.BLOCK)])
def test_a_clock_that_nobody_has_measured_for_long_is_not_known_to_be_right(
    box: Recorded, age_h: int, dispersion: float, effect: Effect | None
) -> None:
    box.facts["chrony_tracking"] = tracking(age_s=age_h * 3600, dispersion=dispersion)
    finding = look(TIME_SYNCHRONISED, box.machine())
    assert (finding.status, finding.effect) == (Status.FAIL, effect)
    assert f"not measured for {age_h} h" in finding.observed
    box.facts["chrony_tracking"] = tracking(age_s=age_h * 3600, dispersion=0.2)
    assert status(TIME_SYNCHRONISED, box.machine()) is Status.PASS
    box.facts["chrony_tracking"] = tracking(age_s=900, dispersion=dispersion)  # as a young box, or a bad line, has it
    assert status(TIME_SYNCHRONISED, box.machine()) is Status.PASS


def test_another_boot_s_clock_says_nothing_about_this_one(box: Recorded) -> None:
    last_right(box, 600, set_by=timedelta(days=300), boot_id="another")
    box.facts["chrony_tracking"] = tracking(age_s=8000)
    assert status(TIME_SYNCHRONISED, box.machine()) is Status.PASS


@pytest.mark.parametrize("text", ["", "506 Cannot talk to daemon", "a,b,c", ",".join(["x"] * 14)])
def test_what_chronyc_never_says_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        read_tracking(text)
    if text:
        with pytest.raises(Unreadable):
            read_sources("a,b")


def test_two_sources_that_answer_pass(box: Recorded) -> None:
    box.facts |= {"chrony_sources": SOURCES, "chrony_authdata": AUTH}
    finding = look(TIME_SOURCES, box.machine())
    assert (finding.status, finding.observed) == (Status.PASS, "2 time sources answer, 1 by NTS")


def test_one_source_is_too_few(box: Recorded) -> None:
    box.facts |= {"chrony_sources": SOURCES.replace("^,+", "^,x"), "chrony_authdata": AUTH}
    assert status(TIME_SOURCES, box.machine()) is Status.FAIL


def test_sources_that_should_prove_themselves_must(box: Recorded) -> None:
    box.configured(network={"time_nts": ["nts.essai.example"]})
    box.facts |= {"chrony_sources": SOURCES, "chrony_authdata": AUTH}
    assert status(TIME_SOURCES, box.machine()) is Status.PASS
    box.facts["chrony_authdata"] = AUTH.replace("NTS", "-")
    assert status(TIME_SOURCES, box.machine()) is Status.FAIL


def test_a_clock_after_everything_certain_passes(box: Recorded) -> None:
    last_right(box, 600)
    assert status(TIME_FLOOR, box.machine()) is Status.PASS


def test_a_clock_before_the_image_was_built_fails(box: Recorded) -> None:
    box.manifest(built_at="2026-11-21T10:00:01Z")
    assert status(TIME_FLOOR, box.machine()) is Status.FAIL


def test_a_clock_before_it_was_last_right_fails_also_in_another_boot(box: Recorded) -> None:
    last_right(box, -3600, boot_id="another")
    assert status(TIME_FLOOR, box.machine()) is Status.FAIL


ALONE = SOURCES.replace("^,+", "^,-")
NOBODY_PROVEN = AUTH.replace("NTS", "-")


@pytest.mark.parametrize(
    ("sources", "authdata", "lowered"),
    [(ALONE, NOBODY_PROVEN, False), (SOURCES, NOBODY_PROVEN, True), (ALONE, AUTH, True)],
    ids=["one server", "two that agree", "one that proves itself"],
)
def test_one_server_alone_does_not_bring_the_clock_back_behind_what_was_certain(
    box: Recorded, sources: str, authdata: str, lowered: bool
) -> None:
    """Somebody may answer in its place; or it had been wrong before, and another one says so."""
    last_right(box, -3600, boot_id="another")
    box.facts |= {"chrony_tracking": tracking(), "chrony_sources": sources, "chrony_authdata": authdata}
    assert status(TIME_SYNCHRONISED, box.machine()) is Status.PASS
    for _ in range(2):
        note_right(box.root / "var/lib/passevue/baseline", box.machine())
    assert (status(TIME_FLOOR, box.machine()) is Status.PASS) is lowered


def test_a_server_of_another_age_does_not_raise_what_is_certain(box: Recorded) -> None:
    """As where the week number of satellites has run over: once it is mended, the box is as before."""
    last_right(box, 600, boot_id="another")
    box.now = NOW.replace(year=NOW.year + 20)
    note_right(box.root / "var/lib/passevue/baseline", box.machine())
    assert status(TIME_FLOOR, box.machine()) is Status.FAIL
    box.now = NOW
    assert status(TIME_FLOOR, box.machine()) is Status.PASS


def test_a_memory_of_an_older_release_is_a_floor_too(box: Recorded) -> None:
    later = (NOW + timedelta(hours=1)).isoformat()
    box.file("/var/lib/passevue/baseline/clock.json", json.dumps({"boot_id": "x", "uptime_s": 1.0, "at": later}))
    assert status(TIME_FLOOR, box.machine()) is Status.FAIL


@pytest.mark.parametrize("year", [1970, 2099])
def test_a_clock_of_another_age_fails(box: Recorded, year: int) -> None:
    box.now = NOW.replace(year=year)
    assert status(TIME_FLOOR, box.machine()) is Status.FAIL


@pytest.mark.parametrize(
    "text", ['{"at": "2099-', "[]", '{"at": "2099-01-01T00:00:00", "boot_id": "x", "uptime_s": 1}']
)
def test_a_torn_memory_of_the_clock_is_none(box: Recorded, text: str) -> None:
    box.file("/var/lib/passevue/baseline/clock.json", text)
    assert status(TIME_FLOOR, box.machine()) is Status.PASS
