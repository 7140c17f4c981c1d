"""The part that carries updates through: takes orders, follows the row, asks RAUC and systemd. Runs in the host zone.

Rules:
- The row is on the disk before each step; after a restart of the process or of the machine it is read and gone on from.
- What goes wrong is a word in the row and in the audit trail, and never ends the process: the box goes on with what
  it has.
- What was cancelled or postponed is not once more after a restart, whose order still lies there: its id is kept.
- A bundle is looked at by RAUC when it is ordered, so that a wrong one is refused at once, and again by RAUC when it
  is written.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import structlog

from passevue.errors import BoxError, NetworkError, Refused, StoreError, TrustError, Unreadable
from passevue.queue import snapshot
from passevue.queue.connection import FILE_NAME
from passevue.update import journey
from passevue.update.gate import Noted
from passevue.update.health import read_health
from passevue.update.journey import OVER, Act, Facts, Row, State
from passevue.update.machine import Machine
from passevue.update.orders import Order, Orders, Wish
from passevue.update.quiet import Pause
from passevue.update.rauc import COMPATIBLE, Bundle, Told, error_code
from passevue.update.row_file import FOLDER, MAX_BYTES, RowFile, write_synced
from passevue.update.version import order as version_order
from passevue.update.window import Window

LOOK_EVERY_S = 1.0
PAUSE_FOR = timedelta(seconds=30)  # asked again while it is wanted
MOST_SEEN = 50

log = structlog.get_logger()


class Installer(Protocol):
    """The seam to RAUC and systemd: each method opens the bus, asks, and closes it."""

    async def inspect(self, bundle: Path) -> Bundle:
        """What it is. Raises: TrustError, NetworkError."""
        ...

    async def install(self, bundle: Path, told: Told) -> None:
        """Write the other slot and make it the next. Raises: Refused, NetworkError."""
        ...

    async def reboot(self) -> None:
        """Raises: NetworkError."""
        ...


Tell = Callable[[str, str, str], None]  # what happened, who asked, details: for the audit trail


@dataclass(frozen=True, slots=True)
class Ways:
    """What the updater asks of the rest. `note` gives what the gate compares with; `quiet` whether nothing is under
    way.
    """

    installer: Installer
    machine: Machine
    quiet: Callable[[datetime], bool]
    note: Callable[[datetime], Noted]
    tell: Tell
    clock: Callable[[], datetime]
    pause: Pause
    security_floor: Callable[[], str] = field(default=lambda: "0.0")
    held: Callable[[], Sequence[str]] = tuple  # rules of the baseline that let nothing be installed now


class Updater:
    """`run` returns only when cancelled."""

    def __init__(
        self, data_dir: Path, orders: Orders, window: Window, ways: Ways, *, look_every_s: float = LOOK_EVERY_S
    ) -> None:
        self._file = RowFile(data_dir)
        self._data_dir = data_dir
        self._seen_file = data_dir / FOLDER / "seen.json"
        self._orders = orders
        self._window = window
        self._ways = ways
        self._look_every_s = look_every_s
        self._row = Row()
        self._seen: list[str] = []
        self._version, self._boot_id = "", ""  # this machine's, read when it begins
        self._complained = ""
        self._asked_until: datetime | None = None

    @property
    def row(self) -> Row:
        return self._row

    async def run(self) -> None:
        await asyncio.to_thread(self._begin)
        while True:
            try:
                await self.step()
            except StoreError as err:  # the disk takes no row: nothing is begun without it
                self._complain(err)
            await asyncio.sleep(self._look_every_s)

    async def step(self) -> None:
        """One look: orders first, then what the row says. Raises: StoreError."""
        for wish, follow in (
            (Wish.CANCEL, self._cancel),
            (Wish.POSTPONE, self._postpone),
            (Wish.INSTALL, self._install),
        ):
            try:
                order = await asyncio.to_thread(self._taken, wish)
            except (TrustError, Unreadable) as err:
                await self._disbelieve(wish, err)
                continue
            if order is not None:
                await follow(order)
        await self._act(journey.next_act(self._row, await asyncio.to_thread(self._facts), self._window))

    # Orders

    def _taken(self, wish: Wish) -> Order | None:
        """
        Raises:
            TrustError, Unreadable: what lies there is no order of those trusted. StoreError: it is not kept which one
            it was.
        """
        try:
            order = self._orders.take(wish, self._ways.clock(), self._seen)
        except OSError as err:
            self._complain(StoreError(f"orders cannot be read: {err.strerror}"))
            return None
        if order is not None:
            seen = [*self._seen[-MOST_SEEN:], order.id]
            if wish is not Wish.INSTALL:  # the row says whether that was
                write_synced(self._seen_file, json.dumps(seen).encode())
            self._seen = seen
        return order

    async def _disbelieve(self, wish: Wish, error: BoxError) -> None:
        """To the audit trail, once for each file. By the box itself: who wrote it is not who it says.

        Raises:
            StoreError: it is not kept which one it was.
        """
        self._complain(error)
        mark = await asyncio.to_thread(self._orders.mark, wish)
        if not mark or mark in self._seen:
            return
        self._seen = [*self._seen[-MOST_SEEN:], mark]
        self._ways.tell("update-refused", "", f"order {wish}: {type(error).__name__} {error.message[:200]}")
        await asyncio.to_thread(write_synced, self._seen_file, json.dumps(self._seen).encode())

    async def _install(self, order: Order) -> None:
        if self._row.state not in (*OVER, State.WAITING):
            self._ways.tell("update-refused", order.by, "an update is under way")
            return
        try:
            bundle = await self._inspected(order)
        except (BoxError, OSError) as err:
            told = err if isinstance(err, BoxError) else StoreError(f"the bundle cannot be read: {err.strerror}")
            await self._fail(order, told)
            return
        kind = "security" if order.text("kind") == "security" else "feature"
        row = journey.begun(
            order.id, order.text("bundle"), bundle.version, self._version, order.by, self._ways.clock(),
            kind=kind, now=order.values.get("now") is True,
        )  # fmt: skip
        await self._put(row)
        self._ways.tell("update-ordered", order.by, f"{row.version_before} to {row.version}")

    async def _inspected(self, order: Order) -> Bundle:
        """
        Raises:
            TrustError, Refused, Unreadable, NetworkError, OSError: it is not one to install.
        """
        if rules := self._ways.held():
            raise Refused(
                "602", f"the baseline holds updates: {' '.join(rules)}",
                hint="Une protection du boîtier interdit d’installer une mise à jour : voyez la page « Sécurité ».",
            )  # fmt: skip
        name = order.text("bundle")
        (await asyncio.to_thread(self._orders.open, name)).close()  # whose file it is
        bundle = await self._ways.installer.inspect(self._orders.folder / name)
        check(bundle, self._version, await asyncio.to_thread(self._ways.security_floor))
        return bundle

    async def _fail(self, order: Order, error: BoxError) -> None:
        now = self._ways.clock()
        failed = Row(
            State.FAILED,
            order.id,
            order.text("bundle"),
            by=order.by,
            ordered_at=now,
            since=now,
            code=error_code(error),
            version_before=self._version,
            detail=error.hint or error.message,
        )
        log.warning("update_refused", error_class=type(error).__name__, reason=error.message[:300])
        if self._row.state is State.FAILED and self._row.writes:  # the one before may start all the same
            failed = replace(failed, version=self._row.version, writes=self._row.writes, noted=self._row.noted)
        waits = replace(self._row, code=failed.code, detail=failed.detail)  # not lost for a wrong one, which is told
        await self._put(failed if self._row.state in OVER else waits)
        self._ways.tell("update-refused", order.by, f"{failed.code} {error.message[:200]}")

    async def _postpone(self, order: Order) -> None:
        await self._change(order, "update-postponed", journey.postponed)

    async def _cancel(self, order: Order) -> None:
        await self._change(order, "update-cancelled", journey.cancelled)

    async def _change(self, order: Order, what: str, change: Callable[[Row, datetime], Row]) -> None:
        try:
            await self._put(change(self._row, self._ways.clock()))
        except Refused as err:
            log.info("order_refused", action=str(order.wish), reason=err.code)
            self._ways.tell("update-refused", order.by, f"{order.wish}: {err.code}")
            return
        self._ways.tell(what, order.by, self._row.version)

    # Steps

    async def _act(self, act: Act) -> None:
        steps: dict[Act, Callable[[], Awaitable[None]]] = {
            Act.WRITE: self._write,
            Act.START_OVER: self._start_over,
            Act.PAUSE: self._ask_for_quiet,
            Act.RESUME: self._resume,
            Act.REBOOT: self._reboot,
            Act.PROVE: self._prove,
            Act.FINISH: self._finish,
            Act.UNDO: self._undo,
        }
        if act in steps:
            await steps[act]()

    async def _write(self) -> None:
        now = self._ways.clock()
        noted = await asyncio.to_thread(self._ways.note, now)  # a restart that nobody announced may come first
        row = replace(self._row.at(State.WRITING, now), writes=self._row.writes + 1, percent=0, step="")
        await self._put(replace(row, boot_id=self._boot_id, code="", detail="", noted=noted.to_json()))
        self._ways.tell("update-writing", row.by, row.version)
        try:
            await self._installed(self._orders.folder / row.bundle)
        except (Refused, TrustError) as err:
            await self._put(
                replace(
                    self._row.at(State.FAILED, self._ways.clock()), code=error_code(err), detail=err.hint or err.message
                )
            )
            log.error("update_not_written", reason=err.message)
            self._ways.tell("update-failed", row.by, f"{self._row.code} {err.message[:200]}")
            return
        except NetworkError as err:
            log.warning("update_writing_cut", reason=err.message)
            await self._start_over()
            return
        await self._put(replace(self._row.at(State.WRITTEN, self._ways.clock()), percent=100, step=""))
        self._ways.tell("update-written", row.by, row.version)

    async def _installed(self, bundle: Path) -> None:
        """RAUC writes; how far it is goes to the disk now and then, for who looks on."""
        showing = asyncio.create_task(self._show_progress(), name="update-progress")
        try:
            await self._ways.installer.install(bundle, self._progress)
        finally:
            showing.cancel()
            await asyncio.wait([showing])

    def _progress(self, percent: int, step: str) -> None:
        self._row = replace(self._row, percent=percent, step=step)

    async def _show_progress(self) -> None:
        shown = self._row
        while True:
            await asyncio.sleep(self._look_every_s)
            if self._row != shown:
                shown = self._row
                with suppress(StoreError):
                    await asyncio.to_thread(self._file.write, shown)

    async def _start_over(self) -> None:
        """Writing was cut, by power, or because RAUC went away."""
        now = self._ways.clock()
        if self._row.writes >= journey.MOST_WRITES:
            hint = "L’écriture a été interrompue trois fois ; le boîtier continue avec sa version actuelle."
            await self._put(replace(self._row.at(State.FAILED, now), code="402", detail=hint))
            self._ways.tell("update-failed", self._row.by, "402 interrupted three times")
            return
        await self._put(replace(self._row.at(State.WAITING, now), not_before=now + journey.WRITE_AGAIN))

    async def _ask_for_quiet(self) -> None:
        now = self._ways.clock()
        if self._asked_until is None or self._asked_until - now < PAUSE_FOR / 2:
            self._asked_until = now + PAUSE_FOR
            await asyncio.to_thread(self._ways.pause.ask, self._asked_until)
        if self._row.pausing_since is None:
            await self._put(replace(self._row, pausing_since=now))

    async def _resume(self) -> None:
        await self._end_pause()
        await self._put(journey.resumed(self._row, self._ways.clock()))

    async def _end_pause(self) -> None:
        self._asked_until = None
        await asyncio.to_thread(self._ways.pause.end)

    async def _reboot(self) -> None:
        now = self._ways.clock()
        noted = await asyncio.to_thread(self._ways.note, now)
        await self._put(replace(self._row.at(State.REBOOTING, now), noted=noted.to_json()))
        self._ways.tell("update-restart", self._row.by, self._row.version)
        try:
            await self._ways.installer.reboot()
        except NetworkError as err:  # tried again
            log.error("no_restart", reason=err.message)

    async def _prove(self) -> None:
        await self._end_pause()
        row = self._row.at(State.PROVING, self._ways.clock())
        await self._put(replace(row, pausing_since=None, code="", detail=""))
        self._ways.tell("update-proving", self._row.by, self._row.version)

    async def _finish(self) -> None:
        with suppress(OSError):  # else it goes by its age
            await asyncio.to_thread(snapshot.drop, self._data_dir / FILE_NAME)
        await self._put(replace(self._row.at(State.DONE, self._ways.clock()), code="", detail=""))
        self._ways.tell("update-done", self._row.by, f"{self._row.version_before} to {self._row.version}")

    async def _undo(self) -> None:
        """The old version runs again: why is what the gate of the new one has left."""
        await self._end_pause()
        told = await asyncio.to_thread(read_health, self._data_dir)
        code, detail = "501", "no start came to an end"
        if self._row.state is State.DONE:
            code, detail = "505", "no start lasted any more"
        elif told.get("version") == self._row.version:
            found = told.get("faults")
            faults = (
                [f"{f.get('check')}: {f.get('seen')}" for f in found if isinstance(f, dict)]
                if isinstance(found, list)
                else []
            )
            code, detail = (
                ("502", "; ".join(faults)[:500]) if faults else ("504", "stopped while it was proving itself")
            )
        await self._put(
            replace(self._row.at(State.UNDONE, self._ways.clock()), code=code, detail=detail, pausing_since=None)
        )
        log.error("update_undone", code=code, detail=detail)
        self._ways.tell("update-undone", self._row.by, f"{code} {detail[:200]}")

    # The row

    def _facts(self) -> Facts:
        now = self._ways.clock()
        told = read_health(self._data_dir) if self._row.state is State.PROVING else {}
        gate = str(told.get("word", "")) if told.get("boot_id") == self._boot_id else ""
        quiet = self._row.pausing_since is not None and self._ways.quiet(now)
        return Facts(now, self._boot_id, self._version, quiet, gate)

    async def _put(self, row: Row) -> None:
        await asyncio.to_thread(self._file.write, row)
        if row.state != self._row.state:
            log.info("update_state", state=str(row.state), version=row.version)
        self._row = row

    def _begin(self) -> None:
        self._version, self._boot_id = self._ways.machine.version, self._ways.machine.boot_id
        try:
            self._row = self._file.read()
        except (StoreError, Unreadable) as err:
            log.error("update_row_unreadable", reason=err.message)
        with suppress(OSError, ValueError, TypeError, RecursionError), self._seen_file.open("rb") as file:
            self._seen += [str(each) for each in json.loads(file.read(MAX_BYTES))][-MOST_SEEN:]
        if self._row.order:
            self._seen.append(self._row.order)

    def _complain(self, error: BoxError) -> None:
        """Once, not every second."""
        if str(error) != self._complained:
            self._complained = str(error)
            log.error("update_stuck", error_class=type(error).__name__, reason=error.message)


def check(bundle: Bundle, running: str, floor: str) -> None:
    """
    Raises:
        Refused: `304` another board; `302` not newer, or below the security floor. Unreadable: a version of another
        form.
    """
    if bundle.compatible != COMPATIBLE:
        raise Refused(
            "304", f"the bundle is for {bundle.compatible}", hint="Cette mise à jour est pour un autre appareil."
        )
    if version_order(bundle.version) <= version_order(running):
        hint = f"Le boîtier a déjà la version {running} : il n’installe jamais une version plus ancienne ou égale."
        raise Refused("302", f"{bundle.version} is not newer than {running}", hint=hint)
    if version_order(bundle.version) < version_order(floor):
        raise Refused(
            "302", f"{bundle.version} is below the floor {floor}", hint="Cette version a une faille connue : refusée."
        )


def shown(row: Row) -> dict[str, Any]:
    """What people and machines are told of it."""

    def at(moment: datetime | None) -> str | None:
        return None if moment is None else moment.isoformat(timespec="seconds")

    return {
        "state": str(row.state),
        "version": row.version or None,
        "version_before": row.version_before or None,
        "kind": row.kind,
        "by": row.by or None,
        "now": row.now,
        "ordered_at": at(row.ordered_at),
        "since": at(row.since),
        "deadline": at(row.deadline),
        "not_before": at(row.not_before),
        "postponed": row.postponed,
        "percent": row.percent,
        "step": row.step or None,
        "code": row.code or None,
        "detail": row.detail or None,
    }
