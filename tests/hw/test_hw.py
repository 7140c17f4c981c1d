"""hw/ is what it says: reader files that are read, rules for the right user, boards with the same files."""

import plistlib
import re
import tomllib
from pathlib import Path

import pytest

from passevue.card.usb import read_reader_files

HW = Path(__file__).parents[2] / "hw"
READERS = sorted((HW / "readers").glob("*.toml"))
LIBCCID = Path("/etc/libccid_Info.plist")


@pytest.mark.parametrize("file", READERS, ids=lambda file: file.stem)
def test_a_reader_file_says_what_it_is_first(file: Path) -> None:
    assert file.read_text(encoding="utf-8").startswith("# ")
    assert re.fullmatch(r"[a-z0-9-]+", file.stem)


def test_no_two_models_claim_the_same_numbers() -> None:
    models = read_reader_files(HW / "readers")
    ids = [each for model in models for each in model.ids]
    assert len(ids) == len(set(ids))
    assert {model.kind for model in models} <= {"contact", "both"}  # a contactless reader alone is of no use


@pytest.mark.skipif(not LIBCCID.exists(), reason="libccid is not installed (Debian package libccid)")
def test_every_model_is_one_that_debians_driver_knows() -> None:
    known = plistlib.loads(LIBCCID.read_bytes())
    numbers = set(zip(known["ifdVendorID"], known["ifdProductID"], strict=True))
    plain = {(vendor.lower().removeprefix("0x"), product.lower().removeprefix("0x")) for vendor, product in numbers}
    for model in read_reader_files(HW / "readers"):
        assert set(model.ids) <= plain, model.file


def test_the_polkit_rule_names_both_actions_and_our_user_only() -> None:
    text = (HW / "polkit" / "50-passevue-pcsc.rules").read_text(encoding="utf-8")
    assert "org.debian.pcsc-lite.access_pcsc" in text
    assert "org.debian.pcsc-lite.access_card" in text
    assert re.findall(r'subject\.\w+ == "([^"]+)"', text) == ["passevue-host"]
    assert text.count("{") == text.count("}")


def test_the_udev_rules_deny_by_default() -> None:
    assert 'ATTR{authorized_default}="0"' in (HW / "udev/70-passevue-readers.rules").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted((HW / "udev").iterdir()), ids=lambda path: path.name)
def test_the_udev_rules_let_nothing_in_and_parse(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert 'ATTR{authorized}="1"' not in text  # its class is a device's own word: its interfaces are judged first
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    part = r'(?:[A-Z]+(?:\{[\w./]+\})?\s*(?:==|!=|=|\+=|:=)\s*"[^"]*")'
    for line in lines:
        assert re.fullmatch(rf"{part}(?:, {part})*", line), line
    goto, labels = re.findall(r'GOTO="(\w+)"', text), re.findall(r'LABEL="(\w+)"', text)
    assert set(goto) <= set(labels)


def test_boards_have_the_same_files() -> None:
    folders = [each for each in (HW / "boards").iterdir() if each.is_dir()]
    assert folders
    for folder in folders:
        assert sorted(each.name for each in folder.iterdir()) == ["check.md", "firmware.md", "meta.toml"]
        meta = tomllib.loads((folder / "meta.toml").read_text(encoding="utf-8"))
        assert meta["tpm"]["version"] == "2.0"
        assert meta["network"]["ports"] >= 2


def test_the_readme_tells_commands_that_exist() -> None:
    text = (HW / "README.md").read_text(encoding="utf-8")
    told = (HW.parent / "agent" / "README.md").read_text(encoding="utf-8")
    for command in set(re.findall(r"passevue card (\w+)", text)):
        assert f"`passevue card {command}`" in told, command
