"""The clock chip of the board says nonsense when power comes: an empty battery, a board from a drawer (TIME-03).

The box has been told the time before: it is a year older than its image, and was shut down in order. Then its chip says
1970 (which the kernel of a PC takes for 2070), 2015 (chrony goes on from when it was switched off), 2099: the box comes
up, takes the RIS' messages, and opens nothing before somebody has told it the time. At last the chip and the one server
agree on a day that lies before what the box had known: they are not believed.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from tests.image.lab import BOOT_S, Lab
from tests.image.machine import Hardware, Machine
from tests.image.state import State
from tests.image.test_sabotage import YEAR_S, blocks, closed, found_right, look, one_waits, open_entries
from tests.image.time_server import time_server
from tests.image.trail import Trail
from tests.image.waiting import eventually

RULES = ("TIME-01", "TIME-03")
WRONG = {1970: {*RULES}, 2015: {"TIME-01"}, 2099: {*RULES}}  # what fails, by the chip's year


@asynccontextmanager
async def started(lab: Lab, state: State, clock: datetime) -> AsyncIterator[Machine]:
    """With a chip that says `clock`; shut down after."""
    hardware = Hardware(clock=f"{clock:%Y-%m-%dT%H:%M:%S}")
    async with lab.machine(state, hardware) as machine:
        await machine.switch_on()
        await machine.console.answers(BOOT_S)
        await machine.serves("/healthz", BOOT_S)
        yield machine
        await machine.console.run("systemctl", "poweroff", check=False)
        await machine.gone(BOOT_S)


async def clock_of(machine: Machine) -> int:
    return int((await machine.console.run("date", "+%s")).out)


async def built_at(machine: Machine) -> int:
    return int((await machine.console.run("stat", "-c", "%Y", "/usr/lib/clock-epoch")).out)


async def national(machine: Machine) -> str:
    """It does not start while its certificates are not in their dates."""
    return (await machine.console.run("systemctl", "is-active", "passevue-national", check=False)).out.strip()


async def test_a_chip_that_says_nonsense_opens_nothing_and_loses_nothing(lab: Lab) -> None:
    state = lab.provisioned("clock_chip")
    async with started(lab, state, datetime.now(UTC) + timedelta(seconds=YEAR_S)) as machine, time_server(YEAR_S):
        await found_right(machine)
        assert (await look(machine, "TIME-03"))["TIME-03"].status == "pass"
        await one_waits(machine)
        waiting = await open_entries(machine)
    assert waiting
    for number, year in enumerate(WRONG, 2):
        async with started(lab, state, datetime(year, 1, 1, tzinfo=UTC)) as machine:
            assert await clock_of(machine) >= await built_at(machine), "PID 1 sees to that"
            found = await look(machine, *RULES)
            assert {rule for rule in RULES if found[rule].status == "fail"} == WRONG[year], found
            assert {found[rule].effect for rule in WRONG[year]} == {"block"}
            assert WRONG[year] <= set(await closed(machine))
            await one_waits(machine, number)
            waiting += 1
            assert await open_entries(machine) == waiting
            async with time_server(YEAR_S):
                await found_right(machine)
                found = await look(machine, *RULES)
                assert {one.status for one in found.values()} == {"pass"}, found
                assert not set(RULES) & set(await closed(machine))
                await eventually(lambda: national(machine), lambda said: said == "active", 600, pause_s=5)
                seen = (await Trail.of(machine)).seen
    async with started(lab, state, datetime.now(UTC)) as machine, time_server():
        await found_right(machine)
        assert "before it was last right" in (await blocks(machine, "TIME-03", Trail(machine, seen))).observed
        assert await open_entries(machine) == waiting
