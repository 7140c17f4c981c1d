"""What each zone's process holds in memory: these libraries and no other. A list that may shrink.

A zone is started as systemd starts it, the first time, when the store is to be made, and says at its end what it has
loaded.
"""

import asyncio
import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from passevue.zones.loading import lasting, load
from passevue.zones.part import Part
from tests.smallest import smallest_box

ALL = {
    "annotated_types",
    "passevue",
    "pydantic",
    "pydantic_core",
    "structlog",
    "typing_extensions",
    "typing_inspection",
}
ALL |= {"uvloop"}
HTTP = {
    "aiohappyeyeballs", "aiohttp", "aiosignal", "attr", "frozenlist", "idna", "multidict", "propcache", "yarl",
}  # fmt: skip
HOLDS = {
    Part.INTAKE: ALL | {"lxml", "pybase64"},
    Part.NATIONAL: ALL | HTTP | {"cryptography", "lxml", "pybase64", "joserfc"},
    Part.PAGE: ALL
    | HTTP
    | {"cryptography", "lxml", "pybase64", "joserfc", "jinja2", "markupsafe", "prometheus_client"},
    Part.HOST: ALL | {"cryptography", "dbus_fast", "smartcard"},
}
PROGRAM = """
import atexit, sys
def tell():
    found = {name.partition(".")[0] for name, module in sys.modules.items() if getattr(module, "__spec__", None)}
    print("LOADED", *sorted(found - set(sys.stdlib_module_names)), file=sys.stderr, flush=True)
atexit.register(tell)
from passevue.__main__ import main
main()
"""
AIDS = {"cython_runtime", "swig_runtime_data5", "sitecustomize", "usercustomize"}  # of no file of their own


@pytest.fixture
async def configuration(tmp_path: Path) -> Path:
    return await asyncio.to_thread(smallest_box, tmp_path, "1750000000")


@pytest.mark.parametrize("part", list(Part))
async def test_a_zone_holds_its_own_libraries_and_no_other(part: Part, configuration: Path) -> None:
    words = ("run", "--config", str(configuration), "--part", part, "--sockets", str(configuration.parent))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, *words, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    said = b""
    try:
        async with asyncio.timeout(120):
            while b"event=box_ready" not in said:
                line = await process.stderr.readline()
                assert line, said.decode()
                said += line
            process.terminate()
            said += await process.stderr.read()
            assert await process.wait() == 0, said.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    (told,) = (line for line in said.decode().splitlines() if line.startswith("LOADED "))
    found = {name for name in told.split()[1:] if not name.startswith("_")} - AIDS
    assert found <= HOLDS[part]
    assert "passevue" in found


def test_what_a_process_is_made_of_is_not_looked_through_for_garbage() -> None:
    program = """
import gc
from passevue.zones.loading import lasting, load
from passevue.zones.part import Part
load(tuple(Part))
print(gc.isenabled(), gc.get_freeze_count(), len(gc.get_objects()))
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    enabled, apart, watched = told.stdout.split()
    assert enabled == "True"
    assert int(apart) > 50_000
    assert int(watched) < 1_000


def test_what_lasts_is_looked_through_again_at_its_end() -> None:
    gc.unfreeze()
    with lasting():
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


def test_the_environment_is_as_before_once_zones_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    load((Part.HOST,))
    assert "SSL_CERT_FILE" not in os.environ
    monkeypatch.setenv("SSL_CERT_FILE", "/somewhere")
    load((Part.HOST,))
    assert os.environ["SSL_CERT_FILE"] == "/somewhere"
