"""What every step stands on: places, the order, how a program is run, how progress is shown.

A step says what it does and how long it took; what its programs print goes to build/log/, whose end is shown when one
fails.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
REPOSITORY = HERE.parent
BUILD = HERE / "build"
TOOLS = BUILD / "tools"


class BuildError(Exception):
    """A step failed; the message is for the person who typed `make image`."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be built."""

    profile: str  # production or development
    test: bool  # with a root console
    version: str
    name: str  # folder under build/out
    keys: Path
    extra: tuple[Path, ...]  # trees laid over the image: tests build broken boxes with them
    compression: str  # of the root: "zstd,12"
    epoch: int  # seconds: when the commit was made
    fresh: bool  # nothing from an earlier build's trees

    @property
    def out(self) -> Path:
        return BUILD / "out" / self.name


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    print(f"» {title:<58}", end="", file=sys.stderr, flush=True)
    started = time.monotonic()
    try:
        yield
    except BaseException:
        print(" failed", file=sys.stderr)
        raise
    print(f" {time.monotonic() - started:6.1f} s", file=sys.stderr)


def run(argv: Sequence[object], log: str, env: Mapping[str, str] | None = None) -> None:
    """One program, in image/, its output in log/`log`.

    Raises:
        BuildError: it failed; the end of its log is in the message.
    """
    path = BUILD / "log" / f"{log}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [str(part) for part in argv]
    with path.open("wb") as output:
        code = subprocess.run(  # noqa: S603 (our own steps, no shell)
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=HERE, env=os.environ | dict(env or {})
        ).returncode
    if code:
        end = path.read_text(errors="replace").splitlines()[-25:]
        raise BuildError("\n".join([*end, f"{Path(command[0]).name} failed; all of it is in {path}"]))


def in_tools(shown: Sequence[Path], *argv: object) -> list[object]:
    """The command that runs a program of the tools tree in mkosi's sandbox (no root needed), seeing these folders."""
    links = [part for name in ("bin", "sbin", "lib", "lib64") for part in ("--symlink", f"usr/{name}", f"/{name}")]
    binds = [part for path in shown for part in ("--bind", path, path)]
    sandbox = TOOLS / "usr/lib/python3/dist-packages/mkosi/sandbox.py"
    return [
        *(sys.executable, "-SI", sandbox, "--become-root", "--ro-bind", TOOLS / "usr", "/usr", *links),
        *("--ro-bind", TOOLS / "etc", "/etc", "--dev", "/dev", "--proc", "/proc"),
        *("--tmpfs", "/tmp", *binds, "--", *argv),  # noqa: S108 (the sandbox's own)
    ]


def git(*argv: str) -> str:
    command = ["git", "-C", str(REPOSITORY), *argv]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603


def tracked(tree: str) -> list[str]:
    """The files of a tree that are, or are about to be, in the repository; not what programs left there."""
    names = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", tree).split("\0")
    return sorted(name for name in names if name and os.path.lexists(REPOSITORY / name))


def unknown(tree: str) -> list[str]:
    """The files of a tree that the repository does not know, those that it is told to ignore too."""
    return [name for name in git("ls-files", "-z", "--others", tree).split("\0") if name]


def commit() -> str:
    """The commit that is built, with a `+` when the work tree is not quite it."""
    return git("rev-parse", "HEAD") + (" +" if git("status", "--porcelain") else "")


def copy(source: Path, target: Path) -> None:
    """A file or a link, in the place of what was there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    shutil.copy(source, target, follow_symlinks=False)


def settle(tree: Path) -> None:
    """Gives a tree the usual rights: not those that umask, set-group-ID folders or ACLs of this machine gave it."""
    for path in (tree, *tree.rglob("*")):
        if path.is_symlink():
            continue
        for name in os.listxattr(path):
            if name.startswith("system.posix_acl_"):
                os.removexattr(path, name)
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o111 else 0o644)


def remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
