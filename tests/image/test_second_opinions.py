"""What others' programs say of the box: OpenSCAP, kernel-hardening-checker, lynis, systemd-analyze. No figure may fall.

The first half reads files of the image; the rest asks the booted, configured box, once for all tests.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.image.artefacts import BUILD, REPOSITORY, Image
from tests.image.lab import Lab
from tests.image.machine import Machine
from tests.image.second_opinions import guest, kernel, lynis, openscap, programs
from tests.unit.systemd.test_exposure import MEASURED

SCAP = {"minimal": 100.0, "intermediary": 97.0, "enhanced": 97.0}
KERNEL, LIVE = 200, 25
OF_A_RUNNING_SYSTEM = r"sysctl_|mount_option_|partition_for_|service_|systemd_|apparmor_configured"
LYNIS = 60
LYNIS_WARNS = {"LOGG-2138": "looks for klogd; journald reads the kernel's messages"}


@pytest.fixture(scope="module")
def tree() -> Path:
    return programs.make()


# The image's files


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


# The booted box


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def judged(lab: Lab, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Machine]:
    """The box with the judges in it."""
    packed = guest.pack(tree, openscap.tailoring(openscap.reasons().left_out), tmp_path_factory.mktemp("judges"))
    box = await lab.box()
    lab.say(f"bringing {packed.stat().st_size >> 20} MiB of programs into the box")
    await guest.bring(box, packed)
    yield box


@pytest.mark.parametrize("profile", openscap.PROFILES)
async def test_openscap(judged: Machine, lab: Lab, profile: str) -> None:
    lab.say(f"OpenSCAP, ANSSI-BP-028 {profile}")
    verdict = await openscap.ask(judged, profile)
    lab.figures[f"OpenSCAP, ANSSI-BP-028 {profile}"] = str(verdict)
    lab.say(f"{verdict}; failed: {' '.join(sorted(verdict.failed)) or 'none'}")
    assert not verdict.failed - openscap.reasons().fails.keys(), "fails, and judged.toml gives no reason"
    assert verdict.score >= SCAP[profile]


async def test_kernel_hardening_checker_in_the_box(judged: Machine, lab: Lab, tree: Path) -> None:
    config = (await judged.console.run("sh", "-c", "cat /usr/lib/modules/$(uname -r)/config")).out
    cmdline = (await judged.console.run("cat", "/proc/cmdline")).out
    values = (await judged.console.run("sysctl", "-a", check=False)).out
    started, live = kernel.check(tree, config=config, cmdline=cmdline), kernel.check(tree, sysctl=values)
    lab.figures["kernel-hardening-checker, build and command line"] = str(started)
    lab.figures["kernel-hardening-checker, live sysctl"] = str(live)
    assert started.good >= KERNEL, started.bad
    assert live.good >= LIVE, live.bad
    assert "kernel.modules_disabled = 1\n" in values


async def test_lynis(judged: Machine, lab: Lab) -> None:
    opinion = await lynis.ask(judged)
    lab.figures["lynis"] = str(opinion)
    lab.say(f"lynis: {opinion}; {' '.join(sorted(opinion.warnings | opinion.suggestions))}")
    assert opinion.warnings <= LYNIS_WARNS.keys()
    assert opinion.index >= LYNIS


async def test_exposure_of_the_units_that_run(judged: Machine, lab: Lab) -> None:
    """The same figures as tests/unit/systemd has for the files; here with what the image's other drop-ins add."""
    said = await judged.console.run("systemd-analyze", "security", "--json=short", "--no-pager", timeout_s=300)
    found = {each["unit"]: round(float(each["exposure"]) * 10) for each in json.loads(said.out)}
    ours = {unit: found[unit] for unit in MEASURED if unit in found}
    assert {"passevue-host.service", "passevue-intake.service", "passevue-page.service"} <= ours.keys()
    worst = max(ours, key=ours.__getitem__)
    lab.figures["worst exposure of our units"] = f"{ours[worst] / 10} ({worst})"
    assert {unit: figure for unit, figure in ours.items() if figure > MEASURED[unit]} == {}
