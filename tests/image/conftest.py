"""Tests of the image: on virtual PCs, one at a time, so only when asked for: `make image-test`.

PASSEVUE_IMAGE names the folder under image/build/out. PASSEVUE_CUTS says how often a test of power cuts does it; else
ten times while an update is written, three times during intake.
PASSEVUE_IMAGE_MINUTES: after so many, no more test is begun but of ALWAYS; each one left out is named.
"""

import asyncio
import contextlib
import inspect
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Generator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.image import lab as laboratory
from tests.image.artefacts import BUILD, Image, NoImage, image
from tests.image.lab import Lab
from tests.image.machine import Machine

HERE = Path(__file__).parent
CUTS = int(os.environ.get("PASSEVUE_CUTS", "3"))
LONGEST_S = 3600 + 300 * max(CUTS, 10)  # of one test with the boots it needs, on a machine with other work
ORDER = (  # what says most in the least time first
    *("fickle_disk", "supply", "clean_image", "opinions_of_files", "first_boot", "surface", "card_reader", "usb"),
    *(
        "sabotage",
        "clock_chip",
        "tampering",
        "nothing_shared",
        "two_wires",
        "erase",
        "update",
        "power_cuts",
        "second_opinions",
    ),
)
ALWAYS = ORDER[:6]
BEGAN = time.monotonic()
_left_out = 0


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "image: boots the image in a virtual PC")
    config.addinivalue_line("markers", "needs_no_machine: lies here, and runs with the other tests")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    global _left_out
    ours = [item for item in items if HERE in item.path.parents and "needs_no_machine" not in item.keywords]
    if not os.environ.get("PASSEVUE_IMAGE"):
        config.hook.pytest_deselected(items=ours)
        items[:] = [item for item in items if item not in ours]
        _left_out = len(ours)
        return
    items.sort(key=lambda item: place(idea(item)) if item in ours else -1)
    for item in ours:
        item.add_marker(pytest.mark.image)
        item.add_marker(pytest.mark.timeout(LONGEST_S, func_only=False))
        if inspect.iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def idea(item: pytest.Item) -> str:
    return item.path.stem.removeprefix("test_")


def place(name: str) -> int:
    """Among the ideas; one that nobody has put in its place yet comes last."""
    return ORDER.index(name) if name in ORDER else len(ORDER)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    minutes = os.environ.get("PASSEVUE_IMAGE_MINUTES")
    if not minutes or HERE not in item.path.parents or idea(item) in ALWAYS:
        return
    if time.monotonic() - BEGAN > 60 * float(minutes):
        pytest.skip(f"the {minutes} minutes for tests of the image are over: make image-test")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if _left_out:
        terminalreporter.write_line(f"{_left_out} tests of the image left out: make image-test runs them")
    figures = config.stash.get(FIGURES, {})
    if figures:
        terminalreporter.section("measured")
        for name, value in figures.items():
            terminalreporter.write_line(f"{name:<60} {value}")


FIGURES = pytest.StashKey[dict[str, str]]()


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """A line for the person who waits, whatever pytest captures."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    reporter = request.config.pluginmanager.getplugin("terminalreporter")

    def line(text: str) -> None:
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(f"    » {text}")

    return line


@pytest.fixture(scope="session")
def the_image() -> Image:
    try:
        found = image(os.environ["PASSEVUE_IMAGE"])
    except NoImage as none:
        pytest.fail(str(none))
    return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def lab(the_image: Image, say: Callable[[str], None], request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    """First and second boot are done once, for all tests."""
    folder = laboratory.folder_of(the_image)
    kept = folder.exists() and laboratory.kept()
    if not kept:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    if stale := the_image.stale():
        say(f"this image is older than the tree: {stale}")
    here = Lab(the_image, folder, say)
    await here.prepare()
    try:
        yield here
    finally:
        await here.close()
        request.config.stash[FIGURES] = here.figures
        (BUILD / "test").mkdir(parents=True, exist_ok=True)
        (BUILD / "test/figures.json").write_text(json.dumps(here.figures, indent=1, ensure_ascii=False) + "\n")
        if not here.keep:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


FAILED = pytest.StashKey[bool]()
LAST_WORDS = ("journalctl", "-b", "--no-pager", "-o", "short-monotonic", "-n", "150")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest_asyncio.fixture(loop_scope="session")
async def box(lab: Lab, request: pytest.FixtureRequest) -> AsyncIterator[Machine]:
    """The configured box, running; what the tests before have done is undone. After a failure it tells its journal."""
    machine = await lab.box()
    yield machine
    if request.node.stash.get(FAILED, False) and machine.on:
        with contextlib.suppress(TimeoutError, ConnectionError):
            print((await machine.console.run(*LAST_WORDS, check=False)).out)


@pytest.fixture
def cuts() -> int:
    return CUTS
