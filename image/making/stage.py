"""Everything of ours as it lands in the image, in build/stage: agent, wheels, units, readers, updater, public keys."""

import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from making.ground import BUILD, REPOSITORY, BuildError, Order, copy, remove, run, step, tracked

PYTHON = "3.13"  # Debian 13's
FROM_DEBIAN = ("pyscard",)  # has no wheel for Linux; python3-pyscard is in mkosi.conf
ELSEWHERE = ("colorama", "tzdata")  # Windows
STAGE = BUILD / "stage"
WHEELS = BUILD / "cache/wheels"
PIP = BUILD / "pip/bin/pip"
OVERLAYS = ("systemd", "image/overlay", "image/rauc/overlay")  # trees laid out as they land
CONSOLE = "image/mkosi.profiles/test/overlay"
LANDS_IN = ("usr", "etc", "efi")
FOR_PEOPLE = "README.md"  # lands nowhere
HARDWARE = {
    "hw/readers/*.toml": "usr/share/passevue/hw/readers",
    "hw/udev/*.rules": "usr/lib/udev/rules.d",
    "hw/polkit/*.rules": "usr/share/polkit-1/rules.d",
}


def version() -> str:
    """The agent's."""
    return str(tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"])


def get_wheels() -> None:
    """The agent's dependencies for the image's Python, by agent/requirements.txt; kept for the next build."""
    entries = re.split(r"\n(?=\S)", (REPOSITORY / "agent/requirements.txt").read_text())
    wanted = [entry for entry in entries if re.split(r"[=\s]", entry)[0] not in (*FROM_DEBIAN, *ELSEWHERE)]
    listed = WHEELS / "requirements.txt"
    if listed.exists() and listed.read_text() == "\n".join(wanted) and PIP.exists():
        return
    with step(f"{len(wanted)} hashed wheels for Python {PYTHON}"):
        if not PIP.exists():
            run([sys.executable, "-m", "venv", PIP.parents[1]], "pip")
        WHEELS.mkdir(parents=True, exist_ok=True)
        draft = WHEELS / "requirements.part"
        draft.write_text("\n".join(wanted))
        run([PIP, "download", "--require-hashes", "-r", draft, "-d", WHEELS, *_target()], "wheels")
        draft.rename(listed)


def lay_out(order: Order) -> Path:
    with step("the agent, its units and readers"):
        remove(STAGE)
        _agent(STAGE / "usr/lib/passevue/python")
        _keys(order)
        for source, inner in landing(order):
            target = STAGE / inner
            if not target.parent.resolve().is_relative_to(STAGE.resolve()):
                raise BuildError(f"{source}: an earlier tree has a link in its way, which leads out of the image")
            copy(source, target)
    return STAGE


def landing(order: Order) -> Iterator[tuple[Path, Path]]:
    """Each file that is laid out as it is, and where: of two for one place, the later one stays.

    Raises:
        BuildError: a file of ours that would land nowhere.
    """
    for tree in (*OVERLAYS, *([CONSOLE] if order.test else [])):
        for name in tracked(tree):
            inner = Path(name).relative_to(tree)
            if inner.parts[0] in LANDS_IN:
                yield REPOSITORY / name, inner
            elif inner.name != FOR_PEOPLE:
                raise BuildError(f"{name} would land nowhere: of {tree}, {', '.join(LANDS_IN)} are the image's")
    for pattern, place in HARDWARE.items():
        for file in sorted(REPOSITORY.glob(pattern)):
            yield file, Path(place, file.name)
    for extra in order.extra:
        for file in sorted(path for path in extra.rglob("*") if path.is_symlink() or path.is_file()):
            yield file, file.relative_to(extra)


def _agent(place: Path) -> None:
    place.mkdir(parents=True)
    listed = WHEELS / "requirements.txt"
    offline = ["--no-index", "--find-links", WHEELS, "--require-hashes", "-r", listed, "--no-compile"]
    run([PIP, "install", *offline, "--target", place, *_target()], "install")
    _slim(place)
    for name in tracked("agent/passevue"):
        copy(REPOSITORY / name, place / Path(name).relative_to("agent"))
    told = place / f"passevue-{version()}.dist-info/METADATA"
    told.parent.mkdir()
    told.write_text(_metadata())


def _metadata() -> str:
    """The agent's own, as a wheel of it would have: what it asks for is the SBOM's (image/supply)."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    fields = [("Metadata-Version", "2.4"), ("Name", project["name"]), ("Version", project["version"])]
    fields += [("License-Expression", project["license"]["text"])]
    fields += [("Requires-Dist", wanted) for wanted in project["dependencies"]]
    return "".join(f"{name}: {value}\n" for name, value in fields)


def _slim(place: Path) -> None:
    """What wheels carry and nothing here reads: commands, tests, sources of compiled parts, pygments' lexers."""
    for folder in [place / "bin", *place.glob("**/tests"), *place.glob("**/data/test_files")]:
        shutil.rmtree(folder, ignore_errors=True)
    for pattern in ("**/*.pyx", "**/*.pxd", "**/*.c", "**/*.h", "**/*.pyi", "pygments/lexers/[a-z]*.py"):
        for file in place.glob(pattern):
            file.unlink()


def _keys(order: Order) -> None:
    """Public halves only."""
    for name in ("PK", "KEK", "db"):
        copy(order.keys / f"enrol/{name}.auth", STAGE / f"efi/loader/keys/auto/{name}.auth")
    copy(order.keys / "manifest.pub", STAGE / "usr/share/passevue/manifest.pub")
    believed = (order.keys / "rauc-ca.crt").read_text() + (order.keys / "rauc-ca.crl").read_text()
    (STAGE / "usr/share/passevue/rauc-ca.pem").write_text(believed)


def _target() -> list[str]:
    """pip's words for the image's Python and C library (2.41), whatever runs here."""
    names = [f"manylinux_2_{minor}_x86_64" for minor in (41, 39, 38, 35, 34, 31, 28, 27, 26, 24, 17, 12, 5)]
    platforms = [f"--platform={name}" for name in (*names, "manylinux2014_x86_64", "manylinux1_x86_64")]
    return ["--only-binary=:all:", "--no-deps", f"--python-version={PYTHON}", "--implementation=cp", *platforms]
