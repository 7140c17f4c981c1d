"""What is wrong is answered in the sender's own protocol, told to the audit trail, and costs nobody else anything."""

import asyncio
from pathlib import Path

import pytest

from passevue.status.audit_trail import verify
from passevue.status.folders import audit_folder
from tests.peers.cabinet import Cabinet
from tests.peers.modality import Modality, Refused
from tests.peers.ris import PAT_TROIS, Ask, Ris, invented_exam, invented_person, oru


def trail_text(folder: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*")) if path.is_file())


async def test_refused_message_is_in_the_audit_trail_and_the_next_one_is_served(cabinet: Cabinet) -> None:
    exam = invented_exam(60)
    cabinet.examine(PAT_TROIS, exam)
    cda = cabinet.cda(PAT_TROIS, exam)
    async with cabinet.ris() as ris:
        refused = await ris.send(oru(cda, PAT_TROIS, orc_1="CA"))
        assert (refused.code, refused.error) == ("AE", 207)
        assert (await ris.send(oru(cda, PAT_TROIS))).code == "AA"
    await cabinet.settled(1)
    folder = audit_folder(cabinet.config())
    await cabinet.stop()
    verdict = await asyncio.to_thread(verify, folder)
    assert not verdict.wrong
    text = trail_text(folder)
    assert "bad-input" in text
    assert "AE 207" in text
    assert "ITI-41" in text
    assert PAT_TROIS.ins in text  # lawful here, and only here


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\n\r\n", b"\x0bnothing\x1c\r", bytes(range(256)) * 40])
async def test_bytes_that_are_no_message_are_told_and_nothing_is_kept(cabinet: Cabinet, junk: bytes) -> None:
    ris = Ris("127.0.0.1", cabinet.running.ports["ris"])
    await ris.raw(junk)
    await ris.close()
    exam = invented_exam(61)
    cabinet.examine(PAT_TROIS, exam)
    assert (await cabinet.send(cabinet.cda(PAT_TROIS, exam), PAT_TROIS)).code == "AA"
    found = await cabinet.settled(1)
    assert found.settled_today == 1


async def test_two_patients_in_one_message_are_refused_at_the_door(cabinet: Cabinet) -> None:
    exam = invented_exam(62)
    ack = await cabinet.send(cabinet.cda(invented_person(62), exam), PAT_TROIS)
    assert ack.code == "AE"
    assert ack.application_error == 904
    assert (await cabinet.counters()).open == 0


async def test_deletion_of_a_report_never_seen_is_taken_and_told_to_a_person(cabinet: Cabinet) -> None:
    exam = invented_exam(63)
    ack = await cabinet.send(cabinet.cda(PAT_TROIS, exam), PAT_TROIS, Ask.DELETE)
    assert ack.code == "AA"
    found = await cabinet.set_aside()
    assert {reason for _, reason, _ in found.by_reason} == {"never-published"}


async def test_same_message_a_hundred_times_is_one_entry(cabinet: Cabinet) -> None:
    """F-11."""
    exam = invented_exam(64)
    cabinet.examine(PAT_TROIS, exam)
    message = oru(cabinet.cda(PAT_TROIS, exam), PAT_TROIS)
    async with cabinet.ris() as one, cabinet.ris() as other:
        for acks in await asyncio.gather(one.resend(message, 50), other.resend(message, 50)):
            assert {ack.code for ack in acks} == {"AA"}
    await cabinet.settled(1)
    assert len(cabinet.dmp.committed) == 1
    assert (await cabinet.counters()).settled_today == 1


async def test_stored_and_refused_associations_are_in_the_audit_trail(cabinet: Cabinet) -> None:
    exam = invented_exam(65)
    images = cabinet.examine(PAT_TROIS, exam)
    await cabinet.store(*images)
    stranger = Modality("127.0.0.1", cabinet.running.ports["modality"], "INCONNU")
    with pytest.raises(Refused):
        await asyncio.to_thread(stranger.store, images)
    folder = audit_folder(cabinet.config())
    await cabinet.stop()
    text = trail_text(folder)
    assert exam.study_uid in text
    assert "INCONNU" in text
    assert "A-ASSOCIATE-RJ" in text
