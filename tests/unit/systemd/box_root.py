"""A root folder as systemd's own programs want it: our tree, units of this machine, stubs for what it lacks."""

import configparser
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
TREE = REPOSITORY / "systemd"
UNITS = TREE / "usr/lib/systemd/system"
FOREIGN = Path("/usr/lib/systemd/system")
TOOLS = REPOSITORY / "image/build/tools"  # Debian 13, once an image was built: the programs that build it
PACKAGES = REPOSITORY / "image/build/cache/trees/debian~trixie~x86-64.cache"  # and the packages that are in it
KINDS = (".service", ".socket", ".target", ".timer", ".path", ".mount")
NAMES = re.compile(
    r"^(?:After|Before|Requires|Requisite|Wants|Conflicts|PartOf|Sockets|Service|WantedBy|RequiredBy)=(.*)$"
)


def own_units() -> list[str]:
    """Every unit of ours; drop-ins are not units."""
    return sorted(path.name for path in UNITS.iterdir() if path.suffix in KINDS)


def own_services() -> list[str]:
    return [name for name in own_units() if name.endswith(".service")]


def masked() -> set[str]:
    return {path.name for path in (TREE / "etc/systemd/system").iterdir() if path.is_symlink()}


def settings(name: str, section: str) -> list[tuple[str, str]]:
    """The assignments of one section of a file, in order; each may come more than once."""
    found, inside = [], False
    for line in (TREE / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            inside = line == f"[{section}]"
        elif inside and line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.append((key, value))
    return found


def value(name: str, section: str, key: str) -> str:
    """Of a setting that is there once, at the most."""
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(TREE / name, encoding="utf-8")
    return parser.get(section, key, fallback="")


def build(root: Path) -> Path:
    """The root: what systemd-analyze looks at and nothing more."""
    shutil.copytree(TREE, root, symlinks=True, dirs_exist_ok=True)
    units = root / "usr/lib/systemd/system"
    for name in _named():
        if not (units / name).exists() and not (units / name).is_symlink():
            _stub(units / name)
    for line in _commands():
        program = root / line.lstrip("!@+-:").split()[0].lstrip("/")
        program.parent.mkdir(parents=True, exist_ok=True)
        if not program.exists():
            program.write_text("#!/bin/sh\n")
            program.chmod(0o755)
    return root


def _named() -> Iterator[str]:
    for path in UNITS.rglob("*"):
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                if found := NAMES.match(line):
                    yield from (name for name in found[1].split() if name.endswith(KINDS))
    yield from (
        "default.target",
        "sysinit.target",
        "basic.target",
        "shutdown.target",
        "sockets.target",
        "timers.target",
    )
    yield from (
        "paths.target",
        "umount.target",
        "local-fs.target",
        "-.mount",
        "local-fs-pre.target",
        "time-sync.target",
    )


def _stub(path: Path) -> None:
    """A unit of another package: that of this machine if it is installed, else one that does nothing."""
    if (FOREIGN / path.name).is_file():
        shutil.copy(FOREIGN / path.name, path)
    elif path.suffix == ".service":
        path.write_text("[Service]\nType=oneshot\nExecStart=/usr/bin/true\n")
    elif path.suffix == ".socket":
        path.write_text("[Socket]\nListenStream=/run/stub\n")
    elif path.suffix == ".target":
        path.write_text("[Unit]\nDescription=stub\n")


def _commands() -> Iterator[str]:
    yield "/usr/bin/true"
    for name in own_services():
        yield from (value for key, value in settings(f"usr/lib/systemd/system/{name}", "Service") if key == "ExecStart")


@cache
def analyze_command() -> tuple[str, ...]:
    """systemd-analyze of Debian 13 where the image's tools are, which is the box's own; else this machine's."""
    return program_of(TOOLS, "usr/bin/systemd-analyze") or ("systemd-analyze",)


def program_of(tree: Path, path: str) -> tuple[str, ...]:
    """A program of another Debian, with that Debian's libraries; nothing when it is not there or does not run here."""
    if not (tree / path).is_file():
        return ()
    libraries = tree / "usr/lib/x86_64-linux-gnu"
    loader = str(tree / "usr/lib64/ld-linux-x86-64.so.2")
    command = (loader, "--library-path", f"{libraries}:{libraries}/systemd", str(tree / path))
    runs = subprocess.run([*command, "--version"], capture_output=True, check=False).returncode == 0
    return command if runs else ()


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Never with a pager, a colour, or this machine's own units."""
    environ = {**os.environ, "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0", "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        [*analyze_command(), *arguments], capture_output=True, text=True, env=environ, timeout=60, check=False
    )
