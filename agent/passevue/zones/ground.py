"""What every zone of a process stands on: settings, store, audit trail, what was heard; and what a part of it is."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Any

from passevue.baseline.verdict import Leave
from passevue.config import Config
from passevue.intake.room import Thresholds
from passevue.queue.retry import Policy
from passevue.status.audit_trail import AuditTrail
from passevue.status.neighbours import Neighbours
from passevue.status.tally import Tally
from passevue.status.witness import Witness
from passevue.zones.meeting import Meeting

if TYPE_CHECKING:
    from passevue.queue.store import Store


@dataclass(frozen=True, slots=True)
class Running:
    """One thing that runs until cancelled, under its own name."""

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Ground:
    """One process's. Without a store: the host, which must come up whatever state the store is in."""

    config: Config
    clock: Callable[[], datetime]
    policy: Policy | None
    thresholds: Thresholds
    meeting: Meeting
    trail: AuditTrail
    register: Neighbours
    tally: Tally
    witness: Witness
    kept: "Store | None"
    leave: Leave
    config_path: Path | None
    system: Path

    @property
    def store(self) -> "Store":
        if self.kept is None:
            raise RuntimeError("this process has no zone that may open the store")
        return self.kept

    def passed(self, name: str) -> socket | None:
        """The listening socket of that name, when systemd opened it."""
        return self.meeting.passed.get(name)
