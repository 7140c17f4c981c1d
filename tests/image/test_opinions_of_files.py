"""What others say of the files of the image, in seconds and before anything boots: OpenSCAP, kernel-hardening-checker.

What they say of the booted box: test_second_opinions.py.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.artefacts import BUILD, REPOSITORY, Image
from tests.image.second_opinions import guest, kernel, openscap, programs
from tests.image.test_second_opinions import KERNEL

OF_A_RUNNING_SYSTEM = r"sysctl_|mount_option_|partition_for_|service_|systemd_|apparmor_configured"


@pytest.fixture(scope="module")
def tree() -> Path:
    return programs.make()


def test_each_rule_left_out_is_one_of_the_profiles_and_has_one_reason(tree: Path) -> None:
    reasons = openscap.reasons()
    profiles = openscap.selected(tree / programs.CONTENT)
    known = set().union(*(profiles[name] for name in openscap.PROFILES))
    assert not (reasons.left_out.keys() | reasons.fails.keys()) - known
    assert not reasons.left_out.keys() & reasons.fails.keys()
    assert all(len(reason) > 30 for reason in (*reasons.left_out.values(), *reasons.fails.values()))


def test_the_kernel_as_built_and_as_started(tree: Path, the_image: Image) -> None:
    manifest = json.loads(_of_root(the_image, "/usr/share/passevue/manifest.json"))
    config = _of_root(the_image, f"/usr/lib/modules/{_kernel(manifest)}/config")
    checked = kernel.check(tree, config=config, cmdline=manifest["cmdline"])
    assert checked.good >= KERNEL, checked.bad


@pytest.fixture(scope="module")
def files(the_image: Image) -> Iterator[Path]:
    """What is in the root of the image; the list of packages where scanners look for it."""
    if os.getuid() != 0:
        pytest.skip("only root gets the files out of the image with their owners")
    target = BUILD / "test/files"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    _in_tools(
        "fsck.erofs", f"--extract={target}", "--overwrite", "--preserve", (the_image.folder / "root.img").resolve()
    )
    (target / "var/lib/dpkg").mkdir(parents=True)
    shutil.copy(target / guest.PACKAGES.lstrip("/"), target / guest.THERE.lstrip("/"))
    yield target
    shutil.rmtree(target)


def test_openscap_finds_nothing_new_in_the_files(tree: Path, files: Path, tmp_path: Path) -> None:
    """In seconds, before anything boots: a rule about a file that fails and has no reason."""
    reasons = openscap.reasons()
    verdict = openscap.ask_of_files(tree, files, "enhanced", reasons.left_out, tmp_path)
    assert len(verdict.results) > 250
    new = verdict.failed - reasons.fails.keys()
    assert {rule for rule in new if not re.match(OF_A_RUNNING_SYSTEM, rule)} == set()


def test_nothing_is_left_out_that_would_pass(tree: Path, files: Path, tmp_path: Path) -> None:
    verdict = openscap.ask_of_files(tree, files, "enhanced", {}, tmp_path)
    assert openscap.reasons().left_out.keys() - verdict.failed == set()


def _kernel(manifest: dict[str, list[dict[str, str]]]) -> str:
    names = [package["name"] for package in manifest["packages"]]
    return next(name.removeprefix("linux-image-") for name in names if name.startswith("linux-image-6"))


def _of_root(image: Image, path: str) -> str:
    return _in_tools("dump.erofs", "--cat", f"--path={path}", (image.folder / "root.img").resolve())


def _in_tools(*argv: object) -> str:
    command = [sys.executable, str(REPOSITORY / "image/build.py"), "--in-tools", *map(str, argv)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr[-2000:]}"
    return done.stdout
