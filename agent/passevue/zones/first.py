"""A box without a configuration: only the page that takes one, and the updates of the machine. Everything else waits.

On the appliance `passevue run --part page` and `--part host` come here until there is a configuration; systemd starts
them anew then.
"""

import asyncio
from collections.abc import Collection
from datetime import datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

import structlog

from passevue.config import Update
from passevue.errors import StoreError
from passevue.provision.console import fingerprint
from passevue.provision.first_certificate import context, first_certificate
from passevue.queue.store import utc_now
from passevue.status import audit
from passevue.status.activation import passed_sockets
from passevue.status.audit_trail import AuditTrail
from passevue.status.first_page import Box, FirstPage
from passevue.status.notify import Watchdog, notify
from passevue.update.gate import Noted
from passevue.update.look import Place, note, security_floor
from passevue.update.machine import Machine
from passevue.update.orders import Orders
from passevue.update.quiet import Pause
from passevue.update.system import System
from passevue.update.updater import Updater, Ways
from passevue.update.window import Window
from passevue.zones.part import Part, user_of

DATA_DIR = Path("/var/lib/passevue")
UNCLAIMED = "2.25.0"

log = structlog.get_logger()


def is_unclaimed(config_path: Path, parts: Collection[Part], machine: Machine | None = None) -> bool:
    """Whether these zones of an appliance have to do without a configuration."""
    wanted = bool(parts) and set(parts) <= {Part.PAGE, Part.HOST}
    return wanted and not config_path.exists() and (machine or Machine()).is_appliance


async def run(parts: Collection[Part], data_dir: Path = DATA_DIR) -> None:
    """Until cancelled or a part fails."""
    async with asyncio.TaskGroup() as group:
        group.create_task(Watchdog().run(), name="watchdog")
        if Part.PAGE in parts:
            page = await asyncio.to_thread(_page, data_dir)
            group.create_task(page.run(), name=page.name)
            await page.started()
        if Part.HOST in parts:
            updater = await asyncio.to_thread(_updater, data_dir)
            group.create_task(updater.run(), name="update")
        notify("READY=1", "STATUS=sans configuration")
        log.info("box_unclaimed")


def _page(data_dir: Path) -> FirstPage:
    machine, folder = Machine(), data_dir / "page"
    certificate, _ = first_certificate(folder, machine.serial)
    box = Box(data_dir, machine.serial, fingerprint(certificate))
    sock = passed_sockets().get("page")
    return FirstPage(box, context(folder, machine.serial), utc_now, sock=sock, host="", port=443)


def _updater(data_dir: Path) -> Updater:
    machine, settings = Machine(), Update()
    trail = AuditTrail(data_dir / "audit", UNCLAIMED)

    def tell(what: str, by: str, said: str) -> None:
        try:
            trail.append([audit.to_xml(audit.machine_changed(utc_now(), what, by, said), UNCLAIMED)])
        except (OSError, StoreError) as err:
            log.error("audit_record_lost", reason=type(err).__name__)

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
