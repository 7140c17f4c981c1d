"""The DMP's server cannot be vouched for: nothing is written to it, the page says why, and it goes by itself after."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from passevue.queue.states import State
from tests.peers.ans import Ans, Fault, Lists, lists_of
from tests.peers.cabinet import Cabinet
from tests.peers.pki import Pki
from tests.peers.pki_authority import list_name, write
from tests.peers.ris import PAT_TROIS, invented_exam

SERVER = ("127.0.0.1", ("localhost",))


def put(cabinet: Cabinet, lists: Lists, content: bytes) -> None:
    """As if the box had fetched it."""
    write(cabinet.folder / "crl" / "test" / list_name(lists.authority), content)


async def summary(cabinet: Cabinet) -> dict[str, Any]:
    address = f"http://127.0.0.1:{cabinet.running.ports['page']}/status.json"
    async with aiohttp.ClientSession() as session, session.get(address) as answer:
        found: dict[str, Any] = await answer.json()
        return found


async def page_says(cabinet: Cabinet, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = asyncio.get_running_loop().time() + 20
    while not wanted(found := await summary(cabinet)):
        assert asyncio.get_running_loop().time() < deadline, found
        await asyncio.sleep(0.1)
    return found


async def report(cabinet: Cabinet, number: int) -> None:
    exam = invented_exam(number)
    cabinet.examine(PAT_TROIS, exam)
    assert (await cabinet.send(cabinet.cda(PAT_TROIS, exam), PAT_TROIS)).code == "AA"


async def goes_out(cabinet: Cabinet) -> None:
    """Whoever is held is asked for once a minute; here at once, and again while the new list is not read yet."""
    store = cabinet.running.store
    assert store is not None
    async with asyncio.timeout(30):
        while not cabinet.dmp.committed:
            await store.release(by="essai")
            await asyncio.sleep(0.2)
    await cabinet.settled(1)
    (line,) = await store.entries()
    assert line.tries == 1


async def test_a_revoked_server_gets_nothing_and_what_waits_goes_when_it_is_on_no_list(
    tmp_path: Path, pki_folder: Path
) -> None:
    pki = Pki(pki_folder)
    lists = Lists(*pki.authorities()[1])
    async with Cabinet(tmp_path / "box", pki_folder) as cabinet:
        serial = pki.server(*SERVER).load()[0].serial_number
        await cabinet.stop()
        cabinet.lists = False
        put(cabinet, lists, lists.make(revoked=[serial]))
        await cabinet.start()
        await report(cabinet, 60)
        found = await cabinet.until(lambda now: now.by_state[State.HELD] == 1)
        assert (State.HELD, "trust", 1) in found.by_reason
        (entry,) = (await page_says(cabinet, lambda now: bool(now["troubles"])))["troubles"]
        assert (entry["reason"], entry["state"]) == ("trust", "held")
        assert "révoqué" in entry["hint"]
        assert not cabinet.dmp.requests
        put(cabinet, lists, lists.make())
        await goes_out(cabinet)


@pytest.mark.parametrize("there", [False, True])
async def test_without_a_list_that_holds_nothing_goes_until_it_comes(
    tmp_path: Path, pki_folder: Path, there: bool
) -> None:
    """Fetched over the network by the box itself: never before, or the one that is there has ended."""
    pki = Pki(pki_folder)
    async with Ans() as ans:
        ans.fault = Fault.HELD
        urls = ans.serve_all(lists_of(pki))
        box = Cabinet(tmp_path / "box", pki_folder, lists=False, more={"crl": {"urls": urls}})
        if there:
            (box.folder / "crl" / "test").mkdir(parents=True)
            for lists in lists_of(pki).values():
                put(box, lists, ended(lists))
        async with box as cabinet:
            await report(cabinet, 61)
            found = await cabinet.until(lambda now: now.by_state[State.HELD] == 1)
            assert (State.HELD, "credential", 1) in found.by_reason
            (entry,) = (await page_says(cabinet, lambda now: bool(now["troubles"])))["troubles"]
            assert ("périmée" if there else "n'a pas encore été reçue") in entry["hint"]
            assert not cabinet.dmp.requests
            ans.fault = Fault.NONE
            await goes_out(cabinet)


def ended(lists: Lists) -> bytes:
    now = datetime.now(UTC)
    return lists.make(this_update=now - timedelta(days=8), next_update=now - timedelta(days=1))
