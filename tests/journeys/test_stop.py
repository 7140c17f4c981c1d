"""The box stops in order and in time, whatever it is doing (Q-15)."""

import asyncio
from pathlib import Path

from tests.journeys.box_process import process
from tests.peers.cabinet import QUICK, Cabinet
from tests.peers.dmp import Fault
from tests.peers.ports import free_port
from tests.peers.ris import PAT_TROIS, Ris, invented_exam, oru


async def test_sigterm_during_a_publication_ends_the_process_well_and_loses_nothing(
    tmp_path: Path, pki_folder: Path
) -> None:
    port = free_port()
    cabinet = Cabinet(tmp_path / "box", pki_folder, more={"ris": {"port": port}})
    async with cabinet.dmp, cabinet.pacs:
        exam = invented_exam(70)
        cabinet.examine(PAT_TROIS, exam)
        cabinet.dmp.fault, cabinet.dmp.delay_s = Fault.SLOW, 3
        box = process(cabinet.config(), QUICK)
        await asyncio.to_thread(box.start)
        await _send(port, oru(cabinet.cda(PAT_TROIS, exam), PAT_TROIS))
        await asyncio.sleep(0.5)  # the request is under way
        box.terminate()
        await asyncio.to_thread(box.join, 20)
        assert box.exitcode == 0
        cabinet.dmp.fault = None
        await cabinet.start()
        try:
            await cabinet.settled(1, within_s=30)
        finally:
            await cabinet.stop()
        assert len(cabinet.dmp.committed) == 1


async def _send(port: int, message: bytes) -> None:
    """The box may still be starting."""
    for _ in range(200):
        try:
            async with Ris("127.0.0.1", port) as ris:
                assert (await ris.send(message)).code == "AA"
                return
        except OSError:
            await asyncio.sleep(0.05)
    raise TimeoutError("the box does not listen")
