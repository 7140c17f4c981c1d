"""What `make image` refuses to build: development with the rights of production, and the other way round."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

IMAGE = Path(__file__).parents[3] / "image"


@pytest.fixture(scope="module")
def build() -> ModuleType:
    before, bytecode = list(sys.path), sys.dont_write_bytecode
    spec = importlib.util.spec_from_file_location("image_build", IMAGE / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path[:], sys.dont_write_bytecode = before, bytecode
    return module


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for purpose in ("development", "production"):
        made[purpose] = tmp_path_factory.mktemp(purpose) / "set"
        subprocess.run([IMAGE / "keys", made[purpose], purpose], check=True)
    return made


@pytest.mark.parametrize(
    ("profile", "purpose"), [("development", "production"), ("production", "development")], ids=lambda name: name
)
def test_keys_sign_their_own_profile_only(build: ModuleType, keys: dict[str, Path], profile: str, purpose: str) -> None:
    order = build.read_order(["--profile", profile, "--keys", str(keys[purpose])])
    with pytest.raises(build.BuildError, match=f"{purpose} keys"):
        build.check(order)
    build.check(build.read_order(["--profile", profile, "--keys", str(keys[profile])]))


@pytest.mark.parametrize("words", [["--test"], ["--extra", "somewhere"]], ids=" ".join)
def test_production_takes_no_console_and_nothing_laid_over(build: ModuleType, words: list[str]) -> None:
    with pytest.raises(build.BuildError, match="production"):
        build.check(build.read_order(["--profile", "production", *words]))


@pytest.mark.parametrize("kind", ["nothing", "a file"])
def test_what_is_laid_over_is_there(build: ModuleType, tmp_path: Path, kind: str) -> None:
    extra = tmp_path / "extra.tar"
    if kind == "a file":
        extra.write_bytes(b"")
    with pytest.raises(build.BuildError, match="no folder"):
        build.check(build.read_order(["--extra", str(extra)]))


def test_what_an_earlier_checkout_left_for_mkosi_is_refused(tmp_path: Path) -> None:
    """mkosi takes each mkosi.extra that it finds, whether git ignores what is in it or not."""
    shutil.copytree(IMAGE, tmp_path / "image", ignore=shutil.ignore_patterns("build", "__pycache__"))
    shutil.copy(IMAGE.parent / "pyproject.toml", tmp_path)
    git = ("git", "-C", tmp_path)
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    (tmp_path / "image/mkosi.extra").mkdir()
    (tmp_path / "image/mkosi.extra/left.pyc").touch()
    dated = os.environ | {"SOURCE_DATE_EPOCH": "0"}
    build = [tmp_path / "image/build.py"]
    said = subprocess.run(build, env=dated, capture_output=True, text=True, timeout=60)
    assert said.returncode == 1
    assert "mkosi.extra/left.pyc" in said.stderr
    assert not (tmp_path / "image/build").exists()


@pytest.mark.parametrize("version", ["1", "1.2-rc1", "v1.2", "1.2.3.4.5", "../1.2"])
def test_a_version_that_updates_cannot_compare_is_refused(build: ModuleType, version: str) -> None:
    with pytest.raises(build.BuildError, match="version"):
        build.check(build.read_order(["--version", version]))


def test_a_production_build_starts_from_the_packages_of_today(build: ModuleType) -> None:
    assert build.read_order(["--profile", "production"]).fresh


def test_a_key_set_is_never_overwritten(keys: dict[str, Path]) -> None:
    before = {path.name: path.read_bytes() for path in keys["production"].iterdir()}
    again = subprocess.run([IMAGE / "keys", keys["production"], "production"], capture_output=True, text=True)
    assert again.returncode == 1
    assert "overwritten" in again.stderr
    assert {path.name: path.read_bytes() for path in keys["production"].iterdir()} == before


def test_private_keys_are_their_owner_s_alone_and_the_signer_is_below_its_authority(keys: dict[str, Path]) -> None:
    folder = keys["production"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.glob("*.key"))
    checked = ["openssl", "verify", "-CAfile", folder / "rauc-ca.crt", "-CRLfile", folder / "rauc-ca.crl", "-crl_check"]
    subprocess.run([*checked, folder / "rauc.crt"], check=True, capture_output=True)
