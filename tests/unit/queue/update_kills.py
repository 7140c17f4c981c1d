"""kill -9 at every file operation and every statement of an update's first start, and of the way back after it.

The nursery (this process, which has imported everything) lays out the same store again and again, and forks a life on
it that kills itself at its n-th step. Whatever it leaves, the next start must find everything: of the same release, of
the one before, of the newer one again and then the one before. Prints what it did and what was wrong, as JSON.

    python -m tests.unit.queue.update_kills FOLDER              # all of them: half a minute
    python -m tests.unit.queue.update_kills FOLDER --every 7
"""

import argparse
import asyncio
import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from passevue import config
from passevue.queue import migrate
from passevue.queue.snapshot import snapshot_of
from passevue.queue.store import Store
from passevue.queue.version import SCHEMA, THIS, Release, schema_in
from tests.peers.disk import ROOMY
from tests.unit.queue.far_end import message, publish
from tests.unit.queue.releases import bring, next_releases, rows, take_in

BEFORE, SINCE = 12, 3
FILE_STEPS = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "sqlite3.connect"})
CALLS = frozenset({"execute", "backup", "close", "fsync"})  # of SQLite and of the system
CONTENT = b"x" * 6000
assert migrate  # imported once, here


def lives(act: Callable[[], object], at: int, folder: Path) -> bool:
    """Run `act` in a process that dies at its step `at` in that folder; whether it came to its end."""
    child = os.fork()
    if child == 0:
        try:
            _die_at(at, str(folder))
            act()
        except BaseException as err:
            print(f"step {at}: {err!r}", file=sys.stderr)
            os._exit(3)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status):
        if os.WEXITSTATUS(status):
            raise AssertionError(f"a life ended with {os.WEXITSTATUS(status)}")
        return True
    assert os.WTERMSIG(status) in (signal.SIGKILL, signal.SIGXFSZ)
    return False


def _die_at(at: int, folder: str) -> None:
    seen = 0

    def step() -> None:
        nonlocal seen
        seen += 1
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)

    def file_step(event: str, args: tuple[object, ...]) -> None:
        if event in FILE_STEPS and folder in str(args[0]):
            step()

    def call_step(_frame: object, event: str, called: object) -> None:
        if event == "c_call" and getattr(called, "__name__", "") in CALLS:
            step()

    sys.addaudithook(file_step)
    sys.setprofile(call_step)


def cut_short(act: Callable[[], object], size: int) -> bool:
    """Run `act` in a process that dies as soon as a file would grow past `size`; whether it came to its end."""

    def within() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        act()

    return lives(within, 0, Path("/nowhere"))


class Story:
    """One start of a release on one store, told with every cut."""

    def __init__(self, name: str, laid: Path, release: Release, numbers: int, others: tuple[Release, ...]) -> None:
        self.name = name
        self.laid = laid
        self.release = release
        self.numbers = numbers
        self.others = others
        self.work = laid.with_name("work")
        self.path = self.work / "queue.sqlite"
        self.kills = 0
        self.wrong: list[str] = []

    def tell(self, every: int) -> None:
        for at in range(1, 10_000, every):
            self._lay_out()
            if lives(self._start, at, self.work):
                break
            self.kills += 1
            self._look(f"{self.name}, step {at}")
        whole = snapshot_of(self.path) if snapshot_of(self.path).exists() else self.path
        for size in range(0, whole.stat().st_size, max(1, whole.stat().st_size // 8)):
            self._lay_out()
            if cut_short(self._start, size + 1):
                continue
            self.kills += 1
            self._look(f"{self.name}, file cut at {size + 1}")

    def _start(self) -> None:
        bring(self.path, self.release)

    def _lay_out(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.laid, self.work)

    def _look(self, where: str) -> None:
        """What is left must do for the same release, and for each of the others after another."""
        left = self.work.with_name("left")
        shutil.rmtree(left, ignore_errors=True)
        self.work.rename(left)
        for wrong in self._after(left, where):
            self.wrong.append(wrong)

    def _after(self, left: Path, where: str) -> Iterator[str]:
        for order in ((self.release,), self.others):
            shutil.rmtree(self.work, ignore_errors=True)
            shutil.copytree(left, self.work)
            for release in order:
                if not lives(lambda release=release: bring(self.path, release), 0, self.work):
                    yield f"{where}: schema {release.schema} does not start"
            found = [row[0] for row in rows(self.path, "SELECT number FROM entry ORDER BY number")]
            if found != list(range(1, self.numbers + 1)):
                yield f"{where}: {found} after {[each.schema for each in order]}"
            kept = len(rows(self.path, "SELECT received_id FROM content"))
            if kept != self.numbers:
                yield f"{where}: {kept} contents after {[each.schema for each in order]}"
            if schema_in(self.path) not in (order[-1].schema, order[-1].newest):
                yield f"{where}: schema {schema_in(self.path)} for {order[-1].schema}"


async def fill(folder: Path) -> None:
    store = await Store.open(config.Queue(), folder, roles={"intake", "national"}, limits=ROOMY, machine="box")
    for number in range(1, BEFORE + 1):
        await store.put(message(str(number), CONTENT), [publish(number)])
    await store.close()


def run(folder: Path, every: int) -> None:
    before, after = folder / "before", folder / "after"
    before.mkdir()
    newer = next_releases(folder)
    asyncio.run(fill(before))
    shutil.copytree(before, after)
    bring(after / "queue.sqlite", newer)
    for number in range(BEFORE + 1, BEFORE + SINCE + 1):
        take_in(after / "queue.sqlite", str(number), number)
    assert schema_in(after / "queue.sqlite") == SCHEMA + 2
    there = Story("there", before, newer, BEFORE, (THIS,))
    back = Story("back", after, THIS, BEFORE + SINCE, (newer, THIS))
    for story in (there, back):
        story.tell(every)
    told = {story.name: {"kills": story.kills} for story in (there, back)}
    print(json.dumps({**told, "wrong": there.wrong + back.wrong}))


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("folder", type=Path)
    words.add_argument("--every", type=int, default=1, help="kill at each n-th step only")
    asked = words.parse_args()
    run(asked.folder, asked.every)


if __name__ == "__main__":
    main()
