"""The page zone: what people see and do. Holds their sessions, and its listener's key.

Takes the cards from host and Pro Santé Connect from national, which it gives people's consents: themselves, when they
are in the same process; by `zones.cards` and `zones.in_person`, when they are not.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import structlog

from passevue.baseline.rule import Function
from passevue.config import Config
from passevue.errors import ConfigError, StoreError
from passevue.national.personal import Consents
from passevue.national.psc_face import PscDoor
from passevue.queue.store import Store
from passevue.status.cards import Cards
from passevue.status.machine_pages import Desk
from passevue.status.metrics import Metrics
from passevue.status.observer import Observer
from passevue.status.page import Page
from passevue.status.people import open_people
from passevue.status.people_pages import People
from passevue.update.machine import Machine
from passevue.update.orders import Orders
from passevue.zones.cards import FarCards
from passevue.zones.ground import Ground, Running
from passevue.zones.in_person import FarConsents
from passevue.zones.protections import EngineWord
from passevue.zones.psc import FarPsc

if TYPE_CHECKING:  # zones that may be other processes
    from passevue.status.card_desk import CardDesk
    from passevue.zones.national import National

TEND_EVERY_S = 2.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PageZone:
    """The zone, opened: `running` in the order in which it stops."""

    page: Page
    running: tuple[Running, ...]


async def open_page(ground: Ground, desk: "CardDesk | None", national: "National | None", *, alone: bool) -> PageZone:
    """`national` None: it is another process; `alone`: host is, and has the desk.

    Raises:
        ConfigError: it cannot be opened, or nobody could sign in.
    """
    await asyncio.to_thread(check, ground.config, Machine())
    cards: Cards | None = desk
    consents: Consents | None = national.in_person if national is not None else None
    psc: PscDoor | None = national.psc if national is not None else None
    running: list[Running] = []
    if alone and ground.config.trust is not None:
        far_cards = FarCards(ground.meeting)
        cards = far_cards
        running.append(Running("card-line", far_cards.line.run))
    if consents is None:
        far = FarConsents(ground.meeting)
        consents = far
        if ground.config.psc is not None:
            far_psc = FarPsc(far.line.met, ground.clock)
            psc, far.more_told = far_psc, far_psc.told
        running += [Running("in-person-line", far.line.run), Running("room", lambda: _tend(ground.store))]
    people = await asyncio.to_thread(
        open_people, ground.config, ground.store, ground.trail, ground.clock, cards=cards, psc=psc, in_person=consents,
        held=lambda: ground.leave.held(Function.SIGN_IN), acts_held=lambda: ground.leave.held(Function.PAGE_ACTS),
        keys_of=None if national is not None else ("page.tls",),
    )  # fmt: skip
    machine = await asyncio.to_thread(_machine, ground)
    people = replace(people, machine=machine)
    await people.sign_in.account.start()
    page = await asyncio.to_thread(_page, ground, people)
    return PageZone(page, (Running("page", page.run), Running("sign-in", people.sign_in.run), *running))


def _machine(ground: Ground) -> Desk | None:
    """What the machine's own pages stand on, where this is an appliance."""
    machine, data_dir = Machine(), ground.config.box.data_dir
    if not machine.is_appliance:
        return None
    Orders(data_dir).clear(ground.clock())
    return Desk(data_dir, machine.serial, ground.trail, ground.clock)


def check(config: Config, machine: Machine) -> None:
    """
    Raises:
        ConfigError: `page.tls` is missing where every visitor comes from elsewhere: none could sign in, nor mend it.
    """
    if machine.is_appliance and config.page.tls is None:
        hint = "La section [page.tls] manque : sans certificat, personne ne peut se connecter au boîtier."
        raise ConfigError("page.tls", "is needed on an appliance: nobody could sign in", hint=hint)


def _page(ground: Ground, people: People) -> Page:
    config = ground.config
    word = EngineWord(config, ground.leave, ground.system)
    observer = Observer(config, ground.store, ground.register, clock=ground.clock, protections=word)
    zone = ZoneInfo(config.box.timezone)
    sock = ground.passed("page")
    return Page(config.page, observer.summary, zone, metrics=Metrics(ground.tally), people=people, sock=sock)


async def _tend(store: Store) -> None:
    """Measure the room now and then: where the dispatcher runs, it does."""
    while True:
        try:
            await store.tend()
        except StoreError as err:
            log.error("queue_not_tended", error=err.message)
        await asyncio.sleep(TEND_EVERY_S)
