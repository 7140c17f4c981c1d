"""The pause before a restart, where intake's connections are: asked on the loop that they live on."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from passevue.config import Ris
from passevue.intake.mllp import MllpServer
from passevue.intake.received import Receipt, Received
from passevue.intake.ris import RisDesk, RisMessage
from passevue.update.quiet import Busy, Pause, is_quiet
from passevue.zones.intake import exchanges
from tests.peers import dicom_intake


async def _keep(message: RisMessage, received: Received) -> Receipt:
    return Receipt(1)


@asynccontextmanager
async def _running(*parts: MllpServer | Busy) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks = [asyncio.create_task(part.run()) for part in parts]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_a_silent_connection_ends_when_a_pause_is_asked(tmp_path: Path) -> None:
    """In debug, asyncio refuses what touches a connection from another thread."""
    asyncio.get_running_loop().set_debug(True)
    mllp = MllpServer(Ris().model_copy(update={"port": 0}), RisDesk(_keep))
    pause = Pause(tmp_path)
    async with dicom_intake.running(tmp_path / "images") as dicom, asyncio.timeout(20):
        busy = Busy(tmp_path, "intake", exchanges(mllp, dicom.server), lambda: datetime.now(UTC), pause)
        async with _running(mllp, busy) as tasks:
            await mllp.started()
            reader, writer = await asyncio.open_connection("127.0.0.1", mllp.port)
            while not mllp.connections:  # noqa: ASYNC110 - what is waited for is in the box
                await asyncio.sleep(0.01)
            await asyncio.to_thread(pause.ask, datetime.now(UTC) + timedelta(seconds=30))
            assert await reader.read() == b""
            writer.close()
            while not await asyncio.to_thread(is_quiet, tmp_path, ["intake"], datetime.now(UTC)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            assert not any(task.done() for task in tasks)
    told = json.loads(await asyncio.to_thread((tmp_path / "status/busy-intake.json").read_bytes))
    assert told["what"] == {"mllp": 0, "dicom": 0}
