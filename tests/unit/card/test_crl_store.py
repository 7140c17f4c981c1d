"""Lists fetched from a server that is not always well, kept on the disk, used until they end."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from passevue import config
from passevue.card.crl_store import CrlLevel, CrlStore
from tests.clocks import StoppedClock
from tests.peers.ans import Ans, Fault, Lists, lists_of
from tests.peers.pki_persons import Persons

NAME = "TEST AC IGC-SANTE FORT PERSONNES"


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
async def ans() -> AsyncIterator[Ans]:
    async with Ans() as ans:
        yield ans


@pytest.fixture
def lists(persons: Persons, ans: Ans) -> Lists:
    lists = lists_of(persons)[NAME]
    ans.serve("/a.crl", lists.make(revoked=[7]))
    return lists


def store(persons: Persons, ans: Ans, folder: Path, clock: StoppedClock, **settings: float) -> CrlStore:
    section = config.Crl(urls={NAME: ans.url("/a.crl")}, **settings)  # type: ignore[arg-type]
    return CrlStore(folder, [persons.sub_authority], section, clock)


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_a_list_is_fetched_kept_and_found_again_without_the_network(
    persons: Persons, ans: Ans, lists: Lists, tmp_path: Path, clock: StoppedClock
) -> None:
    crls = store(persons, ans, tmp_path / "crl", clock)
    await crls.load()
    assert crls.of(persons.sub_authority) is None
    await crls.refresh()
    held = crls.of(persons.sub_authority)
    assert held is not None
    assert held.revoked(7)
    (state,) = crls.states(clock.now)
    assert (state.authority, state.level, state.count, state.error) == (NAME, CrlLevel.FRESH, 1, "")
    ans.fault = Fault.AWAY
    again = store(persons, ans, tmp_path / "crl", clock)
    await again.load()
    assert again.of(persons.sub_authority) == held
    assert crls.of(persons.root) is None


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.NONE])
async def test_whatever_comes_instead_the_list_held_stays_and_the_page_says_why(
    persons: Persons, ans: Ans, lists: Lists, tmp_path: Path, clock: StoppedClock, fault: Fault
) -> None:
    crls = store(persons, ans, tmp_path, clock, timeout_s=0.5, max_bytes=1 << 20)
    await crls.refresh()
    held = crls.of(persons.sub_authority)
    ans.fault = fault
    clock.now += timedelta(hours=7)
    await asyncio.wait_for(crls.refresh(), 10)
    assert crls.of(persons.sub_authority) is held
    (state,) = crls.states(clock.now)
    assert state.level is CrlLevel.FRESH
    assert state.error.endswith((".", "exploitant."))
    assert len(files(tmp_path)) == 1, "no half file stays"
    ans.fault = Fault.NONE
    clock.now += timedelta(minutes=16)
    await crls.refresh()
    assert crls.states(clock.now)[0].error == ""


async def test_forged_older_and_ended_lists_are_ignored(
    persons: Persons, ans: Ans, lists: Lists, tmp_path: Path, clock: StoppedClock
) -> None:
    crls = store(persons, ans, tmp_path, clock)
    await crls.refresh()
    held = crls.of(persons.sub_authority)
    begun = clock.now
    thief = Lists(lists.authority, rsa.generate_private_key(65537, 2048))
    for content, word in (
        (thief.make(this_update=begun), "signée"),
        (lists.make(this_update=begun - timedelta(days=2)), "plus ancienne"),
        (lists.make(this_update=begun, number=1), "plus ancienne"),
        (lists.make(this_update=begun - timedelta(days=9), next_update=begun - timedelta(days=2)), "périmée"),
        (lists.make(this_update=begun + timedelta(days=1)), "horloge"),
        (b"", "liste de révocation"),
        (b"\x30\x84\xff\xff\xff\xff", "liste de révocation"),
    ):
        ans.serve("/a.crl", content)
        await crls.refresh(all_of_them=True)
        assert crls.of(persons.sub_authority) is held
        assert word in crls.states(clock.now)[0].error


async def test_lists_are_fetched_each_six_hours_and_failures_tried_again_sooner(
    persons: Persons, ans: Ans, lists: Lists, tmp_path: Path, clock: StoppedClock
) -> None:
    crls = store(persons, ans, tmp_path, clock)

    async def asked_after(delay: timedelta) -> int:
        before = len(ans.requests)
        clock.now += delay
        await crls.refresh()
        return len(ans.requests) - before

    assert await asked_after(timedelta()) == 1
    assert await asked_after(timedelta(hours=5, minutes=59)) == 0
    ans.fault = Fault.ERROR
    assert await asked_after(timedelta(minutes=2)) == 1
    assert await asked_after(timedelta(minutes=5)) == 0
    assert await asked_after(timedelta(minutes=11)) == 1
    assert await asked_after(timedelta(days=-400)) == 1, "a clock set back does not stop fetching"


async def test_a_list_ages_and_ends(
    persons: Persons, ans: Ans, lists: Lists, tmp_path: Path, clock: StoppedClock
) -> None:
    crls = store(persons, ans, tmp_path, clock)
    assert crls.states(clock.now)[0].level is CrlLevel.ABSENT
    await crls.refresh()
    levels = [crls.states(clock.now + timedelta(hours=hours))[0].level for hours in (1, 25, 24 * 8)]
    assert levels == [CrlLevel.FRESH, CrlLevel.AGING, CrlLevel.STALE]


async def test_what_the_disk_gives_back_is_checked_again(
    persons: Persons, ans: Ans, lists: Lists, tmp_path: Path, clock: StoppedClock
) -> None:
    crls = store(persons, ans, tmp_path, clock)
    await crls.refresh()
    (file,) = files(tmp_path)
    content = bytearray(file.read_bytes())
    content[-10] ^= 1
    file.write_bytes(content)
    (tmp_path / "left.part").write_bytes(b"half")
    again = store(persons, ans, tmp_path, clock)
    await again.load()
    assert again.of(persons.sub_authority) is None
    assert files(tmp_path) == [file]


async def test_a_person_who_waits_makes_one_fetch_and_not_for_long(
    persons: Persons, ans: Ans, lists: Lists, tmp_path: Path, clock: StoppedClock
) -> None:
    crls = store(persons, ans, tmp_path, clock)
    ans.fault = Fault.SLOW
    await asyncio.wait_for(crls.ensure(persons.sub_authority, 0.3), 5)
    assert crls.of(persons.sub_authority) is None
    ans.fault = Fault.NONE
    await asyncio.gather(*(crls.ensure(persons.sub_authority, 5) for _ in range(10)))
    assert crls.of(persons.sub_authority) is not None
    assert len(ans.requests) == 2


async def test_running_is_loading_then_fetching_until_cancelled(
    persons: Persons, ans: Ans, lists: Lists, tmp_path: Path, clock: StoppedClock
) -> None:
    crls = store(persons, ans, tmp_path, clock)
    running = asyncio.create_task(crls.run())
    while crls.of(persons.sub_authority) is None:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize(
    ("realm", "address"),
    [
        ("test", "http://igc-sante.esante.gouv.fr/CRL/ACI-FO-PP-TEST.crl"),
        ("production", "http://igc-sante.esante.gouv.fr/CRL/ACI-FO-PP.crl"),
    ],
)
def test_where_a_list_lies_is_known_by_its_authority(tmp_path: Path, realm: str, address: str) -> None:
    persons = Persons(tmp_path / "pki", realm)
    crls = CrlStore(tmp_path, [persons.sub_authority], config.Crl())
    (kept,) = crls._kept.values()
    assert kept.url == address
