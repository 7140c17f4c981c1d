"""Somebody had the disk, or the board, in hand while the box was off. Nothing that was changed runs; nothing is read.

Each test changes a copy of a provisioned box's disk, boots it on the board it belongs to (or on another), and looks at
how far it comes.
"""

import asyncio
import contextlib

import pytest

from tests.image.disk_edit import DiskEdit
from tests.image.lab import BOOT_S, Lab
from tests.image.machine import Hardware, Machine
from tests.image.screen import screen
from tests.image.state import State, run
from tests.image.waiting import eventually

UKIS = "EFI/Linux"
LOADERS = ("EFI/BOOT/BOOTX64.EFI", "EFI/systemd/systemd-bootx64.efi")
REFUSED = r"(?i)access denied|security violation|secure boot violation|failed to load|could not load"
KERNEL = r"Linux version|Welcome to|systemd\[1\]|Run /init"


def changed(data: bytes, offset: int) -> bytes:
    """With one bit other than it was."""
    copy = bytearray(data)
    copy[offset] ^= 1
    return bytes(copy)


async def is_refused(machine: Machine) -> str:
    """Boots; the firmware or the loader must say no, and no kernel may start in the time that one takes."""
    await machine.switch_on()
    said = await machine.serial_says(REFUSED, BOOT_S)
    with contextlib.suppress(TimeoutError):
        kernel = await machine.serial_says(KERNEL, 20)
        pytest.fail(f"a kernel runs: {kernel.group()}")
    return said.group()


async def restarts(machine: Machine) -> None:
    """Boots; the kernel finds what is wrong and starts again, and never comes as far as the box's own programs."""
    await machine.switch_on()
    await machine.resets(BOOT_S)
    with pytest.raises(TimeoutError):
        await machine.console.answers(1)


async def test_a_changed_kernel_image_is_refused(lab: Lab) -> None:
    state = lab.provisioned("changed-uki")
    disk = DiskEdit(state.disk)
    with disk.files(disk.partition("esp")) as esp:
        (name,) = esp.names(UKIS)
        data = esp.read(f"{UKIS}/{name}")
        esp.write(f"{UKIS}/{name}", changed(data, len(data) // 2))
    async with lab.machine(state) as machine:
        await is_refused(machine)


async def test_a_changed_loader_is_refused(lab: Lab) -> None:
    state = lab.provisioned("changed-loader")
    disk = DiskEdit(state.disk)
    with disk.files(disk.partition("esp")) as esp:
        for name in LOADERS:
            data = esp.read(name)
            esp.write(name, changed(data, len(data) // 2))
    async with lab.machine(state) as machine:
        await is_refused(machine)


async def test_words_of_an_entry_of_the_loader_are_not_heard(lab: Lab) -> None:
    """A root shell (`systemd.debug-shell`) asked for in a file that anybody can write."""
    state = lab.provisioned("debug-shell")
    disk = DiskEdit(state.disk)
    with disk.files(disk.partition("esp")) as esp:
        (name,) = esp.names(UKIS)
        entry = f"title debug\nversion 99\nefi /{UKIS}/{name}\noptions systemd.debug-shell=ttyS0 rd.break\n"
        esp.write("loader/entries/zz-debug.conf", entry.encode())
        esp.write("loader/loader.conf", b"default zz-debug.conf\ntimeout 0\neditor yes\n")
    async with lab.machine(state) as machine:
        await machine.switch_on()
        await machine.console.answers(BOOT_S)
        words = (await machine.console.run("cat", "/proc/cmdline")).out.split()
        signed = lab.first_boot.said["cat /proc/cmdline"].split()
        assert words == signed
        units = (await machine.console.run("systemctl", "is-active", "debug-shell.service", check=False)).out
        assert units.strip() == "inactive"


async def test_words_that_the_firmware_adds_shut_the_data(lab: Lab) -> None:
    """SMBIOS type 11: systemd-stub hears them, and measures them into PCR 12."""
    extra = ("-smbios", "type=11,value=io.systemd.stub.kernel-cmdline-extra=systemd.debug-shell=ttyS0")
    async with lab.machine(lab.provisioned("words"), Hardware(extra=extra)) as machine:
        await stays_shut(machine, lab)


async def test_a_changed_byte_of_the_root_is_never_used(lab: Lab) -> None:
    """The superblock: the first block that is read of it."""
    state = lab.provisioned("changed-root")
    disk = DiskEdit(state.disk)
    disk.flip(disk.partition(f"passevue_{lab.image.version}"), 1024 + 100)
    async with lab.machine(state) as machine:
        await restarts(machine)


async def test_a_changed_hash_tree_is_never_believed(lab: Lab) -> None:
    """Its top block, whose hash is in the signed command line."""
    state = lab.provisioned("changed-hash")
    disk = DiskEdit(state.disk)
    disk.flip(disk.partition(f"passevue_{lab.image.version}_verity"), 4096 + 7)
    async with lab.machine(state) as machine:
        await restarts(machine)


async def stays_shut(machine: Machine, lab: Lab) -> None:
    """The system starts, the data do not open, the box does not serve."""
    await machine.switch_on()
    await machine.console.answers(BOOT_S)

    async def tried() -> str:
        said = await machine.console.run("journalctl", "-b", "-o", "cat", "--no-pager", "-u", "systemd-cryptsetup@var")
        return said.out

    await eventually(tried, lambda text: "TPM2" in text or "ailed" in text, BOOT_S)
    await eventually(lambda: screen(machine), lambda text: "les données de ce boîtier ne s'ouvrent pas" in text, 120)
    await asyncio.sleep(20)
    mapped = await machine.console.run("ls", "/dev/mapper", check=False)
    assert "var" not in mapped.out.split(), "the data are open"
    with pytest.raises(TimeoutError):
        await machine.serves("/healthz", 15)


async def test_the_disk_in_another_machine_stays_shut(lab: Lab) -> None:
    """Same firmware keys, another TPM."""
    state = lab.provisioned("other-tpm")
    state.replace_tpm()
    async with lab.machine(state) as machine:
        await stays_shut(machine, lab)


async def test_with_secure_boot_off_the_data_stay_shut(lab: Lab) -> None:
    """The same machine and keys; somebody switched it off in the firmware's setup."""
    state = lab.provisioned("no-secure-boot")
    state.switch_secure_boot_off()
    async with lab.machine(state) as machine:
        await stays_shut(machine, lab)


async def test_a_board_that_lost_its_keys_takes_ours_again_and_the_data_open(lab: Lab) -> None:
    """The same machine, its firmware set back to setup mode: enrolled anew, it measures the same."""
    state = lab.provisioned("keys-cleared")
    state.clear_variables()
    async with lab.machine(state) as machine:
        await machine.switch_on()
        await machine.serves("/healthz", BOOT_S)
        assert "Secure Boot keys successfully enrolled" in machine.serial()


async def test_a_data_partition_formatted_anew_is_not_taken(lab: Lab) -> None:
    """Plain ext4 where the encrypted data were: the box does not go into service on it; it restarts over and over."""
    state = lab.provisioned("formatted")
    plain(state, lab)
    async with lab.machine(state) as machine:
        await machine.switch_on()
        await machine.console.answers(BOOT_S)
        await machine.resets(BOOT_S)
        seen = ""
        for _ in range(12):
            seen += await mounts(machine)
            await asyncio.sleep(5)
        seen += await eventually(lambda: mounts(machine), bool, BOOT_S)
        assert not [line for line in seen.splitlines() if line.split()[1] == "/var" and "/dev/vd" in line]
        with pytest.raises(TimeoutError):
            await machine.serves("/healthz", 15)


async def mounts(machine: Machine) -> str:
    """Nothing when nobody answers: a box without its data restarts over and over."""
    try:
        async with asyncio.timeout(20):
            return (await machine.console.run("cat", "/proc/mounts")).out
    except (TimeoutError, ConnectionError):
        return ""


def plain(state: State, lab: Lab) -> None:
    disk = DiskEdit(state.disk)
    partition = disk.partition("passevue-var")
    image = lab.folder / "plain.ext4"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    run("/sbin/mkfs.ext4", "-q", "-F", "-L", "passevue-var", str(image))
    disk.write(partition.start, image.read_bytes())


async def test_nothing_of_the_box_is_readable_without_its_tpm(lab: Lab) -> None:
    """What a provisioned box knows is nowhere on its disk: not outside the data partition, not inside it in clear."""
    state = lab.provisioned("readable")
    disk = DiskEdit(state.disk)
    secrets = [b"Bo\xc3\xaetier d'essai", b"PRIVATE KEY", b"key_auth.pem", b"passevue-national[", b"systemd-creds"]
    keys = [lab.site.keys.auth_key.read_bytes()[200:260], lab.site.keys.sign_key.read_bytes()[200:260]]
    partition = disk.partition("passevue-var")
    step = 64 << 20
    for start in range(0, partition.size, step):
        data = disk.read(partition.start + start, min(step, partition.size - start))
        for secret in [*secrets, *keys]:
            assert secret not in data, secret
    with disk.files(disk.partition("esp")) as esp:
        assert sorted(esp.names("")) == ["EFI", "loader"], "on the ESP lies what starts the box, nothing else"
