"""What the queue's tests put in and what they hand it as `Work`: a registry in memory with a ledger, and switches.

`Registry` stands for the far side and is asked as the real one would be: it keeps what it committed, refuses a uniqueId
it has, and can be told to be away, to cut after or before committing, to be slow. `FarEnd` is the `Work` before it.
"""

import asyncio
import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from passevue.document.request import Action, Task
from passevue.errors import InDoubt
from passevue.intake.received import Kind, Received
from passevue.queue.work import Answer, Entry, Nothing, Submission, Transaction

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
_uids = itertools.count(1)


def study(number: int) -> str:
    return f"1.2.250.1.999.1.{number}"


def publish(number: int) -> Task:
    return Task(Action.PUBLISH, study(number))


def withdraw(number: int) -> Task:
    return Task(Action.WITHDRAW, study(number))


def refresh(number: int) -> Task:
    return Task(Action.REFRESH, study(number))


def message(control_id: str, content: bytes = b"", sender: str = "RIS|CENTRE") -> Received:
    body = content or f"report {control_id}".encode()
    return Received(Kind.REPORT, body, sender, "10.0.0.7", control_id, NOON)


@dataclass
class Registry:
    """Documents committed by uniqueId, in order; each call first runs what `before` says."""

    committed: dict[str, str] = field(default_factory=dict)
    order: list[tuple[str, str]] = field(default_factory=list)

    def commit(self, submission: Submission) -> None:
        digest = hashlib.sha256(submission.kos + submission.metadata).hexdigest()
        if submission.set_unique_id in self.committed:
            raise InDoubt("XDSDuplicateUniqueIdInRegistry")
        self.committed[submission.set_unique_id] = digest
        self.order.append((submission.structure, submission.set_unique_id))

    def has(self, submission: Submission) -> bool:
        return submission.set_unique_id in self.committed


def nothing_special(*_: object) -> None:
    return


@dataclass
class FarEnd:
    """The `Work` of the tests. `on_build`, `on_send`, `on_look_up` are called first and may raise; `after_send` after
    the registry has committed. The study and the content's hash travel in the submission, so that ledgers compare."""

    registry: Registry = field(default_factory=Registry)
    on_build: Callable[[Entry], object] = nothing_special
    on_send: Callable[[Submission], object] = nothing_special
    after_send: Callable[[Submission], object] = nothing_special
    on_look_up: Callable[[Submission], object] = nothing_special
    pause_s: float = 0.0
    builds: list[int] = field(default_factory=list)
    sends: list[str] = field(default_factory=list)
    look_ups: list[str] = field(default_factory=list)
    running: int = 0
    most_running: int = 0

    async def build(self, entry: Entry) -> Submission | Nothing:
        self.builds.append(entry.number)
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await asyncio.sleep(self.pause_s)
            outcome = self.on_build(entry)
            if isinstance(outcome, Nothing):
                return outcome
            return submission_for(entry)
        finally:
            self.running -= 1

    async def send(self, submission: Submission) -> Answer:
        self.sends.append(submission.set_unique_id)
        await asyncio.sleep(self.pause_s)
        self.on_send(submission)
        self.registry.commit(submission)
        self.after_send(submission)
        return Answer("Success", message_id="urn:uuid:1", entry_uuid="urn:uuid:2")

    async def look_up(self, submission: Submission) -> Answer | None:
        self.look_ups.append(submission.set_unique_id)
        self.on_look_up(submission)
        return Answer("Success", entry_uuid="urn:uuid:3") if self.registry.has(submission) else None


def submission_for(entry: Entry) -> Submission:
    number = next(_uids)
    transaction = Transaction.TD3_3C if entry.action is Action.WITHDRAW else Transaction.TD2_1A
    return Submission(
        transaction=transaction,
        set_unique_id=f"2.25.{entry.number}{number:06}",
        document_unique_id=f"2.25.1{entry.number}{number:06}",
        metadata=b"<metadata/>" + hashlib.sha256(entry.content).hexdigest().encode(),
        structure=entry.study_uid,
        vihf=b"{}",
        record=b'{"n":%d}' % entry.number,
        kos=b"" if transaction is Transaction.TD3_3C else b"DICM" + entry.content,
        signature=b"<signature/>",
    )
