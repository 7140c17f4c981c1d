"""Programs on the Java virtual machine, out of Maven's packages: resolved once, compiled once, started in a second.

Each folder of `java/` is one program: `pom.xml` names the packages and no address, so the machine's own Maven decides
where they come from and keeps them in its own repository; the `.java` files beside it are the little that we wrote
around them. The compiler is one of the packages too (ecj), so that a run-time without `javac` is enough.

What is made is kept in `.cache/interop/<program>/` under a hash of the folder: a changed pom or source makes it anew.
Alone: `python -m tests.interop.jvm ipf` prints the command line that starts a program.
"""

import fcntl
import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from subprocess import PIPE
from threading import Thread
from typing import Any

import pytest

_SOURCES = Path(__file__).parent / "java"
_CACHE = Path(__file__).parents[2] / ".cache" / "interop"
_OFFLINE = ("Could not transfer", "failed to transfer", "Unknown host", "Connection refused", "Network is unreachable")
_RELEASE = 17  # Debian 12's Java; 13's runs it too
_VERSION = re.compile(r'version "(\d+)')
MAVEN_TIMEOUT_S = 540
ANSWER_WITHIN_S = 60.0
END_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled program: `class_path` as `java` takes it."""

    name: str
    class_path: str

    def command(self, main_class: str, options: Sequence[str] = ()) -> tuple[str, ...]:
        """Small heap, one compiler tier: quick to start, and two cores are all there are."""
        quick = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        return ("java", *quick, *options, "-cp", self.class_path, main_class)


class Missing(Exception):
    """The program cannot be had on this machine; the text says why."""


def obtain(name: str) -> Program:
    """The program of `java/<name>`, fetched and compiled if need be. Blocking: minutes the first time.

    Raises:
        Missing: no Java, no Maven, or no network to fetch the packages by.
    """
    _check_tools()
    folder = _SOURCES / name
    made = _CACHE / name / _fingerprint(folder)
    kept = made / "classpath"
    with _alone():
        if not kept.is_file() or not _all_there(kept.read_text()):
            _make(folder, made)
    return Program(name, f"{made / 'classes'}:{kept.read_text()}")


def or_skip(name: str) -> Program:
    """The program, or the test skips and says why."""
    try:
        return obtain(name)
    except Missing as err:
        pytest.skip(f"Java program {name}: {err}")


def unpacked(name: str, finish: Callable[[Path], None], how: Sequence[str]) -> Path:
    """The one archive that `java/<name>` names, unpacked and finished once. Blocking: minutes the first time.

    Args:
        finish: what is still to be done in the unpacked folder.
        how: what that depends on: another value makes it anew.

    Raises:
        Missing: as `obtain`.
    """
    _check_tools()
    folder = _SOURCES / name
    made = _CACHE / name / hashlib.sha256(f"{_fingerprint(folder)} {how}".encode()).hexdigest()[:16]
    with _alone():
        if not made.is_dir():
            with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
                work = Path(scratch) / "made"
                _say(f"{name}: Maven fetches its archive (some minutes the first time, then kept)")
                _resolve(folder, Path(scratch) / "classpath")
                shutil.unpack_archive((Path(scratch) / "classpath").read_text().strip(), work, "zip")
                shutil.rmtree(made.parent, ignore_errors=True)
                made.parent.mkdir(parents=True, exist_ok=True)
                finish(work)
                work.rename(made)
    return made


def _check_tools() -> None:
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            raise Missing(f"{tool} is not installed")
    told = subprocess.run(["java", "-version"], capture_output=True, text=True, timeout=60).stderr
    found = _VERSION.search(told)
    if found is None or int(found[1]) < _RELEASE:
        raise Missing(f"expected Java {_RELEASE} or later instead got {found[1] if found else told[:60]!r}")


@contextmanager
def _alone() -> Iterator[None]:
    """Two runs of the tests at once make a program once."""
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _all_there(class_path: str) -> bool:
    return all(Path(jar).is_file() for jar in class_path.split(":"))


def _make(folder: Path, made: Path) -> None:
    """In a folder of its own, renamed when whole: a test that is stopped leaves nothing half made."""
    with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
        work = Path(scratch) / "made"
        work.mkdir()
        _say(f"{folder.name}: Maven resolves its packages (some minutes the first time, then kept)")
        _resolve(folder, work / "classpath")
        _say(f"{folder.name}: compiling")
        _compile(folder, work)
        shutil.rmtree(made.parent, ignore_errors=True)
        made.parent.mkdir(parents=True, exist_ok=True)
        work.rename(made)


def _resolve(folder: Path, class_path: Path) -> None:
    command = ["mvn", "-B", "-U", "-ntp", "-f", str(folder / "pom.xml"), "dependency:build-classpath"]
    command.append(f"-Dmdep.outputFile={class_path}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=MAVEN_TIMEOUT_S)
    except subprocess.TimeoutExpired as err:
        raise Missing(f"Maven did not finish in {MAVEN_TIMEOUT_S} s") from err
    if done.returncode == 0:
        return
    if any(sign in done.stdout for sign in _OFFLINE):
        raise Missing("Maven could not reach its registry, and the packages are not on this machine yet")
    raise RuntimeError(f"Maven failed on {folder.name}:\n{done.stdout[-4000:]}{done.stderr[-1000:]}")


def _compile(folder: Path, work: Path) -> None:
    class_path = (work / "classpath").read_text()
    compiler = next(jar for jar in class_path.split(":") if Path(jar).name.startswith("ecj-"))
    command = ["java", "-jar", compiler, f"-{_RELEASE}", "-proc:none", "-nowarn", "-encoding", "UTF-8"]
    command += ["-cp", class_path, "-d", str(work / "classes"), *map(str, sorted(folder.glob("*.java")))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"{folder.name} does not compile:\n{done.stdout}{done.stderr}")


def _say(text: str) -> None:
    """Past pytest's capture: a minute of silence looks like a hang."""
    print(f"tests/interop: {text}", file=sys.__stderr__, flush=True)


class Running:
    """A started program that is spoken to by lines. It ends when its standard input closes, so it never outlives us.

    Args:
        folder: where its temporary files and what it says on the standard error go.
        options: of the Java machine.
    """

    def __init__(self, program: Program, main_class: str, folder: Path, options: Sequence[str] = ()) -> None:
        self._told = folder / f"{program.name}.stderr"
        command = program.command(main_class, (f"-Djava.io.tmpdir={folder}", *options))
        with self._told.open("wb") as told:
            self._process = subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=told, cwd=folder)
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        self._reader = Thread(target=self._read, name=f"{program.name} reader", daemon=True)
        self._reader.start()

    def ask(self, line: str, within_s: float = ANSWER_WITHIN_S) -> Any:
        """One command, and the JSON that it answers."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()
        return self.answer(within_s)

    def answer(self, within_s: float = ANSWER_WITHIN_S) -> Any:
        """The JSON of the next line."""
        try:
            line = self._lines.get(timeout=within_s)
        except Empty:
            line = b""
        if not line:
            raise RuntimeError(f"the Java program ended or hangs: {self._told.read_text(errors='replace')[-4000:]}")
        return json.loads(line)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(b"")


if __name__ == "__main__":
    wanted = sys.argv[1]
    mains = {"ipf": "XdsServer", "hapi": "Ris"}
    print(shlex.join(obtain(wanted).command(mains[wanted])))
