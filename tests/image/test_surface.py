"""What the running box offers to an attacker: sockets, programs that give rights, ways in that only tests have."""

import asyncio
import json
import lzma

import pytest

from tests.image.artefacts import NoImage, image
from tests.image.lab import BOOT_S, Lab
from tests.image.machine import Machine
from tests.image.state import State
from tests.image.waiting import eventually

MANIFEST = "/usr/share/passevue/manifest.json"
OUR_UNITS = ("passevue-intake", "passevue-national", "passevue-page", "passevue-host")
MOST_MEMORY = 200 << 20


async def test_nothing_listens_but_what_the_manifest_lists(box: Machine) -> None:
    manifest = json.loads((await box.console.run("cat", MANIFEST)).out)
    listed = {(one["proto"], int(one["port"])) for one in manifest["listeners"]}
    lines = (await box.console.run("ss", "-Hlntu")).out.splitlines()
    found = {(fields[0], int(fields[4].rpartition(":")[2])) for fields in map(str.split, lines)}
    assert found <= listed, f"not listed: {found - listed}"


async def test_every_chain_drops_by_default(lab: Lab, box: Machine) -> None:
    """What is let through is in NET-01, its tests, and what a stranger's listener meets (test_sabotage.py)."""
    said = await box.console.run("nft", "-j", "list", "ruleset")
    rules = json.loads(said.out)["nftables"]
    policies = {one["chain"]["hook"]: one["chain"]["policy"] for one in rules if one.get("chain", {}).get("hook")}
    assert policies == {"input": "drop", "forward": "drop", "output": "drop"}


async def test_at_most_three_programs_give_their_user_other_rights(lab: Lab, box: Machine) -> None:
    said = await box.console.run("find", "/", "-xdev", "-perm", "/6000", "-type", "f", timeout_s=300)
    found = said.out.split()
    lab.figures["set-uid and set-gid programs"] = str(len(found))
    assert len(found) <= 3, found
    capable = await box.console.run("sh", "-c", "getcap -r / 2>/dev/null; true", timeout_s=300)
    assert capable.out == ""


async def test_our_units_are_modest(lab: Lab, box: Machine) -> None:
    """Resident memory of all of them together, idle: every rule has been looked at; the least of three readings."""

    async def report() -> str:
        return (await box.console.run("cat", "/run/passevue-baseline/report.json", check=False)).out

    await eventually(report, lambda text: bool(text) and "not looked at yet" not in text, 600, pause_s=5)
    readings = []
    for _ in range(3):
        readings.append(await memory(box))
        await asyncio.sleep(5)
    resident, anonymous = min(readings)
    lab.figures["memory of our units, idle (proportional)"] = f"{resident / 2**20:.0f} MiB"
    lab.figures["memory of our units, idle (their own)"] = f"{anonymous / 2**20:.0f} MiB"
    assert resident <= MOST_MEMORY


async def memory(box: Machine) -> tuple[int, int]:
    """Bytes: with each one's part of what it shares, and its own alone."""
    script = 'for u in "$@"; do cat /sys/fs/cgroup$(systemctl show -P ControlGroup $u)/memory.stat; done'
    said = await box.console.run("sh", "-c", script, "sh", *OUR_UNITS)
    anonymous = sum(int(line.split()[1]) for line in said.out.splitlines() if line.split()[0] in ("anon", "shmem"))
    resident = 0
    for unit in OUR_UNITS:
        pid = (await box.console.run("systemctl", "show", "-P", "MainPID", unit)).out.strip()
        assert pid != "0", f"{unit} does not run"
        status = (await box.console.run("cat", f"/proc/{pid}/smaps_rollup")).out
        resident += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("Pss:")) << 10
    return resident, anonymous


async def test_nobody_can_log_in(box: Machine) -> None:
    passwords = (await box.console.run("cat", "/etc/shadow")).out.splitlines()
    assert all(line.split(":")[1][:1] in ("!", "*") for line in passwords)
    units = "getty@tty1 serial-getty@ttyS0 ssh sshd debug-shell emergency rescue console-getty"
    said = await box.console.run("systemctl", "is-active", *units.split(), check=False)
    assert set(said.out.split()) <= {"inactive", "failed", "unknown"}


async def test_the_root_and_its_configuration_cannot_be_written(box: Machine) -> None:
    for path in ("/usr/bin/x", "/etc/x", "/x"):
        assert (await box.console.run("touch", path, check=False)).code
    assert (await box.console.run("mount", "-o", "remount,rw", "/", check=False)).code
    mounts = (await box.console.run("findmnt", "-rno", "TARGET,OPTIONS", "/var")).out
    assert {"nosuid", "nodev", "noexec"} <= set(mounts.split()[1].split(","))


async def test_an_unsigned_module_is_not_loaded(box: Machine) -> None:
    script = 'cat $(find /usr/lib/modules -name "nbd.ko.xz" | head -n 1)'
    module = lzma.decompress((await box.console.run("sh", "-c", script)).raw)
    tail = module.rfind(b"~Module signature appended~")
    assert tail > 0
    await box.console.run("sh", "-c", "cat >/run/unsigned.ko", stdin=module[: tail - 400])
    assert (await box.console.run("insmod", "/run/unsigned.ko", check=False)).code
    assert (await box.console.run("cat", "/sys/module/module/parameters/sig_enforce")).out.strip() == "Y"
    assert "[integrity]" in (await box.console.run("cat", "/sys/kernel/security/lockdown")).out


async def test_production_takes_no_orders_from_the_firmware(lab: Lab) -> None:
    """The tests' own way in is a unit in SMBIOS: a production image must start, serve, and not believe it."""
    try:
        production = image("production")
    except NoImage as none:
        pytest.skip(f"{none} (IMAGE='--profile production')")
    state = State.new(lab.folder / "production", production.disk)
    async with lab.machine(state) as machine:
        await machine.switch_on()
        await machine.serves("/healthz", BOOT_S)
        with pytest.raises(TimeoutError):
            await machine.console.answers(60)
        assert "login" not in machine.serial()
