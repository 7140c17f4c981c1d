"""The judges inside the running box: a read-only file system, brought over the tests' console, mounted in /run.

The box has no shell to log in to, no package manager and no room for them: nothing of the image is changed or covered.
They run with their own loader and libraries. What they find is that very box, booted, with its sockets, mounts, kernel.
"""

import shutil
import subprocess
from pathlib import Path

from tests.image.console import Said
from tests.image.machine import Machine
from tests.image.second_opinions.programs import CONTENT, LIBRARIES, LOADER
from tests.image.state import run

PLACE = "/run/second-opinions"
TAILORING = "tailoring.xml"
OSCAP = "usr/bin/oscap"
PIECE = 1 << 18  # bytes that the console takes at once
PACKAGES = "/usr/lib/passevue/dpkg/status"  # kept for scanners; they look for it at the next
THERE = "/var/lib/dpkg/status"


def pack(tree: Path, tailoring: str, folder: Path) -> Path:
    """What runs in the guest, out of the whole tree of programs."""
    inner = folder / "inner"
    shutil.rmtree(inner, ignore_errors=True)
    inner.mkdir(parents=True)
    (inner / TAILORING).write_text(tailoring)
    for name in (OSCAP, LOADER, CONTENT, "usr/sbin/lynis", "usr/share/lynis", "etc/lynis"):
        source, target = tree / name, inner / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    (inner / LIBRARIES).mkdir(parents=True)
    for library in _libraries(tree, tree / OSCAP):
        shutil.copy(library, inner / LIBRARIES / library.name)
    packed = folder / "second-opinions.squashfs"
    packed.unlink(missing_ok=True)
    run("mksquashfs", str(inner), str(packed), "-all-root", "-quiet", "-no-progress", "-comp", "gzip")
    return packed


async def bring(box: Machine, packed: Path) -> None:
    there = f"{PLACE}.squashfs"
    with packed.open("rb") as file:
        while piece := file.read(PIECE):
            await box.console.run("dd", f"of={there}", "oflag=append", "conv=notrunc", "status=none", stdin=piece)
    await box.console.run("mkdir", "-p", PLACE, str(Path(THERE).parent))
    await box.console.run("mount", "-t", "squashfs", "-o", "loop,ro,nodev,nosuid", there, PLACE)
    await box.console.run("cp", PACKAGES, THERE)


async def start(box: Machine, program: str, *words: str, timeout_s: float, check: bool = True) -> Said:
    """One program of the tree with its own libraries."""
    loader = (f"{PLACE}/{LOADER}", "--library-path", f"{PLACE}/{LIBRARIES}")
    return await box.console.run(*loader, f"{PLACE}/{program}", *words, timeout_s=timeout_s, check=check)


def _libraries(tree: Path, program: Path) -> list[Path]:
    loader = [str(tree / LOADER), "--library-path", str(tree / LIBRARIES), "--list", str(program)]
    told = subprocess.run(loader, capture_output=True, text=True, check=True).stdout
    paths = [Path(line.split("=>")[1].split("(")[0].strip()) for line in told.splitlines() if "=>" in line]
    return [path for path in paths if tree in path.parents]
