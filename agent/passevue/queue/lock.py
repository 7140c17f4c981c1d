"""Who may open a store beside whom (F-38). Locks are `flock`s: the kernel lets them go with the process.

- One process per role: a second `intake`, or a second dispatcher, on the same folder exits. Several units of one box,
  each with its own role, share the store.
- All share the store's own lock; migrating it, or replacing a damaged one, needs it alone.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from passevue.errors import StoreError
from passevue.shared import open_shared

__all__ = ["PATIENCE_S", "Locks"]

PATIENCE_S = 20.0  # another unit is still migrating, or still has the damaged store open
ASK_EVERY_S = 0.2


class Locks:
    """The locks that one opened store holds."""

    def __init__(self, folder: Path, patience_s: float, at_work: Callable[[], bool] = lambda: False) -> None:
        """`at_work` says that another process is seen to be at what takes long: it is waited for."""
        self._folder = folder
        self._patience_s = patience_s
        self._at_work = at_work
        self._roles: list[int] = []
        self._shared = self._open("queue.lock")

    def take_roles(self, roles: Iterable[str]) -> None:
        """
        Raises:
            StoreError: another process has one of them.
        """
        for role in roles:
            descriptor = self._open(f"queue-{role}.lock")
            self._roles.append(descriptor)
            if not _try(descriptor, fcntl.LOCK_EX):
                raise StoreError(
                    f"another process already runs the {role} part on this folder",
                    hint="Un autre boîtier Passevue fonctionne déjà sur ce dossier. Arrêtez-le d’abord.",
                )

    def share(self) -> None:
        """Wait until nobody changes the store as a whole.

        Raises:
            StoreError: it lasts too long.
        """
        self._wait_for(fcntl.LOCK_SH)

    def alone(self, unless: Callable[[], bool]) -> bool:
        """Wait until nobody else has the store open; or until `unless`: another, who now has it open, did what was to
        be done. Gives whether this process is alone. The shared lock is to be taken again either way.

        Raises:
            StoreError: another process does not let go.
        """
        return self._wait_for(fcntl.LOCK_EX, unless)

    def release(self) -> None:
        for descriptor in (*self._roles, self._shared):
            os.close(descriptor)
        self._roles = []

    def _open(self, name: str) -> int:
        try:
            return open_shared(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        except OSError as err:
            raise StoreError(f"{name} cannot be opened: {err.strerror}") from err

    def _wait_for(self, kind: int, unless: Callable[[], bool] = lambda: False) -> bool:
        begun = asked = time.monotonic()
        while not _try(self._shared, kind):
            now = time.monotonic()
            if now - asked > ASK_EVERY_S:
                asked = now
                if unless():
                    return False
            if now - begun > self._patience_s and not self._at_work():
                raise StoreError("another part of the box has the store open and does not let go")
            time.sleep(0.05)
        return True


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
