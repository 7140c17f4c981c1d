"""The national network goes away and comes back: what waits goes out once, in order, and nobody needs to act."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from passevue.queue.states import State
from tests.peers.cabinet import QUICK, Cabinet
from tests.peers.dmp import Fault
from tests.peers.dmp_registry import APPROVED, DELETED, DEPRECATED
from tests.peers.ris import PAT_TROIS, Ask, invented_document_id, invented_exam, invented_person

IN_DOUBT = [
    Fault.COMMIT_THEN_RESET,
    Fault.COMMIT_THEN_500,
    Fault.COMMIT_THEN_TRUNCATED,
    Fault.COMMIT_THEN_WRONG_TYPE,
    Fault.COMMIT_THEN_WRONG_RELATES_TO,
    Fault.COMMIT_THEN_BUSY,
    Fault.COMMIT_THEN_DUPLICATE,
]


async def test_reports_wait_for_the_network_and_go_out_once(cabinet: Cabinet) -> None:
    await cabinet.dmp.cut()
    for number in range(20, 25):
        patient, exam = invented_person(number), invented_exam(number)
        cabinet.examine(patient, exam)
        assert (await cabinet.send(cabinet.cda(patient, exam), patient)).code == "AA"
    await cabinet.until(lambda found: found.open == 5 and bool(found.by_reason))
    await cabinet.dmp.restore()
    await cabinet.settled(5, within_s=90)
    assert len(cabinet.dmp.committed) == len({one.unique_id for one in cabinet.dmp.committed}) == 5


async def test_replacement_and_deletion_made_during_the_outage_follow_in_order(cabinet: Cabinet) -> None:
    exam, first, second = invented_exam(30), invented_document_id(30, 1), invented_document_id(30, 2)
    cabinet.examine(PAT_TROIS, exam)
    await cabinet.dmp.cut()
    await cabinet.send(cabinet.cda(PAT_TROIS, exam, document_id=first), PAT_TROIS)
    replacing = cabinet.cda(PAT_TROIS, exam, document_id=second, replaces=first, version=2)
    await cabinet.send(replacing, PAT_TROIS, Ask.REPLACE, by="mdm")
    await cabinet.until(lambda found: bool(found.by_reason))
    await cabinet.dmp.restore()
    await cabinet.settled(2, within_s=90)
    states = [one.status for one in cabinet.dmp.documents.values() if one.mime_type == "application/dicom"]
    assert sorted(states) == sorted([DEPRECATED, APPROVED])


@pytest.mark.parametrize("fault", IN_DOUBT)
async def test_answer_that_was_lost_makes_no_second_document(cabinet: Cabinet, fault: Fault) -> None:
    """F-18, F-19, F-23: the DMP took it, the box never heard so; it looks before it sends again."""
    exam = invented_exam(40)
    cabinet.examine(PAT_TROIS, exam)
    cabinet.dmp.fail(fault)
    await cabinet.send(cabinet.cda(PAT_TROIS, exam), PAT_TROIS)
    await cabinet.settled(1, within_s=60)
    assert len(cabinet.dmp.committed) == 1


@pytest.mark.parametrize("fault", [Fault.CAPTIVE_PORTAL, Fault.REDIRECT, Fault.RESET_AT_ONCE, Fault.REGISTRY_BUSY])
async def test_answer_that_is_no_answer_is_not_success(cabinet: Cabinet, fault: Fault) -> None:
    exam = invented_exam(41)
    cabinet.examine(PAT_TROIS, exam)
    cabinet.dmp.fail(fault)
    await cabinet.send(cabinet.cda(PAT_TROIS, exam), PAT_TROIS)
    await cabinet.settled(1, within_s=60)
    assert len(cabinet.dmp.committed) == 1


@pytest.mark.parametrize("fault", [Fault.LOOK_UP_DOWN, Fault.LOOK_UP_PORTAL, Fault.LOOK_UP_RESET])
async def test_nothing_is_sent_again_while_the_look_up_is_away(cabinet: Cabinet, fault: Fault) -> None:
    """F-24."""
    exam = invented_exam(42)
    cabinet.examine(PAT_TROIS, exam)
    cabinet.dmp.fail(Fault.COMMIT_THEN_RESET)
    await cabinet.send(cabinet.cda(PAT_TROIS, exam), PAT_TROIS)
    await cabinet.until(lambda _: bool(cabinet.dmp.committed))
    cabinet.dmp.fault = fault
    await cabinet.until(lambda found: found.by_state[State.IN_DOUBT] == 1)
    cabinet.dmp.fault = None
    await cabinet.settled(1, within_s=60)
    assert len(cabinet.dmp.committed) == 1


@pytest.mark.parametrize(("ask", "cut"), [(Ask.DELETE, False), (Ask.DELETE, True), (Ask.REPLACE, False)])
async def test_what_the_registry_took_and_does_not_show_yet_is_waited_for(
    tmp_path: Path, pki_folder: Path, ask: Ask, cut: bool
) -> None:
    """A deletion right behind its publication: not finding it does not mean that the patient has removed it. Nor does
    it when the box was restarted in between."""
    exam, first = invented_exam(47), invented_document_id(47, 1)
    async with Cabinet(tmp_path / "box", pki_folder, policy=replace(QUICK, look_again_s=60)) as cabinet:
        cabinet.examine(PAT_TROIS, exam)
        cda = cabinet.cda(PAT_TROIS, exam, document_id=first)
        await cabinet.send(cda, PAT_TROIS)
        await cabinet.settled(1)
        cabinet.dmp.slow_to_show |= set(cabinet.dmp.documents)
        if cut:
            await cabinet.stop()
            await cabinet.start()
        if ask is Ask.REPLACE:
            cda = cabinet.cda(PAT_TROIS, exam, document_id=invented_document_id(47, 2), replaces=first, version=2)
        await cabinet.send(cda, PAT_TROIS, ask, by="mdm")
        await cabinet.until(lambda found: (State.READY, "network", 1) in found.by_reason)
        cabinet.dmp.slow_to_show.clear()
        await cabinet.settled(2)
        (manifest,) = (one for one in cabinet.dmp.documents.values() if one.mime_type == "application/dicom"
                       and one.status != APPROVED)  # fmt: skip
        assert manifest.status == (DELETED if ask is Ask.DELETE else DEPRECATED)


async def test_refused_certificate_holds_and_burns_no_try(cabinet: Cabinet) -> None:
    exam = invented_exam(43)
    cabinet.examine(PAT_TROIS, exam)
    await cabinet.dmp.refuse_certificates()
    await cabinet.send(cabinet.cda(PAT_TROIS, exam), PAT_TROIS)
    await cabinet.until(lambda found: found.by_state[State.HELD] == 1)
    await cabinet.dmp.restore()
    assert cabinet.running.store is not None
    await cabinet.running.store.release(by="essai")
    await cabinet.settled(1)
    assert len(cabinet.dmp.committed) == 1


async def test_certificate_that_expires_holds_what_waits_and_burns_no_try(tmp_path: Path, pki_folder: Path) -> None:
    """F-28: years go by on the box's clock, the certificates end; then it is as if they had been renewed."""
    ahead = timedelta(days=2000)
    moved = [ahead]
    async with Cabinet(tmp_path / "box", pki_folder, clock=lambda: datetime.now(UTC) + moved[0]) as cabinet:
        for number in range(46, 49):
            patient, exam = invented_person(number), invented_exam(number)
            cabinet.examine(patient, exam)
            assert (await cabinet.send(cabinet.cda(patient, exam), patient)).code == "AA"
        await cabinet.until(lambda found: found.by_state[State.HELD] == 3)
        assert not cabinet.dmp.requests
        moved[0] = timedelta(0)
        store = cabinet.running.store
        assert store is not None
        assert await store.release(by="essai") == 3
        await cabinet.settled(3)
        assert [line.tries for line in await store.entries()] == [1, 1, 1]
        assert len(cabinet.dmp.committed) == 3


async def test_box_that_is_stopped_and_started_goes_on_where_it_was(cabinet: Cabinet) -> None:
    await cabinet.dmp.cut()
    exam = invented_exam(44)
    cabinet.examine(PAT_TROIS, exam)
    await cabinet.send(cabinet.cda(PAT_TROIS, exam), PAT_TROIS)
    await cabinet.stop()
    await cabinet.dmp.restore()
    await cabinet.start()
    await cabinet.settled(1, within_s=60)
    assert len(cabinet.dmp.committed) == 1


async def test_registry_that_fails_the_same_way_five_times_is_told_to_a_person(cabinet: Cabinet) -> None:
    exam = invented_exam(45)
    cabinet.examine(PAT_TROIS, exam)
    cabinet.dmp.fault = Fault.GENERIC
    await cabinet.send(cabinet.cda(PAT_TROIS, exam), PAT_TROIS)
    found = await cabinet.set_aside(within_s=30)
    assert (State.SET_ASIDE, "XDSRegistryError", 1) in found.by_reason
    assert not cabinet.dmp.committed
