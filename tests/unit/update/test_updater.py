"""passevue.update.updater and rauc, against RAUC, systemd and logind on a real bus: the whole way, faults included."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from passevue.errors import Refused, TrustError, Unreadable
from passevue.queue.connection import FILE_NAME
from passevue.queue.snapshot import snapshot_of
from passevue.update.bus import BusGone, open_bus
from passevue.update.gate import Noted
from passevue.update.health import health_file
from passevue.update.journey import State
from passevue.update.machine import Machine
from passevue.update.orders import MAX_BYTES, Orders, Wish
from passevue.update.quiet import Busy, Pause, is_quiet
from passevue.update.rauc import Bundle, Rauc, Told
from passevue.update.row_file import RowFile
from passevue.update.systemd import reboot, unit
from passevue.update.updater import Updater, Ways, check, shown
from passevue.update.window import DAYS, Window
from passevue.update.words import sentence
from tests.peers.host_bus import HostBus

ALWAYS = Window.of(DAYS, time(0), time(0), ZoneInfo("UTC"))
NEVER = Window.of((), time(0), time(0), ZoneInfo("UTC"))


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[HostBus]:
    async with HostBus.start(tmp_path) as started:
        yield started


def os_release(root: Path, version: str, boot: str) -> Machine:
    (root / "usr/lib").mkdir(parents=True, exist_ok=True)
    (root / "usr/lib/os-release").write_text(f"ID=debian\nIMAGE_ID=passevue\nIMAGE_VERSION={version}\n")
    (root / "proc/sys/kernel/random").mkdir(parents=True, exist_ok=True)
    (root / "proc/sys/kernel/random/boot_id").write_text(boot + "\n")
    return Machine(root)


@dataclass
class OnBus:
    """`updater.Installer` on the test's bus."""

    address: str

    async def inspect(self, bundle: Path) -> Bundle:
        async with open_bus(self.address) as bus:
            return await Rauc(bus).inspect(bundle)

    async def install(self, bundle: Path, told: Told) -> None:
        async with open_bus(self.address) as bus:
            await Rauc(bus, look_every_s=0.1, install_s=10).install(bundle, told)

    async def reboot(self) -> None:
        async with open_bus(self.address) as bus:
            await reboot(bus)


@dataclass
class Desk:
    """A box under update, and its clock."""

    folder: Path
    host: HostBus
    now: datetime = datetime(2026, 11, 22, 12, tzinfo=UTC)
    quiet: bool = True
    told: list[str] = field(default_factory=list)
    records: list[tuple[str, str, str]] = field(default_factory=list)
    boots: int = 1
    version: str = "1.4.2"
    window: Window = ALWAYS
    held: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.reboots = self.host.login.reboots
        self.orders = Orders(self.folder)
        self.pause = Pause(self.folder, lambda: self.now)
        self.updater = self.start()

    def tell(self, what: str, by: str, said: str) -> None:
        self.told.append(what)
        self.records.append((what, by, said))

    def start(self) -> Updater:
        """The process, as after a restart of it."""
        machine = os_release(self.folder / "root", self.version, f"boot-{self.boots}")
        ways = Ways(
            OnBus(self.host.address), machine, lambda now: self.quiet, lambda now: Noted(now.isoformat(), last_entry=7),
            self.tell, lambda: self.now, self.pause,
            held=lambda: self.held,
        )  # fmt: skip
        self.updater = Updater(self.folder, self.orders, self.window, ways, look_every_s=0.01)
        return self.updater

    def restart(self, version: str) -> None:
        self.boots, self.version = self.boots + 1, version
        self.reboots = self.host.login.reboots
        self.start()

    async def steps(self, until: Callable[[], bool] = lambda: False, most: int = 8) -> None:
        """The updater's own loop, stopped when `until` or after a while."""
        task = asyncio.create_task(self.updater.run())
        try:
            for _ in range(most * 25):
                await asyncio.sleep(0.02)
                if self.updater.row.state is State.WAITING:  # it waits a while before it writes again
                    self.now += timedelta(seconds=1)
                if until() or task.done():
                    break
        finally:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled() and task.exception():
                raise task.exception()  # type: ignore[misc]

    async def until(self, state: State) -> None:
        """The row is written before the step: a restart is over when it was asked for."""

        def reached() -> bool:
            asked = state is not State.REBOOTING or self.host.login.reboots > self.reboots or self.host.login.refuses
            return self.updater.row.state is state and asked

        await self.steps(reached, most=40)
        assert self.updater.row.state is state, shown(self.updater.row)

    async def order(self, wish: Wish = Wish.INSTALL, **values: object) -> None:
        await asyncio.to_thread(self._order, wish, values)

    def _order(self, wish: Wish, values: dict[str, object]) -> None:
        if wish is Wish.INSTALL:
            path, file = self.orders.draft(".raucb")
            with file:
                file.write(b"a bundle")
            values["bundle"] = path.name
        self.orders.put(wish, "site-admin", self.now, values)


@pytest.fixture
def desk(tmp_path: Path, host: HostBus) -> Desk:
    (tmp_path / "data").mkdir()
    return Desk(tmp_path / "data", host)


def gate_says(desk: Desk, word: str, version: str, *faults: tuple[str, str]) -> None:
    told = {"schema": 1, "boot_id": f"boot-{desk.boots}", "version": version, "word": word,
            "faults": [{"check": check, "seen": seen} for check, seen in faults]}  # fmt: skip
    health_file(desk.folder).write_text(json.dumps(told))


async def test_from_the_order_to_the_version_that_has_proved_itself(desk: Desk, host: HostBus) -> None:
    await desk.order()
    await desk.until(State.REBOOTING)
    ((source, options),) = host.rauc.installed
    assert source.startswith(str(desk.folder / "orders"))
    assert options == {}, "nothing that loosens a check"
    assert host.login.reboots == 1
    assert Noted.of((await asyncio.to_thread(RowFile(desk.folder).read)).noted).last_entry == 7
    assert await asyncio.to_thread(desk.pause.look)
    desk.restart("1.5.0")
    snapshot = snapshot_of(desk.folder / FILE_NAME)
    await asyncio.to_thread(snapshot.write_bytes, b"the store before the first start")
    await desk.until(State.PROVING)
    assert not await asyncio.to_thread(desk.pause.look)
    assert await asyncio.to_thread(snapshot.exists)
    gate_says(desk, "passed", "1.5.0")
    await desk.until(State.DONE)
    assert not await asyncio.to_thread(snapshot.exists)
    assert desk.told == [
        "update-ordered",
        "update-writing",
        "update-written",
        "update-restart",
        "update-proving",
        "update-done",
    ]
    assert (await asyncio.to_thread(RowFile(desk.folder).read)).state is State.DONE


async def test_while_the_baseline_holds_updates_none_is_begun(desk: Desk, host: HostBus) -> None:
    desk.held = ("UPD-02",)
    await desk.order()
    await desk.until(State.FAILED)
    assert desk.updater.row.code == "602"
    assert "Sécurité" in desk.updater.row.detail
    assert host.rauc.installed == []


async def test_the_old_version_back_means_undone_and_names_the_check(desk: Desk) -> None:
    await desk.order()
    await desk.until(State.REBOOTING)
    desk.boots += 1
    gate_says(desk, "failed", "1.5.0", ("page", "does not answer"))
    desk.restart("1.4.2")
    await desk.until(State.UNDONE)
    assert (desk.updater.row.code, desk.updater.row.detail) == ("502", "page: does not answer")
    assert desk.told[-1] == "update-undone"


async def test_a_version_that_starts_no_more_long_after_it_was_done_is_told(desk: Desk) -> None:
    """The loader has left its slot for the other one (image/rauc, slots/boot.py)."""
    await desk.order()
    await desk.until(State.REBOOTING)
    desk.restart("1.5.0")
    await desk.until(State.PROVING)
    gate_says(desk, "passed", "1.5.0")
    await desk.until(State.DONE)
    desk.restart("1.5.0")
    await desk.steps(lambda: False, most=5)
    assert desk.updater.row.state is State.DONE
    desk.restart("1.4.2")
    await desk.until(State.UNDONE)
    assert desk.updater.row.code == "505"
    assert desk.told[-1] == "update-undone"
    assert sentence(desk.updater.row) == "La version 1.5.0 ne démarrait plus : l’appareil est revenu à la 1.4.2."
    told = len(desk.told)
    await desk.steps(lambda: False, most=5)
    assert len(desk.told) == told


async def test_a_version_that_never_came_up_is_undone_too(desk: Desk) -> None:
    await desk.order()
    await desk.until(State.REBOOTING)
    desk.restart("1.4.2")
    await desk.until(State.UNDONE)
    assert desk.updater.row.code == "501"


@pytest.mark.parametrize("state", [State.WAITING, State.WRITING, State.WRITTEN, State.REBOOTING, State.PROVING])
async def test_a_process_killed_in_any_state_goes_on(desk: Desk, host: HostBus, state: State) -> None:
    await desk.order()
    desk.quiet = state is not State.WRITTEN
    host.rauc.faults.slow_s = 0.1 if state is State.WRITING else 0
    desk.window = NEVER if state is State.WAITING else ALWAYS
    desk.start()
    if state is State.PROVING:
        await desk.until(State.REBOOTING)
        desk.restart("1.5.0")
    await desk.until(state)
    desk.window, desk.quiet, host.rauc.faults.slow_s = ALWAYS, True, 0
    desk.start()
    if state is not State.PROVING:
        await desk.steps(lambda: host.login.reboots > 0 and desk.updater.row.state is State.REBOOTING, most=40)
        assert desk.updater.row.state is State.REBOOTING
        desk.restart("1.5.0")
        await desk.until(State.PROVING)
    gate_says(desk, "passed", "1.5.0")
    await desk.until(State.DONE)


async def test_rauc_that_vanishes_is_asked_again_three_times_at_most(desk: Desk, host: HostBus) -> None:
    host.rauc.faults.vanish_at = 40
    await desk.order()
    await desk.until(State.REBOOTING)
    assert len(host.rauc.installed) == 2
    other = Desk(desk.folder.parent / "other", host)
    await other.order()
    task = asyncio.create_task(_always_vanishing(host))
    await other.steps(lambda: other.updater.row.state is State.FAILED, most=20)
    task.cancel()
    assert other.updater.row.code == "402"
    assert other.updater.row.writes == 3


async def _always_vanishing(host: HostBus) -> None:
    while True:
        host.rauc.faults.vanish_at = 20
        await asyncio.sleep(0.01)


async def test_an_update_that_rauc_goes_on_writing_is_not_cancelled(desk: Desk, host: HostBus) -> None:
    """The process begins anew while RAUC, another service, writes."""
    host.rauc.faults.slow_s = 0.3
    await desk.order()
    await desk.until(State.WRITING)
    await desk.steps(lambda: host.rauc.operation != "idle", most=40)
    desk.window = NEVER
    desk.start()
    await desk.until(State.WAITING)
    assert host.rauc.operation != "idle"
    await desk.order(Wish.CANCEL)
    await desk.steps(most=1)
    assert desk.updater.row.state is State.WAITING, shown(desk.updater.row)
    assert desk.told[-1] == "update-refused"
    assert "update-cancelled" not in desk.told
    await _until_idle(host)
    desk.restart("1.5.0")
    await desk.until(State.PROVING)
    assert Noted.of(desk.updater.row.noted).last_entry == 7


async def _until_idle(host: HostBus) -> None:
    async with asyncio.timeout(10):
        while host.rauc.operation != "idle":  # noqa: ASYNC110 - another service's
            await asyncio.sleep(0.02)


async def test_what_failed_and_runs_all_the_same_proves_itself(desk: Desk, host: HostBus) -> None:
    """RAUC keeps its notes after the hook has published: a full disk there, and the new version starts anyway."""
    host.rauc.faults.install = "Failed updating slot uki.1: failed to save slot status: No space left on device"
    await desk.order()
    await desk.until(State.FAILED)
    host.rauc.faults.inspect = "signature verification failed: Verify error: certificate revoked"
    await desk.order()
    await desk.steps(lambda: desk.updater.row.code == "401", most=40)
    desk.restart("1.5.0")
    await desk.until(State.PROVING)
    row = desk.updater.row
    assert (row.version, row.version_before, row.code, row.detail) == ("1.5.0", "1.4.2", "", "")
    assert Noted.of(row.noted).last_entry == 7
    gate_says(desk, "passed", "1.5.0")
    await desk.until(State.DONE)


async def test_a_completed_signal_that_nobody_sent_is_found_out(desk: Desk, host: HostBus) -> None:
    host.rauc.faults.mute = True
    await desk.order()
    await desk.until(State.REBOOTING)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Installation error: signature verification failed: Verify error: certificate has expired", "401"),
        ("Installation error: Failed updating slot rootfs.1: failed to write: No space left on device", "402"),
        ("Pre-install handler error: Child process exited with code 1", "402"),
        ("Failed mounting bundle: failed to mount bundle: Input/output error", "402"),
    ],
)
async def test_what_rauc_refuses_at_writing_changes_nothing(desk: Desk, host: HostBus, text: str, code: str) -> None:
    host.rauc.faults.install = text
    await desk.order()
    await desk.until(State.FAILED)
    assert desk.updater.row.code == code
    assert host.login.reboots == 0
    assert desk.told[-1] == "update-failed"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("signature verification failed: Verify error: self-signed certificate", "n’est pas signé"),
        ("signature verification failed: Verify error: certificate revoked", "révoquée"),
        ("Invalid bundle format: squashfs size (12) larger than bundle", "abîmé"),
    ],
)
async def test_a_bundle_that_rauc_does_not_believe_is_refused_when_ordered(
    desk: Desk, host: HostBus, text: str, hint: str
) -> None:
    host.rauc.faults.inspect = text
    await desk.order()
    await desk.until(State.FAILED)
    assert desk.updater.row.code == "401"
    assert hint in desk.updater.row.detail
    assert not host.rauc.installed


async def test_one_that_waits_is_not_lost_for_a_wrong_one_which_is_told(desk: Desk, host: HostBus) -> None:
    desk.window = NEVER
    desk.start()
    await desk.order()
    await desk.until(State.WAITING)
    bundle = desk.updater.row.bundle
    host.rauc.faults.inspect = "signature verification failed: Verify error: certificate revoked"
    await desk.order()
    await desk.steps(lambda: desk.updater.row.code == "401", most=40)
    row = desk.updater.row
    assert (row.state, row.bundle, row.version) == (State.WAITING, bundle, "1.5.0")
    assert "refusé : Ce fichier est signé avec une clé révoquée" in sentence(row)


@pytest.mark.parametrize(("version", "code"), [("1.4.2", "302"), ("1.3.9", "302"), ("0.9", "302")])
async def test_the_same_or_an_older_version_is_refused(desk: Desk, host: HostBus, version: str, code: str) -> None:
    host.rauc.version = version
    await desk.order()
    await desk.until(State.FAILED)
    assert desk.updater.row.code == code
    assert not host.rauc.installed


def test_what_is_not_for_this_box_is_refused() -> None:
    with pytest.raises(Refused, match="304"):
        check(Bundle("other", "2.0"), "1.4.2", "0.0")
    with pytest.raises(Refused, match="302"):
        check(Bundle("passevue-x86-64", "1.5"), "1.4.2", "1.6")
    with pytest.raises(Unreadable):
        check(Bundle("passevue-x86-64", "latest"), "1.4.2", "0.0")


async def test_an_update_that_waits_is_postponed_cancelled_and_ordered_anew(desk: Desk) -> None:
    desk.window = NEVER
    desk.start()
    await desk.order()
    await desk.until(State.WAITING)
    await desk.order(Wish.POSTPONE)
    await desk.steps(lambda: desk.updater.row.postponed == 1, most=40)
    await desk.order(Wish.CANCEL)
    await desk.until(State.IDLE)
    await desk.order(now=True)
    await desk.until(State.REBOOTING)
    assert desk.told[:4] == ["update-ordered", "update-postponed", "update-cancelled", "update-ordered"]


async def test_what_was_postponed_or_cancelled_is_not_once_more_after_a_restart(desk: Desk) -> None:
    desk.window = NEVER
    desk.start()
    await desk.order()
    await desk.until(State.WAITING)
    await desk.order(Wish.POSTPONE)
    await desk.steps(lambda: desk.updater.row.postponed == 1, most=40)
    desk.start()
    await desk.steps(most=1)
    assert desk.updater.row.postponed == 1
    await desk.order(Wish.CANCEL)
    await desk.until(State.IDLE)
    await desk.order()
    await desk.until(State.WAITING)
    desk.start()
    await desk.steps(most=1)
    assert desk.updater.row.state is State.WAITING, "the one before was cancelled, not this one"


async def test_an_old_order_is_not_carried_out(desk: Desk) -> None:
    await desk.order()
    desk.now += timedelta(minutes=11)
    await desk.steps(most=1)
    assert desk.updater.row.state is State.IDLE


async def test_it_waits_until_nothing_is_under_way(desk: Desk, host: HostBus) -> None:
    desk.quiet = False
    await desk.order()
    await desk.steps(lambda: desk.updater.row.pausing_since is not None, most=40)
    assert await asyncio.to_thread(desk.pause.look)
    desk.now += timedelta(minutes=5, seconds=1)
    await desk.steps(lambda: desk.updater.row.unquiet == 1, most=40)
    assert not await asyncio.to_thread(desk.pause.look), "intake goes on"
    assert host.login.reboots == 0
    desk.now += timedelta(minutes=15)
    await desk.steps(lambda: desk.updater.row.pausing_since is not None, most=40)
    desk.quiet = True
    await desk.until(State.REBOOTING)
    assert host.login.reboots == 1


async def test_a_restart_that_is_refused_is_asked_for_again(desk: Desk, host: HostBus) -> None:
    host.login.refuses = True
    await desk.order()
    await desk.until(State.REBOOTING)
    host.login.refuses = False
    desk.now += timedelta(minutes=2)
    await desk.steps(lambda: host.login.reboots == 1, most=40)
    assert host.login.reboots == 1


async def test_a_row_that_makes_no_sense_is_told_and_begun_anew(desk: Desk) -> None:
    RowFile(desk.folder).folder.mkdir()
    RowFile(desk.folder).path.write_bytes(b"\xff{")
    await desk.steps(most=1)
    await desk.order()
    await desk.until(State.REBOOTING)


async def test_without_a_bus_the_order_fails_with_words(tmp_path: Path) -> None:
    with pytest.raises(BusGone):
        await OnBus(f"unix:path={tmp_path}/none").inspect(tmp_path)


async def test_systemd_tells_of_units_and_rauc_of_slots(host: HostBus) -> None:
    host.systemd.unit("passevue-page.service")[1].restarts = 4
    async with open_bus(host.address) as bus:
        told = await unit(bus, "passevue-page.service")
        assert (told["ActiveState"], told["NRestarts"]) == ("active", 4)
        slots = await Rauc(bus).slots()
    assert [(slot.boot_name, slot.booted, slot.good) for slot in slots] == [("A", True, True), ("B", False, True)]


@pytest.mark.parametrize("content", [b"not an order", bytes(MAX_BYTES + 1), b'{"schema":1,"by":"site-admin"}'])
async def test_what_is_no_order_is_audited_once_and_keeps_no_other_from_coming(desk: Desk, content: bytes) -> None:
    def laid() -> None:
        desk.orders.folder.mkdir(exist_ok=True)
        path = desk.orders.folder / "cancel.json"
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        path.chmod(0o640)

    said = ("update-refused", "", "order cancel: Unreadable not an order of ours")
    await asyncio.to_thread(laid)
    await desk.steps(most=1)
    desk.start()
    await desk.steps(most=1)
    assert desk.records == [said], "not anew at each look, nor after a restart"
    await asyncio.to_thread(laid)
    await desk.steps(most=1)
    assert desk.records == [said, said], "another file"
    await desk.order()
    await desk.until(State.REBOOTING)


async def test_an_order_that_somebody_else_may_have_written_is_audited_and_not_carried_out(desk: Desk) -> None:
    await desk.order()
    await asyncio.to_thread((desk.orders.folder / "install.json").chmod, 0o666)
    await desk.steps(most=1)
    assert desk.updater.row.state is State.IDLE
    words = "order install: TrustError an order that was not put there by the page or by root"
    assert desk.records == [("update-refused", "", words)], "whoever it names has not asked"


# --- orders: whose they are -----------------------------------------------------------------------------------------


def test_an_order_is_taken_once_and_only_from_whom_it_may_come(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    orders = Orders(tmp_path)
    put = orders.put(Wish.CANCEL, "account:root", now, {"x": 1})
    taken = orders.take(Wish.CANCEL, now, ())
    assert taken == put
    assert orders.take(Wish.CANCEL, now, (put.id,)) is None
    path = orders.folder / "cancel.json"
    path.chmod(0o660)
    with pytest.raises(TrustError):
        orders.take(Wish.CANCEL, now, ())
    path.chmod(0o640)
    os.link(path, tmp_path / "second-name")
    with pytest.raises(TrustError):
        orders.take(Wish.CANCEL, now, ())
    (tmp_path / "second-name").unlink()
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TrustError):
        orders.take(Wish.CANCEL, now, ())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_an_order_of_another_user_is_refused(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    Orders(tmp_path).put(Wish.ERASE, "x", now)
    os.chown(tmp_path / "orders/erase.json", 4321, 4321)
    with pytest.raises(TrustError):
        Orders(tmp_path).take(Wish.ERASE, now, ())
    assert Orders(tmp_path, trusted=(4321,)).take(Wish.ERASE, now, ()) is not None


@pytest.mark.parametrize("name", ["../secret", "", ".hidden", "a/b", "a" * 99, "x\0y"])
def test_names_lead_nowhere_else(tmp_path: Path, name: str) -> None:
    with pytest.raises(Unreadable):
        Orders(tmp_path).open(name)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[" * 70000, b'{"schema":1,"id":"x","at":"2026-11-21T10:00","by":"","values":{}}']
)
def test_what_is_no_order_is_refused(tmp_path: Path, content: bytes) -> None:
    orders = Orders(tmp_path)
    orders.folder.mkdir()
    (orders.folder / "install.json").write_bytes(content)
    (orders.folder / "install.json").chmod(0o640)
    with pytest.raises(Unreadable):
        orders.take(Wish.INSTALL, datetime.now(UTC), ())


def test_bundles_that_nobody_needs_are_swept(tmp_path: Path) -> None:
    orders = Orders(tmp_path)
    orders.sweep(())
    (kept, one), (gone, other) = orders.draft(".raucb"), orders.draft(".raucb")
    one.close()
    other.close()
    orders.put(Wish.INSTALL, "x", datetime.now(UTC))
    orders.sweep(())
    assert gone.exists(), "an order for it may be under way"
    for path in (kept, gone):
        os.utime(path, (0, 0))
    orders.sweep((kept.name,))
    assert kept.exists()
    assert not gone.exists()
    assert (orders.folder / "install.json").exists()


# --- the quiet moment -----------------------------------------------------------------------------------------------


async def test_quiet_is_when_every_zone_has_just_said_so(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    counts = {"intake": 1, "national": 0}
    zones = [Busy(tmp_path, zone, {"x": lambda zone=zone: counts[zone]}, lambda: now) for zone in counts]
    quiet = lambda names, at: asyncio.to_thread(is_quiet, tmp_path, names, at)  # noqa: E731
    assert not await quiet(counts, now)
    for zone in zones:
        await zone.tell()
    assert not await quiet(counts, now)
    counts["intake"] = 0
    await zones[0].tell()
    assert await quiet(counts, now)
    assert not await quiet((*counts, "page"), now)
    assert not await quiet(counts, now + timedelta(seconds=11))


async def test_zones_speak_while_a_pause_is_asked_and_a_pause_ends_by_itself(tmp_path: Path) -> None:
    now = [datetime.now(UTC)]
    pause = Pause(tmp_path, lambda: now[0])
    asked = lambda: asyncio.to_thread(pause.look)  # noqa: E731
    assert not await asked()
    await asyncio.to_thread(pause.ask, now[0] + timedelta(seconds=30))
    assert await asked()
    busy = asyncio.create_task(Busy(tmp_path, "intake", {"exchanges": lambda: 0}, lambda: now[0]).run())
    async with asyncio.timeout(5):
        while not await asyncio.to_thread(is_quiet, tmp_path, ["intake"], now[0]):  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.02)
    busy.cancel()
    now[0] += timedelta(seconds=31)
    assert not await asked(), "a host that died leaves no box deaf"
    await asyncio.to_thread(pause.ask, now[0] + timedelta(days=1))
    assert not await asked(), "nor does a wrong clock"
