"""Files that stand or fall together, put in place as one: what power cuts short is finished at the next start, or
counts for nothing.

    <data_dir>/credentials/placing.new/    being gathered
    <data_dir>/credentials/placing/        whole and on the disk: it counts from this rename on
        config/…  credentials/<zone>/…     each file under the path that it is to have in the data folder

Rules: nothing that is in place changes while it is gathered. Each file has its mode before its name, and its group from
the folder that it is made in (the zones', by the set-group-ID bit: who writes may give nothing away). The
configuration comes after what it names, for its rename starts the zones anew; its number after it.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from passevue.durable import sync_folder
from passevue.errors import StoreError
from passevue.shared import make_folder

CONFIGURATION = "config/passevue.toml"
NUMBER = "config/provisioning.json"
_LAST = (CONFIGURATION, NUMBER)


class Placing:
    """Root's alone, one at a time. Raises, all: StoreError."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._begun = data_dir / "credentials/placing.new"
        self._whole = data_dir / "credentials/placing"

    @property
    def waits(self) -> bool:
        """Whether one counts that is not finished."""
        return self._whole.is_dir()

    def begin(self) -> None:
        with _told():
            _drop(self._begun)
            make_folder(self._begun)

    def add(self, name: str, content: bytes) -> None:
        with _told():
            make_folder((self._begun / name).parent)
            _written(self._begun / name, content, 0o640)

    def room(self, name: str) -> Path:
        """Where somebody else is to write that file."""
        with _told():
            make_folder((self._begun / name).parent)
        return self._begun / name

    def give_up(self) -> None:
        with _told():
            _drop(self._begun)

    def decide(self) -> None:
        """What was gathered counts. One before it that could not be finished no longer does."""
        with _told():
            for folder, _, names in os.walk(self._begun, topdown=False):
                for name in names:
                    _synced(Path(folder) / name)
                sync_folder(Path(folder))
            _drop(self._whole)
            self._begun.replace(self._whole)
            sync_folder(self._whole.parent)

    def finish(self) -> None:
        """Nothing when none waits. May be done again, from wherever it stopped."""
        with _told():
            _drop(self._begun)
            for name in sorted(self._names(), key=lambda name: (_LAST.index(name) if name in _LAST else -1, name)):
                target = self._data_dir / name
                make_folder(target.parent)
                (self._whole / name).replace(target)
                sync_folder(target.parent)
            _drop(self._whole)

    def _names(self) -> list[str]:
        return [
            str((Path(folder) / name).relative_to(self._whole))
            for folder, _, names in os.walk(self._whole)
            for name in names
        ]


def put(path: Path, content: bytes, mode: int = 0o640) -> None:
    """One file, whole or not at all. Raises: StoreError."""
    aside = path.with_name(path.name + ".new")
    with _told():
        make_folder(path.parent)
        aside.unlink(missing_ok=True)
        _written(aside, content, mode)
        aside.replace(path)
        sync_folder(path.parent)


def _written(path: Path, content: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(handle, "wb") as file:
        os.fchmod(handle, mode)
        file.write(content)
        file.flush()
        os.fsync(handle)


def _synced(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _drop(folder: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder)
        sync_folder(folder.parent)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as err:
        hint = "Le disque du boîtier n’accepte pas l’écriture."
        raise StoreError(f"the configuration cannot be put in place: {err.strerror}", hint=hint) from err
