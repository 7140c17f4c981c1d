"""The plug is pulled at moments nobody chose. What was acknowledged is there once the box is back (reliability F-03).

The disk is a fickle one: of what the guest has not flushed, sectors are lost at random, as in a real drive's cache.
PASSEVUE_CUTS says how often; the seed is printed, and replays the choices, not the guest's own interleavings.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import random
import secrets
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from passevue.config import Queue
from passevue.intake.received import Kind, Received
from passevue.queue.store import FILE_NAME, Store, utc_now
from tests.image.lab import BOOT_S, Lab, settled
from tests.image.machine import Machine
from tests.image.waiting import eventually
from tests.peers.disk import ROOMY
from tests.peers.ris import Ledger, Ris, invented_document_id, invented_exam, invented_person, oru, report

SENDERS = 3
LONGEST_LIFE_S = 12.0  # once it takes messages
WHILE_STARTING = 0.2  # share of cuts before that
RECEIVED = """
import json, sqlite3, sys
store = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
rows = [row[0].lower() for row in store.execute("select hex(sha256) from received")]
check = store.execute("pragma integrity_check").fetchone()[0]
print(json.dumps({"rows": rows, "check": check}))
"""


@pytest.fixture
def coin(request: pytest.FixtureRequest) -> random.Random:
    seed = os.environ.get("PASSEVUE_SEED") or secrets.token_hex(4)
    print(f"PASSEVUE_SEED={seed}")
    return random.Random(seed)


def messages() -> Iterator[bytes]:
    """Reports that were never sent before, each of another person and exam."""
    for number in count(1):
        person, exam = invented_person(number), invented_exam(number)
        yield oru(report(person, exam, document_id=invented_document_id(number), pdf_bytes=20_000), person)


async def send(machine: Machine, ledger: Ledger, supply: Iterator[bytes]) -> None:
    """Until the box is gone."""
    with contextlib.suppress(OSError, EOFError, TimeoutError):
        async with Ris("127.0.0.1", machine.ports["ris"], ledger=ledger) as ris:
            while True:
                await ris.send(next(supply))


async def takes_messages(machine: Machine, ledger: Ledger, supply: Iterator[bytes]) -> None:
    """Wait until the box acknowledges."""

    async def one() -> str:
        try:
            async with Ris("127.0.0.1", machine.ports["ris"], ledger=ledger, timeout_s=20) as ris:
                return (await ris.send(next(supply))).code
        except (OSError, EOFError, TimeoutError) as err:
            return repr(err)

    await eventually(one, lambda code: code == "AA", BOOT_S, pause_s=2)


async def kept(machine: Machine) -> Counter[str]:
    """SHA-256 of every message in the box's store, which must be whole."""
    asked = ("python3", "-I", "-c", RECEIVED, f"/var/lib/passevue/{FILE_NAME}")
    return counted((await machine.console.run(*asked, timeout_s=600)).out)


def counted(said: str) -> Counter[str]:
    found = json.loads(said)
    assert found["check"] == "ok"
    return Counter(found["rows"])


@pytest.mark.needs_no_machine
async def test_the_store_answers_what_is_asked_of_it_after_a_cut(tmp_path: Path) -> None:
    message = next(messages())
    store = await Store.open(Queue(), tmp_path, limits=ROOMY, roles={"intake"})
    try:
        await store.put(Received(Kind.REPORT, message, "RIS|CENTRE", "10.0.0.7", "1", utc_now()), ())
        command = (sys.executable, "-I", "-c", RECEIVED, str(tmp_path / FILE_NAME))
        asked = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        said, _ = await asked.communicate()
    finally:
        await store.close()
    assert counted(said.decode()) == Counter([hashlib.sha256(message).hexdigest()])


async def test_nothing_acknowledged_is_lost_by_power_cuts_during_intake(
    lab: Lab, cuts: int, coin: random.Random
) -> None:
    state = lab.provisioned("cuts")
    state.make_fickle()
    ledger, supply = Ledger(state.folder / "ledger"), messages()
    async with lab.machine(state) as machine:
        machine.seed, during = f"{coin.random()}", 0
        for cut in range(1, cuts + 1):
            await machine.switch_on()
            if coin.random() < WHILE_STARTING and cut > 1:
                await asyncio.sleep(coin.uniform(5, 90))
                when = "while starting"
                await machine.cut_power()
            else:
                await takes_messages(machine, ledger, supply)
                sending = [asyncio.create_task(send(machine, ledger, supply)) for _ in range(SENDERS)]
                await asyncio.sleep(coin.uniform(0, LONGEST_LIFE_S))
                when, during = "during intake", during + 1
                await machine.cut_power()
                await asyncio.gather(*sending)
            told = len(ledger.acknowledged)
            lab.say(f"cut {cut} of {cuts} {when}: {told} acknowledged so far; {machine.disk_said}")
        await machine.switch_on()
        await takes_messages(machine, ledger, supply)
        await machine.serves("/healthz", BOOT_S)  # the TPM, which takes cuts for wrong guesses, is not locked
        await machine.console.answers(BOOT_S)
        await settled(machine)
        found = await kept(machine)
        wrong = {line.control_id: found[line.sha256] for line in ledger.acknowledged if found[line.sha256] != 1}
        assert not wrong, f"acknowledged, and how often it is there: {wrong}"
        assert len(ledger.acknowledged) > during
        said = await machine.console.run("passevue", "audit", "verify", "--json", check=False, timeout_s=600)
        assert json.loads(said.out)["whole"], said.out
    lab.figures[f"{cuts} power cuts during intake"] = f"{len(ledger.acknowledged)} acknowledged, 0 lost"
