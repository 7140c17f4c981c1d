"""What the health gate looks at: units, listeners, queue, baseline, neighbours, readers, memory. One look gives a
`gate.Seen`.

Run as the host's user, without configuration too. Nothing here changes anything but one file in the update's own
folder.
"""

import asyncio
import json
import os
import pwd
import sqlite3
import ssl
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from passevue.config import Config
from passevue.errors import NetworkError
from passevue.shared import read_owned, read_shared
from passevue.update.bus import Bus
from passevue.update.gate import Noted, Seen, Unit
from passevue.update.machine import Machine, memory_available
from passevue.update.row_file import FOLDER
from passevue.update.systemd import unit

ZONES = ("host", "page", "intake", "national")
BELOW = ("chrony.service", "nftables.service", "pcscd.socket", "rauc.service", "systemd-networkd.service")
"""Of the image, what the zones stand on: clock, firewall, readers, updates, network."""
ANSWER_S = 10.0
MANIFEST = "usr/share/passevue/manifest.json"
REPORT = "run/passevue-baseline/report.json"  # baseline.places says the same: this stage does not see that one
MAX_JSON = 4 << 20
ONE_PEERS = frozenset({"TLS-04"})  # its block is one peer's, not the box's
LOOPBACK = "127.0.0.1"
RECENT = timedelta(hours=1)
CALLS = "national"  # the zone that calls neighbours, and is believed about them
CALLED = frozenset({"dmp", "pacs"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look. `config` None: nobody has claimed the box yet."""

    data_dir: Path
    config: Config | None
    machine: Machine
    page_port: int

    @property
    def ports(self) -> Mapping[str, int]:
        return {} if self.config is None else {"ris": self.config.ris.port, "modality": self.config.modality.port}

    @property
    def page_asks_for_certificates(self) -> bool:
        """Whether who looks at the page must be known to it by a certificate, of which the gate has none."""
        tls = None if self.config is None else self.config.page.tls
        return tls is not None and tls.client_authority is not None


async def look(place: Place, now: datetime, bus: Bus | None) -> Seen:
    """Everything once."""
    seen = await asyncio.to_thread(_files, place, now)
    alive = {name: await answers(port) for name, port in place.ports.items()}
    page = await page_answers(place.page_port, asks_for_certificates=place.page_asks_for_certificates)
    return replace(seen, units=await units(place, bus), page=page, listeners=alive)


def _files(place: Place, now: datetime) -> Seen:
    """What is read from files."""
    root = place.machine.root
    return Seen(
        now=now,
        store=store_fault(place),
        last_entry=last_entry(place),
        configured=place.config is not None,
        failing_rules=failing_rules(root, place.machine.boot_id),
        neighbours_down=neighbours_down(place.data_dir, now),
        readers=readers(root),
        memory_free=memory_available(root),
        built_at=built_at(root),
        writes=_writes(place.data_dir),
    )


def note(place: Place, now: datetime) -> Noted:
    """What is so before the restart."""
    root = place.machine.root
    return Noted(
        at=now.isoformat(),
        failing_rules=failing_rules(root, place.machine.boot_id) or (),
        neighbours_up=neighbours_up(place.data_dir, now),
        readers=readers(root),
        last_entry=last_entry(place) or 0,
        configured=place.config is not None,
    )


async def units(place: Place, bus: Bus | None) -> tuple[Unit, ...] | None:
    """Those of the zones, intake and national only once the box has a configuration, and those below them. None:
    systemd does not say.
    """
    if bus is None:
        return None
    found = []
    zones = ZONES[: 4 if place.config is not None else 2]
    for name in (*(f"passevue-{zone}.service" for zone in zones), *BELOW):
        try:
            told = await unit(bus, name)
        except NetworkError:
            return None
        restarts = told.get("NRestarts")
        found.append(Unit(name, str(told.get("ActiveState")), restarts=restarts if isinstance(restarts, int) else 0))
    return tuple(found)


async def answers(port: int, host: str = LOOPBACK, within_s: float = ANSWER_S) -> bool:
    """Whether a process answers there: it notices that we hang up, and hangs up too.

    A socket that systemd holds takes connections while nobody is behind it, so connecting proves nothing; and a
    message would be traced as refused.
    """
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_connection(host, port)
            with closing(writer):
                writer.write_eof()
                with suppress(ConnectionError):
                    await reader.read(1)
        return True
    except (OSError, TimeoutError):
        return False


async def page_answers(port: int, host: str = LOOPBACK, *, asks_for_certificates: bool = False) -> bool:
    """Whether the page says that it is well, by https or http. Whose certificate it is does not matter on loopback.

    A page that asks who looks for a certificate tells the gate nothing more: that it speaks TLS must do.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if asks_for_certificates:
        return await _speaks_tls(context, port, host)
    for tls in (context, None):
        try:
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_connection(host, port, ssl=tls)
                with closing(writer):
                    writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    if (await reader.readline()).startswith(b"HTTP/1.1 200 "):
                        return True
        except (OSError, TimeoutError, ssl.SSLError, ValueError):
            continue
    return False


async def _speaks_tls(context: ssl.SSLContext, port: int, host: str) -> bool:
    """Whether a process shakes hands there, or refuses to for want of a certificate (TLS 1.3 says so afterwards)."""
    try:
        async with asyncio.timeout(ANSWER_S):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
            with closing(writer):
                return True
    except ssl.SSLError as err:
        return "CERTIFICATE_REQUIRED" in (err.reason or "")
    except (OSError, TimeoutError):
        return False


def store_fault(place: Place) -> str:
    """Why the queue does not open; "" when it does, or is another engine's, or was never made."""
    path = place.data_dir / "queue.sqlite"
    if place.config is None or place.config.queue.url is not None or not path.exists():
        return ""
    try:
        _asked(path, "select count(*) from entry where number < 0")
    except sqlite3.OperationalError:  # locked, or not ours to open: national says so by not being there
        return ""
    except sqlite3.Error as err:
        return f"the queue does not open: {type(err).__name__}"
    return ""


def last_entry(place: Place) -> int | None:
    """The highest number in the queue; None when it cannot be known."""
    path = place.data_dir / "queue.sqlite"
    if not path.exists():
        return None
    with suppress(sqlite3.Error):
        return int(_asked(path, "select coalesce(max(number), 0) from entry"))
    return None


def _asked(path: Path, question: str) -> Any:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as found:
        return found.execute(question).fetchone()[0]


def failing_rules(root: Path, boot_id: str) -> tuple[str, ...] | None:
    """Rules of the baseline that block now; None when it has not looked since this start."""
    told = _json(root / REPORT)
    if not isinstance(told, dict) or told.get("boot_id") != boot_id or not isinstance(told.get("rules"), list):
        return None
    firing = [rule for rule in told["rules"] if isinstance(rule, dict) and rule.get("fires") is True]
    ids = {str(rule.get("id")) for rule in firing if rule.get("effect") == "block"}
    return tuple(sorted(ids - ONE_PEERS))


def neighbours_up(data_dir: Path, now: datetime) -> tuple[str, ...]:
    """Neighbours whose last word was a good one, within the hour."""
    words = _last_words(data_dir, now).items()
    return tuple(sorted(name for name, (at, good) in words if good and now - at < RECENT))


def neighbours_down(data_dir: Path, now: datetime) -> dict[str, datetime]:
    """Those whose last word was a bad one, and when it was."""
    return {name: at for name, (at, good) in sorted(_last_words(data_dir, now).items()) if not good}


def _last_words(data_dir: Path, now: datetime) -> dict[str, tuple[datetime, bool]]:
    """When each neighbour that we call last spoke, and whether well. Who calls us may be silent, or send nonsense: no
    fault of a version.

    Believed from the zone that calls them alone: all zones write in that folder, and whoever has taken one of them
    would have every version undone, the one that evicts it included.
    """
    latest: dict[str, tuple[datetime, bool]] = {}
    rows = _json(data_dir / "status" / f"neighbours-{CALLS}.json", user_of(CALLS))
    for row in rows if isinstance(rows, list) else ():
        name = str(row.get("neighbour")) if isinstance(row, dict) else ""
        if name in CALLED:
            good, bad = _time(row.get("ok_at"), now), _time(row.get("failed_at"), now)
            at = max((each for each in (good, bad) if each), default=None)
            if at is not None:
                latest[name] = (at, at == good)
    return latest


def user_of(zone: str) -> int:
    """Whose files those of a zone are; `zones.part` says the same: this stage does not see that one."""
    try:
        return pwd.getpwnam(f"passevue-{zone}").pw_uid
    except KeyError:
        return os.geteuid()


def _time(told: object, now: datetime) -> datetime | None:
    """None for one that has not come yet, too."""
    try:
        found = datetime.fromisoformat(str(told))
    except ValueError:
        return None
    return found if found.tzinfo is not None and found <= now else None


def readers(root: Path = Path("/")) -> int:
    """Smart card interfaces on USB (class 0Bh, CCID)."""
    found = 0
    for path in (root / "sys/bus/usb/devices").glob("*/bInterfaceClass"):
        with suppress(OSError):
            found += path.read_text().strip().lower() == "0b"
    return found


def built_at(root: Path = Path("/")) -> datetime | None:
    told = _json(root / MANIFEST)
    try:
        found = datetime.fromisoformat(str(told["built_at"]))
    except (ValueError, KeyError, TypeError):
        return None
    return found if found.tzinfo is not None else None


def security_floor(root: Path = Path("/")) -> str:
    """The version below which nothing may be installed, as this image's manifest says."""
    told = _json(root / MANIFEST)
    found = told.get("security_floor") if isinstance(told, dict) else None
    return found if isinstance(found, str) and found else "0.0"


def _writes(data_dir: Path) -> bool:
    path = data_dir / FOLDER / "gate.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        path.unlink()
    except OSError:
        return False
    return True


def _json(path: Path, owner: int | None = None) -> Any:
    """`owner`: who alone may have written it."""
    try:
        return json.loads(read_shared(path, MAX_JSON) if owner is None else read_owned(path, MAX_JSON, owner))
    except (OSError, ValueError, RecursionError):
        return None
