"""A box without a configuration: only the page that takes one, and the updates of the machine. Everything else waits.

On the appliance `passevue run --part page` and `--part host` come here until there is a configuration; systemd starts
them anew then. The page comes here too when the configuration in place does not let it serve: else nobody could give
another.
"""

import asyncio
import socket
import ssl
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

import structlog

from passevue.config import Update, load
from passevue.errors import BoxError, StoreError
from passevue.intake.tls import listener_context
from passevue.provision.console import fingerprint
from passevue.provision.first_certificate import context, first_certificate
from passevue.queue.store import utc_now
from passevue.status import audit
from passevue.status.audit_trail import AuditTrail
from passevue.status.first_page import Box, FirstPage
from passevue.status.notify import Watchdog, notify
from passevue.update.gate import Noted
from passevue.update.look import Place, note, security_floor
from passevue.update.machine import Machine
from passevue.update.orders import Orders
from passevue.update.quiet import Pause
from passevue.update.system import System
from passevue.update.updater import Tell, Updater, Ways
from passevue.update.window import Window
from passevue.zones.part import Part, user_of

DATA_DIR = Path("/var/lib/passevue")
UNCLAIMED = "2.25.0"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Appliance:
    """Which machine this is; only tests give another."""

    machine: Machine = field(default_factory=Machine)
    data_dir: Path = DATA_DIR


@dataclass(frozen=True, slots=True)
class Wrong:
    """A configuration in place that does not let the page serve, and what is wrong with it, for people."""

    config_path: Path
    hint: str


def is_unclaimed(config_path: Path, parts: Collection[Part], machine: Machine) -> bool:
    """Whether these zones of an appliance have to do without a configuration."""
    wanted = bool(parts) and set(parts) <= {Part.PAGE, Part.HOST}
    return wanted and not config_path.exists() and machine.is_appliance


def is_page_alone(parts: Collection[Part], machine: Machine) -> bool:
    """Whether people see nothing of this appliance when these zones do not run."""
    return set(parts) == {Part.PAGE} and machine.is_appliance


async def run(
    parts: Collection[Part], place: Appliance, sock: socket.socket | None = None, wrong: Wrong | None = None
) -> None:
    """Until cancelled or a part fails. `sock`: the page's, listening already."""
    async with asyncio.TaskGroup() as group:
        group.create_task(Watchdog().run(), name="watchdog")
        if Part.PAGE in parts:
            page = await asyncio.to_thread(_page, place, sock, wrong)
            group.create_task(page.run(), name=page.name)
            await page.started()
        if Part.HOST in parts:
            updater = await asyncio.to_thread(_updater, place.data_dir)
            group.create_task(updater.run(), name="update")
        notify("READY=1", "STATUS=sans configuration")
        if wrong is None:
            log.info("box_unclaimed")
        else:
            log.error("box_without_usable_configuration")


def _page(place: Appliance, sock: socket.socket | None, wrong: Wrong | None) -> FirstPage:
    Orders(place.data_dir).clear(utc_now())
    certificate, tls = _face(place, wrong)
    told = "" if wrong is None else f"La configuration en place ne peut pas servir. {wrong.hint} Donnez-en une autre."
    box = Box(place.data_dir, place.machine.serial, fingerprint(certificate), told, _names(wrong))
    return FirstPage(box, tls, utc_now, telling(place.data_dir), sock=sock, host="", port=443)


def _names(wrong: Wrong | None) -> tuple[str, ...]:
    if wrong is not None:
        with suppress(BoxError):
            return tuple(load(wrong.config_path).page.names)
    return ()


def _face(place: Appliance, wrong: Wrong | None) -> tuple[Path, ssl.SSLContext]:
    """The certificate of the configured page where it can serve, as browsers that know it take no other (HSTS)."""
    if wrong is not None:
        with suppress(BoxError):
            tls = load(wrong.config_path).page.tls
            if tls is not None:
                return tls.certificate, listener_context(tls)
    folder = place.data_dir / "page"
    certificate, _ = first_certificate(folder, place.machine.serial)
    return certificate, context(folder, place.machine.serial)


def telling(data_dir: Path) -> Tell:
    """Writes what happens to the machine to the audit trail; what it does not take is in the log."""
    trail = AuditTrail(data_dir / "audit", UNCLAIMED)

    def tell(what: str, by: str, said: str) -> None:
        try:
            trail.append([audit.to_xml(audit.machine_changed(utc_now(), what, by, said), UNCLAIMED)])
        except (OSError, StoreError) as err:
            log.error("audit_record_lost", reason=type(err).__name__)

    return tell


def _updater(data_dir: Path) -> Updater:
    machine, settings = Machine(), Update()

    trail = ThreadPoolExecutor(1, "audit")  # one after the other, and not on the loop

    def tell(what: str, by: str, said: str) -> None:
        trail.submit(telling(data_dir), what, by, said)

    def noted(now: datetime) -> Noted:
        return note(Place(data_dir, None, machine, 443), now)

    begin, end = time.fromisoformat(settings.start), time.fromisoformat(settings.end)
    window = Window.of(settings.days, begin, end, ZoneInfo("Europe/Paris"))
    ways = Ways(
        System(),
        machine,
        quiet=lambda now: True,
        note=noted,
        tell=tell,
        clock=utc_now,
        pause=Pause(data_dir, utc_now),
        security_floor=lambda: security_floor(machine.root),
    )
    return Updater(data_dir, Orders(data_dir, (user_of(Part.PAGE),)), window, ways)
