"""QEMU's monitor protocol: one command at a time, events kept as they come.

qmp = await Qmp.connect(Path("qmp.sock"))
await qmp.execute("device_add", driver="usb-kbd", id="keyboard")
await qmp.event("DEVICE_DELETED", lambda data: data.get("device") == "keyboard")
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


class QmpError(Exception):
    """QEMU said no; the text is QEMU's."""


class Qmp:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._one_at_a_time = asyncio.Lock()
        self._came = asyncio.Condition()
        self.events: list[dict[str, Any]] = []
        self.closed = False
        self._task = asyncio.create_task(self._read(), name="qmp")

    @classmethod
    async def connect(cls, path: Path) -> "Qmp":
        reader, writer = await asyncio.open_unix_connection(str(path), limit=1 << 24)
        await reader.readline()  # the greeting
        qmp = cls(reader, writer)
        await qmp.execute("qmp_capabilities")
        return qmp

    async def execute(self, command: str, **arguments: object) -> Any:
        """What QEMU returns.

        Raises:
            QmpError: it refused, or has gone.
        """
        async with self._one_at_a_time:
            if self.closed:
                raise QmpError(f"{command}: QEMU has gone")
            names = {name.replace("_", "-") if command != "device_add" else name: v for name, v in arguments.items()}
            self._writer.write(json.dumps({"execute": command, "arguments": names}).encode() + b"\n")
            answer = await self._answers.get()
        if "error" in answer:
            raise QmpError(f"{command}: {answer['error']['desc']}")
        return answer["return"]

    async def type(self, line: str) -> str:
        """A line of the monitor for people (`savevm`, `loadvm`, `info usernet`): what it prints."""
        printed: str = await self.execute("human-monitor-command", command_line=line)
        return printed

    async def event(
        self, name: str, fits: Callable[[dict[str, Any]], bool] = lambda data: True, *, after: int = 0, wait_s: float
    ) -> dict[str, Any]:
        """The data of the first event of this name that fits, among those from number `after` on."""

        def found() -> dict[str, Any] | None:
            for event in self.events[after:]:
                data: dict[str, Any] = event.get("data", {})
                if event["event"] == name and fits(data):
                    return data
            return None

        async with asyncio.timeout(wait_s), self._came:
            await self._came.wait_for(lambda: self.closed or found() is not None)
        data = found()
        if data is None:
            raise QmpError(f"QEMU has gone before {name}")
        return data

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _read(self) -> None:
        try:
            while line := await self._reader.readline():
                message = json.loads(line)
                if "event" in message:
                    async with self._came:
                        self.events.append(message)
                        self._came.notify_all()
                else:
                    self._answers.put_nowait(message)
        except OSError:
            pass  # QEMU was killed
        finally:
            self.closed = True
            self._answers.put_nowait({"error": {"desc": "QEMU has gone"}})
            async with self._came:
                self._came.notify_all()
