"""The box in four processes, one a trust zone, each its own user where the test may change users: as in one."""

import asyncio
import os
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from passevue.box import Part
from passevue.queue.states import State
from passevue.status.audit_trail import verify
from passevue.status.folders import audit_folder
from tests.peers import invented
from tests.peers.dmp import PUBLISH, Fault
from tests.peers.front_desk import Browser
from tests.peers.pcsc import why_not
from tests.peers.ris import PAT_TROIS, invented_exam
from tests.peers.ris_report import Doctor
from tests.peers.split_box import SplitCabinet

pytestmark = pytest.mark.timeout(240)
MAUD = "899700000017"
DOCTOR = Doctor("899700367909", "RADIOLOGUE", "CAMILLE")
with_reader = pytest.mark.skipif(bool(why_not()), reason=why_not())


@pytest.fixture
async def cabinet() -> AsyncIterator[SplitCabinet]:
    async with SplitCabinet() as cabinet:
        yield cabinet


@pytest.fixture
async def alone() -> AsyncIterator[SplitCabinet]:
    """Without a PACS: national asks intake for the images."""
    async with SplitCabinet(with_pacs=False) as cabinet:
        yield cabinet


@pytest.fixture
async def manned() -> AsyncIterator[SplitCabinet]:
    """With a reader and somebody to put a card into it."""
    async with SplitCabinet(people=True) as cabinet:
        yield cabinet


async def refused_report(cabinet: SplitCabinet, number: int) -> int:
    """The entry of a report of `DOCTOR` that the DMP did not take, and would take now."""
    exam = invented_exam(number)
    cabinet.examine(PAT_TROIS, exam, slices=2)
    record = f"{PAT_TROIS.ins}^^^&{PAT_TROIS.ins_oid}&ISO^NH"
    cabinet.dmp.unknown_patients.add(record)
    await cabinet.send(cabinet.cda(PAT_TROIS, exam, authenticator=DOCTOR), PAT_TROIS)
    entry = await cabinet.number()
    await cabinet.becomes(entry, State.SET_ASIDE)
    cabinet.dmp.unknown_patients.remove(record)
    cabinet.dmp.requests.clear()
    return entry


async def signed_in(cabinet: SplitCabinet, browser: Browser) -> None:
    assert cabinet.people is not None
    await browser.until("/sign-in", "Insérez votre carte", 20)
    await asyncio.to_thread(cabinet.people.put_card_in)
    await browser.until("/sign-in", 'name="pin"', 20)
    assert "CAMILLE" in await browser.sign_in_by_card()


async def publish(browser: Browser, number: int) -> None:
    await browser.get(f"/entries/{number}")
    assert "part en votre nom" in await browser.post(f"/entries/{number}/publish")


# What is done


async def test_a_report_goes_out_and_everybody_leaves_in_order(cabinet: SplitCabinet) -> None:
    exam = invented_exam(70)
    cabinet.examine(PAT_TROIS, exam)
    assert (await cabinet.send(cabinet.cda(PAT_TROIS, exam), PAT_TROIS)).code == "AA"
    await cabinet.settled(1)
    assert len(cabinet.dmp.committed) == 1
    started = time.monotonic()
    left = await cabinet.box_in_parts.stop(Part.INTAKE, Part.NATIONAL, Part.PAGE, Part.HOST)
    assert left == dict.fromkeys(Part, 0), "\n".join(map(cabinet.box_in_parts.log, Part))
    assert time.monotonic() - started < 30
    found = await asyncio.to_thread(verify, audit_folder(cabinet.config()))
    assert found.wrong == ()  # one chain, four writers
    text = await asyncio.to_thread(_trail, audit_folder(cabinet.config()))
    assert [text.count(code) for code in ('csd-code="110120"', 'csd-code="110121"')] == [4, 4]  # started, stopped


async def test_host_fetches_the_lists_by_which_national_believes_the_dmp() -> None:
    """TLS-04 across zones: one writes, the other reads, as another user."""
    async with SplitCabinet(lists=False) as cabinet:
        deadline = time.monotonic() + 30
        while cabinet.box_in_parts.log(Part.NATIONAL).count("event=crl_read") < 2:
            assert time.monotonic() < deadline, cabinet.box_in_parts.log(Part.HOST)[-2000:]
            await asyncio.sleep(0.05)
        exam = invented_exam(77)
        cabinet.examine(PAT_TROIS, exam)
        await cabinet.send(cabinet.cda(PAT_TROIS, exam), PAT_TROIS)
        await cabinet.settled(1)
        assert len(cabinet.dmp.committed) == 1


async def test_everybody_leaves_well_whatever_the_order(alone: SplitCabinet) -> None:
    exam = invented_exam(76)
    await alone.store(*alone.examine(PAT_TROIS, exam))
    alone.dmp.fault, alone.dmp.delay_s = Fault.SLOW, 3
    await alone.send(alone.cda(PAT_TROIS, exam), PAT_TROIS)
    await asyncio.sleep(1.5)  # it is on its way
    assert await alone.box_in_parts.stop_together() == dict.fromkeys(Part, 0)
    alone.dmp.fault = None
    await alone.box_in_parts.start(*Part)
    await alone.settled(1)
    assert len(alone.dmp.committed) == 1


async def test_images_sent_to_the_box_are_in_the_manifest_and_rejected_ones_leave_it(alone: SplitCabinet) -> None:
    exam = invented_exam(71)
    images = alone.examine(PAT_TROIS, exam)
    assert set(await alone.store(*images)) == {0x0000}
    await alone.send(alone.cda(PAT_TROIS, exam), PAT_TROIS)
    await alone.settled(1)
    assert alone.referenced() == {str(ds.SOPInstanceUID) for ds in images}
    await alone.store(invented.rejection_note(images, title="113037"))
    await alone.settled(2)
    assert len(alone.dmp.withdrawn) == 1


@with_reader
async def test_a_report_goes_out_in_a_persons_own_name(manned: SplitCabinet) -> None:
    number = await refused_report(manned, 72)
    async with manned.browser() as browser:
        await signed_in(manned, browser)
        await publish(browser, number)
        await manned.becomes(number, State.SETTLED)
        assert {(one.result, one.mode, one.client) for one in manned.dmp.requests} == {("ok", "DIRECTE", DOCTOR.id)}
        assert len(manned.dmp.committed) == 1
        other = await refused_report(manned, 73)  # one consent, one publication
        await browser.get(f"/entries/{other}")
        await browser.post(f"/entries/{other}/retry")
        await manned.becomes(other, State.SETTLED)
        assert {one.mode for one in manned.dmp.requests} == {"INDIRECTE"}


@with_reader
async def test_a_card_that_is_pulled_is_over_on_every_side(manned: SplitCabinet) -> None:
    assert manned.people is not None
    number = await refused_report(manned, 74)
    manned.dmp.fault, manned.dmp.delay_s = Fault.SLOW, 20
    async with manned.browser() as browser:
        await signed_in(manned, browser)
        await publish(browser, number)
        await manned.becomes(number, State.STARTED)
        async with browser.events("/session/events") as events:
            pulled = time.monotonic()
            await asyncio.to_thread(manned.people.pull_card)
            async with asyncio.timeout(5):
                assert await anext(events) == ("go", "/sign-in")
            assert time.monotonic() - pulled < 2.0
        await manned.becomes(number, State.HELD, within_s=10)
        manned.dmp.fault = None
        await signed_in(manned, browser)
        assert await manned.state(number) is State.HELD  # being there again is not to agree again
        await publish(browser, number)
        await manned.becomes(number, State.SETTLED)
    assert len(manned.dmp.committed) == 1
    sent = [one for one in manned.dmp.requests if one.action == PUBLISH]
    assert {one.mode for one in sent if one.mode} == {"DIRECTE"}


@pytest.mark.parametrize("victim", [Part.NATIONAL, Part.PAGE])
async def test_a_phone_signs_in_by_way_of_national_and_the_session_ends_with_either(
    manned: SplitCabinet, victim: Part
) -> None:
    assert manned.people is not None
    psc = manned.people.psc
    async with manned.browser() as browser:
        await browser.get("/sign-in")
        assert "8997" not in await browser.post("/sign-in/phone", id_nat="801")  # rings nowhere
        await browser.get("/sign-in")
        text = await browser.post("/sign-in/phone", id_nat=MAUD)
        number = await psc.asked(MAUD)
        assert f'<p class="binding">{number}</p>' in text
        async with browser.events("/sign-in/phone/events") as events:
            psc.approve(MAUD)
            assert await anext(events) == ("go", "/sign-in/phone")
        assert "Maud CARDAMOME" in await browser.get("/sign-in/phone")
        await manned.box_in_parts.kill(victim)
        await asyncio.sleep(0.2)
        await manned.box_in_parts.start(victim)
        await browser.until("/me", "Se connecter", 10)  # its tokens went with national, its session with the page
        if victim is Part.PAGE:
            while not all(session.over for session in psc.sessions):  # noqa: ASYNC110 - left there too
                await asyncio.sleep(0.1)
        await manned.box_in_parts.met(Part.PAGE, "in-person", 2)
        await browser.get("/sign-in")
        await browser.post("/sign-in/phone", id_nat=MAUD)
        await psc.asked(MAUD)
        psc.approve(MAUD)
        assert "Maud CARDAMOME" in await browser.until("/sign-in/phone", "Maud", 10)
        await browser.post("/sign-out")
        while not psc.sessions[-1].over:  # noqa: ASYNC110 - the peer has no event for it
            await asyncio.sleep(0.1)


# What each zone may, and shows


async def test_metrics_of_all_zones_are_on_the_page(cabinet: SplitCabinet) -> None:
    exam = invented_exam(75)
    cabinet.examine(PAT_TROIS, exam)
    await cabinet.send(cabinet.cda(PAT_TROIS, exam), PAT_TROIS)
    await cabinet.settled(1)
    async with cabinet.browser() as browser:
        for line in (  # each zone tells its own, at its own time
            'passevue_tries_total{outcome="success",transaction="TD2.1a"} 1.0',
            'passevue_received_total{answer="AA",kind="report"} 1.0',
            *(f'passevue_zone_up{{zone="{part}"}} 1.0' for part in Part),
        ):
            assert line in await browser.until("/metrics", line, 20)


async def test_what_zones_share_is_the_groups_and_the_rest_is_theirs(cabinet: SplitCabinet) -> None:
    await asyncio.sleep(1)  # for the first status files
    modes = await asyncio.to_thread(_modes, cabinet.config().box.data_dir)
    shared = {name for name, mode in modes.items() if not mode & 0o007 and mode & 0o060 == 0o060}
    assert {"queue.sqlite", "queue.sqlite-wal", "queue.sqlite-shm", "queue.lock", "audit", "status"} <= shared
    assert not any(mode & 0o007 for mode in modes.values()), modes
    assert modes["images"] & 0o077 == 0
    if os.geteuid() == 0:
        owner = (cabinet.config().box.data_dir / "images").stat().st_uid
        assert owner == cabinet.box_in_parts.users[Part.INTAKE]


def _modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def _trail(folder: Path) -> str:
    return "".join(path.read_text("utf-8") for path in sorted(folder.glob("audit-*.log")))


# What happens when one of them dies


@pytest.mark.parametrize("victim", [Part.INTAKE, Part.NATIONAL, Part.PAGE, Part.HOST])
async def test_a_zone_killed_amid_publications_loses_and_doubles_nothing(alone: SplitCabinet, victim: Part) -> None:
    exams = [invented_exam(80 + number) for number in range(4)]
    for exam in exams:
        await alone.store(*alone.examine(PAT_TROIS, exam, slices=2))
    alone.dmp.fault, alone.dmp.delay_s = Fault.SLOW, 0.5
    for exam in exams:
        await alone.send(alone.cda(PAT_TROIS, exam), PAT_TROIS)
    await asyncio.sleep(1.0)  # some are on their way
    await alone.box_in_parts.kill(victim)
    assert alone.box_in_parts.alive() == set(Part) - {victim}
    await asyncio.sleep(1.0)
    await alone.box_in_parts.start(victim)
    alone.dmp.fault = None
    await alone.settled(4, within_s=60)
    assert len(alone.dmp.committed) == 4
    assert alone.box_in_parts.alive() == set(Part)


@with_reader
@pytest.mark.parametrize("victim", [Part.NATIONAL, Part.PAGE, Part.HOST])
async def test_a_zone_killed_amid_a_publication_in_ones_own_name(manned: SplitCabinet, victim: Part) -> None:
    assert manned.people is not None
    number = await refused_report(manned, 90)
    manned.dmp.fault, manned.dmp.delay_s = Fault.SLOW, 4
    async with manned.browser() as browser:
        await signed_in(manned, browser)
        await publish(browser, number)
        await manned.becomes(number, State.STARTED)
        await manned.box_in_parts.kill(victim)
        await asyncio.sleep(0.5)
        manned.dmp.fault = None
        await manned.box_in_parts.start(victim)
        if victim is Part.NATIONAL:  # who agreed is still there: it goes on by itself
            await manned.becomes(number, State.SETTLED)
        else:  # the session is over: it waits for them
            await manned.becomes(number, State.HELD)
            await asyncio.to_thread(manned.people.pull_card)
            await signed_in(manned, browser)
            await publish(browser, number)
            await manned.becomes(number, State.SETTLED)
    assert len(manned.dmp.committed) == 1
    sent = [one for one in manned.dmp.requests if one.action == PUBLISH and one.result == "ok"]
    assert {one.mode for one in sent} == {"DIRECTE"}  # what was in doubt is looked up in the structure's
