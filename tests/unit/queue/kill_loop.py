"""Thousands of `kill -9` of a process that puts and dispatches, with a ledger on both sides (F-01).

The nursery (this process, which has imported everything) forks one short life after the other on the same store. A life
is a real process with a real store and dispatcher: it puts what the cabinet has not seen acknowledged and sends to the
registry, both over a socket to the nursery, which writes down what was acknowledged and what was committed, and kills
it after a random time, mid-sync or mid-answer. The last life runs until all is settled. Then both ledgers must agree:
each acknowledged message once in the registry, by study and SHA-256, and nothing else.

    python -m tests.unit.queue.kill_loop 10000 --seed 1      # kills, the seed replays the draws

An entry that three kills in a row have hit is set aside, as it must; the last life tries it again as a person would,
and where a later one of its examination has passed meanwhile, that person has been told.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from passevue import config
from passevue.errors import InDoubt, NetworkError, Refused
from passevue.queue import connection, migrate
from passevue.queue.breaker import Breaker
from passevue.queue.dispatcher import Dispatcher
from passevue.queue.lane import Endpoints
from passevue.queue.moves import read_for_export
from passevue.queue.pace import Pace
from passevue.queue.retry import Policy
from passevue.queue.room import Limits
from passevue.queue.states import State
from passevue.queue.store import Store
from passevue.queue.work import Answer, Entry, Submission
from tests.unit.queue.far_end import message, publish, study, submission_for

POLICY = Policy(steps_s=(0.01, 0.02), floor_s=0.001, look_again_s=0.01)
LIMITS = Limits(warn=0.99, hold_bulk=0.99, stop=0.999, min_free_bytes=1 << 20, ballast_bytes=0)
assert connection
assert migrate


@dataclass
class Ledgers:
    """What the cabinet saw acknowledged, and what the registry committed, both by study and hash."""

    to_send: int = 0
    acknowledged: dict[int, str] = field(default_factory=dict)
    committed: dict[str, tuple[str, str]] = field(default_factory=dict)
    told: set[int] = field(default_factory=set)


def name_of(number: int) -> tuple[str, bytes]:
    return f"c{number}", f"report {number} ".encode() * (50 + number % 200)


def lane_of(number: int) -> int:
    """Two messages in a row for one examination, so that order and overtaking are tried too."""
    return number // 2


# ── the life: one process ───────────────────────────────────────────────────────────────────────────────────


class Line:
    """Questions and answers with the nursery, one JSON line each, over one socket per kind of question."""

    def __init__(self, path: str, life: int) -> None:
        self._path, self._life = path, life

    async def ask(self, question: dict[str, object]) -> dict[str, object]:
        try:
            reader, writer = await asyncio.open_unix_connection(self._path)
        except OSError as err:
            raise NetworkError("no registry") from err
        try:
            writer.write(json.dumps({**question, "life": self._life}).encode() + b"\n")
            answer = await reader.readline()
        finally:
            writer.close()
        if not answer:
            raise InDoubt("no answer")
        return dict(json.loads(answer))


class DistantRegistry:
    """`Work` whose registry is the nursery."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def build(self, entry: Entry) -> Submission:
        made = submission_for(entry)
        digest = hashlib.sha256(entry.content).hexdigest()
        unique = f"2.25.{entry.number}{time.monotonic_ns()}"
        return Submission(made.transaction, unique, unique + ".1", digest.encode(), entry.study_uid, b"{}", b"{}",
                          made.kos, made.signature)  # fmt: skip

    async def send(self, submission: Submission) -> Answer:
        question = {"do": "commit", "set": submission.set_unique_id, "study": submission.structure,
                    "sha256": submission.metadata.decode()}  # fmt: skip
        answer = await self._line.ask(question)
        if answer["status"] != "Success":
            raise InDoubt(str(answer["status"]))
        return Answer("Success")

    async def look_up(self, submission: Submission) -> Answer | None:
        answer = await self._line.ask({"do": "find", "set": submission.set_unique_id})
        return Answer("Success") if answer["found"] else None


async def live(folder: Path, path: str, life: int, until_done: bool) -> None:
    store = await Store.open(config.Queue(), folder, roles={"intake", "national"}, limits=LIMITS, machine="kill")
    line = Line(path, life)
    quick = Endpoints(Breaker(threshold=1000), Breaker(threshold=1000))
    dispatcher = Dispatcher(store, DistantRegistry(line), policy=POLICY, endpoints=quick,
                            pace=Pace(per_second=1e6, burst=1000), minute_s=0.2)  # fmt: skip
    running = asyncio.get_running_loop().create_task(dispatcher.run())
    intake = [asyncio.get_running_loop().create_task(put_what_is_given(store, line, until_done)) for _ in range(3)]
    await asyncio.gather(*intake)
    while until_done and not await all_settled(store, line):  # noqa: ASYNC110 - the store is the only witness
        await asyncio.sleep(0.02)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await store.close()


async def put_what_is_given(store: Store, line: Line, until_done: bool) -> None:
    while True:
        given = await line.ask({"do": "next", "last": until_done})
        if given["number"] is None:
            return
        number = int(str(given["number"]))
        control_id, content = name_of(number)
        await store.put(message(control_id, content), [publish(lane_of(number))])
        await line.ask({"do": "ack", "number": number})


async def all_settled(store: Store, told: Line) -> bool:
    for line in await store.entries(State.SET_ASIDE):
        assert line.reason == "crashed", line
        try:
            await store.retry(line.number, by="kill loop")
        except Refused as refusal:
            if refusal.code == "later-settled":  # the person was told, and a later one of the examination has passed
                content, _ = await store.read(lambda conn, n=line.number: read_for_export(conn, n))
                await told.ask({"do": "told", "number": int(content.split()[1])})
                await store.close_entry(line.number, by="kill loop", why="overtaken")
    counters = await store.counters()
    return counters.open == 0 and counters.by_state[State.SET_ASIDE] == 0


# ── the nursery: ledgers, births and kills ──────────────────────────────────────────────────────────────────


class Nursery:
    """Answers the lives' questions between two kills, in one thread."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.ledgers = Ledgers()
        self.draw = random.Random(seed)
        self._path = str(folder / "registry.socket")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self._path)
        self._listener.listen(64)
        self._handed_out: set[int] = set()
        self._life = 0

    def close(self) -> None:
        self._listener.close()

    def one_life(self, until_done: bool) -> bool:
        """True when the life ended by itself."""
        self._handed_out.clear()
        self._life += 1
        child = os.fork()
        if child == 0:
            self._be_born(until_done)
        span = 90.0 if until_done else self.draw.uniform(0.0, 0.08)
        at_birth = not until_done and self.draw.random() < 0.05  # some are killed while the store opens
        deadline = time.monotonic() + (span if at_birth or until_done else 10.0)
        heard = at_birth or until_done
        while time.monotonic() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status) == 0
            self._listener.settimeout(max(0.001, min(0.05, deadline - time.monotonic())))
            with contextlib.suppress(TimeoutError):
                peer, _ = self._listener.accept()
                if not heard:  # the clock of a life starts with its first question
                    deadline, heard = time.monotonic() + span, True
                with peer:
                    self._answer(peer)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return False

    def _be_born(self, until_done: bool) -> None:
        try:
            self._listener.close()
            structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
            asyncio.run(live(self.folder, self._path, self._life, until_done))
        except BaseException as err:
            sys.stderr.write(f"life ended: {err!r}\n")
            os._exit(1)
        os._exit(0)

    def _answer(self, peer: socket.socket) -> None:
        peer.settimeout(2.0)
        with contextlib.suppress(OSError, ValueError):
            data = b""
            while not data.endswith(b"\n"):
                piece = peer.recv(65536)
                if not piece:
                    return
                data += piece
            answer = self._act(json.loads(data))
            if answer is not None:
                peer.sendall(json.dumps(answer).encode() + b"\n")

    def _act(self, question: dict[str, object]) -> dict[str, object] | None:
        ledgers = self.ledgers
        match question["do"]:
            case "next" if question["life"] != self._life:
                return None  # whoever asked was killed meanwhile: nobody would put what is handed out
            case "next":
                return {"number": self._next(bool(question["last"]))}
            case "ack":
                number = int(str(question["number"]))
                ledgers.acknowledged[number] = hashlib.sha256(name_of(number)[1]).hexdigest()
                return {}
            case "told":
                ledgers.told.add(int(str(question["number"])))
                return {}
            case "find":
                return {"found": question["set"] in ledgers.committed}
            case "commit":
                if question["set"] in ledgers.committed:
                    return {"status": "XDSDuplicateUniqueIdInRegistry"}
                ledgers.committed[str(question["set"])] = (str(question["study"]), str(question["sha256"]))
                return None if self.draw.random() < 0.05 else {"status": "Success"}  # now and then the answer is lost
        return None

    def _next(self, last: bool) -> int | None:
        """What the cabinet sends: first what it never saw acknowledged, then something new."""
        open_numbers = [n for n in range(self.ledgers.to_send) if n not in self.ledgers.acknowledged]
        for number in open_numbers:
            if number not in self._handed_out:
                self._handed_out.add(number)
                return number
        if last:
            return None
        self.ledgers.to_send += 1
        self._handed_out.add(self.ledgers.to_send - 1)
        return self.ledgers.to_send - 1

    def compare(self) -> list[str]:
        """What does not match; empty when nothing was lost or doubled.

        What a person was told of may have reached the registry before, once: its look-ups were killed three times.
        """
        key = {n: (study(lane_of(n)), digest) for n, digest in self.ledgers.acknowledged.items()}
        must = Counter(each for n, each in key.items() if n not in self.ledgers.told)
        may = Counter(key.values())
        found = Counter(self.ledgers.committed.values())
        wrong = [f"lost: {each}" for each in must - found]
        wrong += [f"never acknowledged: {n}" for n in range(self.ledgers.to_send) if n not in self.ledgers.acknowledged]
        return wrong + [f"doubled or never acknowledged: {each}" for each in found - may]


def run(kills: int, seed: int, folder: Path) -> tuple[Ledgers, list[str]]:
    """`kills` lives that are killed, then one that finishes."""
    nursery = Nursery(folder, seed)
    try:
        for _ in range(kills):
            nursery.one_life(until_done=False)
        finished = nursery.one_life(until_done=True)
        wrong = nursery.compare()
        return nursery.ledgers, wrong if finished else [*wrong, "the last life did not finish"]
    finally:
        nursery.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=1000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    asked = parser.parse_args()
    print(f"seed {asked.seed}")
    with tempfile.TemporaryDirectory(prefix="passevue-kill-") as folder:
        started = time.monotonic()
        ledgers, wrong = run(asked.kills, asked.seed, Path(folder))
    print(f"{asked.kills} kills in {time.monotonic() - started:.0f} s: {len(ledgers.acknowledged)} acknowledged, "
          f"{len(ledgers.committed)} committed, {len(ledgers.told)} told to a person")  # fmt: skip
    for each in wrong:
        print(each)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
