"""The host zone: the machine itself. Card readers, who may be plugged in, revocation lists; speaks to pcscd, udev.

It opens no store: whatever state that is in, the machine must be looked after. Gives the cards to the page: their desk,
when that is in the same process; by `zones.cards`, when it is not.

What looks at the machine (`baseline`) and renews it (`update`) runs here too: `_machine` is their place.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import time
from zoneinfo import ZoneInfo

from passevue.baseline.engine import Change
from passevue.baseline.opening import open_engine
from passevue.baseline.rule import Function
from passevue.card.card_trust import open_card_trust, open_crls
from passevue.card.reader import Readers
from passevue.card.usb import INSTALLED, Arrival, UsbWatch, read_reader_files
from passevue.status.card_desk import CardDesk
from passevue.status.witness import Witness
from passevue.update.look import Place, note, security_floor
from passevue.update.machine import Machine
from passevue.update.orders import Orders
from passevue.update.quiet import Pause, is_quiet
from passevue.update.system import System
from passevue.update.updater import Updater, Ways
from passevue.update.window import Window
from passevue.zones import meeting
from passevue.zones.cards import cards_for_page
from passevue.zones.ground import Ground, Running
from passevue.zones.part import Part, user_of


@dataclass(frozen=True, slots=True)
class Host:
    """The zone, opened: `running` in the order in which it stops. Without `[trust]` no card is believed: no desk."""

    cards: CardDesk | None
    running: tuple[Running, ...]


async def open_host(ground: Ground, open_things: AsyncExitStack, *, alone: bool) -> Host:
    """`alone`: the page is another process."""
    config = ground.config
    running: list[Running] = []
    crls = await asyncio.to_thread(open_crls, config, ground.clock)
    trust = await asyncio.to_thread(open_card_trust, config, crls)
    desk = None
    if trust is not None:
        readers = Readers()
        desk = CardDesk(config.box.realm, trust, ground.clock, readers)
        running += [Running("cards", desk.run), Running("readers", readers.run)]
        if alone:
            door = ground.meeting.open_door(meeting.Place.CARD, Part.PAGE, cards_for_page(desk))
            running.insert(0, Running("card-door", (await open_things.enter_async_context(door)).run))
    return Host(desk, (*running, Running("crl", crls.run), *await _usb(ground), *await _machine(ground)))


async def _usb(ground: Ground) -> tuple[Running, ...]:
    if not await asyncio.to_thread(INSTALLED.is_dir):  # no appliance: its kernel waits for nobody's verdict
        return ()
    usb = UsbWatch(await asyncio.to_thread(read_reader_files, INSTALLED), enforce=True)
    return (
        Running("usb-told", lambda: _tell_refused_devices(usb, ground.witness)),
        Running("usb", usb.run),
    )


async def _machine(ground: Ground) -> tuple[Running, ...]:
    """What watches over the machine and renews it."""
    witness = ground.witness

    def told(change: Change) -> None:
        said = f"{change.status} {change.effect if change.fires else 'no effect'}: {change.observed}"
        witness.rule_changed(change.at, change.rule.id, said, fires=change.fires)

    engine = await asyncio.to_thread(
        open_engine, ground.config, ground.config_path, ground.clock, told=told, canary=witness.traced,
        root=ground.system,
    )  # fmt: skip
    return (Running(engine.name, engine.run), *await asyncio.to_thread(_updates, ground))


def _updates(ground: Ground) -> tuple[Running, ...]:
    """What carries updates through; only where an image of ours runs."""
    machine = Machine()
    if not machine.is_appliance:
        return ()
    data_dir = ground.config.box.data_dir
    settings = ground.config.update
    window = Window.of(
        settings.days,
        time.fromisoformat(settings.start),
        time.fromisoformat(settings.end),
        ZoneInfo(ground.config.box.timezone),
    )
    place = Place(data_dir, ground.config, machine, ground.config.page.port)
    ways = Ways(
        System(),
        machine,
        quiet=lambda now: is_quiet(data_dir, (Part.INTAKE, Part.NATIONAL), now),
        note=lambda now: note(place, now),
        tell=ground.witness.machine_changed,
        clock=ground.clock,
        pause=Pause(data_dir, ground.clock),
        security_floor=lambda: security_floor(machine.root),
        held=lambda: ground.leave.held(Function.UPDATE),
    )
    updater = Updater(data_dir, Orders(data_dir, (user_of(Part.PAGE),)), window, ways)
    return (Running("update", updater.run),)


async def _tell_refused_devices(usb: UsbWatch, witness: Witness) -> None:
    async for event in usb.events():
        if isinstance(event, Arrival) and not event.verdict.allowed:
            witness.device_refused(event.verdict.reason)
