"""image/rauc/overlay/usr/lib/passevue/slots: whatever write the power cuts, something whole starts."""

import fcntl
import hashlib
import importlib.machinery
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue.update.machine import Machine
from tests.peers.boot_disk import (
    IMAGE,
    PROGRAMS,
    BootDisk,
    Release,
    boot,
    gpt,
    places,
    portable_executable,
    release,
    uki,
)

OLD, NEW, NEWER = release("1.4.2"), release("1.4.10"), release("1.5.0")


def program(path: Path) -> ModuleType:
    """One of the programs without .py in their name."""
    loader = importlib.machinery.SourceFileLoader(path.name.replace("-", "_"), str(path))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


hook, backend, admission = program(IMAGE / "hook"), program(PROGRAMS / "rauc-boot"), program(PROGRAMS / "rauc-admit")


@pytest.fixture
def disk(tmp_path: Path) -> BootDisk:
    return BootDisk.make(tmp_path / "box", OLD)


def asked(disk: BootDisk, slot: str, kind: str, bundle: Path, content: Release) -> dict[str, str]:
    data = {"rootfs": content.root, "verity": content.verity, "uki": content.slot}[kind]
    device = {"rootfs": "root", "verity": "verity", "uki": "uki"}[kind]
    return {
        "RAUC_SLOT_CLASS": kind,
        "RAUC_SLOT_DEVICE": str(disk.folder / f"{device}-{slot.lower()}"),
        "RAUC_IMAGE_SIZE": str(len(data)),
        "RAUC_IMAGE_DIGEST": hashlib.sha256(data).hexdigest(),
        "RAUC_BUNDLE_MOUNT_POINT": str(bundle),
    }


def installation(disk: BootDisk, name: str, content: Release, folder: Path) -> Iterator[str]:
    """What RAUC does, in its order, a write a step."""
    folder.mkdir(exist_ok=True)
    (folder / "meta.json").write_text(json.dumps({"version": content.version, "root_hash": content.root_hash}))
    slot = disk.ground.slot(name)
    yield from boot.mark(disk.ground, slot, good=False)
    yield from hook.act("slot-pre-install", asked(disk, name, "rootfs", folder, content), disk.ground)
    parts = [
        ("rootfs", slot.root, content.root),
        ("verity", slot.verity, content.verity),
        ("uki", slot.uki, content.slot),
    ]
    for kind, device, data in parts:
        with device.open("r+b", buffering=0) as file:
            for at in range(0, len(data), 256 << 10):
                file.write(data[at : at + (256 << 10)])
                yield f"{kind} at {at}"
        yield from hook.act("slot-post-install", asked(disk, name, kind, folder, content), disk.ground)
    yield from boot.prefer(disk.ground, slot)


def cut(steps: Iterator[str], after: int) -> bool:
    """Runs that many steps, then the power is gone. Whether it had come to its end."""
    for number, _ in enumerate(steps):
        if number + 1 >= after:
            steps.close()  # type: ignore[attr-defined]
            return False
    return True


def test_an_installation_makes_the_new_release_start_with_three_tries(disk: BootDisk, tmp_path: Path) -> None:
    for _ in installation(disk, "B", NEW, tmp_path / "bundle"):
        assert disk.starts(OLD, NEW) in (OLD, NEW)
    assert disk.starts(OLD, NEW) == NEW
    assert sorted(path.name for path in disk.ground.esp.iterdir()) == ["passevue_1.4.10+3.efi", "passevue_1.4.2.efi"]


def _left_over_nothing(disk: BootDisk) -> None:
    """A box from the factory."""


def _left_over_older_in_b(disk: BootDisk) -> None:
    """The second update of a box: its other slot holds a release that has once run."""
    old = release("1.4.0")
    disk.fill("B", old)
    for _ in boot.name_partitions(disk.ground, disk.ground.slot("B"), old.version, old.root_hash):
        pass
    (disk.ground.esp / "passevue_1.4.0.efi").write_bytes(old.uki)


def _left_over_failed_in_b(disk: BootDisk) -> None:
    """The same release has failed three times before."""
    disk.fill("B", NEW)
    for _ in boot.name_partitions(disk.ground, disk.ground.slot("B"), NEW.version, NEW.root_hash):
        pass
    (disk.ground.esp / "passevue_1.4.10+0-3.efi").write_bytes(NEW.uki)


def _left_over_guarded(disk: BootDisk) -> None:
    """The second update of a box that has run since, and was started once."""
    _left_over_older_in_b(disk)
    list(boot.guard(disk.ground))
    _started(disk, OLD.version)
    assert _names(disk) == ["passevue_1.4.0.efi", "passevue_1.4.2+8-100001.efi"]


@pytest.mark.parametrize(
    "before", [_left_over_nothing, _left_over_older_in_b, _left_over_failed_in_b, _left_over_guarded]
)
def test_power_cut_at_every_write_leaves_old_or_new_and_the_next_installation_succeeds(
    tmp_path: Path, before: Callable[[BootDisk], None]
) -> None:
    template = BootDisk.make(tmp_path / "template", OLD)
    before(template)
    point, ended = 0, False
    while not ended:
        point += 1
        folder = tmp_path / f"cut{point}"
        shutil.copytree(template.folder, folder)
        disk = _moved(template, folder)
        ended = cut(installation(disk, "B", NEW, folder / "bundle"), point)
        started = disk.starts(OLD, NEW)
        assert started in (OLD, NEW), f"nothing starts after write {point}"
        if started == OLD:
            for _ in installation(disk, "B", NEW, folder / "bundle"):
                pass
            assert disk.starts(OLD, NEW) == NEW, f"no second installation after a cut at write {point}"
            assert not [path for path in disk.ground.esp.iterdir() if path.suffix != ".efi"]
        shutil.rmtree(folder)
    assert point > 15


def _moved(disk: BootDisk, folder: Path) -> BootDisk:
    slots = tuple(
        places.Slot(
            s.name, folder / s.root.name, folder / s.verity.name, folder / s.uki.name, s.root_number, s.verity_number
        )
        for s in disk.ground.slots
    )
    return BootDisk(folder, places.Ground(folder / "disk.raw", slots, folder / "esp/EFI/Linux", disk.ground.cmdline))


def test_three_failed_starts_bring_the_old_release_back(disk: BootDisk, tmp_path: Path) -> None:
    for _ in installation(disk, "B", NEW, tmp_path / "bundle"):
        pass
    esp = disk.ground.esp
    for left, done in ((2, 1), (1, 2), (0, 3)):  # what systemd-boot does at each start
        assert disk.starts(OLD, NEW) == NEW
        (entry,) = esp.glob("passevue_1.4.10+*")
        entry.rename(esp / f"passevue_1.4.10+{left}-{done}.efi")
    assert disk.starts(OLD, NEW) == OLD
    assert backend.main(["get-primary"], disk.ground) == "A"
    assert backend.main(["get-state", "B"], disk.ground) == "bad"


def _started(disk: BootDisk, version: str) -> None:
    """What systemd-boot does before it starts a release that is counted, also when no try is left."""
    for path in disk.ground.esp.glob(f"passevue_{version}+*.efi"):
        left, _, done = path.stem.partition("+")[2].partition("-")
        path.rename(disk.ground.esp / f"passevue_{version}+{max(int(left) - 1, 0)}-{int(done or 0) + 1}.efi")


def _names(disk: BootDisk) -> list[str]:
    return sorted(path.name for path in disk.ground.esp.iterdir())


@pytest.fixture
def updated(disk: BootDisk, tmp_path: Path) -> BootDisk:
    """Runs the new release, which has proved itself as the old one had."""
    for _ in installation(disk, "B", NEW, tmp_path / "bundle"):
        pass
    disk = disk.running(NEW)
    backend.main(["set-state", "B", "good"], disk.ground)
    return disk


def test_a_slot_that_rots_later_is_left_after_nine_starts(updated: BootDisk) -> None:
    assert list(boot.guard(updated.ground)) == ["passevue_1.4.10.efi is passevue_1.4.10+9-100000.efi"]
    for _ in range(9):
        assert updated.starts(OLD, NEW) == NEW
        _started(updated, "1.4.10")
    assert updated.starts(OLD, NEW) == OLD
    assert backend.main(["get-primary"], updated.ground) == "A"
    assert backend.main(["get-state", "B"], updated.ground) == "bad"


def test_a_start_that_lasts_gives_all_nine_back(updated: BootDisk) -> None:
    for bad_starts in (1, 8):
        list(boot.guard(updated.ground))
        for _ in range(bad_starts):
            _started(updated, "1.4.10")
        list(boot.guard(updated.ground))
        assert _names(updated) == ["passevue_1.4.10+9-100000.efi", "passevue_1.4.2.efi"]
    assert list(boot.guard(updated.ground)) == [], "nothing is written when all is as it should be"


def test_nothing_is_counted_without_another_slot_that_could_take_over(disk: BootDisk, updated: BootDisk) -> None:
    list(boot.guard(updated.ground))
    for left_of_the_other in ("passevue_1.4.2+0-3.efi", "passevue_1.4.2+0-100009.efi"):
        (other,) = updated.ground.esp.glob("passevue_1.4.2*")
        other.rename(updated.ground.esp / left_of_the_other)
        list(boot.guard(updated.ground))
        assert _names(updated) == ["passevue_1.4.10.efi", left_of_the_other]
    (updated.ground.esp / left_of_the_other).unlink()
    assert list(boot.guard(updated.ground)) == []


def test_a_release_on_trial_keeps_its_three_tries(disk: BootDisk, tmp_path: Path) -> None:
    for _ in installation(disk, "B", NEW, tmp_path / "bundle"):
        pass
    _started(disk, "1.4.10")
    before = _names(disk)
    assert list(boot.guard(disk.running(NEW).ground)) == []
    assert list(boot.guard(disk.ground)) == [], "what waits for its first start is no way back"
    assert _names(disk) == before


@pytest.mark.parametrize("short_starts", [0, 8, 30])
def test_after_an_update_that_failed_what_had_proved_itself_starts_however_often(
    updated: BootDisk, tmp_path: Path, short_starts: int
) -> None:
    """Were both out of tries, the loader would take the higher version, the one that has failed."""
    list(boot.guard(updated.ground))
    for _ in range(8):
        _started(updated, "1.4.10")
    for _ in installation(updated, "A", NEWER, tmp_path / "bundle"):
        assert updated.starts(NEW, NEWER) in (NEW, NEWER)
    list(boot.guard(updated.ground))
    for _ in range(3):
        assert updated.starts(NEW, NEWER) == NEWER
        _started(updated, "1.5.0")
    for _ in range(short_starts):
        _started(updated, "1.4.10")
        assert updated.starts(NEW, NEWER) == NEW
    list(boot.guard(updated.ground))
    assert _names(updated) == ["passevue_1.4.10.efi", "passevue_1.5.0+0-3.efi"]


def test_a_trial_that_is_started_again_and_again_stays_one(disk: BootDisk) -> None:
    (own,) = disk.ground.esp.iterdir()
    own.rename(disk.ground.esp / "passevue_1.4.2+3.efi")
    for _ in range(40):
        _started(disk, "1.4.2")
        assert list(boot.guard(disk.ground)) == []
        assert boot.running(disk.ground).on_trial
    assert _names(disk) == ["passevue_1.4.2+0-40.efi"]


def test_a_release_with_two_names_is_left_as_it_is(updated: BootDisk) -> None:
    (updated.ground.esp / "passevue_1.4.10+9-100000.efi").write_bytes(NEW.uki)
    assert list(boot.guard(updated.ground)) == []


def test_what_runs_changes_its_name_while_there_is_another_to_start(updated: BootDisk) -> None:
    """A rename on FAT is two writes."""
    list(boot.guard(updated.ground))
    told = list(boot.retire_others(updated.ground))
    assert told == ["passevue_1.4.10+9-100000.efi is passevue_1.4.10.efi", "passevue_1.4.2.efi removed"]


def test_the_guard_and_an_update_never_change_the_folder_together(updated: BootDisk, tmp_path: Path) -> None:
    update = installation(updated, "A", NEWER, tmp_path / "bundle")
    for step in update:
        writes_esp = step.startswith("passevue_1.5.0")
        try:
            with places.locked(updated.ground.esp, 0):
                free = True
                assert list(boot.guard(updated.ground)) == [], "an update has begun: nothing is counted"
        except BlockingIOError:
            free = False
        assert free or writes_esp or "1.4" in step
        assert not (free and ".part" in step)
    assert updated.starts(NEW, NEWER) == NEWER


LOADERS_WORD = "LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"


@pytest.mark.parametrize(
    ("name", "code"),
    [("passevue_1.4.2+2-1.efi", 0), ("passevue_1.4.2+0-3.efi", 0), ("passevue_1.4.2+8-100001.efi", 3), (None, 3)],
)
def test_the_program_that_blessing_depends_on(tmp_path: Path, name: str | None, code: int) -> None:
    """With the system's Python, as systemd runs it."""
    word = tmp_path / LOADERS_WORD
    if name:
        word.write_bytes(b"\6\0\0\0" + f"\\EFI\\Linux\\{name}\0".encode("utf-16-le"))
    assert subprocess.run([PROGRAMS / "on-trial", word], cwd="/").returncode == code


def test_a_loaders_word_that_cannot_be_read_blesses_nothing_and_undoes(tmp_path: Path) -> None:
    told = subprocess.run([PROGRAMS / "on-trial", tmp_path], capture_output=True)
    assert told.returncode not in (0, 3)


@pytest.mark.parametrize(("asked", "code"), [("exit 0", 1), ("exit 3", 0), ("exit 1", 1), ("kill $$", 1)])
def test_undo_acts_unless_it_is_sure_that_what_runs_has_proved_itself(tmp_path: Path, asked: str, code: int) -> None:
    """systemd-bless-boot is missing here, or has no loader to speak to: it fails, and that changes nothing."""
    undo = Path(shutil.copy(PROGRAMS / "undo", tmp_path))
    (tmp_path / "on-trial").write_text(f"#!/bin/sh\n{asked}\n")
    (tmp_path / "on-trial").chmod(0o755)
    ran = subprocess.run([undo], cwd="/", capture_output=True, text=True)
    acted = "systemd-bless-boot" in ran.stderr or "other version comes back" in ran.stderr
    assert (ran.returncode, acted) == (code, code == 1)


@pytest.mark.parametrize(
    ("name", "trial"),
    [
        *(("passevue_1.4.2+2-1.efi", True), ("passevue_1.4.2+0-3.efi", True), ("passevue_1.4.2+3.efi", True)),
        *(("passevue_1.4.2+0-4.efi", True), ("passevue_1.4.2+0-99.efi", True), ("passevue_1.4.2+0-9999.efi", True)),
        *(
            ("passevue_1.4.2+8-100001.efi", False),
            ("passevue_1.4.2+0-100009.efi", False),
            ("passevue_1.4.2+0-100017.efi", False),
        ),
        *(("", True), ("another.efi", True)),
    ],
)
def test_all_who_ask_know_a_trial_from_a_guard(tmp_path: Path, name: str, trial: bool) -> None:
    """The loader's word, as the gate and the unit that undoes read it."""
    told = b"\6\0\0\0" + f"\\EFI\\Linux\\{name}\0".encode("utf-16-le")
    counted = tmp_path / "sys/firmware/efi/efivars" / LOADERS_WORD
    counted.parent.mkdir(parents=True)
    counted.write_bytes(told)
    assert boot.trial_told(told) == trial
    assert Machine(tmp_path).on_trial == trial
    if name.startswith("passevue"):
        (tmp_path / name).write_bytes(NEW.uki)
        assert boot.entries(tmp_path)[0].on_trial == trial


def test_slots_take_turns_for_many_updates(disk: BootDisk, tmp_path: Path) -> None:
    here, names = OLD, ["B", "A"] * 3
    for number, name in enumerate(names):
        content = release(f"2.{number}", kernel=number)
        for _ in installation(disk, name, content, tmp_path / "bundle"):
            pass
        assert disk.starts(here, content) == content
        disk, here = disk.running(content), content
        assert backend.main(["get-current"], disk.ground) == name
        assert backend.main(["set-state", name, "good"], disk.ground) == ""
        assert (disk.ground.esp / f"passevue_2.{number}.efi").exists()
    assert len(list(disk.ground.esp.iterdir())) == 2


def test_the_backend_answers_rauc(disk: BootDisk, tmp_path: Path) -> None:
    ask = lambda *argv: backend.main(list(argv), disk.ground)  # noqa: E731
    assert (ask("get-primary"), ask("get-current")) == ("A", "A")
    assert (ask("get-state", "A"), ask("get-state", "B")) == ("good", "bad")
    for _ in installation(disk, "B", NEW, tmp_path / "bundle"):
        pass
    assert (ask("get-primary"), ask("get-current"), ask("get-state", "B")) == ("B", "A", "good")
    ask("set-state", "B", "bad")
    assert (ask("get-primary"), ask("get-state", "B")) == ("A", "bad")
    ask("set-primary", "B")  # its own UKI lies in the slot
    assert ask("get-primary") == "B"
    ask("set-primary", "A")  # an older one on purpose: the newer loses its tries
    assert ask("get-primary") == "A"
    assert disk.starts(OLD, NEW) == OLD
    for wrong in (["get-state", "C"], ["set-state", "A", "maybe"], ["explode"], []):
        with pytest.raises((ValueError, places.NoSlots)):
            ask(*wrong)


def test_udev_looks_at_no_disk_that_is_held(disk: BootDisk) -> None:
    with disk.ground.disk.open("rb") as udevs:
        with places.locked(disk.ground.disk), pytest.raises(BlockingIOError):
            fcntl.flock(udevs, fcntl.LOCK_SH | fcntl.LOCK_NB)  # what udev asks for (systemd, BLOCK_DEVICE_LOCKING.md)
        fcntl.flock(udevs, fcntl.LOCK_SH | fcntl.LOCK_NB)
        with pytest.raises(BlockingIOError), places.locked(disk.ground.disk, 0.2):
            pass  # it looks for too long


def test_an_empty_slot_never_becomes_the_next(disk: BootDisk) -> None:
    with pytest.raises(boot.NotBootable):
        backend.main(["set-primary", "B"], disk.ground)
    assert disk.starts(OLD) == OLD


def test_what_runs_is_never_written_nor_removed(disk: BootDisk, tmp_path: Path) -> None:
    for act in ("slot-pre-install", "slot-post-install"):
        with pytest.raises(hook.Wrong, match="what runs"):
            list(hook.act(act, asked(disk, "A", "rootfs", tmp_path, NEW), disk.ground))
    with pytest.raises(boot.NotBootable, match="what runs"):
        list(boot.publish(disk.ground, disk.ground.slot("A")))
    lost = disk.running(NEWER)  # what runs is not on the ESP: nothing may be removed
    with pytest.raises(boot.NotBootable):
        list(boot.retire_others(lost.ground))
    assert (disk.ground.esp / "passevue_1.4.2.efi").read_bytes() == OLD.uki


@pytest.mark.parametrize("kind", ["rootfs", "verity", "uki"])
def test_a_bit_that_the_disk_lost_stops_the_installation(disk: BootDisk, tmp_path: Path, kind: str) -> None:
    disk.fill("B", NEW)
    device = disk.folder / ({"rootfs": "root", "verity": "verity", "uki": "uki"}[kind] + "-b")
    with device.open("r+b") as file:
        file.seek(5000)
        byte = file.read(1)
        file.seek(5000)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(hook.Wrong, match="does not hold"):
        list(hook.act("slot-post-install", asked(disk, "B", kind, tmp_path, NEW), disk.ground))
    assert disk.starts(OLD, NEW) == OLD


def test_parts_of_two_releases_are_not_made_to_start(disk: BootDisk, tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text(json.dumps({"version": NEW.version, "root_hash": NEW.root_hash}))
    disk.fill("B", NEW)
    with (disk.folder / "verity-b").open("r+b") as file:
        file.write(NEWER.verity)
    with pytest.raises(hook.Wrong, match="hash tree"):
        list(hook.act("slot-post-install", asked(disk, "B", "uki", tmp_path, NEW), disk.ground))
    disk.fill("B", NEW)
    with (disk.folder / "uki-b").open("r+b") as file:
        file.write(NEWER.slot)
    with pytest.raises(hook.Wrong, match="not the one of this release"):
        list(hook.act("slot-post-install", asked(disk, "B", "uki", tmp_path, NEWER), disk.ground))
    assert disk.starts(OLD, NEW, NEWER) == OLD


def test_the_rest_of_the_partition_is_zeroed(disk: BootDisk, tmp_path: Path) -> None:
    large, small = release("2.0", root_size=800 << 10), release("2.1", root_size=200 << 10)
    disk.fill("B", large)
    disk.fill("B", small)
    list(hook.zero_rest(disk.ground.slot("B").root, len(small.root)))
    assert not any((disk.folder / "root-b").read_bytes()[len(small.root) :])


# --- the partition table --------------------------------------------------------------------------------------------


def test_sfdisk_reads_what_we_write(disk: BootDisk) -> None:
    for _ in boot.name_partitions(disk.ground, disk.ground.slot("B"), NEW.version, NEW.root_hash):
        pass
    told = json.loads(
        subprocess.run(["sfdisk", "-J", disk.ground.disk], capture_output=True, text=True, check=True).stdout
    )
    parts = told["partitiontable"]["partitions"]
    assert (parts[4]["name"], parts[5]["name"]) == ("passevue_1.4.10", "passevue_1.4.10_verity")
    assert (parts[4]["uuid"] + parts[5]["uuid"]).replace("-", "").lower() == NEW.root_hash
    checked = subprocess.run(["sfdisk", "--verify", disk.ground.disk], capture_output=True, text=True)
    assert checked.returncode == 0
    assert "No errors detected" in checked.stdout + checked.stderr
    assert not list(boot.name_partitions(disk.ground, disk.ground.slot("B"), NEW.version, NEW.root_hash))


def test_a_table_torn_at_any_sector_is_still_read_and_mended(disk: BootDisk) -> None:
    before = disk.ground.disk.read_bytes()
    with disk.ground.disk.open("rb") as file:
        table = gpt.read(file.fileno())
    wanted = {
        5: (gpt.uuid.UUID(NEW.root_hash[:32]), "passevue_x"),
        6: (gpt.uuid.UUID(NEW.root_hash[32:]), "passevue_x_verity"),
    }
    sectors = [
        (write.at + at, write.data[at : at + 512])
        for write in table.renamed(wanted)
        for at in range(0, len(write.data), 512)
    ]
    assert len(sectors) > 60
    torn = bytearray(before)
    for at, data in sectors:
        torn[at : at + 512] = data
        disk.ground.disk.write_bytes(torn)
        with disk.ground.disk.open("r+b") as file:
            found = gpt.read(file.fileno())
            assert len(found.partitions()) == 7
            assert found.partitions()[2].uuid.hex == OLD.root_hash[:32]
            for write in found.renamed(wanted):
                os.pwrite(file.fileno(), write.data, write.at)
        checked = subprocess.run(["sfdisk", "--verify", disk.ground.disk], capture_output=True, text=True)
        assert "No errors" in checked.stdout + checked.stderr
        assert disk.starts(OLD) == OLD


def test_no_table_at_all_is_told(tmp_path: Path) -> None:
    empty = tmp_path / "disk"
    empty.write_bytes(bytes(1 << 20))
    with empty.open("rb") as file, pytest.raises(gpt.NoTable):
        gpt.read(file.fileno())


@given(st.binary(max_size=4096))
def test_any_bytes_as_a_disk_are_a_table_or_none(data: bytes) -> None:
    descriptor = os.memfd_create("disk")
    try:
        os.write(descriptor, b"\0" * 512 + b"EFI PART" + data)
        with pytest.raises(gpt.NoTable):
            gpt.read(descriptor)
    finally:
        os.close(descriptor)


# --- the UKI in its slot --------------------------------------------------------------------------------------------


def test_a_slot_gives_its_uki_back_to_the_last_byte() -> None:
    slot = io.BytesIO(NEW.slot + bytes(12345))
    told = uki.verify(slot)
    assert b"".join(uki.unpack(slot, told)) == NEW.uki
    assert (told.version, told.root_hash) == (NEW.version, NEW.root_hash)


def test_two_releases_with_the_same_kernel_share_all_but_a_few_blocks() -> None:
    """Though their own texts have other lengths, so that kernel and initrd lie elsewhere in the file."""
    longer = portable_executable("1.4.10" * 100, NEW.root_hash, pcrsig=1900)
    other = uki.pack(longer, "1.4.11")
    blocks = lambda data: {data[at : at + 4096] for at in range(0, len(data), 4096)}  # noqa: E731
    assert len(blocks(other) - blocks(NEW.slot)) <= 6
    assert len(blocks(longer) - blocks(NEW.uki)) > 30


@given(st.data())
def test_a_damaged_slot_is_refused(data: st.DataObject) -> None:
    slot = bytearray(NEW.slot)
    told = uki.header(io.BytesIO(slot))
    at = data.draw(st.integers(0, len(slot) - 1))
    slot[at] ^= data.draw(st.integers(1, 255))
    covered = at < len(bytes(slot[:4096]).rstrip(b"\0")) or any(
        start <= at < start + size for start, size in told.parts
    )
    try:
        again = uki.verify(io.BytesIO(slot))
    except uki.NoUki:
        return
    assert not covered or again.sha256 == told.sha256


@given(st.binary(max_size=5000))
def test_any_bytes_are_a_uki_or_refused(data: bytes) -> None:
    for raw in (data, NEW.uki[:200] + data, b"MZ".ljust(60, b"\0") + b"\x40\0\0\0PE\0\0" + data):
        with pytest.raises(uki.NoUki):
            uki.root_hash(io.BytesIO(raw))
        with pytest.raises(uki.NoUki):
            uki.verify(io.BytesIO(raw.ljust(4096, b"\0")))


# --- what may be installed ------------------------------------------------------------------------------------------


RUNS = admission.Release("1.4.2", "production", "1.4.0")


@pytest.mark.parametrize(
    ("bundle", "number"),
    [
        (admission.Release("1.4.2", "production"), "4022"),
        (admission.Release("1.4.1", "production"), "4022"),
        (admission.Release("1.4.2.0", "production"), "4022"),
        (admission.Release("1.10", "development"), "4024"),
        (admission.Release("1.5", "production", compatible="other-board"), "4021"),
    ],
)
def test_what_this_box_does_not_take(bundle: "admission.Release", number: str) -> None:
    with pytest.raises(admission.Refused, match=number):
        admission.admit(bundle, RUNS, proved=True)


def test_a_newer_release_is_taken_once_what_runs_has_proved_itself() -> None:
    newer = admission.Release("1.10.0", "production")
    admission.admit(newer, RUNS, proved=True)
    with pytest.raises(admission.Refused, match="4025"):
        admission.admit(newer, RUNS, proved=False)
    with pytest.raises(admission.Refused, match="4023"):
        admission.admit(newer, admission.Release("1.4.2", "production", "2.0"), proved=True)
    admission.admit(admission.Release("1.10", "development"), admission.Release("1.4.2", "development"), proved=True)


def test_a_newer_release_with_a_lower_rollback_index_would_never_publish_and_is_refused() -> None:
    here = admission.Release("1.4.2", "production", rollback_index=3)
    for index in (3, 4):
        admission.admit(admission.Release("1.5", "production", rollback_index=index), here, proved=True)
    with pytest.raises(admission.Refused, match="4026"):
        admission.admit(admission.Release("1.5", "production", rollback_index=2), here, proved=True)
    with pytest.raises(admission.Refused, match="4026"):
        admission.admit(admission.Release("1.5", "production"), here, proved=True)


@pytest.mark.parametrize(
    "meta",
    [b"", b"{", b"[]", b"null", b'{"schema":1,"version":"1.2"}',
     b'{"schema":2,"version":"1.2","profile":"p","compatible":"c"}',
     b'{"schema":1,"version":"1..2","profile":"p","compatible":"c"}', b"[" * 60000, b'{"version":' + b"9" * 70000 +
b"}", b'{"schema":1,"version":"' + b"9" * 5000 + b'.1","profile":"p","compatible":"c"}'], )  # fmt: skip
def test_a_bundle_that_does_not_say_what_it_is_is_refused(tmp_path: Path, meta: bytes) -> None:
    (tmp_path / "meta.json").write_bytes(meta)
    with pytest.raises(admission.Refused):
        admission.read_meta(tmp_path)


@pytest.mark.parametrize("index", ["1e999", "-1", "65", "true", "1.9", '"2"', "null"])
def test_a_rollback_index_that_no_tpm_keeps_is_refused_in_words(tmp_path: Path, index: str) -> None:
    told = '{"schema":1,"version":"1.2","profile":"production","compatible":"c","rollback_index":%s}'
    (tmp_path / "meta.json").write_text(told % "64")
    assert admission.read_meta(tmp_path).rollback_index == 64
    (tmp_path / "meta.json").write_text(told % index)
    with pytest.raises(admission.Refused, match="4011"):
        admission.read_meta(tmp_path)


def test_what_runs_is_read_from_the_manifest_or_the_systems_own_name(tmp_path: Path) -> None:
    (tmp_path / "os-release").write_text('ID=debian\nIMAGE_VERSION="1.4.2"\nVARIANT_ID=development\n')
    missing = tmp_path / "manifest.json"
    assert admission.read_own(missing, tmp_path / "os-release") == admission.Release("1.4.2", "development", "0.0")
    told = {"version": "1.4.3", "profile": "production", "security_floor": "1.4.1", "rollback_index": 2}
    missing.write_text(json.dumps(told))
    runs = admission.Release("1.4.3", "production", "1.4.1", rollback_index=2)
    assert admission.read_own(missing, tmp_path / "os-release") == runs


def test_programs_run_alone_and_say_why_not(tmp_path: Path) -> None:
    """With the system's Python, isolated, from a folder that is not theirs: as RAUC runs them. Here there are no
    slots.
    """
    asked = {
        PROGRAMS / "rauc-boot": ["get-primary"],
        PROGRAMS / "rauc-admit": [],
        PROGRAMS / "guard": [],
        IMAGE / "hook": ["slot-post-install"],
    }
    for path, argv in asked.items():
        if path.name == "hook":
            shutil.copytree(PROGRAMS / "slots", tmp_path / "slots")
            path = Path(shutil.copy(path, tmp_path))
        ran = subprocess.run(
            [path, *argv], cwd="/", capture_output=True, text=True, env={"RAUC_UPDATE_SOURCE": "/nowhere"}
        )
        assert ran.returncode == 1
        assert ran.stderr.startswith(path.name)
        assert "Traceback" not in ran.stderr
