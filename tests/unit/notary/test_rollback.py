"""UPD-03: the TPM keeps the greatest rollback index that has proved itself; what has less does not publish."""

import json
import tomllib
from pathlib import Path

import pytest

from passevue.baseline.collect import collect
from passevue.baseline.reading.rollback_index import kept_index
from passevue.baseline.rule import Effect, Finding, Status
from passevue.baseline.rules.no_way_back import RULE as NO_WAY_BACK
from passevue.errors import CredentialError, Unreadable
from passevue.notary.rollback import MOST, bit, index_of
from passevue.notary.tpm import DEVICE, NV_INDEX
from tests.unit.baseline.machines import BOOT_ID
from tests.unit.notary.a_notary import ABox
from tests.unit.notary.chip import Chip, needs_tpm

pytestmark = needs_tpm
LATE = 4000


def index(box: ABox) -> int | None:
    assert box.chip
    return index_of(box.chip.tpm.kept())


def found(box: ABox) -> Finding:
    return box.look(NO_WAY_BACK)


def blocks(box: ABox) -> bool:
    seen = found(box)
    return (seen.status, seen.effect) == (Status.FAIL, Effect.BLOCK)


def wipe(box: ABox) -> None:
    assert box.chip
    box.chip.tpm.run("tpm2_nvundefine", "-C", "o", f"{NV_INDEX:#x}")


def test_a_first_start_keeps_the_index_once_it_has_proved_itself(box: ABox) -> None:
    assert index(box) is None
    assert found(box).status is Status.PASS, "not kept yet: that takes the health gate"
    assert box.signs() == 0
    assert index(box) == 1
    box.later(LATE)
    assert found(box).status is Status.PASS
    assert found(box).observed.endswith("rollback index 1")


@pytest.mark.parametrize("word", ["looking", "failed", ""])
def test_a_start_that_has_not_proved_itself_raises_nothing(box: ABox, word: str) -> None:
    assert box.signs() == 0
    box.installed(2, "1.5.0")
    box.started(BOOT_ID, 100, word=word)
    assert box.signs() == 0
    assert index(box) == 1
    assert found(box).status is Status.PASS
    box.later(LATE)
    assert (found(box).status, found(box).effect) == (Status.FAIL, Effect.WARN)


def test_what_the_gate_said_of_another_start_or_version_counts_for_nothing(box: ABox) -> None:
    box.files.file("/proc/sys/kernel/random/boot_id", "0a\n")
    assert box.signs() == 0
    assert index(box) is None
    box.started("0a", 100)
    box.installed(1, "1.5.0")
    assert box.signs() == 0
    assert index(box) is None


def test_a_downgrade_of_a_box_that_was_off_blocks_and_changes_nothing(box: ABox) -> None:
    box.installed(3, "1.6.0")
    box.started(BOOT_ID, 100)
    assert box.signs() == 0
    box.installed(2, "1.5.0")
    box.started("0b", 5)
    assert blocks(box)
    assert box.signs() == 0
    assert index(box) == 3
    assert blocks(box)
    box.installed(3, "1.6.1")
    box.started("0c", 5)
    assert found(box).status is Status.PASS


def test_every_index_is_kept_and_none_is_unset(box: ABox) -> None:
    for number in (1, 2, 8, 63, MOST):
        box.installed(number)
        assert box.signs() == 0
        assert index(box) == number
    assert box.chip
    box.chip.restart()
    assert index(box) == MOST
    for wrong in (0, -1, MOST + 1):
        with pytest.raises(Unreadable):
            bit(wrong)


def test_a_wiped_index_is_told_and_made_again_by_what_is_not_older(box: ABox) -> None:
    box.installed(3)
    assert box.signs() == 0
    wipe(box)
    assert (found(box).status, found(box).effect) == (Status.FAIL, Effect.WARN)
    assert "has lost the rollback index, which was 3" in found(box).observed
    assert box.signs() == 0
    assert index(box) == 3
    assert found(box).status is Status.PASS


@pytest.mark.parametrize("redefined", [False, True])
def test_an_older_release_makes_nothing_of_a_wiped_index(box: ABox, redefined: bool) -> None:
    """The signed heads, which lie with the data, remember it."""
    box.installed(3)
    assert box.signs() == 0
    wipe(box)
    box.installed(2, "1.5.0")
    box.started("0b", 100)
    if redefined:
        assert box.chip
        box.chip.tpm.define()
        box.chip.tpm.set_index(2)
    assert blocks(box)
    box.signs()
    assert index(box) == (2 if redefined else None)
    assert blocks(box)


def test_a_lower_index_in_its_place_is_told_too(box: ABox) -> None:
    box.installed(3)
    assert box.signs() == 0
    wipe(box)
    assert box.chip
    box.chip.tpm.define()
    assert index(box) == 0, "room, and nothing in it"
    assert found(box).effect is Effect.WARN
    box.chip.tpm.set_index(1)
    assert found(box).effect is Effect.WARN
    assert box.signs() == 0
    assert index(box) == 3


def test_something_else_in_its_place_is_unknown(box: ABox) -> None:
    assert box.chip
    words = ("-C", "o", "-s", "8", "-a", "ownerwrite|ownerread|no_da")
    box.chip.tpm.run("tpm2_nvdefine", "-Q", f"{NV_INDEX:#x}", *words)
    with pytest.raises(Unreadable, match="something else"):
        found(box)
    assert box.signs() == 1
    assert len(box.lines()) == 1, "the trail is signed all the same"


def test_a_power_cut_between_room_and_bit_is_mended_by_the_next_run(box: ABox) -> None:
    assert box.chip
    box.chip.tpm.define()
    assert box.signs() == 0
    assert index(box) == 1


def test_another_tpm_is_told_and_takes_the_index(box: ABox, tmp_path: Path) -> None:
    box.installed(3)
    assert box.signs() == 0
    with Chip(tmp_path / "other") as box.chip:
        assert found(box).effect is Effect.WARN
        assert box.signs() == 0
        assert index(box) == 3


def test_without_a_tpm_nothing_is_known(box: ABox) -> None:
    box.chip = None
    with pytest.raises(Unreadable):
        found(box)
    assert box.signs() == 1
    with pytest.raises(CredentialError):
        box.notary.tpm.kept()


def test_a_machine_without_a_tpm_is_known_from_one_that_does_not_answer(box: ABox) -> None:
    found = collect(box.files.machine(), names=("rollback_index",))
    assert found.absent("rollback_index")
    with pytest.raises(Unreadable, match="no TPM"):
        kept_index(found)
    box.files.file(DEVICE)
    found = collect(box.files.machine(), names=("rollback_index",))
    assert found.missing["rollback_index"].startswith("CredentialError: tpm2_getcap")


def test_the_next_release_has_an_index_that_a_tpm_can_keep() -> None:
    release = tomllib.loads((Path(__file__).parents[3] / "image/release.toml").read_text())
    assert bit(release["rollback_index"]) > 0


def test_an_erased_box_begins_again_with_what_runs(box: ABox) -> None:
    """`erase` clears the TPM and leaves no data: what it remembers is gone with what it protected."""
    box.installed(3)
    assert box.signs() == 0
    assert box.chip
    box.chip.tpm.run("tpm2_clear", "-c", "l")
    (box.folder / "heads").unlink()
    assert index(box) is None
    box.installed(2)
    assert box.signs() == 0
    assert (index(box), found(box).status) == (2, Status.PASS)


def test_a_development_image_is_not_compared_and_says_so(box: ABox) -> None:
    box.installed(3)
    assert box.signs() == 0
    box.installed(2, "1.5.0", profile="development")
    assert found(box).status is Status.PASS
    assert "no production image" in found(box).observed


@pytest.mark.parametrize(
    "told",
    [7, [], {}, {"attributes": "x", "value": ""}, {"attributes": 0x2202_0022, "value": "00"},
     {"attributes": 0x2202_0022, "value": "zz" * 8}, {"attributes": 0x2202_0012, "value": "0" * 16}],
)  # fmt: skip
def test_what_root_tells_in_another_form_is_unknown(box: ABox, told: object) -> None:
    box.files.facts["rollback_index"] = json.dumps(told)
    assert NO_WAY_BACK.check is not None
    with pytest.raises(Unreadable):
        NO_WAY_BACK.check(box.files.machine())


@pytest.mark.parametrize("index", [0, -1, "1", None, True])
def test_a_production_manifest_without_an_index_is_unknown(box: ABox, index: object) -> None:
    box.files.manifest(rollback_index=index)
    with pytest.raises(Unreadable):
        found(box)
