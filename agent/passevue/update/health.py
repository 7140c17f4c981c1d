"""`passevue-health`: runs the gate at each start of the machine, keeps what it says, and leaves with 1 when it should
be undone.

    <data_dir>/update/health.json   {"schema", "boot_id", "version", "word", "faults": [{"check", "seen"}], "at",
    "on_trial"}

Leaves with 0 when all is well, and also when it is not but there is nothing to fall back to, or what runs has proved
itself before: a machine that restarts for ever cannot even say what is wrong. With 1 systemd takes this version's tries
from the loader and restarts (passevue-undo.service), into the other slot. Run by /usr/lib/passevue/health as the
host's user.
"""

import argparse
import asyncio
import json
import logging
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from passevue import config
from passevue.errors import BoxError, ConfigError, NetworkError, StoreError
from passevue.update.bus import open_bus
from passevue.update.gate import STEADY, WITHIN, Noted, Standing, Word, after, faults
from passevue.update.look import Place, look
from passevue.update.machine import Machine
from passevue.update.rauc import Rauc
from passevue.update.row_file import FOLDER, RowFile, write_synced

DATA_DIR = Path("/var/lib/passevue")
CONFIG = DATA_DIR / "config/passevue.toml"
AGAIN_S = 30.0
PAGE_PORT = 443
MAX_BYTES = 64 << 10

log = structlog.get_logger()


def health_file(data_dir: Path) -> Path:
    return data_dir / FOLDER / "health.json"


def read_health(data_dir: Path) -> dict[str, Any]:
    """What the gate last said; {} when nothing."""
    try:
        with health_file(data_dir).open("rb") as file:
            told = json.loads(file.read(MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) and told.get("schema") == 1 else {}


class Gate:
    """One run of the gate."""

    def __init__(
        self,
        place: Place,
        noted: Noted,
        *,
        on_trial: bool,
        within: timedelta = WITHIN,
        steady: timedelta = STEADY,
        again_s: float = AGAIN_S,
    ) -> None:
        self._place = place
        self._noted = noted
        self._within = within
        self._steady = steady
        self._again_s = again_s
        self.on_trial = on_trial
        self._kept: tuple[Any, ...] = ()

    async def run(self) -> Standing:
        """Looks until it has passed or failed. A start that is not on trial is not waited for longer than it takes to
        come up.
        """
        zero = datetime.now(UTC)
        started = time.monotonic()
        standing = Standing(zero)
        while True:
            async with AsyncExitStack() as open_things:
                bus = None
                with suppress(NetworkError):
                    bus = await open_things.enter_async_context(open_bus())
                seen = await look(self._place, datetime.now(UTC), bus)
            found = faults(seen, self._noted, on_trial=self.on_trial)
            passed = timedelta(seconds=time.monotonic() - started)
            standing = after(
                standing, found, zero + passed, on_trial=self.on_trial, within=self._within, steady=self._steady
            )
            await asyncio.to_thread(self._keep, standing)
            if standing.word is not Word.LOOKING:
                return standing
            await asyncio.sleep(self._again_s)

    def _keep(self, standing: Standing) -> None:
        """On the disk when it changes: what failed must be known after the machine has gone back."""
        if (standing.word, standing.faults) == self._kept:
            return
        self._kept = (standing.word, standing.faults)
        told = {
            "schema": 1,
            "boot_id": self._place.machine.boot_id,
            "version": self._place.machine.version,
            "word": standing.word,
            "faults": [asdict(fault) for fault in standing.faults],
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "on_trial": self.on_trial,
        }
        for fault in standing.faults:
            log.warning("gate_fault", rule=fault.check, reason=fault.seen)
        log.info("gate_word", result=str(standing.word), state="on trial" if self.on_trial else "proved")
        try:
            write_synced(health_file(self._place.data_dir), json.dumps(told).encode())
        except StoreError as err:
            log.error("gate_not_kept", reason=err.message)


async def has_fallback() -> bool:
    """Whether the other slot would start. When nobody can say, that it would."""
    try:
        async with open_bus() as bus:
            return any(not slot.booted and slot.good for slot in await Rauc(bus).slots())
    except NetworkError:
        return True


async def judge(gate: Gate) -> int:
    """The exit code."""
    standing = await gate.run()
    if standing.word is Word.PASSED or not gate.on_trial:
        return 0
    return 1 if await has_fallback() else 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Whether this start of the box is one to keep.")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    parser.add_argument("--page-port", type=int, default=PAGE_PORT)
    parser.add_argument("--within", type=float, default=WITHIN.total_seconds(), help="seconds to come up")
    parser.add_argument("--steady", type=float, default=STEADY.total_seconds(), help="seconds to stay well, on trial")
    parser.add_argument("--again", type=float, default=AGAIN_S, help="seconds between two looks")
    asked = parser.parse_args(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    machine = Machine()
    place = Place(asked.data_dir, _config(asked.config), machine, asked.page_port)
    gate = Gate(
        place,
        noted_for(asked.data_dir, machine),
        on_trial=machine.on_trial,
        within=timedelta(seconds=asked.within),
        steady=timedelta(seconds=asked.steady),
        again_s=asked.again,
    )
    return asyncio.run(judge(gate))


def _config(path: Path) -> config.Config | None:
    if not path.exists():
        return None
    try:
        return config.load(path)
    except ConfigError as err:
        log.warning("gate_without_configuration", reason=err.message)
        return None


def noted_for(data_dir: Path, machine: Machine) -> Noted:
    """What was noted before the restart into this version; nothing when no update led here.

    A version that has proved itself is held to nothing of it: readers and neighbours come and go. What failed already
    stays excused.
    """
    try:
        row = RowFile(data_dir).read()
    except BoxError:
        return Noted()
    noted = Noted.of(row.noted) if row.version == machine.version else Noted()
    return noted if machine.on_trial else Noted(failing_rules=noted.failing_rules)
