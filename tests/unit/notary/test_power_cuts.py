"""A TPM takes each power cut for a wrong guess, and locks after few: then no zone would get its keys, and no page."""

import shutil
from pathlib import Path

import pytest

from passevue.errors import CredentialError, Unreadable
from passevue.notary.tpm import Tpm
from passevue.notary.work import Notary
from tests.unit.notary.a_notary import ABox
from tests.unit.notary.chip import Chip, needs_tpm

pytestmark = needs_tpm
AS_IT_COMES = 3  # what swtpm bears
PARENT = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt"


class Sealed:
    """A secret sealed as systemd-creds does it: below a key that is made anew each time, without `noda`."""

    def __init__(self, chip: Chip, folder: Path) -> None:
        self._chip, self._folder = chip, folder
        (folder / "secret").write_bytes(b"geheim")
        self._parent()
        self._run(
            "tpm2_create", "-Q", "-C", "parent", "-i", "secret", "-u", "public", "-r", "private",
            "-a", "fixedtpm|fixedparent|userwithauth",
        )  # fmt: skip

    def opens(self) -> bool:
        """Raises: CredentialError when not for the TPM's lock."""
        try:
            self._parent()
            self._run("tpm2_load", "-Q", "-C", "parent", "-u", "public", "-r", "private", "-c", "loaded")
            return self._run("tpm2_unseal", "-c", "loaded") == b"geheim"
        except CredentialError as err:
            if "0x921" not in err.message:  # TPM_RC_LOCKOUT
                raise
            return False

    def _parent(self) -> None:
        self._run(
            "tpm2_createprimary", "-Q", "-C", "o", "-g", "sha256", "-G", "ecc256:null:aes128cfb", "-a", PARENT,
            "-c", "parent",
        )  # fmt: skip

    def _run(self, program: str, *words: str) -> bytes:
        files = {"parent", "secret", "public", "private", "loaded"}
        return self._chip.tpm.run(program, *(str(self._folder / word) if word in files else word for word in words))


@pytest.fixture
def sealed(chip: Chip, tmp_path: Path) -> Sealed:
    return Sealed(chip, tmp_path)


def cut_power(chip: Chip, sealed: Sealed, times: int) -> list[bool]:
    """Whether the secret opens after each."""
    opened = []
    for _ in range(times):
        chip.restart()
        opened.append(sealed.opens())
    return opened


def test_power_cuts_take_no_secret_away(chip: Chip, box: ABox, sealed: Sealed) -> None:
    assert box.signs() == 0
    assert all(cut_power(chip, sealed, 3 * AS_IT_COMES))


def test_a_tpm_that_power_cuts_have_locked_is_opened_by_the_next_run(chip: Chip, box: ABox, sealed: Sealed) -> None:
    assert cut_power(chip, sealed, AS_IT_COMES + 1)[-1] is False, "this one does not lock: the test proves nothing"
    assert box.signs() == 0
    assert sealed.opens()
    assert all(cut_power(chip, sealed, AS_IT_COMES))


def test_what_is_set_already_is_not_set_again(chip: Chip, box: ABox, capfd: pytest.CaptureFixture[str]) -> None:
    assert not chip.tpm.bears_power_cuts()
    assert box.signs() == 0
    assert chip.tpm.bears_power_cuts()
    assert "do not lock" in capfd.readouterr().out
    box.later(3600)
    assert box.signs() == 0
    assert "lock" not in capfd.readouterr().out


def test_a_tpm_that_keeps_a_limit_of_its_own_is_not_said_to_bear_power_cuts(chip: Chip, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, does in {"tpm2_getcap": "tpm2_getcap", "tpm2_dictionarylockout": "true"}.items():
        found = shutil.which(does)
        assert found
        (programs / name).symlink_to(found)
    with pytest.raises(Unreadable, match="of its own"):
        Notary(tpm=Tpm(chip.tcti, programs)).bear_power_cuts()
