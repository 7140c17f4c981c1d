"""The audit trail cannot be written: intake goes on, the national side stands still, and goes on by itself (LOG-01)."""

import asyncio
import shutil
from pathlib import Path

from passevue.queue.states import State
from passevue.status.audit_trail import verify
from passevue.status.folders import audit_folder
from tests.peers.cabinet import Cabinet
from tests.peers.ris import PAT_TROIS, invented_exam


def spoil(folder: Path) -> None:
    """As a volume that went away: what was there is elsewhere, and nothing can be written."""
    shutil.move(folder, folder.with_suffix(".away"))
    folder.write_text("not a folder")


def mend(folder: Path) -> None:
    folder.unlink()
    shutil.move(folder.with_suffix(".away"), folder)


async def test_nothing_is_sent_while_the_audit_trail_cannot_be_written(cabinet: Cabinet) -> None:
    exam = invented_exam(60)
    cabinet.examine(PAT_TROIS, exam)
    await cabinet.stop()
    folder = audit_folder(cabinet.config())
    await asyncio.to_thread(spoil, folder)
    await cabinet.start()
    assert (await cabinet.send(cabinet.cda(PAT_TROIS, exam), PAT_TROIS)).code == "AA"
    found = await cabinet.until(lambda found: found.by_state[State.HELD] == 1)
    assert {reason for _, reason, _ in found.by_reason} == {"audit"}
    assert not cabinet.dmp.requests
    await asyncio.to_thread(mend, folder)
    assert cabinet.running.store is not None
    await cabinet.running.store.release(by="essai")
    await cabinet.settled(1)
    await cabinet.stop()
    assert (await asyncio.to_thread(verify, folder)).wrong == ()
