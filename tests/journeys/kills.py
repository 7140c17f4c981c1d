"""Kills the whole box with SIGKILL at random moments, over and over, while reports come in and go out.

    python -m tests.journeys.kills --kills 10000 [--seed N] [--minutes 50]

The RIS sends each message until it is acknowledged, as a RIS does. At the end the box is left alone until its queue is
empty, and two ledgers must match one to one: what the RIS was told `AA` for, what the DMP committed (reliability § 7,
F-01). The seed is printed; it replays the same choices, not the same interleavings.
"""

import argparse
import asyncio
import contextlib
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from passevue.config import Config
from passevue.intake.key_object import read_key_object
from passevue.queue.retry import Policy
from passevue.queue.store import Store
from tests.journeys.box_process import process
from tests.peers.cabinet import Cabinet
from tests.peers.dmp_registry import APPROVED, DELETED, DEPRECATED
from tests.peers.ports import free_port
from tests.peers.ris import (
    Ask,
    Exam,
    Person,
    Ris,
    invented_document_id,
    invented_exam,
    invented_person,
    mdm,
    oru,
    report,
)

# Quick, and never setting aside a bystander: with a kill every 200 ms, three crashes in a row prove nothing.
POLICY = Policy(steps_s=(0.05, 0.1, 0.2), floor_s=0.02, cap_s=0.5, look_again_s=0.05, max_crashes=1_000_000)
LONGEST_LIFE_S = 0.4  # once it listens
LONGEST_START_S = 15.0
WHILE_STARTING = 0.15  # share of kills that may hit a box that does not listen yet
SENDERS = 3


@dataclass
class Expected:
    """What must be in the DMP for one study when all is done."""

    approved: int
    deprecated: int
    deleted: int


@dataclass
class Outcome:
    """What a run found; `wrong` is empty when nothing was lost or doubled."""

    seed: int
    kills: int = 0
    at_work: int = 0  # of these, how many hit a box that listened
    reports: int = 0
    acknowledged: int = 0
    committed: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


class KillLoop:
    """One run over one store."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._random = random.Random(seed)
        self._outcome = Outcome(seed)
        self._cabinet = Cabinet(folder / "box", folder / "pki")
        self._port = free_port()
        self._expected: dict[str, Expected] = {}
        self._numbers = iter(range(1, 1 << 30))
        self._done = asyncio.Event()

    async def run(self, kills: int, minutes: float) -> Outcome:
        started = time.monotonic()
        self._cabinet.more = {"ris": {"port": self._port}}
        async with self._cabinet.dmp, self._cabinet.pacs:
            config = self._cabinet.config()
            senders = [asyncio.create_task(self._send_reports()) for _ in range(SENDERS)]
            while self._outcome.kills < kills and time.monotonic() - started < minutes * 60:
                await self._one_life(config)
            self._done.set()
            await self._let_it_finish(config, senders)
            self._compare()
        self._outcome.seconds = time.monotonic() - started
        return self._outcome

    async def _one_life(self, config: Config) -> None:
        child = process(config, POLICY)
        await asyncio.to_thread(child.start)
        if self._random.random() >= WHILE_STARTING and await self._listens(child):
            self._outcome.at_work += 1
        await asyncio.sleep(self._random.uniform(0, LONGEST_LIFE_S))
        child.kill()
        await asyncio.to_thread(child.join)
        if child.exitcode != -signal.SIGKILL:
            self._outcome.wrong.append(f"the box ended by itself with {child.exitcode}")
        self._outcome.kills += 1

    async def _listens(self, child: BaseProcess) -> bool:
        """Wait for it: on a busy machine a box is killed at start for ever, and the run proves nothing."""
        deadline = time.monotonic() + LONGEST_START_S
        while child.is_alive() and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self._port)
                writer.close()
                return True
            await asyncio.sleep(0.01)
        return False

    async def _let_it_finish(self, config: Config, senders: list[asyncio.Task[None]]) -> None:
        child = process(config, POLICY)
        await asyncio.to_thread(child.start)
        if not await self._all_sent(child, senders):
            return
        store = await Store.open(config.queue, config.box.data_dir)
        try:
            deadline = time.monotonic() + 300
            while (found := await store.counters()).open:
                if time.monotonic() > deadline:
                    self._outcome.wrong.append(f"not finished after 5 minutes: {found.by_state}")
                    break
                await asyncio.sleep(0.2)
            if aside := [line for line in await store.entries(most=1000) if line.state == "set_aside"]:
                self._outcome.wrong.append(f"{len(aside)} set aside: {aside[0].reason}")
        finally:
            await store.close()
        child.terminate()
        await asyncio.to_thread(child.join)

    async def _all_sent(self, child: BaseProcess, senders: list[asyncio.Task[None]]) -> bool:
        while not all(sender.done() for sender in senders):
            if not child.is_alive():
                self._outcome.wrong.append(f"the box ended by itself with {child.exitcode}")
                return False
            await asyncio.sleep(0.1)
        return True

    # The RIS

    async def _send_reports(self) -> None:
        """One exam after the other: a report, then for some a new version, then for some a deletion."""
        while not self._done.is_set():
            number = next(self._numbers)
            patient, exam = invented_person(number), invented_exam(number)
            self._cabinet.examine(patient, exam, slices=2)
            messages = self._story(number, patient, exam)
            for message in messages:
                await self._send(message)
                await asyncio.sleep(self._random.uniform(0, 0.1))

    def _story(self, number: int, patient: Person, exam: Exam) -> list[bytes]:
        self._outcome.reports += 1
        first, second = invented_document_id(number, 1), invented_document_id(number, 2)
        cda = report(patient, exam, document_id=first, pdf_bytes=2000)
        messages, expected = [oru(cda, patient)], Expected(1, 0, 0)
        if self._random.random() < 0.3:
            newer = report(patient, exam, document_id=second, replaces=first, version=2, pdf_bytes=2000)
            messages.append(mdm(newer, patient, Ask.REPLACE))
            cda, expected = newer, Expected(1, 1, 0)
        if self._random.random() < 0.2:
            messages.append(mdm(cda, patient, Ask.DELETE))
            expected = Expected(0, expected.deprecated, 1)
        self._expected[exam.study_uid] = expected
        return messages

    async def _send(self, message: bytes) -> None:
        """Until acknowledged: a RIS does not give up."""
        while True:
            try:
                async with Ris("127.0.0.1", self._port, timeout_s=5) as ris:
                    ack = await ris.send(message)
            except (OSError, EOFError, TimeoutError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.02)
                continue
            if ack.code == "AA":
                self._outcome.acknowledged += 1
                return
            if ack.code != "AR":
                self._outcome.wrong.append(f"the box answered {ack.code} {ack.error} {ack.text}")
                return
            await asyncio.sleep(0.05)

    # The ledgers

    def _compare(self) -> None:
        found: dict[str, Counter[str]] = {}
        for document in self._cabinet.dmp.documents.values():
            if document.mime_type == "application/dicom":
                study_uid = read_key_object(document.content).StudyInstanceUID
                found.setdefault(study_uid, Counter())[document.status] += 1
        self._outcome.committed = len(self._cabinet.dmp.committed)
        for study_uid, expected in self._expected.items():
            states = found.pop(study_uid, Counter())
            wanted = Counter({APPROVED: expected.approved, DEPRECATED: expected.deprecated, DELETED: expected.deleted})
            if states != +wanted:
                self._outcome.wrong.append(f"{study_uid}: expected {dict(+wanted)} instead got {dict(states)}")
        self._outcome.wrong += [f"{study_uid}: nobody asked for it" for study_uid in found]


async def kill_loop(folder: Path, kills: int, seed: int, minutes: float = 600) -> Outcome:
    """Raises nothing for what it finds: `Outcome.wrong` tells."""
    return await KillLoop(folder, seed).run(kills, minutes)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--minutes", type=float, default=600)
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        outcome = asyncio.run(kill_loop(Path(folder), options.kills, options.seed, options.minutes))
    print(
        f"{outcome.kills} kills, {outcome.at_work} at work, {outcome.reports} examinations, "
        f"{outcome.acknowledged} acknowledged, {outcome.committed} committed, "
        f"{outcome.seconds:.0f} s, {len(outcome.wrong)} wrong"
    )
    for line in outcome.wrong[:20]:
        print(f"  {line}")
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
