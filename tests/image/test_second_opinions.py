"""What others' programs say of the box: OpenSCAP, kernel-hardening-checker, lynis, systemd-analyze. No figure may fall.

They ask the booted, configured box, once for all tests; test_opinions_of_files.py reads files of the image.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.image.lab import Lab
from tests.image.machine import Machine
from tests.image.second_opinions import guest, kernel, lynis, openscap, programs
from tests.unit.systemd.test_exposure import MEASURED

SCAP = {"minimal": 100.0, "intermediary": 98.2, "enhanced": 98.2}
KERNEL, LIVE = 200, 35
LYNIS = 76
LYNIS_WARNS = {"LOGG-2138": "looks for klogd; journald reads the kernel's messages"}


@pytest.fixture(scope="module")
def tree() -> Path:
    return programs.make()


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
